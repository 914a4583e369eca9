"""A static encoder: a text is the mean of vectors looked up for its tokens, no network at all.

Covers opening a distilled folder (ours, or one that model2vec wrote), encoding with it, and writing one. It costs a
thousandth of a transformer's arithmetic, and loses word order but for frequent pairs of neighbours. Making the vectors
is `distil`'s work.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError
from ..texts import TextKind, clean_texts
from .stamp import EncoderStamp

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from tokenizers import Tokenizer

_WEIGHTS, _TOKENIZER, _CONFIG = "model.safetensors", "tokenizer.json", "config.json"
_MAX_LENGTH = 512
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class StaticTable:
    """The vectors of a static encoder.

    Attributes:
        tokens: vector of each token id, (n_vocabulary, dim)
        pairs: ids of two neighbouring tokens that have a vector of their own, (n_pairs, 2), sorted
        pair_vectors: their vectors, (n_pairs, dim)
    """

    tokens: NDArray[np.floating]
    pairs: NDArray[np.int32]
    pair_vectors: NDArray[np.floating]


class StaticEncoder:
    """A folder of token vectors as an `encoder.Encoder`.

    Args:
        folder: holds ``model.safetensors``, ``tokenizer.json`` and ``config.json``
        name: what to call it in messages and in the stamp
        weights_sha256: sha256 the vectors' file must have, None = any

    Raises:
        EncoderError: a file is missing, damaged or of another layout, or the pin does not match.
    """

    def __init__(self, folder: str | Path, *, name: str = "", weights_sha256: str | None = None) -> None:
        folder = Path(folder)
        name = name or f"static:{folder}"
        says = _read_config(folder)
        weights = _digest(folder / _WEIGHTS)
        if weights_sha256 not in (None, weights):
            raise EncoderError(
                f"encoder {name!r}: weights_sha256 is pinned to {weights_sha256}, but {folder / _WEIGHTS} has "
                f"{weights}; get the pinned folder again, or mend the pin if the change is meant"
            )
        table = _read_table(folder)
        self._table = np.vstack([table.tokens, table.pair_vectors]).astype(np.float32)  # (n_vocabulary + n_pairs, dim)
        self._pairs, self._n_tokens = table.pairs, len(table.tokens)
        length = int(says.get("max_length") or _MAX_LENGTH)
        self._tokenizer = open_tokenizer(folder / _TOKENIZER, length)
        if self._tokenizer.get_vocab_size() != self._n_tokens:
            raise EncoderError(
                f"encoder {name!r}: {_TOKENIZER} has {self._tokenizer.get_vocab_size()} tokens, {_WEIGHTS} vectors of "
                f"{self._n_tokens}; the two files do not belong together: distil it again"
            )
        self._unknown = unknown_id(self._tokenizer)
        self.dim = int(self._table.shape[1])
        self.stamp = EncoderStamp(
            weights=weights, tokenizer=_digest(folder / _TOKENIZER), max_length=length, precision="static", name=name
        )

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """Vectors of ``texts`` in their order, (n, dim) float32, unit length; zeros for an empty or null text.

        ``kind`` is checked and changes nothing. A text's vector does not depend on the texts around it.

        Raises:
            EncoderError: ``texts`` is one string or holds something that is not text, or ``kind`` is unknown.
        """
        cleaned = clean_texts(texts, kind)
        vectors = np.zeros((len(cleaned), self.dim), dtype=np.float32)  # (n, dim)
        filled = [row for row, text in enumerate(cleaned) if text]
        for start in range(0, len(filled), _CHUNK):
            rows = filled[start : start + _CHUNK]
            ids = token_ids(self._tokenizer, [cleaned[row] for row in rows], self._unknown)
            means = features(ids, self._n_tokens, self._pairs) @ self._table  # (n_chunk, dim)
            vectors[rows] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return vectors


def open_static(folder: str | Path, *, name: str = "", weights_sha256: str | None = None) -> StaticEncoder:
    """The static encoder in ``folder``, as `distil.distil_static` or model2vec wrote it.

    Raises:
        EncoderError: there is none, or it is damaged, or the pin does not match.
    """
    return StaticEncoder(folder, name=name, weights_sha256=weights_sha256)


def write_static(table: StaticTable, tokenizer: Tokenizer, folder: str | Path, *, about: Mapping[str, Any]) -> str:
    """Write a static encoder's folder, whole or not at all; returns the sha256 of its vectors' file.

    Without pairs it is in model2vec's layout and opens there too.

    Args:
        table: the vectors; their number format is kept
        tokenizer: gives the tokens of a text, no special ones among them
        folder: must not exist yet
        about: JSON values for ``config.json``: how it was made and what it lost

    Raises:
        EncoderError: ``folder`` exists or cannot be written.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    check_new(folder)
    arrays: dict[str, NDArray[Any]] = {"embeddings": table.tokens}
    if len(table.pairs):  # under other names, for model2vec would leave the pairs out without a word
        arrays = {"tokens": table.tokens, "pairs": table.pairs, "pair_vectors": table.pair_vectors}
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": table.tokens.shape[1]}
    config |= {"normalize": True, "embedding_dtype": str(table.tokens.dtype), **about}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder.parent, ignore_cleanup_errors=True) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, made / _WEIGHTS)
            tokenizer.save(str(made / _TOKENIZER))
            (made / _CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
            weights = _digest(made / _WEIGHTS)
            os.replace(made, folder)
    except OSError as error:
        raise EncoderError(
            f"static encoder: {folder} cannot be written ({error}); make room or name another folder"
        ) from error
    return weights


def check_new(folder: str | Path) -> None:
    """Refuse a folder that is there already: a static encoder is never written over.

    Raises:
        EncoderError: it exists.
    """
    if Path(folder).exists():
        raise EncoderError(f"static encoder: {folder} exists; name a new folder or remove it")


def open_tokenizer(file: Path, max_length: int) -> Tokenizer:
    """The tokenizer in ``file``, without padding, cutting after ``max_length`` tokens.

    Raises:
        EncoderError: it is missing or unreadable.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise EncoderError(f"static encoder: {file} cannot be read ({error}); copy it there again") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """Id of the token that stands for what a tokenizer does not know, None where it has none."""
    model = json.loads(tokenizer.to_str())["model"]
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    return None if model.get("unk_token") is None else tokenizer.token_to_id(model["unk_token"])


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], unknown: int | None) -> list[list[int]]:
    """Token ids of each text, no special tokens; unknown ones left out unless there is nothing else."""
    found = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    if unknown is None:
        return found
    return [[token for token in ids if token != unknown] or [unknown] for ids in found]


def features(ids: Sequence[Sequence[int]], n_tokens: int, pairs: NDArray[np.int32]) -> csr_matrix:
    """Rows that turn a table of vectors into the means of texts.

    Args:
        ids: token ids of each text
        n_tokens: size of the vocabulary
        pairs: ids of neighbours with vectors of their own, (n_pairs, 2), sorted

    Returns:
        (n_texts, n_tokens + n_pairs) sparse float32: 1 / length at each token and at each known pair of neighbours.

    >>> features([[2, 0, 2]], 3, np.array([[0, 2]], dtype=np.int32)).toarray() * 3
    array([[1., 0., 2., 1.]], dtype=float32)
    """
    from scipy.sparse import csr_matrix

    lengths = np.array([len(text) for text in ids], dtype=np.int64)  # (n_texts,)
    columns = np.array([token for text in ids for token in text], dtype=np.int64)  # (n_all,)
    rows = np.repeat(np.arange(len(ids)), lengths)
    if len(pairs) and len(columns) > 1:
        known = pairs[:, 0].astype(np.int64) * n_tokens + pairs[:, 1]  # ascending
        asked = columns[:-1] * n_tokens + columns[1:]
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        hit = (known[at] == asked) & (rows[:-1] == rows[1:])
        columns, rows = np.concatenate([columns, n_tokens + at[hit]]), np.concatenate([rows, rows[:-1][hit]])
    weights = (1 / np.maximum(lengths, 1)).astype(np.float32)[rows]
    found = csr_matrix((weights, (rows, columns)), shape=(len(ids), n_tokens + len(pairs)), dtype=np.float32)
    found.sum_duplicates()
    return found


def _read_config(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says."""
    try:
        says = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"static encoder: {folder / _CONFIG} cannot be read ({error}); name a folder that 'tasteprint distil' made"
        ) from error
    if says.get("model_type") != "model2vec":
        raise EncoderError(
            f"static encoder: {folder} must hold a model2vec layout, got model_type {says.get('model_type')!r}; "
            "name a checkpoint without the prefix 'static:'"
        )
    return dict(says)


def _read_table(folder: Path) -> StaticTable:
    """The vectors, checked."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise EncoderError(f"static encoder: {folder / _WEIGHTS} cannot be read ({error}); copy it again") from error
    if set(arrays) == {"embeddings"}:
        tokens = arrays["embeddings"]
        return StaticTable(tokens, np.empty((0, 2), dtype=np.int32), np.empty((0, tokens.shape[1]), tokens.dtype))
    if set(arrays) == {"tokens", "pairs", "pair_vectors"}:
        return StaticTable(arrays["tokens"], arrays["pairs"], arrays["pair_vectors"])
    raise EncoderError(
        f"static encoder: {folder / _WEIGHTS} holds {', '.join(sorted(arrays))}, but one vector a token is read only; "
        "distil without vocabulary quantisation"
    )


def _digest(file: Path) -> str:
    """sha256 of a file."""
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(f"static encoder: {file} cannot be read ({error}); copy it there again") from error
