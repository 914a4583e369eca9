"""A small random BERT written by hand, without importing transformers, which takes seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
DIM, INNER, HEADS, POSITIONS = 16, 32, 2, 64


def save_small_bert(folder: Path, words: Sequence[str], *, seed: int = 0) -> Path:
    """A checkpoint with one layer of 16 dimensions and a WordPiece tokenizer of ``words``."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [*SPECIAL, *words]
    _save_tokenizer(folder, {word: row for row, word in enumerate(vocabulary)})
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(vocabulary), "hidden_size": DIM,
        "intermediate_size": INNER, "num_hidden_layers": 1, "num_attention_heads": HEADS, "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings": (len(vocabulary), DIM),
        "embeddings.position_embeddings": (POSITIONS, DIM),
        "embeddings.token_type_embeddings": (2, DIM),
        "pooler.dense": (DIM, DIM),
    }
    layer = "encoder.layer.0."
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        shapes[layer + name] = (DIM, DIM)
    shapes |= {f"{layer}intermediate.dense": (INNER, DIM), f"{layer}output.dense": (DIM, INNER)}
    weights = {f"{name}.weight": rng.normal(0, 0.3, shape) for name, shape in shapes.items()}
    weights |= {f"{n}.bias": rng.normal(0, 0.1, s[0]) for n, s in shapes.items() if not n.startswith("embeddings")}
    for norm in ("embeddings", f"{layer}attention.output", f"{layer}output"):
        weights |= {f"{norm}.LayerNorm.weight": np.ones(DIM), f"{norm}.LayerNorm.bias": np.zeros(DIM)}
    save_file({k: v.astype(np.float32) for k, v in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


def _save_tokenizer(folder: Path, vocabulary: dict[str, int]) -> None:
    """Its ``tokenizer.json``, and what transformers wants beside it."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece
    from tokenizers.processors import BertProcessing

    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about | names))
