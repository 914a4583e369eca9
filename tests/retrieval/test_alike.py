"""Popularity among shoppers alike: lifts by hand, a planted difference found, chance left alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.log import Requests
from tasteprint.profiling.shopper.shrinkage import ratio_strength
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.alike import AlikeModel, fit_alike
from tasteprint.retrieval.sources.popularity import PopularModel, fit_popular
from tasteprint.retrieval.state import source_from_state, source_state

N_USERS, N_ITEMS = 300, 20


@pytest.fixture(scope="module")
def planted(make_log, make_items) -> TrainingSet:
    """Older shoppers prefer the first ten items, younger the rest; eyes tell nothing; repeats must not count."""
    rng = np.random.default_rng(0)
    old = rng.random(N_USERS) < 0.4
    rows = []
    for user in range(N_USERS):
        odds = np.where((np.arange(N_ITEMS) < 10) == old[user], 3.0, 1.0)
        chosen = rng.choice(N_ITEMS, size=8, p=odds / odds.sum())
        rows += [(f"u{user:03d}", int(item), float(rng.integers(0, 90))) for item in chosen]
    users = pd.DataFrame(
        {
            "user_id": [f"u{n:03d}" for n in range(N_USERS)],
            "age": np.where(old, "60+", "18-25"),
            "eyes": rng.choice(["blue", "brown"], N_USERS),
            "name": [f"name {n}" for n in range(N_USERS)],
            "blank": None,
        }
    )
    users.loc[:20, "age"] = None
    items = make_items([f"item {n}" for n in range(N_ITEMS)])
    return TrainingSet(make_log(rows, N_ITEMS), items, None, 2e9, users=users)


def asked(train: TrainingSet, *attributes: dict[str, str]) -> Requests:
    nothing = np.zeros(len(attributes), dtype=np.int64)
    return Requests(train.log, nothing, nothing, np.full(len(attributes), 2e9), attributes=attributes)


def test_a_planted_difference_is_found_and_noise_is_not(planted: TrainingSet) -> None:
    model = fit_alike(planted, fit_popular(planted))
    assert isinstance(model, AlikeModel)
    assert list(model.log_lift) == ["age"]  # not the eyes, nor a name of one's own
    old, young, plain = model.scores(asked(planted, {"age": "60+"}, {"age": "18-25"}, {}))
    np.testing.assert_array_equal(plain, model.popular.item_score)
    assert (old[:10] / plain[:10]).mean() > 1.2 > 0.9 > (old[10:] / plain[10:]).mean()
    assert (young[10:] / plain[10:]).mean() > 1.1 > 0.95 > (young[:10] / plain[:10]).mean()


def test_lifts_by_hand(planted: TrainingSet) -> None:
    log, table = planted.log, planted.users.set_index("user_id")["age"]
    buyers = {(str(log.user_ids[u]), int(i)) for u, i in zip(log.user(), log.item, strict=True)}
    observed = np.zeros((2, N_ITEMS))
    for user, item in buyers:
        if isinstance(table[user], str):
            observed[int(table[user] == "60+"), item] += 1
    share = observed.sum(axis=1, keepdims=True) / observed.sum()
    expected = share * observed.sum(axis=0)
    strength = ratio_strength(observed.ravel(), expected.ravel(), chance=(expected * (1 - share)).ravel())
    model = fit_alike(planted, fit_popular(planted))
    by_hand = (observed + strength) / (expected + strength)
    np.testing.assert_allclose(np.exp(model.log_lift["age"]["60+"]), by_hand[1], rtol=1e-5)
    np.testing.assert_allclose(np.exp(model.log_lift["age"]["18-25"]), by_hand[0], rtol=1e-5)


def test_lifts_of_several_attributes_multiply_and_unknown_ones_change_nothing(planted: TrainingSet) -> None:
    popular = PopularModel(np.array([4.0, 1.0], dtype=np.float32))
    lift = {"age": {"60+": np.log([2.0, 1.0])}, "town": {"York": np.log([0.5, 3.0])}}
    model = AlikeModel(popular, {k: {v: a.astype(np.float32) for v, a in d.items()} for k, d in lift.items()})
    log = planted.log
    nothing = np.zeros(3, dtype=np.int64)
    known = ({"age": "60+", "town": "York"}, {"age": "7", "shoe": "9"}, {"town": "York"})
    found = model.scores(Requests(log, nothing, nothing, np.full(3, 2e9), attributes=known))
    np.testing.assert_allclose(found, [[4.0, 3.0], [4.0, 1.0], [2.0, 3.0]], rtol=1e-6)


def test_state_round_trip(planted: TrainingSet) -> None:
    lift = {"town": {"York": [0.5, 0.1], "Bath": [0.2, 0.3], "Hull": [0.0, 0.4]}, "age": {"60+": [0.1, 0.2]}}
    named = {k: {v: np.array(a, dtype=np.float32) for v, a in values.items()} for k, values in lift.items()}
    model = AlikeModel(PopularModel(np.array([4.0, 1.0], dtype=np.float32)), named)
    arrays, meta = source_state(model)
    again = source_from_state(arrays, json.loads(json.dumps(meta, sort_keys=True)))
    assert isinstance(again, AlikeModel)
    assert {k: list(v) for k, v in again.log_lift.items()} == {k: list(v) for k, v in named.items()}
    for known in ({"town": "Hull"}, {"town": "York", "age": "60+"}):
        np.testing.assert_array_equal(again.lift(known), model.lift(known))


def test_plain_popularity_where_attributes_may_not_be_used_or_are_not_there(planted: TrainingSet) -> None:
    popular = fit_popular(planted)
    assert fit_alike(planted, popular, attributes=()) is popular
    assert fit_alike(planted, popular, attributes=("eyes", "no such column")) is popular
    assert fit_alike(replace(planted, users=None), popular) is popular
    assert isinstance(fit_alike(planted, popular, attributes=("age",)), AlikeModel)
    no_events = planted.log.select(np.zeros(len(planted.log), dtype=bool))
    assert fit_alike(replace(planted, log=no_events), popular) is popular
