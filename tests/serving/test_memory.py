"""Memory is told as the system tells it, and what was freed can be given back."""

from __future__ import annotations

import sys

import pytest

from tasteprint.serving.memory import give_back, memory_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as Linux tells it")


def test_own_memory_grows_with_what_is_held() -> None:
    give_back()  # what other tests freed would be taken again, and nothing would grow
    before, mapped = memory_bytes()
    held = bytearray(b"x" * (64 << 20))
    after, _ = memory_bytes()
    assert mapped > 0
    assert 60 << 20 < after - before < 200 << 20
    del held


def test_what_was_freed_is_given_back() -> None:
    parts = [bytes(100_000) for _ in range(640)]
    last = bytes(100_000)  # lies behind them, so that the end of the heap stays where it is
    held, _ = memory_bytes()
    del parts
    if give_back():
        assert memory_bytes()[0] < held - (20 << 20)
    assert len(last) == 100_000
