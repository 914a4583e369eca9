"""The blend baseline by hand and against its parts; repeat purchases removed, on a log small enough to check by eye."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasteprint.evaluation.baselines.blend import BlendConfig, fit_blend
from tasteprint.evaluation.harness import evaluate
from tasteprint.evaluation.methods import METHODS, Resources
from tasteprint.evaluation.new_items import only_new
from tasteprint.evaluation.protocol import Options, make_split
from tasteprint.evaluation.rank import rank
from tasteprint.evaluation.ranking import seen
from tasteprint.evaluation.results import as_json
from tasteprint.evaluation.splits import time_split
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.transitions import fit_transitions

from .test_splits import asked, shop_of

SHOP = tiny_shop()
SPLIT = time_split(SHOP, stage="valid", exclude_seen=False)
TRAIN = TrainingSet(SPLIT.train, SHOP.items, None, SPLIT.until_s)
DATES = {"time_split": {"valid_from": "2024-01-05", "test_from": "2024-01-08"}}
HAND = shop_of(
    ("u", "a", 0), ("u", "b", 1), ("u", "a", 4), ("u", "c", 4), ("u", "c", 5), ("v", "d", 0), ("v", "d", 6),
    ("w", "e", 6), ("v", "f", 7), protocols=DATES,
)  # fmt: skip


def test_without_weight_it_orders_as_own_counts() -> None:
    requests = SPLIT.requests.take(np.arange(30))
    own = fit_blend(TRAIN, BlendConfig(weight=0)).scores(requests)
    log = requests.log
    for row in range(30):
        history = log.item[requests.start[row] : requests.stop[row]][
            log.weight[requests.start[row] : requests.stop[row]] > 0
        ]
        counts = np.bincount(history, minlength=log.n_items)
        np.testing.assert_allclose(own[row], counts / max(counts.max(), 1), rtol=1e-6)


def test_far_above_all_weight_orders_as_transitions() -> None:
    requests = SPLIT.requests.take(np.arange(30))
    follows = fit_transitions(TRAIN).scores(requests)
    blend = fit_blend(TRAIN, BlendConfig(weight=1e6)).scores(requests) / 1e6
    known = follows.max(axis=1) > 0
    np.testing.assert_allclose(blend[known], (follows / follows.max(axis=1, keepdims=True))[known], atol=2e-6)


def test_own_events_fade_by_hand() -> None:
    split = time_split(HAND, stage="valid", exclude_seen=False)
    train = TrainingSet(split.train, HAND.items, None, split.until_s)
    model = fit_blend(train, BlendConfig(half_life_days=2, weight=0))
    row = next(r for r in range(len(split.requests)) if split.requests.stop[r] - split.requests.start[r] == 2)
    np.testing.assert_allclose(model.own(split.requests)[row][:3], [2**-2, 2**-1.5, 0], rtol=1e-6)  # days 0, 1; now 4
    np.testing.assert_allclose(model.scores(split.requests)[row][:2], [2**-0.5, 1], rtol=1e-6)


def test_only_new_by_hand() -> None:
    split = time_split(HAND, stage="valid")
    assert asked(split) == {
        ("u", 0): ("ab", "ac"), ("u", 1): ("abac", "c"), ("v", 0): ("d", "d"), ("w", 0): ("", "e"),
    }  # fmt: skip
    new = only_new(split)
    assert asked(new) == {("u", 0): ("ab", "c"), ("w", 0): ("", "e")}
    assert new.exclude_seen
    assert new.slices["no_history"].tolist() == [False, True]
    assert new.target_slices["new"].tolist() == [True, True]
    assert not new.target_slices["repeat"].any()
    assert new.cluster.tolist() == [split.cluster[0], split.cluster[3]]
    assert "2 of 4 requests" in new.notes[-1]


def test_only_new_never_ranks_nor_asks_for_what_was_had() -> None:
    split = only_new(SPLIT)
    request, item = seen(split.requests, split.seen_kinds)
    had = set(zip(request.tolist(), item.tolist(), strict=True))
    right = set(zip(split.truth.request().tolist(), split.truth.items.tolist(), strict=True))
    assert had
    assert not had & right
    assert (split.truth.count() > 0).all()
    blend = METHODS["own+transitions"].fit(TRAIN, BlendConfig(weight=0), Resources(np.random.default_rng(0)))
    best = rank(blend, split).best
    shown = {(r, int(i)) for r, row in enumerate(best.items) for c, i in enumerate(row) if best.valid[r, c]}
    assert not had & shown


def test_only_new_is_the_same_for_a_sample() -> None:
    whole, rng = only_new(SPLIT), np.random.default_rng(1)
    rows = np.sort(rng.choice(len(SPLIT.requests), 30, replace=False))
    some = only_new(SPLIT.take(rows))
    place = {stop: r for r, stop in enumerate(whole.requests.stop.tolist())}
    for r, stop in enumerate(some.requests.stop.tolist()):
        w = place[stop]
        assert (
            some.truth.items[some.truth.indptr[r] : some.truth.indptr[r + 1]].tolist()
            == whole.truth.items[whole.truth.indptr[w] : whole.truth.indptr[w + 1]].tolist()
        )


def test_the_option_reaches_the_validation_split_and_the_results() -> None:
    options = Options(only_new=True, exclude_seen=None)
    for stage in ("valid", "test"):
        assert make_split(SHOP, "time_split", options, stage=stage).settings["only_new"]
    results = evaluate(SHOP, "time_split", ["own+transitions", "popular"], options=options)
    said = json.loads(json.dumps(as_json(results)))
    assert said["only_new_items"] is True
    assert said["settings"]["only_new"] is True
    assert results.n == len(make_split(SHOP, "time_split", options).requests)


def test_only_new_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(ConfigError, match="only_new: is for leave_one_out and time_split"):
        make_split(SHOP, "search_full", Options(only_new=True))
    with pytest.raises(ConfigError, match="exclude_seen"):
        make_split(SHOP, "time_split", Options(only_new=True, exclude_seen=False))
