"""What an engine works out of a catalogue before its first answer, kept for whoever opens the same version next.

Working it out takes seconds of a core; opening it takes a moment, and its large arrays are mapped, so that processes on
one machine share one copy. It can be deleted at any time. What it is for is `engine`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..profiling.artefact import read_artefact, write_artefact
from ..profiling.axes import distinct_rows
from ..profiling.blocks import BLOCKS, BlockSpace
from ..profiling.errors import ArtefactError
from .filters import attribute_rows, in_stock_rows
from .index import ApproximateIndex, ItemIndex, build_index
from .index.config import ServedIndexConfig
from .index.plan import served_kind
from .index.store import open_index, save_index
from .weighing import TEXT_BLOCKS, rest_range

INDEX = "int8"
"""Kind of index that engines have where nothing else is said."""

KIND = "worked"
_FORMAT = 2
_MOMENTS, _PLAIN = "moments__", ("text_of", "items_of", "first_of", "rest_range", "in_stock")


@dataclass(frozen=True, eq=False)
class Worked:
    """Tables of one catalogue.

    Attributes:
        texts, text_of, items_of, first_of, rest_range, moments, index: see `engine.Engine`
        in_stock, with_value: see `filters.ItemFacts`
    """

    texts: NDArray[np.float32]
    text_of: NDArray[np.int64]
    items_of: NDArray[np.int64]
    first_of: NDArray[np.int64]
    rest_range: NDArray[np.float32]
    moments: Mapping[str, NDArray[np.float64]]
    index: ItemIndex
    in_stock: NDArray[np.bool_]
    with_value: Mapping[tuple[str, str], NDArray[np.int64]]


def work_out(
    space: BlockSpace, items: pd.DataFrame, *, kind: str = INDEX, config: ServedIndexConfig | None = None
) -> Worked:
    """Work out the tables of a catalogue.

    Args:
        space: its block vectors
        items: the catalogue in the data contract, row for row with them
        kind: of the index
        config: of the index; chooses its kind, by the number of distinct texts if need be
    """
    first, text_of = distinct_rows(space.items["meaning"])
    texts = np.hstack([space.items[name][first] for name in TEXT_BLOCKS])
    attributes = items["attributes"].fillna("").tolist()
    widths = tuple(width for name in TEXT_BLOCKS if (width := space.items[name].shape[1]))
    kind = kind if config is None else served_kind(len(texts), texts.shape[1], config)
    return Worked(
        texts=texts,
        text_of=text_of,
        items_of=np.argsort(text_of, kind="stable"),
        first_of=np.r_[0, np.cumsum(np.bincount(text_of, minlength=len(texts)))],
        rest_range=rest_range(space.items),
        moments={name: covariance(space.items[name].astype(np.float64)) for name in BLOCKS},
        index=build_index(texts, kind=kind, config=config, widths=widths),
        in_stock=in_stock_rows(attributes),
        with_value=attribute_rows(attributes),
    )


def save_worked(worked: Worked, folder: str | Path, *, version: str) -> None:
    """Keep tables for the next to open the same version; the caller sees to it that one process writes at a time.

    Args:
        worked: the tables
        folder: where they are kept; holds one version
        version: names what they were worked out from

    Raises:
        ArtefactError: the folder cannot be written, or the index is of a kind that cannot be saved.
    """
    folder = Path(folder)
    save_index(worked.index, folder / "index", measured={"version": version})
    rows = list(worked.with_value.values())
    kept = () if isinstance(worked.index, ApproximateIndex) else ("texts",)  # which keeps them itself
    arrays = {
        **{name: getattr(worked, name) for name in (*kept, *_PLAIN)},
        **{_MOMENTS + name: moment for name, moment in worked.moments.items()},
        "having": np.concatenate([*rows, np.zeros(0, dtype=np.int64)]),
        "having_from": np.cumsum([0, *(len(some) for some in rows)]),
    }
    pairs = pd.DataFrame(list(worked.with_value), columns=["attribute", "value"], dtype="str")
    meta = {"version": version, "format": _FORMAT, "index": worked.index.kind}
    write_artefact(folder / "tables", kind=KIND, arrays=arrays, tables={"pairs": pairs}, meta=meta)


def open_worked(folder: str | Path, *, version: str, kind: str | None = INDEX) -> Worked | None:
    """The tables that were kept for a version; None where there are none, or others, or they are damaged.

    Args:
        folder: where they are kept
        version: what they must have been worked out from
        kind: what the index must be; None = any
    """
    folder = Path(folder)
    try:
        held = read_artefact(folder / "tables", kind=KIND, verify=False)
        wanted = [version, _FORMAT, kind or held.meta.get("index")]
        if [held.meta.get(name) for name in ("version", "format", "index")] != wanted:
            return None
        if read_artefact(folder / "index", kind="index", verify=False).meta["measured"] != {"version": version}:
            return None
        index = open_index(folder / "index", verify=False)
    except (ArtefactError, KeyError):
        return None
    arrays, pairs = held.arrays, held.tables["pairs"]
    named = zip(pairs["attribute"].tolist(), pairs["value"].tolist(), strict=True)
    spans = pairwise(arrays["having_from"].tolist())
    return Worked(
        moments={name.removeprefix(_MOMENTS): a for name, a in arrays.items() if name.startswith(_MOMENTS)},
        index=index,
        with_value={pair: arrays["having"][start:stop] for pair, (start, stop) in zip(named, spans, strict=True)},
        texts=index.vectors if isinstance(index, ApproximateIndex) else arrays["texts"],
        **{name: arrays[name] for name in _PLAIN},
    )


def covariance(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of the columns over all rows, (d, d); also where there are no columns."""
    off = rows - rows.mean(axis=0)
    return off.T @ off / max(len(rows), 1)
