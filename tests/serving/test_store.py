"""One contract for every store: durable, idempotent, order-free, forgetful, and safe under threads and processes."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tasteprint.profiling.errors import ConfigError
from tasteprint.serving.store import (
    STORES,
    Appended,
    ProfileStore,
    Shown,
    StoreCount,
    StoredEvent,
    StoreError,
    UserState,
    content_key,
    forgotten_mark,
    open_store,
)

Opener = Callable[[], ProfileStore]


@pytest.fixture(params=["sqlite", "redis"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store again and again; empty at first."""
    if request.param == "sqlite":
        address = str(tmp_path / "store.sqlite")
    else:
        address = request.getfixturevalue("redis_address") + "/0"
        import redis

        client = redis.Redis.from_url(address)
        client.flushdb()
        client.close()
    opened: list[ProfileStore] = []

    def open_again() -> ProfileStore:
        opened.append(open_store(address))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


def event(user: str, n: int, **said) -> StoredEvent:
    return StoredEvent(user, said.pop("key", f"k{n}"), 1_700_000_000_000_000 + n, 0, "view", f"i{n:03d}", **said)


def shown(request: str, user: str | None, n: int = 0) -> Shown:
    return Shown(request, user, n, {"query": "tea"}, (("i001", 1, 0.5), ("i002", 2, 1.0)))


def test_the_suite_covers_every_store() -> None:
    assert set(STORES) == {"sqlite", "redis", "rediss"}


def test_removed_events_stay_away(opener: Opener) -> None:
    store = opener()
    said = [event("ann", n, text="secret words") for n in range(4)]
    store.append([*said, event("bob", 1)])
    before = store.state("ann")
    assert store.remove("ann", ["k1", "k3", "never there"]) == 2
    assert store.remove("ann", ["k1"]) == 0
    assert store.remove("nobody", ["k1"]) == 0
    assert store.events("ann") == [said[0], said[2]]
    assert store.state("ann").version > before.version
    assert store.append(said) == Appended(0, 4)  # delivered again: known, and still gone
    assert store.events("ann") == [said[0], said[2]]
    assert store.events("bob") == [event("bob", 1)]
    assert opener().events("ann") == [said[0], said[2]]


def test_every_forgetting_is_counted(opener: Opener) -> None:
    store, other = opener(), opener()
    assert store.forgettings() == 0
    store.append([event("ann", 1)])
    for n in (1, 2):
        store.forget("ann", at_us=5)  # the same shopper at the same time: still another forgetting
        assert (store.forgettings(), other.forgettings()) == (n, n)


def test_what_was_shown_is_kept_for_a_time(opener: Opener) -> None:
    store = opener()
    store.log_shown([shown(f"r{n}", "ann") for n in range(5)], at_us=1_000)
    store.log_shown([shown("late", "ann"), shown("later", None), shown("r1", "ann")], at_us=2_000)
    store.log_shown([shown("ben's", "a b")], at_us=1_500)
    assert store.drop_shown(1_000) == 0
    assert store.drop_shown(1_001) == 5
    assert [s.request_id for s in store.shown("ann")] == ["late"]
    assert store.count().impressions == 3
    store.forget("a b", at_us=0)
    assert store.drop_shown(2_000) == 0  # forgotten answers are in nobody's list
    assert store.drop_shown(10**18) == 2
    assert store.count().impressions == 0
    assert store.shown("ann") == []


def test_a_store_of_the_first_format_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = open_store(str(path))
    store.log_shown([shown("r1", "ann")], at_us=5)
    store.close()
    with closing(sqlite3.connect(path)) as old:
        old.executescript("DROP INDEX shown_logged; ALTER TABLE shown DROP COLUMN logged_us;")
        old.execute("UPDATE about SET value = 1 WHERE name = 'format'")
        old.commit()
    store = open_store(str(path))
    assert store.shown("ann") == [shown("r1", "ann")]
    assert store.drop_shown(shown("r1", "ann").at_us) == 0
    assert store.drop_shown(shown("r1", "ann").at_us + 1) == 1
    store.close()


def test_batches_of_several_callers_at_once(opener: Opener) -> None:
    store = opener()
    first, second = [event("ann", 1), event("bob", 1)], [event("ann", 1), event("ann", 2), event("ann", 2)]
    assert store.append_all([first, [], second]) == [Appended(2, 0), Appended(0, 0), Appended(1, 2)]
    assert store.append_all([]) == []
    assert store.events("ann") == [event("ann", 1), event("ann", 2)]
    before = store.state("ann").version
    assert store.append_all([first, second]) == [Appended(0, 2), Appended(0, 3)]
    assert store.state("ann").version == before  # nothing new, nothing changed


def test_an_empty_store(opener: Opener) -> None:
    store = opener()
    store.ping()
    assert store.count() == StoreCount(0, 0, 0)
    assert (store.events("ann"), list(store.users()), store.shown("ann")) == ([], [], [])
    assert store.state("ann") == UserState(0, 0, False)
    assert store.append([]) == Appended(0, 0)
    store.log_shown([])


def test_every_field_comes_back(opener: Opener) -> None:
    whole = StoredEvent(
        "änn:1", "k", 1_700_000_000_123_457, 3, "review", "i1", "tea?", "Nice ☕\n", 4.5, 2.0, 9.99, "s", 7, "mail",
        "phone", "Köln", 1.25,
    )  # fmt: skip
    bare = StoredEvent("änn:1", "k2", 1, 0, "search")
    store = opener()
    store.append([whole, bare])
    assert store.events("änn:1") == [bare, whole]
    assert opener().events("änn:1") == [bare, whole]


def test_repeated_late_and_shuffled_events_leave_the_same_state(opener: Opener) -> None:
    made = [event(user, n) for user in ("ann", "ben") for n in range(50)]
    sent = made + random.Random(0).choices(made, k=60)
    random.Random(1).shuffle(sent)
    store = opener()
    batches = [store.append(sent[at : at + 13]) for at in range(0, len(sent), 13)]
    assert sum(b.stored for b in batches) == 100
    assert sum(b.repeated for b in batches) == 60
    assert [store.events(user) for user in ("ann", "ben")] == [made[:50], made[50:]]
    assert store.count() == StoreCount(2, 100, 0)
    assert sorted(store.users()) == ["ann", "ben"]
    assert store.state("ann").newest_us == made[49].at_us


def test_the_queries_asked_last_come_first(opener: Opener) -> None:
    store = opener()
    assert store.asked(5) == []
    said = [("ann", "lamp"), ("ben", "red mug"), (None, "tea"), ("ann", None), ("ann", "lamp")]
    for n, (user, query) in enumerate(said):
        asked = {"k": 5} if query is None else {"k": 5, "query": query}
        store.log_shown([Shown(f"r{n}", user, 7, asked, (("i1", 1, 1.0),))], at_us=100 + n)
    assert store.asked(10) == ["lamp", "red mug", "lamp"]
    assert store.asked(1) == ["lamp"]
    store.forget("ann", at_us=200)
    assert store.asked(10) == ["red mug"]
    store.close()


def test_the_latest_shoppers_come_first(opener: Opener) -> None:
    store = opener()
    assert store.latest(3) == []
    store.append([event("ann", 5), event("ben", 9), event("cid", 7), event("dee", 7)])
    assert (store.latest(10), store.latest(2), store.latest(0)) == (["ben", "cid", "dee", "ann"], ["ben", "cid"], [])
    store.append([event("ann", 30), event("cid", 1)])
    assert store.latest(3) == ["ann", "ben", "cid"]
    store.forget("ben", at_us=9)
    assert store.latest(10) == ["ann", "cid", "dee"]


def test_the_first_of_a_key_wins(opener: Opener) -> None:
    store = opener()
    assert store.append([event("ann", 1, key="k"), event("ann", 2, key="k"), event("ben", 3, key="k")]) == Appended(
        2, 1
    )
    assert [e.item_id for e in store.events("ann")] == ["i001"]


def test_the_version_rises_with_changes_alone(opener: Opener) -> None:
    store, other = opener(), opener()
    store.append([event("ann", 5)])
    first = other.state("ann").version
    store.append([event("ann", 5), event("ben", 1)])
    assert other.state("ann").version == first > 0
    other.append([event("ann", 4)])
    second = store.state("ann")
    assert (second.version > first, second.newest_us) == (True, event("ann", 5).at_us)
    store.forget("ann", at_us=9)
    store.append([event("ann", 5)])
    assert other.state("ann").version > second.version


def test_forgetting(opener: Opener) -> None:
    store = opener()
    store.append([event("ann", n) for n in range(3)] + [event("ben", 1)])
    store.log_shown([shown("r1", "ann"), shown("r2", "ben"), shown("r3", None)])
    assert store.count() == StoreCount(2, 4, 3)
    receipt = store.forget("ann", at_us=9)
    assert (receipt.events, receipt.impressions) == (3, 1)
    assert (store.events("ann"), store.shown("ann"), list(store.users())) == ([], [], ["ben"])
    assert store.state("ann") == UserState(0, 0, True)
    assert store.state("ben").forgotten is False
    assert store.count() == StoreCount(1, 1, 2)
    again = store.forget("ann", at_us=10)
    assert (again.events, again.impressions) == (0, 0)
    assert store.append([event("ann", 1), event("ben", 2)], skip_forgotten=True) == Appended(1, 0, 1)
    assert store.append([event("ann", 1)]) == Appended(1, 0)


def test_what_was_shown(opener: Opener) -> None:
    store = opener()
    first, second = shown("b", "ann", 1), shown("a", "ann", 2)
    store.log_shown([second, shown("c", None)])
    store.log_shown([first, second])
    assert opener().shown("ann") == [first, second]
    assert store.count().impressions == 3


def test_many_threads_and_two_openings(opener: Opener) -> None:
    stores = [opener(), opener()]

    def write(worker: int) -> None:
        for n in range(10):
            stores[worker % 2].append([event("ann", worker * 100 + n), event(f"u{worker}", n)])
            assert stores[(worker + 1) % 2].state("ann").version

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert len(stores[0].events("ann")) == 60
    assert stores[1].count() == StoreCount(7, 120, 0)


WRITER = """
import sys
from tasteprint.serving.store import StoredEvent, open_store
store = open_store(sys.argv[1])
for n in range(100_000):
    store.append([StoredEvent("ann", f"{n}:{m}", n, m, "view", "i1") for m in range(3)])
    print(n, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 23])
def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(acknowledged: int, tmp_path: Path) -> None:
    path = str(tmp_path / "store.sqlite")
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(acknowledged)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
    store = open_store(path)
    kept = {e.key for e in store.events("ann")}
    assert {f"{int(n)}:{m}" for n in said for m in range(3)} <= kept
    assert len(kept) % 3 == 0  # a batch is whole or not at all
    assert store.append([StoredEvent("ann", "after", 0, 0, "view")]) == Appended(1, 0)
    store.close()


@pytest.mark.slow
def test_fifty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, rng = str(tmp_path / "store.sqlite"), random.Random(0)
    told = 0
    for life in range(50):
        code = WRITER.replace('f"{n}:{m}"', f'f"{life}:{{n}}:{{m}}"')
        with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline()]
            time.sleep(rng.uniform(0, 0.05))
            writer.kill()
            said += [line for line in writer.stdout.readlines() if line.endswith("\n")]
        store = open_store(path)
        kept = {e.key for e in store.events("ann") if e.key.startswith(f"{life}:")}
        assert {f"{life}:{int(n)}:{m}" for n in said for m in range(3)} <= kept
        told += 3 * len(said)
        assert store.count().events >= told
        store.close()


def test_forgotten_bytes_are_gone_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = open_store(str(path))
    for n in range(40):
        batch = [event(user, n * 10 + m, text=f"secret-of-{user}") for m in range(10) for user in ("zoraya", "ben")]
        store.append(batch)
        store.log_shown([shown(f"r{n}", "zoraya"), shown(f"s{n}", "ben")])
    assert b"zoraya" in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    receipt = store.forget("zoraya", at_us=1)
    assert receipt.purged
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"zoraya" not in left
    assert b"secret-of-ben" in left
    store.close()


def test_full_and_read_only_disks_are_errors(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.sqlite"))
    store.append([event("ann", 1)])
    store._writer.execute("PRAGMA max_page_count = 12")  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="room"):
        store.append([event("ann", n, text="x" * 1000) for n in range(2, 200)])
    assert store.append([event("ann", 1)]) == Appended(0, 1)
    store._writer.execute("PRAGMA max_page_count = 100000")  # type: ignore[attr-defined]
    assert store.append([event("ann", 2)]) == Appended(1, 0)
    store._writer.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="readonly"):
        store.append([event("ann", 3)])
    assert len(store.events("ann")) == 2
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append([event("ann", 4)])


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sqlite://"):
        open_store("mysql://somewhere")
    (tmp_path / "noise").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_store(str(tmp_path / "noise"))
    pytest.importorskip("redis")
    with pytest.raises(StoreError, match="cannot reach"):
        open_store("redis://127.0.0.1:1/0")


def test_a_redis_that_does_not_sync_is_refused(redis_address: str) -> None:
    import redis

    client = redis.Redis.from_url(redis_address)
    client.config_set("appendfsync", "everysec")
    try:
        with pytest.raises(StoreError, match="appendfsync everysec"):
            open_store(redis_address + "/0")
        open_store(redis_address + "/0?durable=no").close()
    finally:
        client.config_set("appendfsync", "always")
        client.close()


def test_keys_and_marks() -> None:
    one = event("ann", 1)
    assert content_key(one) == content_key(event("ann", 1, key="other"))
    assert content_key(one) != content_key(event("ben", 1))
    assert forgotten_mark("ann", b"salt") != forgotten_mark("ann", b"pepper")


def read_until_closed(store: ProfileStore) -> str:
    try:
        while True:
            store.count()
    except StoreError as error:
        return str(error)


def test_a_store_is_closed_after_whoever_is_reading(tmp_path: Path) -> None:
    """SQLite crashes the process where a connection is closed under a reader."""
    for turn in range(10):
        store = open_store(str(tmp_path / f"{turn}.sqlite"))
        with ThreadPoolExecutor(3) as pool:
            told = [pool.submit(read_until_closed, store) for _ in range(3)]
            time.sleep(0.01)
            store.close()
        assert all("was closed" in said.result() for said in told)
