"""What last night's texts were, by row: an item whose columns did not change needs no text written to know its key.

Covers hashing rows as they lie in the Parquet file, remembering the key of each one's text, and forgetting everything
when the template, or the code that writes texts, is another. It saves time only: without it the same plan is made.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .. import templates, texts
from ..files import map_tensors, write_whole
from ..tables import schema
from ..templates import TemplateConfig
from .keys import KEY_BYTES, Keys, SortedKeys, distinct_keys

_FILE = "rows.safetensors"
_NULL = "\0"


@dataclass(frozen=True, eq=False)
class RowMemo:
    """Keys of texts by the hash of the row they were written from.

    Attributes:
        rows: hashes
        keys: of the texts, (n, 2)
    """

    rows: SortedKeys
    keys: Keys

    def find(self, hashes: Keys) -> tuple[NDArray[np.bool_], Keys]:
        """Which of the rows with these hashes (n, 2) are remembered, (n,), and the keys of those."""
        at = self.rows.find(hashes)
        return at >= 0, self.keys[at[at >= 0]]


NOTHING = RowMemo(SortedKeys(np.empty((0, 2), dtype=np.uint64)), np.empty((0, 2), dtype=np.uint64))


def row_hashes(rows: pa.RecordBatch, template: TemplateConfig) -> Keys:
    """Hash of everything the template reads of each row, (n, 2).

    >>> lamps = pa.RecordBatch.from_pydict({"title": ["lamp", "lamp"], "brand": ["Lumo", None]})
    >>> bool((row_hashes(lamps, TemplateConfig())[0] == row_hashes(lamps, TemplateConfig())[1]).all())
    False
    """
    columns = [_as_text(rows.column(name)) for name in template.fields if name in rows.schema.names]
    if not columns:
        return np.zeros((len(rows), 2), dtype=np.uint64)
    lengths = [pc.binary_length(column).cast(pa.string()) for column in columns]  # so that no two rows join to the same
    joined = pc.binary_join_element_wise(
        *lengths, *columns, pa.scalar(_NULL), null_handling="replace", null_replacement=_NULL
    )
    digests = (hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest() for text in joined.to_pylist())
    return np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)


def open_memo(folder: Path, template: TemplateConfig) -> RowMemo:
    """What is remembered in ``folder``; nothing where it is absent, damaged, or of another template or program."""
    try:
        arrays, metadata = map_tensors(folder / _FILE)
        if metadata != _identity(template, arrays["rows"], arrays["keys"]):
            return NOTHING
        rows, keys = (np.array(arrays[name]).view(np.uint64) for name in ("rows", "keys"))
    except (OSError, ValueError, KeyError, TypeError):
        return NOTHING
    return RowMemo(SortedKeys(rows), keys)


def save_memo(folder: Path, template: TemplateConfig, hashes: Keys, keys: Keys) -> None:
    """Remember the key (n, 2) of the text of every row with these hashes (n, 2), and nothing else.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors.numpy import save

    found = distinct_keys(hashes)
    arrays = {"rows": found.keys.view(np.uint8), "keys": np.ascontiguousarray(keys[found.first]).view(np.uint8)}
    write_whole(folder / _FILE, save(arrays, metadata=_identity(template, arrays["rows"], arrays["keys"])), tag="rows")


def _as_text(column: pa.Array) -> pa.Array:
    """A column as strings, whatever it is."""
    if pa.types.is_string(column.type):
        return column
    return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())


def _identity(template: TemplateConfig, rows: NDArray[np.uint8], keys: NDArray[np.uint8]) -> dict[str, str]:
    """What a memo must say of itself to be believed."""
    code = hashlib.sha256()
    for module in (schema, templates, texts):
        code.update(Path(str(module.__file__)).read_bytes())
    content = hashlib.sha256(np.ascontiguousarray(rows).data)
    content.update(np.ascontiguousarray(keys).data)
    return {"template": template.text, "code": code.hexdigest(), "content": content.hexdigest()}
