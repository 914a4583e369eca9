"""Batches of requests equal the one-by-one construction, on made-up and on real logs."""

import json

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.align import log_column, log_order
from tasteprint.profiling.log import EventLog, Requests, event_log
from tasteprint.profiling.shopper.interest import advance, forget, from_events, merge, no_interest, observe
from tasteprint.profiling.shopper.interest_batch import event_weights, interests
from tasteprint.profiling.shopper.interest_set import UNTIMED, InterestConfig, interest_set, merge_sets

DAY = 86_400.0


def random_log(rng, n_users=7, n_items=11, n_events=120) -> EventLog:
    user = np.sort(rng.integers(0, n_users, n_events))
    at_s = rng.integers(0, 400, n_events) * DAY
    order = np.lexsort((at_s, user))
    counts = np.bincount(user, minlength=n_users)
    return EventLog(
        user_ids=np.asarray([f"u{k}" for k in range(n_users)], dtype=object),
        item_ids=np.asarray([f"i{k}" for k in range(n_items)], dtype=object),
        user_start=np.concatenate([[0], np.cumsum(counts)]),
        item=rng.integers(0, n_items, n_events).astype(np.int32),
        at_s=at_s[order],
        kind=np.full(n_events, 4, dtype=np.int8),
        weight=rng.uniform(-1, 1, n_events).astype(np.float32),
        quantity=rng.choice([np.nan, 1.0, -2.0, 0.0], n_events).astype(np.float32),
        price=np.full(n_events, np.nan, dtype=np.float32),
    )


def rolling(log: EventLog, rng, n: int) -> Requests:
    """Questions at random points of random shoppers' histories, empty ones among them."""
    user = rng.integers(0, log.n_users, n)
    start = log.user_start[user]
    stop = start + np.floor(rng.uniform(0, 1, n) * (log.user_start[user + 1] - start + 1)).astype(np.int64)
    newest = np.where(stop > start, log.at_s[np.maximum(stop - 1, 0)], 0.0)
    return Requests(log, start, stop, newest + rng.choice([0.0, 3 * DAY, 4000 * DAY], n))


def one_by_one(requests: Requests, vectors, half_life_s, row):
    part = slice(requests.start[row], requests.stop[row])
    state = no_interest(vectors.shape[1], half_life_s)
    weights = event_weights(requests.log)
    for item, weight, at_s in zip(requests.log.item[part], weights[part], requests.log.at_s[part], strict=True):
        state = observe(state, vectors[item], weight, at_s)
    return advance(state, requests.now_s[row])


@pytest.mark.parametrize("half_life_s", [DAY / 3, 50 * DAY, np.inf])
def test_batch_equals_one_by_one(half_life_s):
    rng = np.random.default_rng(0)
    log = random_log(rng)
    vectors = rng.normal(size=(log.n_items, 5)).astype(np.float32)
    requests = rolling(log, rng, 60)
    totals, weights = interests(requests, vectors, half_life_s)
    for row in range(len(requests)):
        alone = one_by_one(requests, vectors, half_life_s, row)
        np.testing.assert_allclose(totals[row], alone.total, atol=1e-9)
        assert weights[row] == pytest.approx(alone.weight, abs=1e-9)


def test_empty_batches_and_empty_logs():
    log = random_log(np.random.default_rng(2), n_events=0)
    none = np.zeros(0, dtype=np.int64)
    totals, weights = interests(Requests(log, none, none, np.zeros(0)), np.ones((log.n_items, 3)), DAY)
    assert totals.shape == (0, 3)
    assert weights.shape == (0,)
    one = np.zeros(2, dtype=np.int64)
    totals, weights = interests(Requests(log, one, one, np.zeros(2)), np.ones((log.n_items, 3)), DAY)
    assert totals.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert weights.tolist() == [0, 0]


def test_returns_count_against_and_voids_count_nothing():
    log = random_log(np.random.default_rng(3))
    weights = event_weights(log)
    assert (weights[log.quantity < 0] <= 0).all()
    assert (weights[log.quantity == 0] == 0).all()
    unknown = np.isnan(log.quantity)
    np.testing.assert_array_equal(weights[unknown], log.weight[unknown])


def test_a_request_before_its_own_history_is_refused():
    rng = np.random.default_rng(4)
    log = random_log(rng)
    late = Requests(log, log.user_start[:1], log.user_start[1:2], np.asarray([-1.0]))
    with pytest.raises(ValueError, match=">= 0"):
        interests(late, np.ones((log.n_items, 2)), DAY)


def test_scenes_merge_to_the_whole_and_untimed_events_never_age():
    rng = np.random.default_rng(5)
    x, w, t = rng.normal(size=(20, 4)), rng.uniform(-1, 1, 20), rng.uniform(0, 900, 20) * DAY
    scenes = rng.choice(np.asarray(["search", "home", "", None], dtype=object), 20).tolist()
    untimed = rng.random(20) < 0.3
    config = InterestConfig()
    split = interest_set(x, w, t, scenes=scenes, untimed=untimed, config=config)
    for horizon, half_life_s in config.horizons.items():
        whole = split.whole(horizon)
        batch = from_events(x[~untimed], w[~untimed], t[~untimed], half_life_s)
        np.testing.assert_allclose(whole.total, batch.total, atol=1e-9)
        assert whole.at_s == batch.at_s
    np.testing.assert_allclose(split.whole(UNTIMED).total, w[untimed] @ x[untimed])
    assert split.scenes == ("anywhere", "home", "search")
    halves = [
        interest_set(x[s], w[s], t[s], scenes=scenes[s], untimed=untimed[s], config=config)
        for s in (slice(0, 9), slice(9, 20))
    ]
    joined = merge_sets(*halves)
    assert set(joined.parts) == set(split.parts)
    np.testing.assert_allclose(joined.whole("short").total, split.whole("short").total, atol=1e-9)
    with pytest.raises(ValueError, match="half-lives"):
        merge_sets(split, interest_set(x, w, t, config=InterestConfig(short_half_life_s=1.0)))


def test_config_names_the_unknown_kind():
    with pytest.raises(ValueError, match="buy"):
        InterestConfig(kind_weights={"buy": 1.0})
    assert InterestConfig(kind_weights={"view": 0.3}).kind_weights["purchase"] == 1.0


def test_log_order_follows_the_log():
    rng = np.random.default_rng(6)
    n = 80
    events = pd.DataFrame(
        {
            "user_id": rng.choice(list("abcd"), n),
            "kind": rng.choice(["view", "purchase", "search"], n),
            "at": pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 5, n), unit="D"),
            "seq": rng.permutation(n),
            "item_id": rng.choice(list("xyz"), n),
            "price": rng.uniform(1, 2, n),
            "place": [f"p{k}" for k in range(n)],
        }
    )
    events.loc[events["kind"] == "search", "item_id"] = None
    for kinds in (None, ["purchase"]):
        log = event_log(events, list("xyz"), kinds=kinds)
        np.testing.assert_array_equal(events["price"].to_numpy(np.float32)[log_order(events, kinds=kinds)], log.price)
    assert log_column(events, "place")[0] == events["place"][log_order(events)[0]]
    assert log_column(events, "missing").tolist() == [None] * (events["item_id"].notna().sum())


@pytest.mark.data
@pytest.mark.parametrize("name", ["complete_journey", "online_retail", "steam"])
def test_laws_hold_on_real_logs(shop_path, name):
    """Fold = batch, any order, split = whole, forget = recompute, to 1e-6, on a slice of real shoppers."""
    path, rng = shop_path(name), np.random.default_rng(7)
    meta = json.loads((path / "shop.json").read_text())
    users = pd.read_parquet(path / "events.parquet", columns=["user_id"])["user_id"].unique()
    chosen = sorted(rng.choice(np.asarray(users, dtype=object), 12, replace=False))
    events = pd.read_parquet(path / "events.parquet", filters=[("user_id", "in", chosen)])
    items = pd.read_parquet(path / "items.parquet", columns=["item_id"])["item_id"]
    log = event_log(events, items.tolist(), rating_scale=meta["rating_scale"])
    vectors = rng.normal(size=(log.n_items, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    last = log.at_s.max() + DAY
    requests = Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, last))
    weights = event_weights(log)
    for half_life_s in InterestConfig().horizons.values():
        totals, masses = interests(requests, vectors, half_life_s)
        for user in range(log.n_users):
            rows = np.arange(log.user_start[user], log.user_start[user + 1])
            state = no_interest(8, half_life_s)
            for row in rng.permutation(rows):
                state = observe(state, vectors[log.item[row]], weights[row], log.at_s[row])
            whole = advance(state, last)
            np.testing.assert_allclose(whole.total, totals[user], atol=1e-6)
            assert whole.weight == pytest.approx(masses[user], abs=1e-6)
            gone = rng.random(len(rows)) < 0.5
            parts = [
                from_events(vectors[log.item[r]], weights[r], log.at_s[r], half_life_s)
                for r in (rows[gone], rows[~gone])
            ]
            np.testing.assert_allclose(advance(merge(*parts), last).total, whole.total, atol=1e-6)
            erased = rows[gone]
            left = forget(state, vectors[log.item[erased]], weights[erased], log.at_s[erased])
            np.testing.assert_allclose(advance(left, last).total, advance(parts[1], last).total, atol=1e-6)
