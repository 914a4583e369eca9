"""The event log and requests as slices of it, against plain loops over the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.errors import ShopError
from tasteprint.profiling.log import KIND_WEIGHTS, KINDS, Requests, event_log
from tasteprint.profiling.tables.tiny import tiny_shop


def tiny_log():
    shop = tiny_shop()
    return shop, event_log(shop.events, shop.items["item_id"].tolist(), rating_scale="1-5")


def test_events_are_sorted_by_user_time_and_sequence() -> None:
    shop, log = tiny_log()
    table = shop.events[shop.events["item_id"].notna()]
    expected = sorted(zip(table["user_id"], table["at"], table["seq"], table["item_id"], table["kind"], strict=True))
    got = zip(log.user_ids[log.user()], log.item_ids[log.item], np.array(KINDS)[log.kind], strict=True)
    assert list(got) == [(user, item, kind) for user, _, _, item, kind in expected]
    seconds = [at.timestamp() for _, at, _, _, _ in expected]  # pandas takes naive times as UTC
    np.testing.assert_allclose(log.at_s, seconds, rtol=0, atol=1e-6)


def test_row_order_of_the_table_does_not_matter() -> None:
    shop, log = tiny_log()
    mixed = shop.events.sample(frac=1.0, random_state=3)
    again = event_log(mixed, shop.items["item_id"].tolist(), rating_scale="1-5")
    for name in ("user_start", "item", "at_s", "kind", "weight", "quantity", "price"):
        np.testing.assert_array_equal(getattr(log, name), getattr(again, name))


def test_events_at_one_time_come_by_sequence_number(make_log) -> None:
    rows = [("a", 0, 1, {"seq": 7}), ("a", 1, 1, {"seq": 3}), ("a", 2, 0, {"seq": 9}), ("a", 3, 1, {"seq": 5})]
    assert make_log(rows, 4).item.tolist() == [2, 1, 3, 0]


def test_weights_are_kind_weight_times_rating(make_log) -> None:
    rated = [
        ("a", 0, 0, {"kind": "review", "rating": 5.0}),
        ("a", 1, 1, {"kind": "review", "rating": 4.0}),
        ("a", 2, 2, {"kind": "review", "rating": 3.0}),
        ("a", 3, 3, {"kind": "review", "rating": 1.0}),
        ("a", 4, 4, {"kind": "review"}),
        ("a", 5, 5, {"kind": "view"}),
        ("a", 6, 6, {"kind": "impression"}),
    ]
    log = make_log(rated, 7)
    np.testing.assert_allclose(log.weight, [1.0, 0.5, 0.1, -1.0, 1.0, 0.2, 0.0], atol=1e-7)


def test_thumbs_are_read_as_thumbs() -> None:
    shop, _ = tiny_log()
    events = shop.events[shop.events["kind"] == "review"].head(2).assign(rating=[1.0, 0.0]).reset_index(drop=True)
    log = event_log(events, shop.items["item_id"].tolist(), rating_scale="0/1")
    assert sorted(log.weight.tolist()) == [-KIND_WEIGHTS["review"], KIND_WEIGHTS["review"]]


def test_only_the_kinds_asked_for() -> None:
    shop, _ = tiny_log()
    log = event_log(shop.events, shop.items["item_id"].tolist(), kinds=["purchase"])
    assert len(log) == (shop.events["kind"] == "purchase").sum()
    assert set(log.kind) == {KINDS.index("purchase")}


def test_unknown_items_kinds_and_repeated_ids_are_errors() -> None:
    shop, _ = tiny_log()
    ids = shop.items["item_id"].tolist()
    with pytest.raises(ShopError, match=f"item_id {ids[-1]!r} is not in items"):
        event_log(shop.events.assign(item_id=ids[-1]), ids[:-1])
    with pytest.raises(ShopError, match="kind 'wish' is not one of impression"):
        event_log(shop.events.assign(kind="wish"), ids)
    with pytest.raises(ShopError, match=f"item_id {ids[0]!r} twice"):
        event_log(shop.events, [*ids, ids[0]])


def test_nothing_in_nothing_out() -> None:
    shop, _ = tiny_log()
    log = event_log(shop.events.head(0), shop.items["item_id"].tolist())
    assert (len(log), log.n_users, log.user_start.tolist()) == (0, 0, [0])


def test_select_keeps_users_and_rows() -> None:
    _, log = tiny_log()
    keep = np.random.default_rng(0).random(len(log)) < 0.3
    part = log.select(keep)
    assert part.n_users == log.n_users
    np.testing.assert_array_equal(part.user(), log.user()[keep])
    for user in range(log.n_users):
        span = slice(log.user_start[user], log.user_start[user + 1])
        mine = slice(part.user_start[user], part.user_start[user + 1])
        np.testing.assert_array_equal(part.item[mine], log.item[span][keep[span]])
        np.testing.assert_array_equal(part.at_s[mine], log.at_s[span][keep[span]])


@pytest.mark.parametrize("last", [None, 1, 3])
def test_flattened_events_are_the_slices(last: int | None) -> None:
    _, log = tiny_log()
    rng = np.random.default_rng(1)
    start = log.user_start[:-1]
    stop = start + (rng.random(len(start)) * (np.diff(log.user_start) + 1)).astype(np.int64)
    stop[4] = start[4]  # nobody known
    requests = Requests(log, start, stop, np.full(len(start), 2e9))
    pairs = []
    for r in range(len(start)):
        events = list(range(start[r], stop[r]))
        pairs += [(r, e) for e in (events if last is None else events[-last:])]
    request, event = requests.events(last)
    assert list(zip(request.tolist(), event.tolist(), strict=True)) == pairs


def test_take_reorders_everything_together() -> None:
    _, log = tiny_log()
    texts = tuple(f"query {n}" for n in range(log.n_users))
    requests = Requests(log, log.user_start[:-1], log.user_start[1:], np.arange(log.n_users) * 1.0, texts)
    rows = np.array([5, 2, 2])
    some = requests.take(rows)
    assert some.texts == ("query 5", "query 2", "query 2")
    assert some.now_s.tolist() == [5.0, 2.0, 2.0]
    np.testing.assert_array_equal(some.start, log.user_start[rows])
    assert len(requests.take(slice(3))) == 3


def test_times_keep_their_microseconds() -> None:
    shop, _ = tiny_log()
    events = shop.events[shop.events["item_id"].notna()].head(1).copy()
    events["at"] = pd.Series([pd.Timestamp("2024-03-01 12:00:00.250000")], index=events.index).astype("datetime64[us]")
    assert event_log(events, shop.items["item_id"].tolist()).at_s[0] == pytest.approx(1709294400.25, abs=1e-6)
