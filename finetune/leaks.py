"""Nothing held out may be learned from: checks that say what leaked.

Covers queries of later splits among the anchors (the same text or a near duplicate, and their judged pairs) and events
after a cut. Pseudo-queries from the catalogue are not looked at: that one reads as a shopper's query does tells nothing
about what was judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from ..profiling.errors import ConfigError
from ..profiling.tables.shop import Shop
from ..profiling.templates import query_text
from .examples import Examples
from .pairs_config import Stage
from .splits import near_duplicates

FROM_QUERIES: frozenset[str] = frozenset({"judged", "pseudo", "queries", "shared"})
"""Sources whose anchors are what shoppers typed."""

_LATER: dict[Stage, tuple[Stage, ...]] = {"train": ("valid", "test"), "valid": ("test",), "test": ()}
_SHOWN = 3


class LeakError(ConfigError):
    """Something held out would be learned from."""


def check_leaks(
    examples: Examples,
    shop: Shop,
    *,
    split: Stage = "train",
    until: datetime | None = None,
    held: Examples | None = None,
) -> None:
    """Raise where examples of one split hold what belongs to a later one.

    Args:
        examples: what will be learned from
        shop: its judgements' queries of later splits are held out; without a split they count as test
        split: the split the examples are of
        until: no event at or after this time (UTC) may be behind a link
        held: further held-out anchors

    Raises:
        LeakError: what leaked, how much of it, and some of it.
    """
    rows = np.flatnonzero(np.isin(examples.source.astype(str), list(FROM_QUERIES)))
    texts = [examples.anchors[row] for row in rows]
    shared = np.flatnonzero(examples.source[examples.anchor] == "shared")
    texts += [examples.documents[d] for d in np.unique(examples.document[shared])]
    later = later_queries(shop, split)
    said = _found("{n} of a later split's queries", texts, later)
    said += _judged_pairs(examples, shop, split)
    if held is not None:
        said += _found("{n} held-out anchors", list(examples.anchors), list(held.anchors))
    if until is not None:
        late = int((examples.times() >= _seconds(until)).sum())
        said += [f"{late} links rest on events at or after {until:%Y-%m-%d %H:%M:%S}"] if late else []
    if said:
        raise LeakError(f"examples leak: {'; '.join(said)}; drop them (splits.without_near, PairsConfig.until)")


def later_queries(shop: Shop, split: Stage = "train") -> list[str]:
    """Distinct judged queries of the splits after this one, sorted."""
    if shop.judgements is None:
        return []
    stage = shop.judgements["split"].fillna("test")
    return sorted({query_text(q) for q in shop.judgements["query"][stage.isin(_LATER[split])]})


def _found(what: str, texts: Sequence[str], held: Sequence[str]) -> list[str]:
    """What to say of texts that are held-out ones, or near duplicates of them."""
    if not len(texts) or not len(held):
        return []
    group = near_duplicates([*texts, *held])
    mine, theirs = group[: len(texts)], group[len(texts) :]
    exact = sorted({query_text(text).casefold() for text in texts} & {query_text(text).casefold() for text in held})
    near = {
        texts[i] for i in np.flatnonzero(np.isin(mine, theirs)).tolist() if query_text(texts[i]).casefold() not in exact
    }
    said = [f"{what.format(n=len(exact))} ({_some(exact)})"] if exact else []
    return said + ([f"near duplicates of {what.format(n=len(near))} ({_some(sorted(near))})"] if near else [])


def _judged_pairs(examples: Examples, shop: Shop, split: Stage) -> list[str]:
    """What to say of links that are judged pairs of a later split."""
    if shop.judgements is None or shop.items is None:
        return []
    table = shop.judgements[shop.judgements["split"].fillna("test").isin(_LATER[split])]
    titles = shop.items.set_index("item_id")["title"]
    held = {
        (query_text(q).casefold(), str(titles.get(i))) for q, i in zip(table["query"], table["item_id"], strict=True)
    }
    asked = {query for query, _ in held}
    typed = np.isin(examples.source.astype(str), list(FROM_QUERIES))
    n = 0
    for a, d in zip(examples.anchor.tolist(), examples.document.tolist(), strict=True):
        query = examples.anchors[a].casefold()
        if typed[a] and query in asked:
            n += any((query, title) in held for title in _starts(examples.documents[d]))
    return [f"{n} judged pairs of a later split"] if n else []


def _starts(text: str) -> list[str]:
    """A document's text and what may be the title at its beginning."""
    return [text, *(text[:i] for i in range(len(text)) if text.startswith(". ", i))]


def _some(texts: Sequence[str]) -> str:
    """The first few, quoted."""
    return ", ".join(repr(text) for text in texts[:_SHOWN]) + (", ..." if len(texts) > _SHOWN else "")


def _seconds(at: datetime) -> float:
    """Seconds since 1970 UTC; a time without a zone is UTC."""
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).timestamp()
