"""One progress display for every command: a line on stderr a step, a bar where the amount of work is known.

On a terminal the lines move; elsewhere, as in a nightly job's log, a step that takes long says now and then how far it
is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

_LOG_EVERY_S = 30.0
_SETTLED_S = 1.0


class Say(Protocol):
    """Called with what is being done, how much is done, of how much or 0, and counts to show as so many a second."""

    def __call__(self, what: str, done: int, total: int, counts: Mapping[str, int] | None = None) -> None:
        """Take note."""
        ...


@dataclass
class _Step:
    """Where a step began, and when something was logged last."""

    began_s: float
    began_done: int
    logged_s: float


def pace(done: int, total: int, took_s: float, counts: Mapping[str, int] | None = None) -> str:
    """Rates and time left in words; empty before there is anything to say.

    Args:
        done: done in ``took_s`` seconds
        total: what there was to do in that time
        took_s: seconds
        counts: what else was counted in that time

    >>> pace(50, 200, 10.0, {"texts": 50, "characters": 3600})
    '5.0 texts/s, 360 characters/s, 0:00:30 left'
    """
    if took_s < _SETTLED_S or done <= 0:
        return ""
    rates = [(name, count / took_s) for name, count in (counts or {}).items()]
    said = [f"{rate:,.{0 if rate >= 10 else 1}f} {name}/s" for name, rate in rates]
    if total > done:
        left_s = round((total - done) * took_s / done)
        said.append(f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02} left")
    return ", ".join(said)


@contextmanager
def steps(*, quiet: bool = False) -> Iterator[Say]:
    """A function to call as work goes on, see `Say`; draws on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(file=sys.stderr, quiet=quiet)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Progress(*columns, console=console) as bar:
        running: dict[str, TaskID] = {}
        began: dict[str, _Step] = {}

        def say(what: str, done: int, total: int, counts: Mapping[str, int] | None = None) -> None:
            now_s = time.monotonic()
            if what not in running:
                for task in running.values():
                    size = bar.tasks[task].total or 1
                    bar.update(task, total=size, completed=size)
                    bar.stop_task(task)
                running[what] = bar.add_task(what, total=total or None, pace="")
                began[what] = _Step(now_s, done, now_s)
            step = began[what]
            before = step.began_done
            words = pace(done - before, max(total - before, 0), now_s - step.began_s, counts)
            bar.update(running[what], completed=done, total=total or None, pace=words)
            if not console.is_terminal and now_s - step.logged_s >= _LOG_EVERY_S:
                console.print(f"{what}: {done:,}{f' of {total:,}' if total else ''}{words and ', '}{words}")
                step.logged_s = now_s

        try:
            yield say
        except BaseException:
            bar.live.transient = True  # what went wrong is said by the error alone
            raise
        for task in running.values():
            size = bar.tasks[task].total or 1
            bar.update(task, total=size, completed=size)
