"""What a catalogue says of its items, as numbers the taste model starts from: whitened text, words and attributes.

An item that nobody has bought yet has these and nothing else, so it gets a vector of its own from the first day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...profiling.axes import unit_rows, whiten
from ..lexical import words
from ..scorer import TrainingSet
from .config import TasteConfig

Float = NDArray[np.float32]

_NAMED = 3  # a text value of at most so many words is a name; a longer one is read word by word


@dataclass(frozen=True, eq=False)
class Features:
    """Unit rows of text, then unit rows of words, side by side; zeros where nothing is known.

    Attributes:
        rows: (n_items, n_features) float32
        n_text: how many of the first columns are text
        bag: weight of each word in each item, unit rows, (n_items, n_words) float32 CSR
    """

    rows: Float
    n_text: int
    bag: sp.csr_matrix


def item_features(train: TrainingSet, config: TasteConfig, *, rng: np.random.Generator) -> Features:
    """What the catalogue says of each item; ``rng`` starts the decomposition of the words."""
    n_items = train.log.n_items
    parts: list[Float] = [np.zeros((n_items, 0), dtype=np.float32)]
    if config.text and train.vectors is not None:
        parts.append(whiten(train.vectors, config.text))
    n_text = sum(part.shape[1] for part in parts)
    counts = sp.csr_matrix((n_items, 0), dtype=np.float32)
    if config.words or config.vocabulary:
        counts = weighted_words([item_words(row) for row in train.items.to_dict("records")])
    if config.words:
        parts.append(strongest(counts, config.words, rng=rng))
    return Features(np.concatenate(parts, axis=1), n_text, commonest(counts, config.vocabulary))


def strongest(counts: sp.csr_matrix, dim: int, *, rng: np.random.Generator) -> Float:
    """Strongest directions of ``counts`` (n, n_words) as unit rows, (n, at most ``dim``)."""
    from sklearn.decomposition import TruncatedSVD

    most = min(dim, counts.shape[1] - 1, counts.shape[0] - 1)
    if most < 1:
        return np.zeros((counts.shape[0], 0), dtype=np.float32)
    return unit_rows(TruncatedSVD(most, random_state=int(rng.integers(2**31))).fit_transform(counts))


def commonest(counts: sp.csr_matrix, most: int) -> sp.csr_matrix:
    """The ``most`` columns that most rows have, the first of equals, (n, at most ``most``)."""
    held = np.bincount(counts.indices, minlength=counts.shape[1])
    return counts[:, np.sort(np.argsort(-held, kind="stable")[:most])].tocsr()


def weighted_words(texts: list[list[str]]) -> sp.csr_matrix:
    """TF-IDF of each list of words with sublinear counts, of words that at least two lists have, (n, n_words)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vocabulary: dict[str, int] = {}
    for text in texts:
        for word in set(text):
            vocabulary[word] = vocabulary.get(word, 0) + 1
    shared = sorted(word for word, n in vocabulary.items() if n > 1)
    if not shared:
        return sp.csr_matrix((len(texts), 0), dtype=np.float32)
    counter = TfidfVectorizer(sublinear_tf=True, lowercase=False, analyzer=_itself, vocabulary=shared, dtype=np.float32)
    return counter.fit_transform(texts)


def item_words(row: Mapping[Any, Any]) -> list[str]:
    """Words of an item's title, its brand, every level of its category, and its attributes; told apart by a prefix.

    >>> item_words({"title": "Red Mug", "brand": "Acme", "category": "Home > Mugs", "attributes": '{"volume": 2}'})
    ['w:red', 'w:mug', 'b:Acme', 'c:Home', 'c:Home > Mugs', 'a:volume=2']
    """
    title, brand, category, attributes = (row.get(name) for name in ("title", "brand", "category", "attributes"))
    found = [f"w:{word}" for word in words(title)] if isinstance(title, str) else []
    if isinstance(brand, str):
        found.append(f"b:{brand}")
    if isinstance(category, str):
        levels = category.split(" > ")
        found += [f"c:{' > '.join(levels[:depth])}" for depth in range(1, len(levels) + 1)]
    if isinstance(attributes, str):
        for name, value in json.loads(attributes).items():
            for one in value if isinstance(value, list) else [value]:
                inside = words(str(one))
                named = not isinstance(one, str) or len(inside) <= _NAMED
                found += [f"a:{name}={one}"] if named else [f"w:{word}" for word in inside]
    return found


def _itself(text: list[str]) -> list[str]:
    return text
