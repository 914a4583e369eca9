"""What counts as a text: checking and cleaning what callers hand to an encoder.

Covers nulls, blanks, broken Unicode and wrong types. Building an item's text from its columns is `templates`' work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from .errors import EncoderError

TextKind = Literal["query", "item", "review"]
TEXT_KINDS: tuple[str, ...] = get_args(TextKind)


def clean_texts(texts: Sequence[str | None], kind: str = "item") -> list[str]:
    """The texts, blanks and nulls (None, NaN, NA) as ``""``, lone surrogates replaced, ends stripped.

    Raises:
        EncoderError: ``texts`` is one string, holds something that is neither text nor null, or ``kind`` is unknown.

    >>> clean_texts([" a ", None, float("nan"), "\\t"])
    ['a', '', '', '']
    """
    if kind not in TEXT_KINDS:
        raise EncoderError(f"kind must be one of {', '.join(TEXT_KINDS)}, got {kind!r}")
    if isinstance(texts, (str, bytes)):
        raise EncoderError("texts must be a sequence of strings, got one string; write encode([text])")
    return [_clean(text, position) for position, text in enumerate(texts)]


def _clean(text: Any, position: int) -> str:
    """One text, stripped; ``""`` for null."""
    if isinstance(text, str):
        stripped = text.strip()
        return stripped if stripped.isascii() else stripped.encode("utf-8", "replace").decode()
    if text is None or type(text).__name__ in ("NAType", "NaTType") or (isinstance(text, float) and math.isnan(text)):
        return ""
    raise EncoderError(
        f"texts[{position}] must be a string or null, got {type(text).__name__} {text!r:.60}; convert it to text first"
    )
