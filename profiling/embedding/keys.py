"""Keys of texts as arrays: hashing, first occurrences and look-up without a Python object a text.

Covers catalogues of tens of millions of rows in a few dozen bytes each. What is stored under a key is
`embedding.cache`'s to know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16

Keys = NDArray[np.uint64]
"""Keys of texts, (n, 2): the halves of 16 bytes."""


def text_keys(texts: Iterable[str], kind: str) -> Keys:
    """Hash of each text and its kind, (n, 2).

    >>> text_keys(["lamp", "lamp", "sofa"], "item").shape
    (3, 2)
    """
    start = f"{kind}\0"
    digests = (hashlib.blake2b((start + text).encode(), digest_size=KEY_BYTES).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class DistinctKeys:
    """The distinct ones among n keys.

    Attributes:
        keys: ascending, (n_distinct, 2)
        first: row where each occurs first, (n_distinct,)
        place: position in ``keys`` of every row's key, (n,)
    """

    keys: Keys
    first: NDArray[np.int64]
    place: NDArray[np.int64]


def distinct_keys(keys: Keys) -> DistinctKeys:
    """The distinct keys of (n, 2), with the first row of each.

    >>> found = distinct_keys(text_keys(["b", "a", "b"], "item"))
    >>> sorted(found.first.tolist()), bool(found.place[0] == found.place[2])
    ([0, 1], True)
    """
    order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: the first of equal keys is the earliest row
    ordered = keys[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    return DistinctKeys(ordered[new], order[new], place)


class SortedKeys:
    """Ascending distinct keys, (n, 2), to look others up in.

    >>> SortedKeys(np.array([[1, 5], [1, 7], [2, 0]], np.uint64)).find(np.array([[1, 7], [3, 0]], np.uint64)).tolist()
    [1, -1]
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._halves = np.ascontiguousarray(keys[:, 0])  # a view would be copied with every look-up

    def find(self, wanted: Keys) -> NDArray[np.int64]:
        """Position of each wanted key (k, 2), -1 where it is not there, (k,)."""
        found = np.full(len(wanted), -1, dtype=np.int64)
        order = np.argsort(wanted[:, 0])  # near each other in memory, and so twice as fast
        at = np.empty(len(wanted), dtype=np.int64)  # (k,): first key with that first half
        at[order] = np.searchsorted(self._halves, wanted[order, 0])
        open_ = np.flatnonzero(at < len(self.keys))
        while len(open_):  # again only for keys that share their first half: next to none
            here = self.keys[at[open_]]
            same_half = here[:, 0] == wanted[open_, 0]
            hit = same_half & (here[:, 1] == wanted[open_, 1])
            found[open_[hit]] = at[open_[hit]]
            open_ = open_[same_half & ~hit]
            at[open_] += 1
            open_ = open_[at[open_] < len(self.keys)]
        return found
