"""A small encoder and a small shop to train on, in a second or two."""

from __future__ import annotations

import re
from pathlib import Path

from tasteprint.finetune.train_config import FinetuneConfig
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.profiling.templates import item_texts
from tests.small_bert import save_small_bert


def base_for(shop: Shop, folder: Path) -> Path:
    """A random one-layer BERT that knows the shop's words."""
    texts = [*item_texts(shop.table("items")), *shop.table("judgements")["query"]]
    words = sorted({word for text in texts for word in re.findall(r"\w+", text.lower())})
    return save_small_bert(folder, words)


def small_config(base: Path, *, adapter: str = "lora", **train: object) -> FinetuneConfig:
    """A run of a dozen steps over the judged queries of the small shop."""
    return FinetuneConfig.model_validate(
        {
            "base": str(base),
            "adapter": {"kind": adapter, "rank": 4, "alpha": 8},
            "pairs": {"sources": ["judged"]},
            "train": {
                "epochs": 6, "batch_anchors": 4, "learning_rate": 0.02, "max_length": 32, "evaluations": 3, **train
            },
        }
    )  # fmt: skip


def small_shop() -> Shop:
    """A generated shop with judgements in all three splits."""
    return tiny_shop()
