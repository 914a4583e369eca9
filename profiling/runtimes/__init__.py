"""The engines that run a checkpoint: torch, OpenVINO and ONNX Runtime behind one interface, chosen by `choose`.

Covers exporting, quantising to int8 on a shop's own texts, keeping exported models, and picking an engine for the
machine. Texts, duplicates and order are `transformer`'s work.
"""
