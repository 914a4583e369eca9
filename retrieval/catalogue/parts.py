"""Room for new items in what was fitted on a catalogue: blocks, sources, and the covariance of blocks.

What counts events starts at nothing for a new item and stays as it was for a replaced one; what reads text and columns
is computed as at fitting, with what was learned then. Facts of the second stage are `catalogue.facts`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from ...profiling.axes import unit_rows
from ...profiling.blocks import BLOCKS, BlockSpace
from ...profiling.errors import ArtefactError
from ...profiling.taste_model import TasteModel
from ..lexical import Bm25Config, Bm25Model, LexicalModel, texts_of, words
from ..lexical.fielded import extended as extended_lexical
from ..scorer import Scorer
from ..sources.alike import AlikeModel
from ..sources.neighbours import NeighboursModel
from ..sources.popularity import PopularModel
from ..sources.repeats import OwnMostBoughtModel, RepeatModel

Float = NDArray[np.float32]
Ints = NDArray[np.int64]

_LEARN_FROM = 20_000  # items that the place of new ones among the learned vectors is read off
_RIDGE = 1.0
_EVEN = 1e-3  # relative spread of lengths below which all are taken as of one length


@dataclass(frozen=True, eq=False)
class Placed:
    """Items that come to a catalogue, and where.

    Attributes:
        items: in the data contract, (n,)
        vectors: their text vectors, (n, d)
        rows: row of each: an old one where it replaces an item, else from ``n_before`` on in order, (n,)
        n_before: rows of the catalogue so far
    """

    items: pd.DataFrame
    vectors: Float
    rows: Ints
    n_before: int

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Which of the items were not there before, (n,)."""
        return self.rows >= self.n_before

    @property
    def n_items(self) -> int:
        """Rows of the catalogue from now on."""
        return self.n_before + int(np.count_nonzero(self.is_new))

    def room(self, values: NDArray[Any], fill: float) -> NDArray[Any]:
        """Values by item, (n_before, ...), with those of new items set to ``fill``, (n_items, ...)."""
        more = self.n_items - len(values)
        return values if not more else np.concatenate([values, np.full((more, *values.shape[1:]), fill, values.dtype)])

    def put(self, values: NDArray[Any], given: NDArray[Any]) -> NDArray[Any]:
        """Values by item, (n_before, ...), with those of the items that come, (n, ...), in their places."""
        out = np.empty((self.n_items, *values.shape[1:]), dtype=values.dtype)
        out[: self.n_before] = values
        out[self.rows] = given
        return out


def extended_space(space: BlockSpace, placed: Placed) -> BlockSpace:
    """The blocks with these items.

    Raises:
        ArtefactError: the space does not know how its taste and behaviour blocks were made.
    """
    if space.axes is None:
        raise ArtefactError("this catalogue was prepared by an earlier version and takes no new items; build it again")
    behaviour = space.items["behaviour"]
    taken = np.zeros(len(placed.rows), dtype=np.float32)
    taken[~placed.is_new] = behaviour[placed.rows[~placed.is_new], -1]
    given = {
        "meaning": placed.vectors,
        "taste": space.axes.whitening.rows(placed.vectors),
        "behaviour": space.axes.behaviour(placed.items, taken),
    }
    blocks = {name: placed.put(space.items[name], rows) for name, rows in given.items()}
    model = None if space.taste_model is None else _extended_taste(space.taste_model, blocks, placed)
    learned = placed.room(space.items["taste_learned"], 0.0) if model is None else model.items
    blocks |= {"taste_learned": learned, "context": placed.room(space.items["context"], 0.0)}
    return replace(space, items=blocks, taste_model=model)


def extended_moments(
    moments: Mapping[str, NDArray[np.float64]], before: Mapping[str, Float], after: Mapping[str, Float], placed: Placed
) -> dict[str, NDArray[np.float64]]:
    """Covariances of the blocks' columns over the rows from now on, from those so far, each (d_b, d_b).

    Args:
        moments: so far
        before, after: rows of the blocks
        placed: the items that came
    """
    n, more = placed.n_before, placed.n_items
    out = {}
    for name in BLOCKS:
        old = before[name][placed.rows[~placed.is_new]].astype(np.float64)
        new = after[name][placed.rows].astype(np.float64)
        mean = before[name].mean(axis=0, dtype=np.float64)
        squares = n * (moments[name] + np.outer(mean, mean)) - old.T @ old + new.T @ new
        mean = (n * mean - old.sum(axis=0) + new.sum(axis=0)) / more
        out[name] = squares / more - np.outer(mean, mean)
    return out


def extended_source(source: Scorer, placed: Placed) -> Scorer:
    """A source with these items.

    Raises:
        ArtefactError: no way is known for a source of this type.
    """
    if type(source) not in EXTENDERS:
        raise ArtefactError(f"a source of type {type(source).__name__} takes no new items; build the workspace again")
    return EXTENDERS[type(source)](source, placed)


def _extended_taste(model: TasteModel, blocks: Mapping[str, Float], placed: Placed) -> TasteModel:
    """The learned vectors of new items read off their text and columns, as those of items nobody has touched are."""
    new = placed.rows[placed.is_new]
    if not len(new):
        return model
    facts = np.hstack([blocks["taste"], blocks["behaviour"][:, :-1]])
    known = np.arange(0, placed.n_before, max(1, placed.n_before // _LEARN_FROM))
    x, y, width = facts[known].astype(np.float64), model.items[known].astype(np.float64), len(model.norm)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    off = x - mean_x
    weights = np.linalg.solve(off.T @ off + _RIDGE * np.eye(x.shape[1]), off.T @ (y - mean_y))
    guess = ((facts[new] - mean_x) @ weights + mean_y).astype(np.float32)
    for part in (slice(0, width), slice(width, None)):
        length = np.linalg.norm(y[:, part], axis=1)
        if y[:, part].size and length.std() < _EVEN * length.mean():
            guess[:, part] = unit_rows(guess[:, part]) * np.float32(length.mean())
    return replace(model, items=np.concatenate([model.items, guess]))


def _popular(source: PopularModel, placed: Placed) -> PopularModel:
    return PopularModel(placed.room(source.item_score, 0.0))


def _alike(source: AlikeModel, placed: Placed) -> AlikeModel:
    lifts = {
        name: {value: placed.room(lift, 0.0) for value, lift in values.items()}
        for name, values in source.log_lift.items()
    }
    return AlikeModel(_popular(source.popular, placed), lifts)


def _own(source: OwnMostBoughtModel, placed: Placed) -> OwnMostBoughtModel:
    return OwnMostBoughtModel(placed.room(source.tie_break, 0.0))


def _repeat(source: RepeatModel, placed: Placed) -> RepeatModel:
    return replace(source, item_factor=placed.room(source.item_factor, 1.0))


def _neighbours(source: NeighboursModel, placed: Placed) -> NeighboursModel:
    weights = source.weights
    indptr = placed_indptr(weights.indptr, placed.n_items)
    grown = sp.csr_matrix((weights.data, weights.indices, indptr), shape=(placed.n_items, placed.n_items))
    return replace(source, weights=grown, tie_break=placed.room(source.tie_break, 0.0))


def _bm25(source: Bm25Model, placed: Placed) -> Bm25Model:
    """Each word of an item that comes weighs what it weighs in the items that have it; a new word as the rarest do."""
    texts = texts_of(placed.items, Bm25Config().fields)
    vocabulary = dict(source.vocabulary)
    found = [[vocabulary.setdefault(word, len(vocabulary)) for word in sorted(set(words(text)))] for text in texts]
    held = source.weights.tocoo()
    total = np.bincount(held.row, held.data, minlength=len(vocabulary))
    usual = total / np.maximum(np.bincount(held.row, minlength=len(vocabulary)), 1)
    usual = np.where(usual > 0, usual, usual.max(initial=0.0) or 1.0)
    kept = ~np.isin(held.col, placed.rows)
    word = np.fromiter((word for row in found for word in row), dtype=np.int64)
    item = np.repeat(placed.rows, [len(row) for row in found])
    data = np.concatenate([held.data[kept], usual[word]]).astype(np.float32)
    places = np.concatenate([held.row[kept], word]), np.concatenate([held.col[kept], item])
    return Bm25Model(vocabulary, sp.csr_matrix((data, places), shape=(len(vocabulary), placed.n_items)))


def _lexical(source: LexicalModel, placed: Placed) -> LexicalModel:
    return extended_lexical(source, placed.items, placed.rows, placed.n_items)


def placed_indptr(indptr: NDArray[Any], rows: int) -> NDArray[Any]:
    """Row pointers of a sparse matrix with empty rows at its end, (rows + 1,)."""
    return np.concatenate([indptr, np.full(rows + 1 - len(indptr), indptr[-1], dtype=indptr.dtype)])


EXTENDERS: Mapping[type, Callable[[Any, Placed], Scorer]] = {
    PopularModel: _popular,
    AlikeModel: _alike,
    OwnMostBoughtModel: _own,
    RepeatModel: _repeat,
    NeighboursModel: _neighbours,
    Bm25Model: _bm25,
    LexicalModel: _lexical,
}
"""How each type of source takes new items."""
