"""What was shown reaches the store whatever is killed, is tried again where it is refused, and is kept for a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tasteprint.serving.shown_log import ShownLog
from tasteprint.serving.spool import Spool, take_left
from tasteprint.serving.store import ProfileStore, Shown, StoredEvent, StoreError, open_store

DAY_S = 86_400.0


def shown(n: int, user: str | None = "ann") -> Shown:
    return Shown(f"r{n:05d}", user, n, {"query": "tea", "k": 2}, (("i1", 1, 0.5), ("i2", 2, 1.0)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    made = open_store(str(tmp_path / "store.sqlite"))
    yield made
    made.close()


def log_over(store: ProfileStore, folder: Path | None, *, size: int = 1000, now_s: float = 1e9) -> ShownLog:
    """A log that writes only when it is told to."""
    return ShownLog(store, size=size, every_s=1e6, keep_s=DAY_S, clock=lambda: now_s, folder=folder)


def lots(folder: Path) -> int:
    return len(list(folder.glob("*.shown")))


class Refusing:
    """A store that takes nothing until it is told to."""

    def __init__(self, store: ProfileStore) -> None:
        self.store, self.refuses = store, True
        self.state, self.drop_shown = store.state, store.drop_shown

    def log_shown(self, batch: Sequence[Shown], *, at_us: int | None = None) -> None:
        if self.refuses:
            raise StoreError("the disk is full")
        self.store.log_shown(batch, at_us=at_us)


def test_lines_wait_in_a_file_until_the_store_has_them(store: ProfileStore, tmp_path: Path) -> None:
    folder = tmp_path / "shown"
    log = log_over(store, folder)
    for n in range(1200):  # more than one batch
        log.add(shown(n % 1000))
    assert log.lost == 200
    assert (lots(folder), store.shown("ann")) == (1, [])
    log.flush()
    assert (lots(folder), store.shown("ann")) == (0, [shown(n) for n in range(1000)])
    log.add(shown(5000))
    log.close()
    assert lots(folder) == 0
    assert len(store.shown("ann")) == 1001


def test_what_the_store_refuses_is_tried_again(store: ProfileStore, tmp_path: Path) -> None:
    refusing = Refusing(store)
    log = log_over(refusing, tmp_path / "shown", size=5)  # type: ignore[arg-type]
    for n in range(3):
        log.add(shown(n))
    log.flush()
    for n in range(3, 9):
        log.add(shown(n))
    log.flush()
    assert (log.lost, store.count().impressions, lots(tmp_path / "shown")) == (4, 0, 2)
    refusing.refuses = False
    log.flush()
    assert store.shown("ann") == [shown(n) for n in range(5)]
    assert lots(tmp_path / "shown") == 0
    log.close()


def test_what_a_process_left_is_written_down(store: ProfileStore, tmp_path: Path) -> None:
    folder = tmp_path / "shown"
    left = Spool(folder)
    for n in range(3):
        left.add(shown(n))
    assert list(take_left(folder)) == []  # its process lives
    (file,) = folder.iterdir()
    said = file.read_bytes()
    left.remove()
    (folder / "other.shown").write_bytes(said + b'["r9", "ann", 9, {')  # killed while it wrote
    (folder / "strange.shown").write_bytes(b"not a line\n[1]\n")
    log = log_over(store, folder)
    end = time.monotonic() + 30
    while lots(folder):
        assert time.monotonic() < end
        time.sleep(0.01)
    log.close()
    assert store.shown("ann") == [shown(n) for n in range(3)]


def test_the_forgotten_are_nobody(store: ProfileStore, tmp_path: Path) -> None:
    store.append([StoredEvent("ann", "k", 0, 0, "view", "i1")])
    log = log_over(store, tmp_path / "shown")
    log.add(shown(1))
    store.forget("ann", at_us=0)
    log.close()
    assert store.shown("ann") == []
    assert store.count().impressions == 1
    assert b"tea" not in (tmp_path / "store.sqlite").read_bytes()


def test_old_answers_are_removed(store: ProfileStore) -> None:
    for n, now_s in enumerate((1e9, 1e9 + DAY_S)):
        log = log_over(store, None, now_s=now_s)
        log.add(shown(n))
        log.close()
    later = log_over(store, None, now_s=1e9 + 2 * DAY_S)
    assert later.clean() == 1
    later.close()
    assert store.shown("ann") == [shown(1)]


def test_without_a_place_for_lines(store: ProfileStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "shown").write_text("in the way")
    log = log_over(store, tmp_path / "shown")
    log.add(shown(1))
    log.add(shown(2))
    assert caplog.text.count("in memory only") == 1
    log.close()
    assert store.shown("ann") == [shown(1), shown(2)]


def test_many_threads(store: ProfileStore, tmp_path: Path) -> None:
    log = ShownLog(store, size=10_000, every_s=0.002, keep_s=DAY_S, clock=lambda: 1e9, folder=tmp_path / "shown")
    threads = [
        threading.Thread(target=lambda t=t: [log.add(shown(1000 * t + n)) for n in range(200)]) for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert (log.lost, store.count().impressions, lots(tmp_path / "shown")) == (0, 800, 0)


WRITER = """
import sys, time
from pathlib import Path
from tasteprint.serving.shown_log import ShownLog
from tasteprint.serving.store import Shown, open_store
log = ShownLog(open_store(sys.argv[1]), size=10**6, every_s=0.01, keep_s=1e9, clock=time.time, folder=Path(sys.argv[2]))
start = int(sys.argv[3])
for n in range(start, start + 10**6):
    log.add(Shown(f"r{n}", "ann", n, {}, (("i", 1, 1.0),)))
    print(n, flush=True)
"""


@pytest.mark.slow
def test_no_answer_that_was_sent_is_lost_when_the_process_is_killed(store: ProfileStore, tmp_path: Path) -> None:
    sent = 0
    for turn in range(10):
        words = [sys.executable, "-c", WRITER, store.address, str(tmp_path / "shown"), str(turn * 10**6)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(50 + 37 * turn):
                last = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            told = [last, *map(int, writer.stdout.read().split("\n")[:-1])]
        sent += told[-1] - turn * 10**6 + 1
    log_over(store, tmp_path / "shown").close()
    kept = {int(one.request_id[1:]) for one in store.shown("ann")}
    assert len(kept) >= sent
    for turn in range(10):
        mine = sorted(n - turn * 10**6 for n in kept if n // 10**6 == turn)
        assert mine == list(range(len(mine)))  # none is missing in between
    assert lots(tmp_path / "shown") == 0
