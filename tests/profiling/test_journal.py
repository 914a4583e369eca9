"""The journal: what was acknowledged is there, what was cut short is not, and what was changed is an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasteprint.profiling.errors import ArtefactError
from tasteprint.profiling.journal import Journal, Record

BODIES = [b"one", b"two" * 50, b"\x00" * 7, b"four"]


def bodies(folder: Path) -> list[bytes]:
    return [record.body for record in Journal(folder).poll()]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def test_records_come_back_in_order_with_their_numbers(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.poll() == []
    assert journal.append(BODIES[:3]) == 3
    assert journal.append(BODIES[3:]) == 4
    assert journal.append([]) == 4
    assert [(r.number, r.body) for r in journal.poll()] == list(enumerate(BODIES, start=1))
    assert journal.poll() == []
    journal.append([b"five"])
    assert [r.body for r in journal.poll()] == [b"five"]


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_segments_make_no_difference(tmp_path: Path, size: int) -> None:
    journal = Journal(tmp_path, segment_bytes=size)
    for body in BODIES:
        journal.append([body])
    assert bodies(tmp_path) == BODIES
    assert len(segments(tmp_path)) == {1: 4, 100: 2, 1 << 20: 1}[size]


def test_two_writers_take_turns_and_see_each_other(tmp_path: Path) -> None:
    first, second = Journal(tmp_path), Journal(tmp_path)
    first.append([b"a"])
    assert second.append([b"b"]) == 2
    assert first.append([b"c"]) == 3
    assert [r.body for r in second.poll()] == [b"a", b"b", b"c"]
    threads = [threading.Thread(target=j.append, args=([b"x", b"y"],)) for j in [first, second] * 10]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies(tmp_path)[3:] == [b"x", b"y"] * 20


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400))
def test_a_record_cut_short_is_dropped_and_written_over(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    Journal(folder).append(BODIES)
    file = segments(folder)[0]
    whole, ends = file.stat().st_size, [0]
    for body in BODIES:
        ends.append(ends[-1] + 24 + len(body))
    assert ends[-1] == whole
    left = max(whole - cut, 0)
    os.truncate(file, left)
    kept = sum(end <= left for end in ends[1:])
    assert bodies(folder) == BODIES[:kept]
    assert Journal(folder).append([b"new"]) == kept + 1
    assert bodies(folder) == [*BODIES[:kept], b"new"]


@settings(max_examples=80, deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_a_record(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    Journal(folder).append(BODIES)
    file = segments(folder)[0]
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= 1 << bit
    file.write_bytes(data)
    with pytest.raises(ArtefactError, match="was changed"):
        bodies(folder)
    with pytest.raises(ArtefactError, match="restore it"):
        Journal(folder).append([b"more"])


def test_a_hole_at_the_end_is_a_record_that_was_never_written(tmp_path: Path) -> None:
    Journal(tmp_path).append(BODIES)
    with segments(tmp_path)[0].open("ab") as handle:
        handle.write(bytes(4096))
    assert bodies(tmp_path) == BODIES


def test_a_missing_or_shortened_segment_in_the_middle_is_an_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=1)
    for body in BODIES:
        journal.append([body])
    middle = segments(tmp_path)[1]
    kept = middle.read_bytes()
    middle.write_bytes(kept[:-1])
    with pytest.raises(ArtefactError, match="cut short, and others follow"):
        bodies(tmp_path)
    middle.unlink()
    with pytest.raises(ArtefactError, match="record 2 is missing"):
        bodies(tmp_path)


def test_dropping_what_is_held_elsewhere(tmp_path: Path) -> None:
    journal, late = Journal(tmp_path), Journal(tmp_path)
    journal.append(BODIES[:2])
    assert journal.rotate() == 2
    assert journal.rotate() == 2
    journal.append(BODIES[2:])
    journal.drop(1)
    assert len(bodies(tmp_path)) == 4
    journal.drop(2)
    assert journal.first == 3
    assert [r.number for r in Journal(tmp_path).poll()] == [3, 4]
    with pytest.raises(ArtefactError, match="records 1 to 2 were dropped"):
        late.poll()
    journal.rotate()
    journal.drop(4)
    assert Journal(tmp_path).append([b"five"]) == 5


def test_rewriting_puts_fewer_records_in_the_place_of_all(tmp_path: Path) -> None:
    journal, other = Journal(tmp_path), Journal(tmp_path)
    assert journal.rewrite(lambda records: [b"x"] * (len(records) + 1)) == 1
    other.append(BODIES)
    assert journal.rewrite(lambda records: [r.body for r in records if r.body == b"four"]) == 6
    assert [(r.number, r.body) for r in Journal(tmp_path).poll()] == [(6, b"four")]
    assert journal.poll() == []
    assert other.append([b"later"]) == 7
    assert [r.body for r in journal.poll()] == [b"later"]
    assert journal.rewrite(lambda records: []) == 7
    assert bodies(tmp_path) == []
    with pytest.raises(ArtefactError, match="were dropped"):
        other.poll()

    late = Journal(tmp_path)
    journal.append([b"a"])
    assert late.append([b"b"]) == 9
    journal.append([b"c"])
    journal.rewrite(lambda records: [b"net"])
    assert late.append([b"d"]) == 12  # a writer need not have seen what is gone
    assert bodies(tmp_path) == [b"net", b"d"]
    journal.rewrite(lambda records: [])

    def refuse(records: list[Record]) -> list[bytes]:
        raise ArtefactError("no")

    journal.append([b"a"])
    with pytest.raises(ArtefactError, match="no"):
        journal.rewrite(refuse)
    assert bodies(tmp_path) == [b"a"]


def test_what_the_disk_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.append(BODIES[:1])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ArtefactError, match="No space left"):
            journal.append([b"lost"])
    assert bodies(tmp_path) == BODIES[:1]
    assert journal.append([b"kept"]) == 2
    assert bodies(tmp_path) == [BODIES[0], b"kept"]


def test_reading_needs_no_leave_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(tmp_path).append(BODIES)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("tasteprint.profiling.journal.locked", refuse)
    journal = Journal(tmp_path)
    assert [record.body for record in journal.poll()] == BODIES
    with pytest.raises(ArtefactError, match="Read-only file system"):
        journal.append([b"more"])


@pytest.mark.parametrize("body", [b""])
def test_a_record_says_something(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(ArtefactError, match="1 to"):
        Journal(tmp_path).append([body])
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ArtefactError, match="cannot be made"):
        Journal(file)


WRITER = """
import sys
from tasteprint.profiling.journal import Journal
journal = Journal(sys.argv[1])
journal.poll()
n = journal.append([])
while True:
    n += 1
    assert journal.append([str(n).encode() * (n % 977 + 1)]) == n
    print(n, flush=True)
"""


def test_killing_the_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    for kill in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.01 * kill)
            writer.send_signal(signal.SIGKILL)
            told = [int(line) for line in writer.stdout.read().split(b"\n") if line]
        found = bodies(tmp_path)
        assert len(found) >= (told[-1] if told else 1)
        assert found == [str(n).encode() * (n % 977 + 1) for n in range(1, len(found) + 1)]
