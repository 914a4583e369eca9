"""Who stays on one side: groups of near-duplicate texts, and cutting examples by group.

Two texts are near duplicates when they are the same after case, accents, punctuation, word order, plurals, blanks and
slips of the finger, or nearly the same letters with the same numbers; groups are the transitive closure. Splits by time
need no function: events after the cut are never read (`pairs_config.PairsConfig.until`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..profiling.catalogue_words import SHORTEST_SLIP, deletions, one_slip
from ..profiling.errors import ConfigError
from ..profiling.intent.units import stems
from .examples import Examples, take

SIMILAR = 0.7
"""Jaccard similarity of letter trigrams from which two texts with the same numbers are near duplicates."""

_ROWS = 20_000


def near_duplicates(texts: Sequence[str], *, similar: float = SIMILAR) -> NDArray[np.int32]:
    """The group of each text, numbered by first member, (n,).

    Prefix filtering keeps it exact and quick: similar sets must share one of their rarest members (Bayardo, Ma and
    Srikant, 2007, Scaling up all pairs similarity search, section 3).

    >>> near_duplicates(["Desk lamps", "lamp desk", "desklamp", "light bulb 40 w", "light bulb 60 w"]).tolist()
    [0, 0, 0, 1, 2]
    """
    if not 0 < similar <= 1:
        raise ConfigError(f"similar must be in (0, 1], got {similar}")
    keys: dict[tuple[str, ...], int] = {}
    joined: dict[str, int] = {}
    of, same = [], []
    said = [stems(text) for text in texts]
    meant = slips(Counter(word for words in said for word in words))
    for words in ([meant.get(word, word) for word in mine] for mine in said):
        of.append(keys.setdefault(tuple(sorted(words)), len(keys)))
        same.append((of[-1], joined.setdefault("".join(words), of[-1])))
    pairs = np.concatenate([np.asarray(same, dtype=np.int64).reshape(-1, 2), _similar(list(keys), similar)])
    return _numbered(_components(pairs, len(keys))[np.asarray(of, dtype=np.int64)])


def slips(count: Mapping[str, int]) -> dict[str, str]:
    """Words that are one slip of the finger from a word at least three times as frequent, and that word.

    Words of five letters or more with the same first letter; one letter for another only from six on, as "floor" and
    "flour" are two words.

    >>> slips({"faucet": 9, "fauscet": 1, "floor": 9, "flour": 1})
    {'fauscet': 'faucet'}
    """
    long = sorted(word for word in count if len(word) >= SHORTEST_SLIP and word.isascii() and word.isalpha())
    near: dict[str, list[str]] = {}
    for word in long:
        for part in deletions(word):
            near.setdefault(part, []).append(word)
    found = {}
    for word in long:
        beside = {other for part in deletions(word) for other in near[part] if count[other] >= 3 * count[word]}
        fits = [other for other in beside if other[0] == word[0] and _slipped(word, other)]
        if fits:
            found[word] = min(fits, key=lambda other: (-count[other], other))
    return found


def _slipped(word: str, other: str) -> bool:
    """Whether one slip makes one word of the other; a letter for another counts from six letters on."""
    swapped = len(word) == len(other) and sorted(word) != sorted(other)
    return one_slip(word, other) and len(word) > SHORTEST_SLIP - (not swapped)


def grouped(examples: Examples, *, similar: float = SIMILAR) -> Examples:
    """The examples with near-duplicate anchors in one group, whatever their source."""
    return replace(examples, group=near_duplicates(examples.anchors, similar=similar))


def split_groups(examples: Examples, share: float, *, rng: np.random.Generator) -> tuple[Examples, Examples]:
    """Cut into a side to learn from and a held-out side of about ``share`` of the anchors, groups kept whole.

    Raises:
        ConfigError: ``share`` is not in (0, 1), or there are fewer than two groups.
    """
    groups, of = np.unique(examples.group, return_inverse=True)
    if not 0 < share < 1 or len(groups) < 2:
        raise ConfigError(f"share must be in (0, 1) with two groups or more, got {share} and {len(groups)} groups")
    order = rng.permutation(len(groups))
    sizes = np.bincount(of)[order]
    before = np.cumsum(sizes) - sizes
    n_held = int(np.clip((before < share * len(examples)).sum(), 1, len(groups) - 1))
    held = np.isin(of, order[:n_held])
    return take(examples, np.flatnonzero(~held)), take(examples, np.flatnonzero(held))


def without_near(examples: Examples, texts: Sequence[str], *, similar: float = SIMILAR) -> Examples:
    """The examples without the anchors, and the query documents, that are near duplicates of any of these texts.

    Documents that are items stay: an item may answer held-out queries too.
    """
    if not len(texts) or not len(examples):
        return examples
    shared = np.flatnonzero(examples.source[examples.anchor] == "shared")
    rows = np.unique(examples.document[shared])
    asked = [*examples.anchors, *(examples.documents[row] for row in rows)]
    group = near_duplicates([*asked, *texts], similar=similar)
    near = np.isin(group[: len(asked)], group[len(asked) :])
    drop = np.zeros(examples.n_links, dtype=bool)
    drop[shared] = np.isin(examples.document[shared], rows[near[len(examples) :]])
    left = without_links(examples, drop)
    linked = np.isin(np.arange(len(examples)), left.anchor)
    return take(left, np.flatnonzero(~near[: len(examples)] & linked))


def without_links(examples: Examples, drop: NDArray[np.bool_]) -> Examples:
    """The examples without some links, (n_links,); anchors stay even where they have none left."""
    if not drop.any():
        return examples
    return replace(
        examples,
        anchor=examples.anchor[~drop],
        document=examples.document[~drop],
        gain=examples.gain[~drop],
        weight=examples.weight[~drop],
        at_s=examples.at_s[~drop] if len(examples.at_s) else examples.at_s,
    )


def _similar(keys: Sequence[tuple[str, ...]], similar: float) -> NDArray[np.int64]:
    """Pairs of keys with the same numbers whose sets of trigrams are similar, (n_pairs, 2)."""
    grams, signs = _trigrams(keys)
    if not grams.nnz:
        return np.zeros((0, 2), dtype=np.int64)
    size = np.diff(grams.indptr)
    prefix = _rarest(grams, np.maximum(size - np.ceil(similar * size - 1e-9).astype(np.int64) + 1, 0), signs)
    back = prefix.T.tocsr()
    found = []
    for start in range(0, grams.shape[0], _ROWS):
        near = (prefix[start : start + _ROWS] @ back).tocoo()
        upper = near.row + start < near.col
        a, b = near.row[upper] + start, near.col[upper]
        keep = np.minimum(size[a], size[b]) >= similar * np.maximum(size[a], size[b]) - 1e-9
        a, b = a[keep].astype(np.int64), b[keep].astype(np.int64)
        for piece in range(0, len(a), 10 * _ROWS):
            at = slice(piece, piece + 10 * _ROWS)
            shared = np.asarray(grams[a[at]].multiply(grams[b[at]]).sum(axis=1)).ravel()
            alike = shared >= similar * (size[a[at]] + size[b[at]] - shared) - 1e-9
            found.append(np.column_stack([a[at][alike], b[at][alike]]))
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)


def _trigrams(keys: Sequence[tuple[str, ...]]) -> tuple[sparse.csr_array, NDArray[np.int64]]:
    """Which trigrams of padded words each key has, rare ones in the last columns, and a number for its numbers."""
    place: dict[str, int] = {}
    numbers: dict[tuple[str, ...], int] = {}
    columns, ends, signs = [], [0], []
    for key in keys:
        mine = {
            place.setdefault(word[i : i + 3], len(place)) for w in key for word in [f" {w} "] for i in range(len(w))
        }
        columns += sorted(mine)
        ends.append(len(columns))
        signs.append(numbers.setdefault(tuple(w for w in key if any(c.isdigit() for c in w)), len(numbers)))
    index = np.asarray(columns, dtype=np.int64)
    rank = np.empty(len(place), dtype=np.int64)
    rank[np.argsort(-np.bincount(index, minlength=len(place)), kind="stable")] = np.arange(len(place))
    held = sparse.csr_array(
        (np.ones(len(index), dtype=np.int32), rank[index], np.asarray(ends)), shape=(len(keys), len(place))
    )
    held.sort_indices()
    return held, np.asarray(signs, dtype=np.int64)


def _rarest(grams: sparse.csr_array, lengths: NDArray[np.int64], signs: NDArray[np.int64]) -> sparse.csr_array:
    """Only the last so many columns of each row, columns of rows with different signs kept apart."""
    size = np.diff(grams.indptr)
    place = np.arange(grams.nnz) - np.repeat(grams.indptr[:-1], size)
    keep = place >= np.repeat(size - lengths, size)
    ends = np.concatenate([[0], np.cumsum(np.minimum(lengths, size))])
    apart = np.repeat(signs, size)[keep] * grams.shape[1] + grams.indices[keep]
    columns, index = np.unique(apart, return_inverse=True)
    return sparse.csr_array((grams.data[keep], index.astype(np.int32), ends), shape=(len(size), len(columns)))


def _components(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Which connected component each of ``n`` nodes is in, by union-find with path halving."""
    parent = list(range(n))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in pairs.tolist():
        a, b = root(a), root(b)
        if a != b:
            parent[max(a, b)] = min(a, b)
    return np.asarray([root(node) for node in range(n)], dtype=np.int64)


def _numbered(labels: NDArray[np.int64]) -> NDArray[np.int32]:
    """Labels as 0, 1, 2... in order of first appearance."""
    _, first, of = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[of]
