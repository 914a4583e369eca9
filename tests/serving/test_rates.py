"""Token buckets: the closed form, one rate for several processes, and names that never meet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasteprint.serving.rates import OwnRates, Rates, SharedRates, make_buckets

RATE, BURST = 4.0, 3


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["own", "shared"])
def clocked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Rates, Clock]]:
    clock = Clock()
    if request.param == "own":
        yield OwnRates(RATE, BURST, clock=clock), clock
        return
    make_buckets(tmp_path / "rates")
    shared = SharedRates(tmp_path / "rates", RATE, BURST, clock=clock)
    yield shared, clock
    shared.close()


def test_some_at_once_then_by_the_rate(clocked: tuple[Rates, Clock]) -> None:
    rates, clock = clocked
    assert [rates.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.25]
    assert rates.wait_s("b") == 0.0  # a bucket of its own
    clock.now_s += 0.25
    assert [rates.wait_s("a"), rates.wait_s("a")] == [0.0, 0.25]
    clock.now_s += 1000.0
    assert [rates.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.25]  # never more than the burst
    clock.now_s -= 5.0
    assert rates.wait_s("a") == 0.25  # a clock that went back adds and takes nothing


@given(st.lists(st.floats(0.0, 2.0), max_size=60))
def test_never_more_than_burst_and_rate_allow(gaps: list[float]) -> None:
    clock = Clock()
    rates = OwnRates(RATE, BURST, clock=clock)
    taken = 0
    for gap in gaps:
        clock.now_s += gap
        taken += rates.wait_s("a") == 0.0
    assert taken <= BURST + RATE * (clock.now_s - 100.0) + 1e-6


TAKE = """
import sys
from pathlib import Path
from tasteprint.serving.rates import SharedRates
path = Path(sys.argv[1])
rates = SharedRates(path, 1e-9, 90_000, clock=lambda: 1.0)
print("ready", flush=True)
while not path.with_suffix(".go").exists():
    pass
print(sum(rates.wait_s("front") == 0.0 for _ in range(40_000)))
"""


def test_processes_share_one_bucket(tmp_path: Path) -> None:
    make_buckets(tmp_path / "rates")
    words = [sys.executable, "-c", TAKE, str(tmp_path / "rates")]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    (tmp_path / "rates.go").touch()  # all at the same moment
    assert sum(int(process.communicate(timeout=120)[0]) for process in running) == 90_000


def test_callers_that_come_later_get_buckets_and_processes_find_the_same(tmp_path: Path) -> None:
    make_buckets(tmp_path / "rates", buckets=8)
    one, two = (SharedRates(tmp_path / "rates", 1e-9, 2, clock=lambda: 1.0) for _ in range(2))
    names = [f"key {n}" for n in range(8)]
    assert [one.wait_s(name) for name in names] == [0.0] * 8
    assert [two.wait_s(name) for name in reversed(names)] == [0.0] * 8
    assert all(rates.wait_s(name) > 0 for rates in (one, two) for name in names)  # two each, and all are empty
    assert one.wait_s("one too many") > 0  # shares one
    for rates in (one, two):
        rates.close()
