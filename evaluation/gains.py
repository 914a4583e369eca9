"""Gain of a graded judgement, from the formula a shop names in ``shop.json``.

Reads the handful of formulas in use, by pattern; nothing is evaluated as code.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ShopError

DEFAULT_GAIN = "2^grade-1"

_NUMBER = r"(\d+(?:\.\d+)?)"
_EXPONENTIAL = re.compile(rf"2\^(?:grade|\(grade(?:([+-]){_NUMBER})?\))-1")
_LINEAR = re.compile(rf"grade(?:([+-]){_NUMBER})?")


def grade_gain(grade: NDArray[np.floating], formula: str | None) -> NDArray[np.float32]:
    """Gain >= 0 of each grade, (n,): ``2^(grade-c)-1`` or ``grade-c`` with any constant c; below 0 counts as 0.

    ``formula=None`` means `DEFAULT_GAIN`. ``**`` for ``^`` and blanks are allowed.

    Raises:
        ShopError: another formula.

    >>> grade_gain(np.array([1.0, 2.0, 3.0]), "2^(grade-1)-1").tolist()
    [0.0, 1.0, 3.0]
    >>> grade_gain(np.array([0.0, 2.0]), "2^grade-1").tolist()
    [0.0, 3.0]
    """
    text = DEFAULT_GAIN if formula is None else formula
    compact = text.replace(" ", "").replace("**", "^")
    for pattern, exponential in ((_EXPONENTIAL, True), (_LINEAR, False)):
        match = pattern.fullmatch(compact)
        if match:
            shift = float((match[1] or "+") + (match[2] or "0"))
            shifted = np.asarray(grade, dtype=np.float64) + shift
            gain = np.exp2(shifted) - 1.0 if exponential else shifted
            return np.maximum(gain, 0.0).astype(np.float32)
    raise ShopError(
        f"shop.json: grade_gain must be 2^grade-1, 2^(grade-c)-1, grade or grade-c with a number c, got {formula!r}"
    )
