"""The `Violation` noun, and rules on single values that tables and ``shop.json`` share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Violation:
    """One breach of the contract.

    Attributes:
        file: file name inside the shop folder
        row: row counted from 0, or None where the whole file or column is meant
        column: column or key of ``shop.json``, or None where the whole file is meant
        expected: what the contract wants
        got: what is there
    """

    file: str
    row: int | None
    column: str | None
    expected: str
    got: str

    def __str__(self) -> str:
        where = [self.file]
        where += [f"row {self.row}"] if self.row is not None else []
        where += [f"column {self.column}"] if self.column is not None else []
        return f"{', '.join(where)}: expected {self.expected}, got {self.got}"


def scale_limits(scale: Any) -> tuple[float, float] | None:
    """Lowest and highest value of a scale written as ``"1-3"`` or ``"0/1"``; None for anything else.

    >>> scale_limits("1-3"), scale_limits("0/1"), scale_limits(None)
    ((1.0, 3.0), (0.0, 1.0), None)
    """
    if not isinstance(scale, str):
        return None
    parts = scale.split("/") if "/" in scale else scale.rsplit("-", 1)
    try:
        low, high = (float(p) for p in parts)
    except ValueError:
        return None
    return (low, high) if low < high else None


def attributes_problem(text: str) -> str | None:
    """What is wrong with an ``attributes`` text, or None where nothing is.

    >>> attributes_problem('{"colour": "red", "sizes": ["S", "M"], "kg": 1.5}') is None
    True
    >>> attributes_problem('{"vegan": true}')
    "'vegan' is a bool"
    """
    try:
        value = _STRICT.decode(text)
    except ValueError as error:
        return f"not JSON ({error})"
    if not isinstance(value, dict):
        return f"a JSON {type(value).__name__}, not an object"
    for name, entry in value.items():
        if not name:
            return "an attribute without a name"
        if isinstance(entry, list):
            if not all(isinstance(e, str) for e in entry):
                return f"{name!r} is a list that holds something else than strings"
        elif isinstance(entry, bool) or not isinstance(entry, str | int | float):
            return f"{name!r} is a {type(entry).__name__}"
    return None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_no_constant)
