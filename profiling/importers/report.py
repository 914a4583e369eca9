"""What an importer read, kept and dropped, and why: counted while it works, checked at the end.

Every row read is either kept or dropped for a named reason; a count that does not add up is a bug and raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SourceCount:
    """Rows of one source file or table: read = kept + all dropped."""

    read: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportReport:
    """The outcome of one import.

    Attributes:
        importer: name of the importer
        sources: counts by source file or table
        written: rows of each table of the shop, by name; files under ``extra/`` as ``extra/NAME``
        notes: what else was changed or left out, in sentences
    """

    importer: str
    sources: Mapping[str, SourceCount]
    written: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        sources = {
            name: {"read": c.read, "kept": c.kept, "dropped": dict(c.dropped)} for name, c in self.sources.items()
        }
        return {
            "importer": self.importer,
            "sources": sources,
            "written": dict(self.written),
            "notes": list(self.notes),
        }


class Ledger:
    """Counts rows while an importer runs.

    >>> ledger = Ledger()
    >>> ledger.read("orders.csv", 10)
    >>> ledger.drop("orders.csv", "no customer", 4)
    >>> ledger.sources()["orders.csv"].kept
    6
    """

    def __init__(self) -> None:
        self._read: Counter[str] = Counter()
        self._dropped: dict[str, Counter[str]] = {}
        self._notes: list[str] = []

    def read(self, source: str, rows: int) -> None:
        """Count rows that were read from a source."""
        self._read[source] += int(rows)

    def drop(self, source: str, reason: str, rows: int) -> None:
        """Count rows of a source that do not enter the shop, with the reason; zero rows leave no trace."""
        if rows:
            self._dropped.setdefault(source, Counter())[reason] += int(rows)

    def note(self, sentence: str) -> None:
        """Remember something the reader of the report should know."""
        if sentence not in self._notes:
            self._notes.append(sentence)

    @property
    def notes(self) -> tuple[str, ...]:
        """All notes, in order."""
        return tuple(self._notes)

    def sources(self) -> dict[str, SourceCount]:
        """Counts by source; what was read and not dropped was kept.

        Raises:
            RuntimeError: more rows were dropped than read, which is a bug of the importer.
        """
        counts = {}
        for name, read in self._read.items():
            dropped = self._dropped.get(name, Counter())
            kept = read - sum(dropped.values())
            if kept < 0:
                raise RuntimeError(f"{name}: {read} rows read but {sum(dropped.values())} dropped")
            counts[name] = SourceCount(read, kept, dict(dropped.most_common()))
        return counts
