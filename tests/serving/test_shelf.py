"""What workers share: found by the others, never half, gone when it is forgotten; and processes that are started."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from typing import Any

import numpy as np
import pytest

from tasteprint.profiling.intent.facets import Facets
from tasteprint.profiling.intent.types import CategoryShare, Intent
from tasteprint.serving.shelf import SharedReadings, Slots


def key(n: int) -> bytes:
    """A key of 16 bytes."""
    return hashlib.blake2b(str(n).encode(), digest_size=16).digest()


@pytest.mark.parametrize("forbidden", [False, True])
def test_as_a_dict_with_room_for_everything(forbidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> int:
        raise PermissionError(name)

    if forbidden:
        monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    slots, rng = Slots(4096), np.random.default_rng(0)
    wanted = {key(n): rng.bytes(int(size)) for n, size in enumerate(rng.integers(0, 4060, size=300))}
    for name, value in wanted.items():
        assert slots.get(name) is None
        assert slots.put(name, value)
    assert {name: slots.get(name) for name in wanted} == wanted
    assert slots.put(key(7), b"again")
    assert slots.get(key(7)) == b"again"
    assert not slots.put(key(999), bytes(5000))
    assert slots.get(key(999)) is None
    slots.clear()
    assert all(slots.get(name) is None for name in wanted)
    assert slots.put(key(1), b"")
    assert slots.get(key(1)) == b""
    slots.close()


def test_new_things_push_old_ones_out() -> None:
    slots = Slots(8)
    for n in range(1000):
        slots.put(key(n), str(n).encode())
        assert slots.get(key(n)) == str(n).encode()
    left = [n for n in range(1000) if slots.get(key(n)) is not None]
    assert 2 <= len(left) <= 8
    assert all(slots.get(key(n)) == str(n).encode() for n in left)
    slots.close()


def test_what_was_half_overwritten_is_nothing() -> None:
    slots = Slots(4)
    slots.put(key(0), b"a" * 100)
    at = next(at for at in range(0, 4 * 4096, 4096) if slots._map[at : at + 16] == key(0))
    for byte in (16, 24, 28, 60, 127):  # checksum, length, and the value
        before = slots._map[at + byte]
        slots._map[at + byte] = before ^ 1
        assert slots.get(key(0)) is None
        slots._map[at + byte] = before
    assert slots.get(key(0)) == b"a" * 100
    slots.close()


def scribble(slots: Slots, seed: int, told: Any) -> None:
    """Write one of many values under one of few keys, again and again."""
    rng = np.random.default_rng(seed)
    for n, size in rng.integers(0, [12, 4000], size=(4000, 2)).tolist():
        slots.put(key(n), bytes([n]) * size)
    told.put(slots.get(key(999)))


def test_processes_write_at_the_same_time() -> None:
    slots, spawn = Slots(8), multiprocessing.get_context("spawn")
    slots.put(key(999), b"from the parent")
    told = spawn.Queue()
    several = [spawn.Process(target=scribble, args=(slots, seed, told)) for seed in (1, 2)]
    for one in several:
        one.start()
    looked = 0
    while any(one.is_alive() for one in several) or looked < 1000:
        for n in range(12):
            value = slots.get(key(n))
            looked += value is not None
            assert value is None or set(value) <= {n}  # whole, and of this key
    for one in several:
        one.join()
        assert one.exitcode == 0
    assert {told.get(timeout=5) for _ in several} <= {b"from the parent", None}
    slots.close()


def test_readings_of_one_version() -> None:
    slots = Slots(64)
    mine, theirs, other = (SharedReadings(slots, version) for version in ("v1", "v1", "v2"))
    vector = np.arange(384, dtype=np.float32)
    intent = Intent("red shoes", vector, (CategoryShare("Shoes", 0.75),), facets=Facets(rest="red shoes"), known=True)
    assert mine.get("red shoes") is None
    mine.put("red shoes", intent)
    found = theirs.get("red shoes")
    assert found is not None
    assert found.to_json() == intent.to_json()
    np.testing.assert_array_equal(found.vector, vector)
    assert other.get("red shoes") is None
    assert mine.get("Red shoes") is None
    mine.put("wide", Intent("wide", np.zeros(4000, dtype=np.float32)))  # longer than a slot
    assert mine.get("wide") is None
    mine.put("odd \ud800", Intent("odd \ud800", vector))
    assert theirs.get("odd \ud800") is not None
    theirs.clear()
    assert mine.get("red shoes") is None
    slots.close()
