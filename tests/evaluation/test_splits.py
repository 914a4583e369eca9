"""Protocols on logs small enough to check by eye, and their invariants on the tiny shop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasteprint.evaluation.gains import grade_gain
from tasteprint.evaluation.search_split import search_split
from tasteprint.evaluation.splits import Split, cut_dates, leave_one_out, time_split
from tasteprint.profiling.errors import ConfigError, ShopError
from tasteprint.profiling.log import KINDS
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.tables.tiny import tiny_shop

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2024-01-01")


def shop_of(*rows: tuple[str, str, float], protocols: dict | None = None, kind: str = "purchase", **meta) -> Shop:
    """A shop from (user, item, day) rows; an item is one letter; ``seq`` follows the row order."""
    events = pd.DataFrame(
        {
            "user_id": [u for u, _, _ in rows],
            "kind": kind,
            "at": [START + d * DAY for _, _, d in rows],
            "seq": range(len(rows)),
            "item_id": [i for _, i, _ in rows],
        }
    )
    ids = list("abcdefgh")
    items = conform("items", pd.DataFrame({"item_id": ids, "title": ids}))
    return Shop("hand", items=items, events=conform("events", events), meta={"protocols": protocols or {}, **meta})


def asked(split: Split) -> dict[tuple[str, int], tuple[str, str]]:
    """(user, request number of that user) -> (history letters, right letters)."""
    log, out, seen = split.requests.log, {}, {}
    user = log.user()
    for r in range(len(split.requests)):
        start, stop = split.requests.start[r], split.requests.stop[r]
        name = log.user_ids[user[stop]]
        number = seen[name] = seen.get(name, -1) + 1
        right = split.truth.items[split.truth.indptr[r] : split.truth.indptr[r + 1]]
        letters = "".join(log.item_ids[log.item[start:stop]]), "".join(log.item_ids[right])
        out[name, number] = letters
    return out


def learned(split: Split) -> dict[str, str]:
    log = split.train
    return {
        u: "".join(log.item_ids[log.item[log.user_start[n] : log.user_start[n + 1]]])
        for n, u in enumerate(log.user_ids)
    }


LOO = shop_of(
    ("u", "a", 0), ("u", "b", 1), ("u", "c", 2), ("u", "d", 2.5), ("v", "e", 0), ("v", "f", 1),
    ("w", "a", 5), ("w", "b", 3), ("w", "c", 4),
)  # fmt: skip


def test_leave_one_out_by_hand() -> None:
    test = leave_one_out(LOO)
    assert asked(test) == {("u", 0): ("abc", "d"), ("w", 0): ("bc", "a")}  # v has too few events, w is ordered by time
    assert learned(test) == {"u": "ab", "v": "ef", "w": "b"}
    assert learned(leave_one_out(LOO, fit_on="train+valid")) == {"u": "abc", "v": "ef", "w": "bc"}
    valid = leave_one_out(LOO, stage="valid")
    assert asked(valid) == {("u", 0): ("ab", "c"), ("w", 0): ("b", "c")}
    assert learned(valid) == learned(test)


def test_leave_one_out_slices() -> None:
    test = leave_one_out(LOO)
    assert test.slices["same_day"].tolist() == [True, False]
    assert test.slices["other_day"].tolist() == [False, True]
    assert test.slices["cold"].tolist() == [True, True]
    assert test.target_slices["repeat"].tolist() == [False, False]  # the answer itself is no earlier contact
    assert test.exclude_seen


def test_min_events_and_kinds_come_from_the_shop() -> None:
    strict = Shop(**{**vars(LOO), "meta": {"protocols": {"leave_one_out": {"min_events": 4}}}})
    assert list(asked(leave_one_out(strict))) == [("u", 0)]
    none = Shop(**{**vars(LOO), "meta": {"protocols": {"leave_one_out": {"min_events": 5}}}})
    with pytest.raises(ShopError, match="5 events"):
        leave_one_out(none)


CUTS = {"time_split": {"valid_from": "2024-01-05T00:00:00Z", "test_from": "2024-01-09T00:00:00Z"}}
TIMED = shop_of(
    ("u", "a", 0), ("u", "b", 5), ("u", "a", 8), ("u", "c", 8), ("u", "a", 9), ("u", "d", 9), ("u", "d", 9),
    ("v", "e", 9), ("v", "f", 8), ("w", "a", 1), ("w", "b", 6),
    protocols=CUTS,
)  # fmt: skip


def test_rolling_time_split_by_hand() -> None:
    test = time_split(TIMED)
    assert asked(test) == {
        ("u", 0): ("ab", "ac"),  # a basket is one request, its items in no order
        ("u", 1): ("abac", "ad"),  # test-period baskets become history; a repeated line counts once
        ("v", 0): ("", "f"),
        ("v", 1): ("f", "e"),
    }
    assert learned(test) == {"u": "ab", "v": "", "w": "ab"}
    assert learned(time_split(TIMED, fit_on="train")) == {"u": "a", "v": "", "w": "a"}
    assert not test.exclude_seen or test.settings["repeat_share"] < 0.01
    repeat = dict(
        zip(zip(test.truth.request(), test.truth.items, strict=True), test.target_slices["repeat"], strict=True)
    )
    assert [bool(repeat[0, 0]), bool(repeat[0, 2]), bool(repeat[1, 0]), bool(repeat[1, 3])] == [
        True,
        False,
        True,
        False,
    ]
    assert test.slices["no_history"].tolist() == [False, False, True, False]
    assert test.cluster.tolist() == [0, 0, 1, 1]


def test_valid_stage_of_time_split() -> None:
    valid = time_split(TIMED, stage="valid")
    assert asked(valid) == {("u", 0): ("a", "b"), ("w", 0): ("a", "b")}
    assert learned(valid) == {"u": "a", "v": "", "w": "a"}
    with pytest.raises(ConfigError, match="valid stage"):
        time_split(TIMED, stage="valid", fit_on="train+valid")


def test_period_window_by_hand() -> None:
    test = time_split(TIMED, window="period")
    assert asked(test) == {("u", 0): ("ab", "acd"), ("v", 0): ("", "ef")}
    assert set(test.requests.now_s) == {pd.Timestamp("2024-01-09").timestamp()}


def test_relative_clocks_cannot_be_cut() -> None:
    with pytest.raises(ShopError, match="leave_one_out"):
        time_split(Shop(**{**vars(TIMED), "meta": {"absolute_time": False}}))


def test_dates_fall_back_to_quantiles() -> None:
    at_s = np.arange(100) * 86_400.0 + 3_600
    assert cut_dates(at_s, {}) == (79 * 86_400.0, 89 * 86_400.0)
    with pytest.raises(ShopError, match="valid_from"):
        cut_dates(at_s, {"valid_from": "1990-01-01", "test_from": "1991-01-01"})
    with pytest.raises(ShopError, match="yesterday-ish"):
        cut_dates(at_s, {"valid_from": "yesterday-ish"})


def kinds_of(shop: Shop, **options) -> set[str]:
    meta = {**shop.meta, "untimed_kinds": ["own"], "protocols": {"time_split": options}}
    log = time_split(Shop(**{**vars(shop), "meta": meta})).requests.log
    return {KINDS[k] for k in np.unique(log.kind)}


def test_which_kinds_take_part() -> None:
    shop = tiny_shop()
    assert kinds_of(shop) == {"purchase"}
    assert kinds_of(shop, kinds=["review"]) == {"review"}
    assert kinds_of(shop, kinds=["purchase"], history_kinds=["view"]) == {"purchase", "view"}
    unbought = Shop(**{**vars(shop), "events": shop.events[shop.events["kind"] != "purchase"]})
    assert kinds_of(unbought) == {"click", "view", "cart", "review"}  # no impressions, nothing untimed
    with pytest.raises(ShopError, match="own"):
        kinds_of(shop, kinds=["own"])


@pytest.mark.parametrize("make", [leave_one_out, time_split])
def test_nothing_of_the_future_is_learned_or_shown(make) -> None:
    split = make(tiny_shop())
    log, requests = split.requests.log, split.requests
    request, event = requests.events()
    assert (log.at_s[event] <= requests.now_s[request]).all()
    assert (log.user()[event] == log.user()[requests.stop[request]]).all()
    assert split.train.at_s.max() < split.until_s
    if make is time_split:
        assert split.until_s <= requests.now_s.min()
        assert (log.at_s[event] < requests.now_s[request]).all()
    assert (split.truth.count() > 0).all()


def test_target_slices_partition_the_targets() -> None:
    split = time_split(tiny_shop())
    for one, other in (("head", "tail"), ("repeat", "new")):
        assert (split.target_slices[one] ^ split.target_slices[other]).all()
    assert (split.slices["known"] == (split.slices["cold"] | split.slices["warm"])).all()


def test_exclude_seen_follows_the_repeats_and_can_be_overruled() -> None:
    bought_again = shop_of(*[("u", "a", d) for d in range(9)], ("u", "b", 20), protocols={})
    assert not leave_one_out(bought_again).exclude_seen
    assert leave_one_out(bought_again, exclude_seen=True).exclude_seen


def test_search_split_by_hand() -> None:
    judgements = pd.DataFrame(
        {
            "query": ["red shoe", "red shoe", "lamp", "hat", "hat"],
            "item_id": ["a", "b", "c", "d", "e"],
            "grade": [3.0, 1.0, 1.0, 2.0, 2.5],
            "split": ["test", "test", "test", "test", "train"],
        }
    )
    meta = {"grade_gain": "2^(grade-1)-1", "protocols": {"search": {"relevant_from": 2.5}}}
    shop = Shop("s", items=LOO.items, judgements=conform("judgements", judgements), meta=meta)
    split = search_split(shop)
    assert split.requests.texts == ("hat", "red shoe")  # lamp has no positive gain
    assert split.truth.gain.tolist() == [1, 3, 0]
    assert split.truth.relevant.tolist() == [False, True, False]
    assert len(split.requests.events()[0]) == 0
    with pytest.raises(ShopError, match="'test': 4"):
        search_split(shop, stage="valid")


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("2^grade-1", [0, 1, 3, 7]),
        ("2 ** (grade - 1) - 1", [0, 0, 1, 3]),
        ("grade", [0, 1, 2, 3]),
        (None, [0, 1, 3, 7]),
    ],
)
def test_gains(formula: str | None, expected: list[float]) -> None:
    assert grade_gain(np.arange(4.0), formula).tolist() == expected


@pytest.mark.parametrize("formula", ["__import__('os')", "2^(grade-1)", "grade*2", "", "2^(grade-1)-1 or 1"])
def test_unknown_gain_is_an_error(formula: str) -> None:
    with pytest.raises(ShopError, match="grade_gain"):
        grade_gain(np.arange(2.0), formula)


@pytest.mark.data
@pytest.mark.parametrize(("name", "queries"), [("home_depot", 1563), ("chorus_icecat", 116)])
def test_query_counts_of_the_real_shops(shop_path, name: str, queries: int) -> None:
    from tasteprint.profiling.tables.shop import read_shop

    assert len(search_split(read_shop(shop_path(name))).requests) == queries
