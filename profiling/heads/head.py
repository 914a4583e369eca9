"""A head: a small trained classifier over an encoder's vectors and a text's words, calibrated, that may abstain.

Covers answering at query time: numpy only, a fraction of a millisecond a text. Training is the finetune room's work
(`finetune.heads`), files are `heads.store`'s, what an intent makes of the answers is `heads.intent`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .scores import OUT_SCORES, Seen, familiarity, softmax
from .words import WordFeatures

Floats = NDArray[np.float32]
_NOTHING = 1e-12  # familiarity of a blank text is 0: no head answers it


@dataclass(frozen=True)
class HeadAnswer:
    """What a head says about one text.

    Attributes:
        task: the head's task
        label: its class, None where the head abstains
        probability: of the likeliest class, calibrated, in [0, 1]; it supposes that the text is in scope
        familiarity: share of held-out in-scope sentences that looked less familiar or the same; 0 = a blank text
        likely: likeliest classes with their probabilities, most likely first; given even where the head abstains
    """

    task: str
    label: str | None
    probability: float
    familiarity: float
    likely: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """A readable object of plain values."""
        return {
            "task": self.task,
            "label": self.label,
            "probability": round(self.probability, 3),
            "familiarity": round(self.familiarity, 3),
            "likely": {label: round(p, 3) for label, p in self.likely[:5]},
        }


@dataclass(frozen=True, eq=False)
class Answers:
    """What a head says about n texts, k classes.

    Attributes:
        task: the head's task
        classes: labels, (k,)
        probability: calibrated, rows sum to 1, (n, k)
        score: familiarity as scored, high = in scope, (n,)
        familiarity: the same as a share of held-out sentences, in (0, 1], 0 for a blank text, (n,)
        answered: False where the head abstains, (n,)
    """

    task: str
    classes: tuple[str, ...]
    probability: Floats
    score: Floats
    familiarity: NDArray[np.float64]
    answered: NDArray[np.bool_]

    @property
    def best(self) -> NDArray[np.int64]:
        """Row in ``classes`` of the likeliest class, (n,)."""
        return self.probability.argmax(axis=1)

    @property
    def confidence(self) -> Floats:
        """Probability of the likeliest class, (n,)."""
        return self.probability.max(axis=1, initial=0.0)

    def each(self, *, most: int | None = None) -> Iterator[HeadAnswer]:
        """The answers one by one, with at most so many likely classes; None = all of them."""
        order = np.argsort(-self.probability, axis=1, kind="stable")[:, :most]
        for row, first in enumerate(order):
            likely = tuple((self.classes[c], float(self.probability[row, c])) for c in first)
            yield HeadAnswer(
                task=self.task,
                label=likely[0][0] if self.answered[row] else None,
                probability=likely[0][1],
                familiarity=float(self.familiarity[row]),
                likely=likely,
            )


@dataclass(frozen=True, eq=False)
class Network:
    """The weights of a head: dense layers over a centred vector, a sparse one over words, either may be absent.

    Attributes:
        centre, scale: vectors become (vector - centre) / scale, (d,) and a number
        layers: matrices (outputs, inputs) and biases of dense layers, ReLU between them; empty without vectors
        word_weights, word_bias: (n_terms, outputs) and (outputs,), or None without words
        means: unit mean vector of each class, (k, d), or None without vectors
    """

    centre: Floats
    scale: float
    layers: tuple[tuple[Floats, Floats], ...]
    word_weights: Floats | None
    word_bias: Floats | None
    means: Floats | None


@dataclass(frozen=True, eq=False)
class TaskHead:
    """A head for one task.

    Attributes:
        task: its name, such as ``category``, ``stage``, ``sentiment`` or ``intent:banking77``
        kind: how it is built, a key of `finetune.heads.HEADS`
        classes: labels it can answer with, k of them
        out_label: label of sentences that belong to no class, None where the shop has no such label
        network: its weights; their outputs are the classes, and at last "out of scope" where that was trained
        words: vocabulary, None without words
        temperature: logits are divided by it; set on held-out sentences (Guo et al. 2017)
        out_score: a key of `OUT_SCORES`
        spread: what brings the parts of a summed score to one scale, see `Seen`
        usual: ``out_score`` of held-out in-scope sentences, ascending, (m,)
        abstain_below: familiarity below which it abstains, in [0, 1)
    """

    task: str
    kind: str
    classes: tuple[str, ...]
    out_label: str | None
    network: Network
    words: WordFeatures | None
    temperature: float
    out_score: str
    spread: tuple[float, float]
    usual: Floats
    abstain_below: float

    @property
    def needs_vectors(self) -> bool:
        """Whether it looks at the encoder's vectors."""
        return bool(self.network.layers)

    def see(self, texts: Sequence[str], vectors: Floats | None) -> Seen:
        """Logits and what else scores look at.

        Raises:
            ConfigError: the head needs vectors and they are absent or of another shape.
        """
        logits = forward(self.network, self.words, texts, self._checked(texts, vectors))
        k = len(self.classes)
        outside = logits[:, k] if logits.shape[1] > k else None
        own = vectors if self.needs_vectors else None
        return Seen(logits[:, :k], outside, own, self.network.means, self.spread)

    def answer(self, texts: Sequence[str], vectors: Floats | None = None) -> Answers:
        """Class, calibrated probability and familiarity of each text.

        Args:
            texts: as typed
            vectors: unit vectors of the texts by the head's own encoder, (n, d); None for a head of words alone

        Raises:
            ConfigError: the head needs vectors and they are absent or of another shape.
        """
        seen = self.see(texts, vectors)
        score = np.asarray(OUT_SCORES[self.out_score].score(seen), dtype=np.float32)
        blank = np.array([not text.strip() for text in texts], dtype=bool)
        share = np.where(blank, 0.0, familiarity(score, self.usual))
        return Answers(
            task=self.task,
            classes=self.classes,
            probability=softmax(seen.logits / np.float32(self.temperature)),
            score=score,
            familiarity=share,
            answered=share >= max(self.abstain_below, _NOTHING),
        )

    def _checked(self, texts: Sequence[str], vectors: Floats | None) -> Floats | None:
        if not self.needs_vectors:
            return None
        want = (len(texts), len(self.network.centre))
        if vectors is None or vectors.shape != want:
            got = None if vectors is None else vectors.shape
            raise ConfigError(f"vectors must be {want} for these texts and head {self.task!r}, got {got}")
        return np.asarray(vectors, dtype=np.float32)


def forward(network: Network, words: WordFeatures | None, texts: Sequence[str], vectors: Floats | None) -> Floats:
    """Logits of texts, (n, outputs)."""
    total: Floats | None = None
    if vectors is not None and network.layers:
        total = (vectors - network.centre) / np.float32(network.scale)
        for place, (matrix, bias) in enumerate(network.layers):
            total = np.maximum(total, 0) if place else total
            total = total @ matrix.T + bias
    if words is not None and network.word_weights is not None and network.word_bias is not None:
        by_words = words.rows(texts).times(network.word_weights) + network.word_bias
        total = by_words if total is None else total + by_words
    if total is None:
        raise ConfigError("head: it has neither layers over vectors nor weights of words; train it again")
    return total
