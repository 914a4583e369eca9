"""One progress display for every command: a line on stderr a step, a bar where the amount of work is known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def steps(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A function to call with (what is being done, how much is done, of how much or 0); draws on stderr."""
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
    )
    with Progress(*columns, console=console) as bar:
        running: dict[str, TaskID] = {}

        def say(what: str, done: int, total: int) -> None:
            if what not in running:
                for task in running.values():
                    size = bar.tasks[task].total or 1
                    bar.update(task, total=size, completed=size)
                    bar.stop_task(task)
                running[what] = bar.add_task(what, total=total or None)
            bar.update(running[what], completed=done, total=total or None)

        try:
            yield say
        except BaseException:
            bar.live.transient = True  # what went wrong is said by the error alone
            raise
        for task in running.values():
            size = bar.tasks[task].total or 1
            bar.update(task, total=size, completed=size)
