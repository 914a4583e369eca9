"""Similar items, complements and audiences against numpy and scipy written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from tasteprint.profiling.blocks import PART_BLOCK
from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ConfigError, UnknownIdError
from tasteprint.profiling.log import Requests
from tasteprint.retrieval.audience import fit_audience
from tasteprint.retrieval.complements import (
    ComplementsConfig,
    complements,
    fit_taken,
    surprise,
)
from tasteprint.retrieval.engine import Engine, make_engine
from tasteprint.retrieval.filters import Filters
from tasteprint.retrieval.recommender import fit_recommender
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.second_stage.stage import TAKEN
from tasteprint.retrieval.similar import similar_items
from tests.taste_stand_in import random_taste

ENCODER = HashEncoder(dim=24, seed=0)
OWN = {"taste_long": 0.7, "taste_short": 0.4, "taste_learned": 0.6, "behaviour": 0.5}
WEIGHTS = {"meaning": 1.0, "popular": 0.2, **OWN}


def _engine(train: TrainingSet, *, taste: bool = True) -> Engine:
    train = replace(train, vectors=ENCODER.encode(train.items["title"].tolist(), "item"))
    model = random_taste(train.log.n_items) if taste else None
    return make_engine(
        fit_recommender(train, weights=WEIGHTS, encoder=ENCODER, taste_model=model), train.items, train.log
    )


@pytest.fixture(scope="module")
def engine(random_shop) -> Engine:
    return _engine(random_shop(150, 30, 900))


def _end(engine: Engine) -> float:
    return float(engine.log.at_s.max()) + 60.0


# --- similar items -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, {"taste": 1.0}, {"meaning": 0.3, "taste": 2.0}])
def test_similar_items_are_those_of_a_plain_product(engine, weights):
    blocks, chosen = engine.recommender.space.items, weights or {"meaning": 1.0}
    for row in (0, 7, 149):
        score = sum(w * (blocks[n].astype(np.float64) @ blocks[n][row]) for n, w in chosen.items())
        score[row] = -np.inf
        found = similar_items(engine, f"i{row:05d}", k=12, weights=weights)
        assert len(found) == 12
        rows = [engine.facts.row_of[item.item_id] for item in found]
        np.testing.assert_allclose(score[rows], np.sort(score)[::-1][:12], atol=2e-5)
        for item, other in zip(found, rows, strict=True):
            assert item.score == pytest.approx(score[other], abs=2e-5)
            assert item.score == pytest.approx(sum(reason.amount for reason in item.reasons))
        assert [item.rank for item in found] == list(range(1, 13))


def test_similar_items_obey_filters_and_never_name_the_item(engine):
    row = int(np.flatnonzero(engine.facts.brand == "brand1")[0])
    item_id = f"i{row:05d}"
    mine = [i for i in np.flatnonzero(engine.facts.brand == "brand1") if i != row]
    found = similar_items(engine, item_id, k=1000, filters=Filters(brand="brand1"))
    assert {engine.facts.row_of[item.item_id] for item in found} == set(mine)
    assert not similar_items(engine, item_id, filters=Filters(brand="nobody"))


def test_items_of_one_text_are_most_alike(make_items, make_log):
    items = make_items(["red lamp", "blue sofa", "red lamp", "red lamp"])
    engine = _engine(TrainingSet(make_log([("u", 0, 1.0)], 4), items, None, 2e9), taste=False)
    found = similar_items(engine, "i00002", k=2)
    assert [item.item_id for item in found] == ["i00000", "i00003"]
    assert found[0].score == pytest.approx(1.0, abs=1e-5)
    assert "red lamp" in found[0].sentence


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k must"),
        ({"weights": {"behaviour": 1.0}}, "meaning and taste"),
        ({"weights": {"meaning": -1.0}}, ">= 0"),
        ({"weights": {"meaning": 0.0}}, "above 0"),
    ],
)
def test_options_of_similar_items_are_checked(engine, options, said):
    with pytest.raises(ConfigError, match=said):
        similar_items(engine, "i00000", **options)
    with pytest.raises(UnknownIdError):
        similar_items(engine, "nothing")


# --- complements ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window_s", [0.0, 3600.0, 5 * 86_400.0])
def test_counts_are_those_of_every_pair_of_events(engine, window_s):
    log, user = engine.log, engine.log.user()
    good = np.flatnonzero(log.weight > 0)
    for row in (0, 3, 50):
        met: dict[int, set[int]] = {}
        for a in good[log.item[good] == row]:
            for b in good:
                if user[a] == user[b] and abs(log.at_s[a] - log.at_s[b]) <= window_s and log.item[b] != row:
                    met.setdefault(int(log.item[b]), set()).add(int(user[a]))
        told = fit_taken(log, window_s=window_s).together(row)
        assert dict(zip(told.rows.tolist(), told.both.tolist(), strict=True)) == {i: len(u) for i, u in met.items()}
        for other, n in zip(told.rows, told.others, strict=True):
            assert n == len(set(user[good[log.item[good] == other]]))
        assert told.own == len(set(user[good[log.item[good] == row]]))
        assert told.shoppers == len(set(user[good]))


@pytest.mark.parametrize(("both", "own", "other", "total"), [(10, 12, 15, 100), (1, 12, 15, 100), (3, 3, 3, 50)])
def test_surprise_is_the_likelihood_ratio_of_scipy(both, own, other, total):
    table = np.array([[both, own - both], [other - both, total - own - other + both]])
    want = chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    found = surprise(np.array([both]), own, np.array([other]), total)[0]
    assert abs(found) == pytest.approx(want, abs=1e-9)
    assert (found > 0) == (both / own > other / total)


@pytest.fixture
def hardware(make_items, make_log) -> Engine:
    items = make_items(["paint brush flat", "paint white", "paint brush round", "hammer", "screw box"])
    rows = []
    for n in range(12):  # brush with paint, and with the other brush; hammers alone
        rows += [(f"u{n:02d}", 0, float(n)), (f"u{n:02d}", 1, float(n)), (f"u{n:02d}", 2, float(n))]
        rows += [(f"v{n:02d}", 3, float(n)), (f"v{n:02d}", 4, float(n) + 30)]
    return _engine(TrainingSet(make_log(rows, 5), items, None, 2e9), taste=False)


def test_complements_go_together_and_are_not_alike(hardware):
    close = hardware.recommender.space.items["meaning"]
    alike, paint = float(close[0] @ close[2]), float(close[0] @ close[1])
    assert paint < alike
    middle = ComplementsConfig(most_alike=(paint + alike) / 2)
    found = complements(hardware, "i00000", config=middle)
    assert [item.item_id for item in found] == ["i00001"]
    said = "12 of 12 shoppers who took paint brush flat took it too (100%; usual 50.0%)."
    assert found[0].sentence == said
    assert found[0].score == pytest.approx(surprise(np.array([12]), 12, np.array([12]), 24)[0])
    everything = complements(hardware, "i00000", config=ComplementsConfig(most_alike=1.0))
    assert [item.item_id for item in everything] == ["i00001", "i00002"]


def test_the_surest_come_first_and_what_meets_by_chance_or_once_is_left_out(make_items, make_log):
    items = make_items(["lamp", "bulb", "shade", "milk", "rope"])
    rows = [(f"u{n:02d}", 0, float(n)) for n in range(10)]  # all of them take the lamp
    rows += [(f"u{n:02d}", 1, float(n)) for n in range(9)]  # nine the bulb with it
    rows += [(f"u{n:02d}", 2, float(n)) for n in range(4)]  # four the shade
    rows += [(f"u{n:02d}", 3, float(n) + (0 if n < 2 else 40)) for n in range(20)]  # everybody milk, two at once
    rows += [("u00", 4, 0.0)]  # one the rope
    rows += [(f"v{n:02d}", 4, float(n)) for n in range(5)]
    engine = _engine(TrainingSet(make_log(rows, 5), items, None, 2e9), taste=False)
    options = ComplementsConfig(most_alike=1.0)
    found = complements(engine, "i00000", config=options)
    assert [item.item_id for item in found] == ["i00001", "i00002"]
    assert found[0].score > found[1].score > 0
    assert [item.rank for item in found] == [1, 2]
    assert complements(engine, "i00000", k=1, config=options) == found[:1]
    once = complements(engine, "i00004", config=options.model_copy(update={"least_together": 1}))
    assert [item.item_id for item in once] == ["i00002"]  # one shopper of six; shoppers at large a little less often
    assert not complements(engine, "i00004", config=options)


def test_a_month_apart_is_not_together(hardware):
    assert complements(hardware, "i00003") == ()
    longer = ComplementsConfig(window_s=40 * 86_400.0, most_alike=1.0)
    assert [item.item_id for item in complements(hardware, "i00003", config=longer)] == ["i00004"]


def test_complements_obey_filters_and_are_checked(hardware):
    options = ComplementsConfig(most_alike=1.0)
    found = complements(hardware, "i00000", filters=Filters(exclude=("i00001",)), config=options)
    assert [item.item_id for item in found] == ["i00002"]
    assert len(complements(hardware, "i00000", k=1, config=options)) == 1
    with pytest.raises(ConfigError, match="k must"):
        complements(hardware, "i00000", k=0)
    with pytest.raises(UnknownIdError):
        complements(hardware, "nothing")


def test_an_item_nobody_took_has_no_complements(make_items, make_log):
    engine = _engine(TrainingSet(make_log([("u", 0, 1.0)], 2), make_items(["a", "b"]), None, 2e9), taste=False)
    assert complements(engine, "i00001") == ()


# --- audiences -----------------------------------------------------------------------------------------------------


def _by_hand(engine: Engine, row: int, now_s: float, weights: dict[str, float]) -> dict[str, float]:
    """Score of every shopper: weighted z-scores of the block parts over the whole catalogue."""
    log, space, told = engine.log, engine.recommender.space, {}
    for user in range(log.n_users):
        part = slice(int(log.user_start[user]), int(log.user_start[user + 1]))
        stop = part.start + int((log.at_s[part] <= now_s).sum())
        if stop == part.start:
            continue
        vectors = space.shoppers(Requests(log, np.array([part.start]), np.array([stop]), np.array([now_s])))
        score = 0.0
        for name, weight in weights.items():
            all_items = space.items[PART_BLOCK[name]].astype(np.float64) @ vectors[name][0]
            sd = all_items.std()
            score += weight * (all_items[row] - all_items.mean()) / sd if sd > 1e-9 else 0.0
        told[str(log.user_ids[user])] = score
    return told


@pytest.mark.parametrize("share_of_time", [1.0, 0.5])
def test_audiences_are_weighted_z_scores_over_the_catalogue(engine, share_of_time):
    first = float(engine.log.at_s.min())
    now_s = first + share_of_time * (_end(engine) - first)
    audience = fit_audience(engine, now_s=now_s, activity=0.0)
    for row in (0, 11):
        want = _by_hand(engine, row, now_s, OWN)
        found = audience.wanting(f"i{row:05d}", k=1000, also_owners=True)
        assert len(found) > 10
        for one in found:
            assert one.score == pytest.approx(want[one.user_id], abs=2e-3)
            assert one.score == pytest.approx(sum(amount for _, amount in one.parts))
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        few = audience.wanting(f"i{row:05d}", k=3, also_owners=True)
        assert [one.user_id for one in few] == [one.user_id for one in found[:3]]


def test_owners_are_left_out_unless_asked_for(engine):
    log, row = engine.log, 0
    owners = {str(log.user_ids[u]) for u in log.user()[(log.item == row) & np.isin(log.kind, TAKEN)]}
    lookers = {str(log.user_ids[u]) for u in log.user()[log.item == row]} - owners
    assert owners
    assert lookers  # who did something with it, and did not take it
    audience = fit_audience(engine, now_s=_end(engine))
    told = {one.user_id for one in audience.wanting("i00000", k=1000)}
    assert not owners & told
    assert lookers <= told
    assert owners <= {one.user_id for one in audience.wanting("i00000", k=1000, also_owners=True)}


def test_only_shoppers_with_an_attribute(engine):
    some = {str(user): {"age": "18-24"} for user in engine.log.user_ids[::3]}
    audience = fit_audience(replace(engine, attributes=some), now_s=_end(engine))
    found = audience.wanting("i00000", k=1000, also_owners=True, attributes={"age": "18-24"})
    assert {one.user_id for one in found} == set(some)
    assert not audience.wanting("i00000", attributes={"age": "90"})


def test_an_audience_of_a_shop_without_a_trained_taste(random_shop):
    engine = _engine(random_shop(), taste=False)
    audience = fit_audience(engine, now_s=_end(engine))
    assert "taste_learned" not in audience.parts
    assert audience.wanting("i00003", k=5, also_owners=True)[0].to_json()["rank"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"now_s": 0.0}, "later time"),
        ({"now_s": 3e9, "weights": {"meaning": 1.0}}, "not a part"),
        ({"now_s": 3e9, "weights": {"behaviour": float("nan")}}, "finite"),
        ({"now_s": 3e9, "weights": {"behaviour": 0.0}}, "must have a weight"),
        ({"now_s": 3e9, "activity": float("inf")}, "activity"),
    ],
)
def test_options_of_an_audience_are_checked(engine, options, said):
    with pytest.raises(ConfigError, match=said):
        fit_audience(engine, **options)


def test_asking_an_audience_is_checked(engine):
    audience = fit_audience(engine, now_s=_end(engine))
    with pytest.raises(ConfigError, match="k must"):
        audience.wanting("i00000", k=0)
    with pytest.raises(UnknownIdError):
        audience.wanting("nothing")


def test_complements_of_many_items_read_the_log_once(engine):
    taken = fit_taken(engine.log, window_s=3600.0)
    for row in (0, 1, 2, 9):
        item_id = f"i{row:05d}"
        assert complements(engine, item_id, taken=taken) == complements(engine, item_id)


def test_a_log_of_nothing_has_no_complements(engine):
    nothing = fit_taken(engine.log.select(np.zeros(len(engine.log), dtype=bool)), window_s=60.0)
    assert complements(engine, "i00000", taken=nothing) == ()


@pytest.mark.parametrize("activity", [3.0, -1.0])
def test_activity_adds_the_same_to_every_item(engine, activity):
    events = np.log1p(np.diff(engine.log.user_start))
    z = dict(zip(engine.log.user_ids.tolist(), (events - events.mean()) / events.std(), strict=True))
    plain = fit_audience(engine, now_s=_end(engine), activity=0.0)
    active = fit_audience(engine, now_s=_end(engine), activity=activity)
    for item_id in ("i00000", "i00042"):
        before = {one.user_id: one.score for one in plain.wanting(item_id, k=1000)}
        after = active.wanting(item_id, k=1000)
        assert {one.user_id for one in after} == set(before)
        for one in after:
            assert one.score - before[one.user_id] == pytest.approx(activity * z[one.user_id], abs=1e-4)
            assert dict(one.parts)["activity"] == pytest.approx(activity * z[one.user_id], abs=1e-5)
        assert [one.score for one in after] == sorted((one.score for one in after), reverse=True)
