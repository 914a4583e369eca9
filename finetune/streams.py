"""Examples as tables and streams of the ``datasets`` library, one row an anchor.

A stream holds one part of the examples in memory at a time, for shops whose examples together are too large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .examples import Examples

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


def rows_of(examples: Examples) -> Iterator[dict[str, Any]]:
    """One record an anchor: anchor, documents, gains, weights, source, group; in order."""
    starts = examples.starts()
    for row, anchor in enumerate(examples.anchors):
        some = slice(starts[row], starts[row + 1])
        yield {
            "anchor": anchor,
            "documents": [examples.documents[d] for d in examples.document[some]],
            "gains": examples.gain[some].tolist(),
            "weights": examples.weight[some].tolist(),
            "source": str(examples.source[row]),
            "group": int(examples.group[row]),
        }


def to_dataset(examples: Examples) -> Dataset:
    """The examples as a table of the ``datasets`` library, one row an anchor, columns as in `rows_of`."""
    from datasets import Dataset

    records = list(rows_of(examples))
    return Dataset.from_dict({name: [r[name] for r in records] for name in _features()}, features=_features())


def to_stream(parts: Iterable[Examples]) -> IterableDataset:
    """The same rows as `to_dataset` of each part in turn, made one by one as they are read.

    Args:
        parts: something that can be iterated anew each time; parts made on the way (`pairs.SourceParts`) are in memory
            one at a time
    """
    from datasets import IterableDataset

    return IterableDataset.from_generator(_rows, gen_kwargs={"parts": parts}, features=_features())


def _rows(parts: Iterable[Examples]) -> Iterator[dict[str, Any]]:
    """The records of each part in turn."""
    for part in parts:
        yield from rows_of(part)


def _features() -> Any:
    """Column types of the ``datasets`` forms."""
    from datasets import Features, List, Value

    text, number = Value("string"), List(Value("float32"))
    return Features(anchor=text, documents=List(text), gains=number, weights=number, source=text, group=Value("int32"))
