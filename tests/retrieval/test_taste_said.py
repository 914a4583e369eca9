"""Words of events in the taste model: who said what, the network against numpy, a shop where words decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tasteprint.config import Settings
from tasteprint.evaluation.splits import leave_one_out
from tasteprint.evaluation.taste_learning import training_digest
from tasteprint.profiling.embedding.embeddings import embed_said
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.log import EventLog, Requests
from tasteprint.profiling.reviews.said import Said
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.taste_model import request_events, taste_from_state, taste_state
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.taste.config import TasteConfig
from tasteprint.retrieval.taste.features import item_features
from tasteprint.retrieval.taste.network import exported
from tasteprint.retrieval.taste.training import fit_taste, new_network
from tasteprint.training import train_workspace_taste

ENCODER = HashEncoder(dim=16, seed=0)
WORDS = ("red", "round", "soft", "loud")
SMALL = TasteConfig(width=8, layers=1, inner=8, last=6, text=0, words=0, negatives=None, batch=64, learning_rate=0.03)


def talking_shop(n_users: int = 60) -> Shop:
    """The word of an event says which item is next."""
    rng, rows = np.random.default_rng(0), []
    for user in range(n_users):
        item = int(rng.integers(len(WORDS)))
        for day in range(6):
            word = int(rng.integers(len(WORDS)))
            at = pd.Timestamp("2024-01-01") + pd.Timedelta(days=day)
            rows.append((f"u{user:02d}", at, f"i{item:02d}", WORDS[word] if rng.random() < 0.9 else None, word))
            item = word
    table = pd.DataFrame(rows, columns=["user_id", "at", "item_id", "text", "word"])
    events = conform("events", table.drop(columns="word").assign(kind="review", seq=range(len(rows))))
    items = conform("items", pd.DataFrame({"item_id": [f"i{n:02d}" for n in range(len(WORDS))], "title": ""}))
    shop = Shop("talk", items=items, events=events.sample(frac=1, random_state=0, ignore_index=True), meta={})
    return replace(shop, said=embed_said(shop.table("events"), ENCODER))


def everybody(log: EventLog) -> Requests:
    now_s = np.full(log.n_users, float(log.at_s.max()) + 86_400.0)
    return Requests(log, log.user_start[:-1], log.user_start[1:], now_s)


def test_every_event_of_a_log_has_its_own_words() -> None:
    shop = talking_shop()
    log = leave_one_out(shop, stage="valid").train
    table = shop.table("events").set_index(["user_id", "at"])["text"]
    for event in range(0, len(log), 7):
        user, at = log.user_ids[log.user()[event]], pd.Timestamp(log.at_s[event], unit="s")
        text = table[user, at]
        row = int(log.said.row[event])
        assert (row < 0) == pd.isna(text)
        if row >= 0:
            np.testing.assert_allclose(log.said.vectors[row], ENCODER.encode([text], "query")[0], atol=1e-6)
    assert len(log.said.vectors) == len(WORDS)
    some = log.select(log.at_s > np.median(log.at_s))
    np.testing.assert_array_equal(some.said.row, log.said.row[log.at_s > np.median(log.at_s)])


def test_nothing_said_is_nothing() -> None:
    silent = Said()
    assert silent.of(np.array([3, 5])).tolist() == [-1, -1]
    assert silent.take(np.array([True, False])) is silent


def test_numpy_computes_what_the_network_computes() -> None:
    log = leave_one_out(talking_shop(), stage="valid").train
    config = SMALL.model_copy(update={"said": True, "words": 4})
    items = pd.DataFrame({"item_id": log.item_ids, "title": [f"t{n % 3} x" for n in range(log.n_items)]})
    features = item_features(TrainingSet(log, items, None, 0.0), config, rng=np.random.default_rng(0))
    network = new_network(log, config, features, seed=3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    model = exported(network, epochs=1)
    events = request_events(everybody(log), last=6, together=False)
    with torch.no_grad():
        tokens = network.items()[torch.from_numpy(events.item.astype(np.int64))]
        learned = network(events, tokens)[0].numpy()
    np.testing.assert_allclose(model.states(events)[events.valid], learned, rtol=1e-3, atol=1e-4)
    mute = replace(log, said=Said())
    quiet = request_events(everybody(mute), last=6, together=False)
    assert np.abs(model.states(quiet)[events.valid] - learned).max() > 0.01
    deaf = replace(model, said=np.zeros((0, 8), np.float32))
    np.testing.assert_array_equal(deaf.states(events), model.states(quiet))  # what is not known is nothing, not noise


def test_words_that_decide_are_learned_from() -> None:
    shop = talking_shop()
    split = leave_one_out(shop, stage="valid")
    train = TrainingSet(split.train, shop.table("items"), None, split.until_s)
    right = np.array([split.truth.take(np.array([n])).items[0] for n in range(len(split.requests))])

    def hits(said: bool) -> float:
        config = SMALL.model_copy(update={"said": said, "dropout": 0.0, "epochs": 10, "batch": 16, "ema": 0.9})
        model = fit_taste(train, config, rng=np.random.default_rng(0))
        assert bool(len(model.said)) == said
        return float((model.scores(split.requests).argmax(axis=1) == right).mean())

    assert hits(True) > hits(False) + 0.3


def test_kept_and_opened_again_also_what_was_kept_before_words_were_read() -> None:
    shop = talking_shop(20)
    split = leave_one_out(shop, stage="valid")
    train = TrainingSet(split.train, shop.table("items"), None, split.until_s)
    for said in (True, False):
        model = fit_taste(train, SMALL.model_copy(update={"said": said, "epochs": 1}), rng=np.random.default_rng(0))
        arrays, meta = taste_state(model)
        assert ("said" in arrays) == said
        again = taste_from_state(arrays, meta)
        np.testing.assert_array_equal(again.scores(split.requests), model.scores(split.requests))


def test_a_training_is_named_by_its_words_only_if_it_reads_them() -> None:
    shop = talking_shop(20)
    split = leave_one_out(shop, stage="valid")
    train = TrainingSet(split.train, shop.table("items"), None, split.until_s)
    mute = replace(train, log=replace(train.log, said=Said()))
    reads, deaf = (SMALL.model_copy(update={"said": said}) for said in (True, False))
    assert training_digest(train, deaf, 0) == training_digest(mute, deaf, 0)
    assert training_digest(train, reads, 0) != training_digest(mute, reads, 0)


def test_a_workspace_does_not_read_words(tmp_path) -> None:
    settings = Settings.model_validate({"taste": {"said": True}})
    with pytest.raises(ConfigError, match=r"taste\.said must be false for a workspace"):
        train_workspace_taste(tmp_path, tmp_path / "w", settings, minutes=1.0, clock=lambda: 0.0)
