"""Adapters: small trained parts of an encoder, from attaching one to a checkpoint to opening a saved, verified one.

Covers the kinds (`kinds.ADAPTERS`), the differentiable model they are trained in (`text_model`), and saving, checking
and merging (`saved`). Losses, data and training loops are the finetune room's work.
"""
