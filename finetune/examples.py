"""What a retrieval fine-tune learns from, in one form whatever it came from: anchors, documents and graded links.

Covers the noun, joining and cutting it, and one batch of it as aligned arrays. Where links come from is `pairs`' work,
which anchors stay together `splits`', what a model does with a batch `losses`', tables and streams `streams`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError


def _no_rows() -> NDArray[np.int32]:
    return np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Examples:
    """Anchors (what is asked) linked to documents (what answers), each link with a gain and a weight.

    Attributes:
        anchors: query, title or review texts, (n_anchors,)
        documents: distinct item texts, or texts of other queries, (n_documents,)
        anchor: anchor row of each link, ascending, (n_links,) int32
        document: document row of each link, distinct inside an anchor, (n_links,) int32
        gain: how good the document is for the anchor, >= 0; 0 = judged irrelevant, (n_links,) float32
        weight: how much the link counts, > 0, (n_links,) float32
        source: key of `pairs.PAIR_SOURCES` of each anchor, (n_anchors,)
        group: anchors of one group are near duplicates and stay on one side of a split, (n_anchors,) int32
        spared_anchor, spared_document: pairs that are no links and must never be negatives either, (n_spared,) int32,
            ascending by anchor
        at_s: newest event behind each link in seconds since 1970 UTC, NaN where no event is, (n_links,) float64; empty
            = no link has one
    """

    anchors: tuple[str, ...]
    documents: tuple[str, ...]
    anchor: NDArray[np.int32]
    document: NDArray[np.int32]
    gain: NDArray[np.float32]
    weight: NDArray[np.float32]
    source: NDArray[np.object_]
    group: NDArray[np.int32]
    spared_anchor: NDArray[np.int32] = field(default_factory=_no_rows)
    spared_document: NDArray[np.int32] = field(default_factory=_no_rows)
    at_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        links, n = len(self.anchor), len(self.anchors)
        for name, length, wanted in (
            ("document", len(self.document), links),
            ("gain", len(self.gain), links),
            ("weight", len(self.weight), links),
            ("at_s", len(self.at_s) or links, links),
            ("source", len(self.source), n),
            ("group", len(self.group), n),
            ("spared_document", len(self.spared_document), len(self.spared_anchor)),
        ):
            if length != wanted:
                raise ConfigError(f"{name} must have {wanted} rows, got {length}; align it with the others")
        for rows, most in (
            (self.anchor, n),
            (self.document, len(self.documents)),
            (self.spared_anchor, n),
            (self.spared_document, len(self.documents)),
        ):
            if len(rows) and not 0 <= rows.min() <= rows.max() < most:
                raise ConfigError(f"rows of links must be in [0, {most}), got {rows.min()} to {rows.max()}")
        if (np.diff(self.anchor) < 0).any() or (np.diff(self.spared_anchor) < 0).any():
            raise ConfigError("anchor and spared_anchor must be ascending; sort the links by anchor")
        if (self.gain < 0).any() or not (self.weight > 0).all():
            raise ConfigError("gain must be >= 0 and weight > 0; drop links that say nothing")

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def n_links(self) -> int:
        """Number of links."""
        return len(self.anchor)

    def starts(self) -> NDArray[np.int64]:
        """Links of anchor ``a`` are ``starts[a]:starts[a + 1]``, (n_anchors + 1,)."""
        return np.searchsorted(self.anchor, np.arange(len(self.anchors) + 1))

    def times(self) -> NDArray[np.float64]:
        """``at_s`` with NaN for every link where there is none, (n_links,)."""
        return self.at_s if len(self.at_s) else np.full(self.n_links, np.nan)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some anchors against the documents of all of them.

    Attributes:
        anchor: rows of `Examples.anchors`, (n,)
        document: rows of `Examples.documents`, distinct, (m,)
        gain: gain of each link, times its weight over the mean weight of its anchor's links; 0 elsewhere, (n, m)
        judged: whether there is a link, (n, m)
        spared: no link, and must not be a negative, (n, m)
        weight: mean weight of the links of each anchor, (n,)
    """

    anchor: NDArray[np.int32]
    document: NDArray[np.int32]
    gain: NDArray[np.float32]
    judged: NDArray[np.bool_]
    spared: NDArray[np.bool_]
    weight: NDArray[np.float32]


def link(
    anchors: Sequence[str],
    documents: Sequence[str],
    pairs: tuple[NDArray[np.integer], NDArray[np.integer]],
    *,
    gain: NDArray[np.floating] | None = None,
    weight: NDArray[np.floating] | None = None,
    source: str,
    spared: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
    at_s: NDArray[np.floating] | None = None,
) -> Examples:
    """Examples from pairs in any order; equal documents become one, and so do links that then are the same.

    Args:
        anchors: distinct texts; one with no link is left out
        documents: texts; empty ones and their links are left out, and so are documents nobody links to
        pairs: anchor rows and document rows, (n,) each
        gain: 1 where None, (n,); of equal links the largest counts
        weight: 1 where None, (n,); weights of equal links add up
        source: key of `pairs.PAIR_SOURCES`
        spared: pairs that must never be negatives, (k,) each; those that are links are dropped
        at_s: time of each pair, the newest of equal links counts

    Returns:
        Examples whose anchors are each a group of its own.
    """
    rows, texts = _distinct(documents)
    a, d = np.asarray(pairs[0], dtype=np.int64), rows[np.asarray(pairs[1], dtype=np.int64)]
    g = np.ones(len(a)) if gain is None else np.asarray(gain, dtype=np.float64)
    w = np.ones(len(a)) if weight is None else np.asarray(weight, dtype=np.float64)
    t = np.full(len(a), np.nan) if at_s is None else np.asarray(at_s, dtype=np.float64)
    keep = (d >= 0) & (w > 0)
    key, slot = np.unique(a[keep] * len(texts) + d[keep], return_inverse=True)
    gains, times = np.zeros(len(key)), np.full(len(key), np.nan)
    np.maximum.at(gains, slot, g[keep])
    np.fmax.at(times, slot, t[keep])
    weights = np.bincount(slot, weights=w[keep], minlength=len(key))
    away = np.zeros(0, dtype=np.int64)
    if spared is not None:
        b, e = np.asarray(spared[0], dtype=np.int64), rows[np.asarray(spared[1], dtype=np.int64)]
        away = np.setdiff1d((b * len(texts) + e)[e >= 0], key)
    n = max(len(texts), 1)
    whole = Examples(
        anchors=tuple(anchors),
        documents=tuple(texts),
        anchor=(key // n).astype(np.int32),
        document=(key % n).astype(np.int32),
        gain=gains.astype(np.float32),
        weight=weights.astype(np.float32),
        source=np.full(len(anchors), source, dtype=object),
        group=np.arange(len(anchors), dtype=np.int32),
        spared_anchor=(away // n).astype(np.int32),
        spared_document=(away % n).astype(np.int32),
        at_s=np.zeros(0) if np.isnan(times).all() else times,
    )
    return take(whole, np.unique(whole.anchor))


def take(examples: Examples, rows: NDArray[np.integer]) -> Examples:
    """The anchors at these distinct rows, in this order, with their links; documents nobody links to leave."""
    rows = np.asarray(rows, dtype=np.int64)
    if len(np.unique(rows)) < len(rows):
        raise ConfigError("rows must be distinct, got one twice; an anchor is taken once")
    place = np.full(len(examples.anchors), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    order = _ordered(place[examples.anchor])
    away = _ordered(place[examples.spared_anchor])
    used = np.unique(examples.document[order])
    at = np.full(len(examples.documents), -1, dtype=np.int64)
    at[used] = np.arange(len(used))
    away = away[at[examples.spared_document[away]] >= 0]
    return Examples(
        anchors=tuple(examples.anchors[row] for row in rows),
        documents=tuple(examples.documents[row] for row in used),
        anchor=place[examples.anchor[order]].astype(np.int32),
        document=at[examples.document[order]].astype(np.int32),
        gain=examples.gain[order],
        weight=examples.weight[order],
        source=examples.source[rows],
        group=examples.group[rows],
        spared_anchor=place[examples.spared_anchor[away]].astype(np.int32),
        spared_document=at[examples.spared_document[away]].astype(np.int32),
        at_s=examples.at_s[order] if len(examples.at_s) else examples.at_s,
    )


def merge(parts: Sequence[Examples]) -> Examples:
    """All anchors of the parts one after another; equal documents become one, groups of different parts stay apart.

    Anchors of different sources with one text stay two anchors: group them by `splits.grouped`.
    """
    rows, texts = _distinct([text for part in parts for text in part.documents])
    anchors = np.cumsum([0, *(len(part.anchors) for part in parts)])
    documents = np.cumsum([0, *(len(part.documents) for part in parts)])
    groups = np.cumsum([0, *(int(part.group.max(initial=-1)) + 1 for part in parts)])
    timed = any(len(part.at_s) for part in parts)

    def joined(name: str, shift: NDArray[np.int64] | None, kind: Any) -> Any:
        columns = [getattr(p, name) + (0 if shift is None else shift[i]) for i, p in enumerate(parts)]
        return np.concatenate(columns).astype(kind) if columns else np.zeros(0, dtype=kind)

    return Examples(
        anchors=tuple(text for part in parts for text in part.anchors),
        documents=tuple(texts),
        anchor=joined("anchor", anchors, np.int32),
        document=rows[joined("document", documents, np.int64)].astype(np.int32),
        gain=joined("gain", None, np.float32),
        weight=joined("weight", None, np.float32),
        source=np.concatenate([p.source for p in parts]) if parts else np.zeros(0, dtype=object),
        group=joined("group", groups, np.int32),
        spared_anchor=joined("spared_anchor", anchors, np.int32),
        spared_document=rows[joined("spared_document", documents, np.int64)].astype(np.int32),
        at_s=np.concatenate([p.times() for p in parts]) if timed else np.zeros(0),
    )


def batch_of(
    examples: Examples,
    rows: NDArray[np.integer],
    *,
    most: int | None = None,
    negatives: NDArray[np.integer] | None = None,
    rng: np.random.Generator | None = None,
) -> Batch:
    """These anchors against all documents linked to any of them.

    A document that an anchor's near duplicate is linked to with a gain is spared for the anchor too.

    Args:
        examples: where the anchors are
        rows: anchor rows, distinct, (n,)
        most: links kept of an anchor at most, those with a gain first, else at random by ``rng``; None = all
        negatives: further document rows for every anchor, in any shape; linked ones are no harm
        rng: needed with ``most``

    Raises:
        ConfigError: ``most`` without ``rng``.
    """
    chosen: NDArray[np.int32] = np.asarray(rows).astype(np.int32)
    starts = examples.starts()
    of, at = _flat(starts[chosen], starts[chosen + 1])
    drop = np.zeros(len(at), dtype=bool)
    if most is not None:
        if rng is None:
            raise ConfigError("rng must be given with most; pass numpy.random.default_rng(seed)")
        order = np.lexsort((rng.random(len(at)), examples.gain[at] <= 0, of))
        drop[order] = np.arange(len(at)) - np.searchsorted(of, of) >= most
    extra = np.zeros(0, dtype=np.int32) if negatives is None else np.asarray(negatives, dtype=np.int32).ravel()
    document = np.unique(np.concatenate([examples.document[at[~drop]], extra]))
    gain = np.zeros((len(chosen), len(document)), dtype=np.float32)
    judged = np.zeros(gain.shape, dtype=bool)
    spread = np.ones(len(chosen), dtype=np.float32)
    slot, inside = _find(document, examples.document[at])
    of, at, slot = of[inside], at[inside], slot[inside]
    total = np.bincount(of, weights=examples.weight[at], minlength=len(chosen))
    spread = (total / np.maximum(np.bincount(of, minlength=len(chosen)), 1)).astype(np.float32)
    judged[of, slot] = True
    gain[of, slot] = examples.gain[at] * examples.weight[at] / spread[of]
    spared = _spared(examples, chosen, document) & ~judged
    kin = examples.group[chosen][:, None] == examples.group[chosen][None, :]  # (n, n)
    if kin.sum() > len(chosen):
        spared |= (kin.astype(np.float32) @ (gain > 0).astype(np.float32) > 0) & ~judged
    return Batch(chosen, document, gain, judged, spared, np.where(spread > 0, spread, 1).astype(np.float32))


def _distinct(texts: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The row of each text among the distinct ones (-1 for an empty text, which callers drop), and those."""
    place: dict[str, int] = {}
    rows = [place.setdefault(text, len(place)) if text else -1 for text in texts]
    return np.asarray(rows, dtype=np.int64), list(place)


def _ordered(place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions whose place is known, by place, then position."""
    known = np.flatnonzero(place >= 0)
    return known[np.argsort(place[known], kind="stable")]


def _flat(start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slices laid end to end: which slice each position is of, and the positions."""
    lengths = stop - start
    of = np.repeat(np.arange(len(start)), lengths)
    return of, np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - start, lengths)


def _find(sorted_rows: NDArray[np.integer], wanted: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each wanted row would be among sorted distinct ones, and whether it is there."""
    slot = np.minimum(np.searchsorted(sorted_rows, wanted), max(len(sorted_rows) - 1, 0))
    return slot, (sorted_rows[slot] == wanted if len(sorted_rows) else np.zeros(len(wanted), dtype=bool))


def _spared(examples: Examples, rows: NDArray[np.int32], document: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of these documents are spared for which of these anchors, (n, m)."""
    spared = np.zeros((len(rows), len(document)), dtype=bool)
    if len(examples.spared_anchor) and len(document):
        start = np.searchsorted(examples.spared_anchor, rows, "left")
        of, at = _flat(start, np.searchsorted(examples.spared_anchor, rows, "right"))
        slot, inside = _find(document, examples.spared_document[at])
        spared[of[inside], slot[inside]] = True
    return spared
