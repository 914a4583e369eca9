"""Labelled sentences made ready for heads: tasks of a shop, what trains, what calibrates, what is measured.

Covers cutting a shop's ``labels`` table into tasks as `evaluation.labels` does, and holding sentences out of training
where the shop has no validation split. A shop's splits are kept as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ...evaluation.labels import named_parts
from ...profiling.errors import ConfigError, ShopError
from ...profiling.tables.shop import Shop

FEWEST = 2
"""Training sentences a class needs to be learned; rarer ones are left to abstaining."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Sentences with their labels, (n,) each."""

    texts: tuple[str, ...]
    labels: NDArray[np.object_]

    def take(self, rows: NDArray[np.int64]) -> Labelled:
        """Some of the sentences, in the order given."""
        return Labelled(tuple(self.texts[row] for row in rows.tolist()), self.labels[rows])


@dataclass(frozen=True, eq=False)
class HeadTask:
    """One task of a shop.

    Attributes:
        name: ``task``, or ``task:set`` where all labels are written ``set/label``
        train, held_out: what it learns from, and what chooses and calibrates; they share no text
        own_valid: whether ``held_out`` is the shop's own validation split, else a part of its training split
        classes: labels to learn, sorted, without ``out_label``
        out_label: label of sentences that belong to no class, None where the task has none
    """

    name: str
    train: Labelled
    held_out: Labelled
    own_valid: bool
    classes: tuple[str, ...]
    out_label: str | None

    def rows(self, part: Labelled) -> NDArray[np.int64]:
        """Place of each sentence's label in ``classes``; len(classes) = out of scope or a class too rare, (n,)."""
        place = {label: row for row, label in enumerate(self.classes)}
        return np.array([place.get(label, len(self.classes)) for label in part.labels], dtype=np.int64)

    def outside(self, part: Labelled) -> NDArray[np.bool_]:
        """Which sentences are labelled out of scope, (n,)."""
        return np.asarray(part.labels == self.out_label, dtype=bool)

    @property
    def digest(self) -> str:
        """Names the sentences it learns and chooses from, 16 hex digits."""
        said = hashlib.sha256()
        for part in (self.train, self.held_out):
            for text, label in zip(part.texts, part.labels, strict=True):
                said.update(f"{len(text)}:{text}{len(label)}:{label}".encode())
        return said.hexdigest()[:16]


def head_tasks(
    shop: Shop, only: Sequence[str] = (), *, share: float, rng: Generator, most: int | None = None
) -> tuple[HeadTask, ...]:
    """The tasks of a shop's labels that have training sentences of two classes.

    Args:
        shop: with a ``labels`` table; sentences without a split are training sentences
        only: names of tasks, ``task`` or ``task:set``; empty = all
        share: share of each class held out of training where a task has no validation sentences, in (0, 0.5]
        rng: chooses what is held out
        most: training sentences of a task at most, drawn by ``rng``; None = all

    Raises:
        ShopError: no labels, or no such task.
        ConfigError: a name in ``only`` is no task of this shop.
    """
    table = shop.table("labels")
    out_label = shop.meta.get("out_of_scope_label")
    split = table["split"].fillna("train")
    found: list[HeadTask] = []
    names: list[str] = []
    for name, part in named_parts(table):
        names.append(name)
        if only and not {name, name.partition(":")[0]} & set(only):
            continue
        parts = {at: part[split[part.index] == at] for at in ("train", "valid")}
        train, valid = (Labelled(tuple(p["text"]), p["label"].to_numpy(object)) for p in parts.values())
        if most is not None and len(train.texts) > most:
            train = train.take(np.sort(rng.permutation(len(train.texts))[:most]))
        if len(classes_of(train, out_label)) >= 2:
            found.append(_task(name, train, valid, out_label, share=share, rng=rng))
    if unknown := [name for name in only if not any(name in (n, n.partition(":")[0]) for n in names)]:
        raise ConfigError(f"task: must be among {', '.join(names)}, got {', '.join(unknown)}")
    if not found:
        raise ShopError(f"labels: shop {shop.name!r} has no task with training sentences of two classes; check split")
    return tuple(found)


def classes_of(train: Labelled, out_label: str | None) -> tuple[str, ...]:
    """Labels with at least `FEWEST` training sentences, without ``out_label``, sorted."""
    labels, counts = np.unique(train.labels.astype(str), return_counts=True)
    return tuple(str(label) for label in labels[counts >= FEWEST] if label != out_label)


def hold_out(labels: NDArray[np.object_], share: float, *, rng: Generator) -> NDArray[np.bool_]:
    """Which sentences to keep out of training: ``share`` of each class, but one sentence at least stays, (n,).

    >>> hold_out(np.array(["a"] * 4 + ["b"], object), 0.5, rng=np.random.default_rng(0)).sum()
    np.int64(2)
    """
    out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels.astype(str)):
        rows = np.flatnonzero(labels == label)
        n = min(max(round(share * len(rows)), 1), len(rows) - 1)
        out[rng.permutation(rows)[:n]] = True
    return out


def _task(
    name: str, train: Labelled, valid: Labelled, out_label: str | None, *, share: float, rng: Generator
) -> HeadTask:
    """A task. Held-out texts that are training texts too do not calibrate; if none is left, train gives some."""
    here = out_label if out_label in set(train.labels) | set(valid.labels) else None
    classes = classes_of(train, out_label)
    own = _unseen(valid, train)
    if set(own.labels) & set(classes):
        return HeadTask(name, train, own, True, classes, here)
    out = hold_out(train.labels, share, rng=rng)
    kept, held = train.take(np.flatnonzero(~out)), train.take(np.flatnonzero(out))
    return HeadTask(name, kept, _unseen(held, kept), False, classes, here)


def _unseen(part: Labelled, train: Labelled) -> Labelled:
    """The sentences of ``part`` whose text is no training sentence."""
    seen = set(train.texts)
    return part.take(np.array([row for row, text in enumerate(part.texts) if text not in seen], dtype=np.int64))
