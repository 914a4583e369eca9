"""Live histories equal the log that tables give; loading is repeatable; what is wrong is found."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasteprint.profiling.log import EventLog, event_log
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.engine import one_user
from tasteprint.serving.bulk import load_events, stored_events, verify_store
from tasteprint.serving.histories import Catalogue, LiveHistories, events_table, user_log
from tasteprint.serving.store import Appended, ProfileStore, StoredEvent, open_store

SHOP = tiny_shop()
IDS = SHOP.items["item_id"].tolist()
CATALOGUE = Catalogue(np.array(IDS, dtype=object), {i: row for row, i in enumerate(IDS)}, "1-5")
VECTORS = np.random.default_rng(0).normal(size=(len(IDS), 16)).astype(np.float32)
COLUMNS = ("item", "at_s", "kind", "weight", "quantity", "price")


@pytest.fixture
def store(tmp_path: Path):
    opened = open_store(str(tmp_path / "store.sqlite"))
    yield opened
    opened.close()


def same(live: EventLog, other: EventLog) -> bool:
    alike = all(np.array_equal(getattr(live, n), getattr(other, n), equal_nan=True) for n in COLUMNS)
    return alike and all(getattr(live, n).dtype == getattr(other, n).dtype for n in COLUMNS)


def test_live_histories_equal_the_log_of_the_whole_shop(store: ProfileStore) -> None:
    assert load_events(store, SHOP.events) == Appended(len(SHOP.events), 0)
    log = event_log(SHOP.events, IDS, rating_scale="1-5")
    live = LiveHistories(store)
    for row, user in enumerate(log.user_ids):
        assert same(live.of(user, CATALOGUE)[1], one_user(log, row))
    assert (log.weight < 0).any()  # bad reviews are among them


def test_loading_again_adds_nothing_and_brings_nobody_back(store: ProfileStore) -> None:
    load_events(store, SHOP.events)
    user = next(store.users())
    own = int((SHOP.events["user_id"] == user).sum())
    store.forget(user, at_us=1)
    again = load_events(store, SHOP.events)
    assert again == Appended(0, len(SHOP.events) - own, own)
    assert store.events(user) == []


def test_tables_come_back_as_they_were(store: ProfileStore) -> None:
    import pandas as pd

    user = SHOP.events["user_id"].iloc[0]
    mine = SHOP.events[SHOP.events["user_id"] == user].sort_values(["at", "seq"]).reset_index(drop=True)
    load_events(store, mine.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(events_table(store.events(user)), mine)
    assert list(events_table([]).columns) == list(mine.columns)


def test_an_event_is_in_the_next_history(store: ProfileStore) -> None:
    live = LiveHistories(store, size=2)
    assert len(live.of("ann", CATALOGUE)[1]) == 0
    for n in range(3):
        store.append([StoredEvent("ann", str(n), n, 0, "view", IDS[n])])
        state, log = live.of("ann", CATALOGUE)
        assert log.item.tolist() == list(range(n + 1))
        assert state.newest_us == n
    assert live.of("ann", CATALOGUE)[1] is log
    other = replace(CATALOGUE)
    assert live.of("ann", other)[1] is not log
    for user in ("ben", "cat", "dan"):
        live.of(user, CATALOGUE)
    assert len(live) == 2
    live.drop("dan")
    assert len(live) == 1


def test_who_was_forgotten_elsewhere_is_let_go(store: ProfileStore) -> None:
    store.append([StoredEvent("ann", "k", 1, 0, "view"), StoredEvent("ben", "k", 1, 0, "view")])
    live = LiveHistories(store)
    live.follow()
    for user in ("ann", "ben"):
        live.of(user, CATALOGUE)
    live.follow()
    assert len(live) == 2
    store.forget("ann", at_us=0)  # by another process, as far as these histories know
    live.follow()
    assert len(live) == 0
    assert len(live.of("ann", CATALOGUE)[1]) == 0


def test_what_a_log_leaves_out() -> None:
    events = [
        StoredEvent("ann", "a", 1, 0, "view", "not sold any more"),
        StoredEvent("ann", "b", 2, 0, "search", None, "tea"),
        StoredEvent("ann", "c", 3, 0, "own", IDS[0]),
        StoredEvent("ann", "d", 4, 0, "purchase", IDS[1], quantity=-1.0),
        StoredEvent("ann", "e", 5, 0, "review", IDS[2], rating=1.0),
    ]
    log = user_log("ann", events, replace(CATALOGUE, untimed_kinds=("own",)))
    assert log.item.tolist() == [1, 2]
    assert log.weight.tolist() == [-1.0, -1.0]


def shuffled(n: int) -> list[StoredEvent]:
    """``n`` deliveries of half as many events, out of order."""
    rng, pick = np.random.default_rng(0), random.Random(0)
    kinds, half = ("view", "purchase", "review", "cart"), n // 2
    made = [
        StoredEvent(
            f"u{rng.integers(n // 100)}", str(k), int(rng.integers(10**15)) // 10**9 * 10**9, int(rng.integers(2)),
            kinds[k % 4], IDS[rng.integers(len(IDS))], rating=float(rng.integers(1, 6)) if k % 4 == 2 else None,
        )
        for k in range(half)
    ]  # fmt: skip
    sent = made + pick.choices(made, k=n - half)
    pick.shuffle(sent)
    return sent


@pytest.mark.parametrize("n", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_live_state_equals_a_rebuild_after_shuffled_repeated_late_events(n: int, store: ProfileStore) -> None:
    sent = shuffled(n)
    for at in range(0, n, 500):
        store.append(sent[at : at + 500])
    found = verify_store(store, CATALOGUE, VECTORS, half_life_s=30 * 86_400.0)
    assert found.equal
    assert (found.users, found.events) == (len({e.user_id for e in sent}), n // 2)
    # An oracle that shares no code with either: plain sums over the distinct events.
    user = sent[0].user_id
    mine = list({e.key: e for e in sent if e.user_id == user}.values())
    assert store.events(user) == sorted(mine, key=lambda e: (e.at_us, e.seq, e.key))


def test_a_difference_is_found(store: ProfileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(shuffled(400))
    from tasteprint.serving import bulk

    honest = bulk.user_log
    monkeypatch.setattr(bulk, "user_log", lambda user, events, c: honest(user, events[:-1], c))
    found = verify_store(store, CATALOGUE, VECTORS, half_life_s=86_400.0)
    assert not found.equal
    assert found.wrong


def test_stored_events_of_a_shop_have_their_own_keys() -> None:
    made = list(stored_events(SHOP.events))
    assert len({(e.user_id, e.key) for e in made}) == len(made)
    assert {type(e.position) for e in made} <= {int, type(None)}
