"""Classifiers of sentences that any better one must beat: majority, TF-IDF, nearest class mean, logistic regression.

Fitted on texts and labels, they answer with a class and its probability. Protocol and metrics are `labels`' work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..profiling.errors import ConfigError
from ..profiling.heads.words import words_of

Vectors = Callable[[Sequence[str]], NDArray[np.float32]]
"""Vectors of texts, (n, d)."""
Classify = Callable[[Sequence[str]], "Predicted"]
"""Classes and probabilities of texts."""

LABEL_METHODS: dict[str, str] = {
    "majority": "the most frequent training class",
    "tfidf": "logistic regression on TF-IDF of words and, where words are not spaced, of character pairs",
    "prototype": "nearest mean vector of a class",
    "logreg": "logistic regression on vectors",
}
"""Methods of this protocol; the last two need an encoder."""

NEED_VECTORS = frozenset({"prototype", "logreg"})


@dataclass(frozen=True, eq=False)
class Predicted:
    """A class and its probability for each sentence, (n,) each.

    Attributes:
        label: the class, or the out-of-scope label where the method abstains
        confidence: probability of ``likeliest``, in [0, 1]
        likeliest: the class it would name if it had to, which calibration is about; None = ``label``
        familiarity: high = in scope, low = out of it; None where the method does not say
    """

    label: NDArray[np.object_]
    confidence: NDArray[np.floating]
    likeliest: NDArray[np.object_] | None = None
    familiarity: NDArray[np.floating] | None = None


def fit_labels(name: str, texts: Sequence[str], labels: NDArray[np.object_], encode: Vectors | None) -> Classify:
    """A classifier trained on ``texts`` and their ``labels``: sentences in, classes and probabilities out.

    ``encode`` gives vectors of texts; methods in `NEED_VECTORS` cannot do without.

    Raises:
        ConfigError: an unknown method, or vectors are needed and there are none.
    """
    if name not in LABEL_METHODS:
        raise ConfigError(f"methods: for labels must be among {', '.join(LABEL_METHODS)}, got {name!r}")
    if name == "majority":
        classes, counts = np.unique(labels.astype(str), return_counts=True)
        most, share = classes[counts.argmax()], counts.max() / counts.sum()
        return lambda asked: Predicted(np.full(len(asked), most, object), np.full(len(asked), share))
    if name == "tfidf":
        return _tfidf(texts, labels)
    if encode is None:
        raise ConfigError(f"methods: {name} needs an encoder; name one (--encoder)")
    vectors = encode(texts)
    if name == "logreg":
        return _logistic(vectors, labels, encode, inverse_penalty=10.0)
    return _prototype(vectors, labels, encode)


def _tfidf(texts: Sequence[str], labels: NDArray[np.object_]) -> Classify:
    from sklearn.feature_extraction.text import TfidfVectorizer

    features = TfidfVectorizer(tokenizer=words_of, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    try:
        rows = features.fit_transform(texts)
    except ValueError:  # nothing occurs twice in so few sentences
        features.set_params(min_df=1)
        rows = features.fit_transform(texts)
    return _logistic(rows, labels, features.transform, inverse_penalty=10.0)


def _logistic(
    rows: Any, labels: NDArray[np.object_], features: Callable[[Sequence[str]], Any], *, inverse_penalty: float
) -> Classify:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_penalty, max_iter=300, tol=1e-3)
    model.fit(rows, labels.astype(str))
    classes = model.classes_.astype(object)

    def predict(texts: Sequence[str]) -> Predicted:
        probability = model.predict_proba(features(texts))
        return Predicted(classes[probability.argmax(axis=1)], probability.max(axis=1))

    return predict


def _prototype(
    vectors: NDArray[np.float32], labels: NDArray[np.object_], encode: Vectors, *, temperature: float = 0.05
) -> Classify:
    """Nearest class mean by cosine; probabilities are a softmax of cosines over ``temperature``."""
    classes, of = np.unique(labels.astype(str), return_inverse=True)
    means = np.zeros((len(classes), vectors.shape[1]))
    np.add.at(means, of, vectors)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)

    def predict(texts: Sequence[str]) -> Predicted:
        logits = encode(texts) @ means.T / temperature
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Predicted(classes.astype(object)[logits.argmax(axis=1)], (odds.max(axis=1) / odds.sum(axis=1)))

    return predict
