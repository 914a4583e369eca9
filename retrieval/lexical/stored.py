"""Search by words as plain arrays and JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..sparse_state import csr_arrays, csr_from_arrays
from .fielded import LexicalConfig, LexicalModel
from .spelling import Spelling

Arrays = dict[str, NDArray[Any]]


def lexical_state(model: LexicalModel) -> tuple[Arrays, dict[str, Any]]:
    """Arrays (for safetensors) and JSON-able values."""
    arrays = csr_arrays(model.weights) | {"idf": model.idf, "count": model.spelling.count}
    ordered = sorted(model.vocabulary, key=lambda term: model.vocabulary[term])
    meta = {
        "config": model.config.model_dump(),
        "vocabulary": ordered,
        "lengths": dict(model.lengths),
        "words": list(model.spelling.words),
    }
    return arrays, meta


def lexical_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> LexicalModel:
    """The model that `lexical_state` took apart."""
    return LexicalModel(
        config=LexicalConfig.model_validate(meta["config"]),
        vocabulary={term: row for row, term in enumerate(meta["vocabulary"])},
        idf=arrays["idf"],
        lengths=meta["lengths"],
        weights=csr_from_arrays(arrays),
        spelling=Spelling(tuple(meta["words"]), arrays["count"]),
    )
