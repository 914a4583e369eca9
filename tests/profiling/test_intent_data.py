"""Intent on real shops: what it promises, on samples small enough for a test."""

import os

import numpy as np
import pytest

from tasteprint.profiling.intent.intent import fit_intent
from tasteprint.profiling.intent.relevance import shuffled
from tasteprint.profiling.tables.shop import read_shop

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.mark.pretrained
def test_real_queries_are_told_from_nonsense_and_chat(shop_path, minilm) -> None:
    """home_depot valid queries against shuffled letters and clinc150/banking77 sentences (train and valid only)."""
    from sklearn.metrics import roc_auc_score

    from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder

    rng = np.random.default_rng(0)
    shop = read_shop(shop_path("home_depot"), tables=["items", "judgements"])
    labels = read_shop(shop_path("intents"), tables=["labels"]).table("labels")
    judged = shop.table("judgements")
    asked = sorted(set(judged.loc[judged["split"] == "valid", "query"]))[::4]
    chat = labels.loc[labels["split"] != "test", "text"].sample(200, random_state=0).tolist()
    items = shop.table("items").sample(4000, random_state=0).reset_index(drop=True)
    encoder = open_encoder(EncoderConfig(name=minilm))
    model = fit_intent(items, encoder.encode(items["title"].tolist()), rng=rng, encoder=encoder)

    def sure(texts: list[str]) -> list[float]:
        return [intent.confidence for intent in model.infer(texts, encoder.encode(texts, "query"))]

    real = sure(asked)
    for other in ([shuffled(text, rng=rng) for text in asked], chat):
        found = sure(other)
        assert roc_auc_score([1] * len(real) + [0] * len(found), real + found) > 0.95


def test_one_intent_takes_under_three_milliseconds_on_92k_items(shop_path) -> None:
    """Median, without the encoder; TASTEPRINT_TIMES=1 also checks it (a shared machine may be busy)."""
    import time

    items = read_shop(shop_path("complete_journey"), tables=["items"]).table("items")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(items), 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    model = fit_intent(items, vectors, rng=rng)
    taken = []
    for i, text in enumerate(["potato chips", "greek yogurt strawberry 6 oz", "cheap wine", "dog food"] * 20):
        start = time.perf_counter()
        found = model.infer([text], vectors[i : i + 1])
        taken.append(time.perf_counter() - start)
        assert len(found) == 1
    if os.environ.get("TASTEPRINT_TIMES"):
        assert np.median(taken) < 0.003
