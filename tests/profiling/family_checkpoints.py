"""Small random checkpoints of each member of the BERT family, saved by transformers, for the encoders' tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WORDS = ["red", "blue", "lamp", "desk", "sofa", "leather", "shoe", "steel", "faucet", "kitchen", "the", "a", "of", "in"]
TEXTS = [
    "red lamp", "leather sofa in the kitchen", "blue", "a " * 30,
    "steel kitchen faucet of the desk", "zzz", "shoe shoe", "desk lamp",
    "the blue leather shoe",
]  # fmt: skip
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "mpnet", "distilbert")


def save_checkpoint(folder: Path, family: str, *, layers: int = 2, seed: int = 0) -> Path:
    """A checkpoint of ``family`` with 16 dimensions and room for 40 tokens, and a word tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModel, BertTokenizer

    special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]  # padding has id 1, as in RoBERTa
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*special, *WORDS, "##s"]))
    sizes = (
        {"dim": 16, "n_layers": layers, "n_heads": 2, "hidden_dim": 32}
        if family == "distilbert"
        else {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 32}
    )
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        family, vocab_size=len(special) + len(WORDS) + 1, max_position_embeddings=42, initializer_range=0.4,
        pad_token_id=1, **sizes,
    )  # fmt: skip
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():  # biases and norms start at 0 and 1: nothing would be tested
            if name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name:
                weight.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def transformers_vectors(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """Mean-pooled unit vectors by transformers, one text at a time, (n, 16)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=40)["input_ids"]])
        with torch.no_grad():
            pooled = model(input_ids=ids).last_hidden_state[0].mean(0)
        found.append((pooled / pooled.norm()).numpy())
    return np.stack(found)
