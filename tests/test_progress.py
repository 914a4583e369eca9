"""The progress display: rates and time left, a log line now and then where there is no terminal, examples that run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

from tasteprint.commands import progress
from tasteprint.commands.progress import pace, steps


class Clock:
    """A clock that is moved by hand."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_pace_by_hand():
    assert pace(0, 10, 5.0) == ""
    assert pace(5, 10, 0.5) == ""
    assert pace(50, 10_050, 2.0, {"texts": 50}) == "25 texts/s, 0:06:40 left"
    assert pace(1, 40_000, 1.0, {"texts": 1}) == "1.0 texts/s, 11:06:39 left"
    assert pace(10, 10, 4.0, {"texts": 10}) == "2.5 texts/s"
    assert pace(10, 0, 4.0) == ""


def test_a_log_has_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with steps() as say:
        for done in range(400, 1001, 100):  # an interrupted run goes on at 400
            say("Encoding texts", done, 1000, {"texts": done - 400, "characters": 60 * (done - 400)})
            clock.now_s += 20
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if " of " in line]
    assert lines == [
        "Encoding texts: 600 of 1,000, 5.0 texts/s, 300 characters/s, 0:01:20 left",
        "Encoding texts: 800 of 1,000, 5.0 texts/s, 300 characters/s, 0:00:40 left",
        "Encoding texts: 1,000 of 1,000, 5.0 texts/s, 300 characters/s",
    ]


def test_quiet_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with steps(quiet=True) as say:
        say("Reading", 1, 0)
        clock.now_s += 100
        say("Reading", 2, 0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "name", ["commands.progress", "profiling.embedding.keys", "profiling.embedding.plan", "profiling.embedding.memo"]
)
def test_examples(name: str):
    module = import_module(f"tasteprint.{name}")
    globs = {"np": import_module("numpy"), "pa": import_module("pyarrow")}
    found = doctest.testmod(module, extraglobs=globs)
    assert (found.failed, found.attempted > 0) == (0, True)
