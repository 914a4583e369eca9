"""Heads trained from a shop's labels: the kind chosen, trained, calibrated and taught when to abstain.

Covers one task from sentences to a `TaskHead`, everything chosen on held-out sentences. Data is `heads.data`'s work,
one training run is `heads.train`'s, measuring is `heads.report`'s, adapting the encoder below is `heads.adapt`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...profiling.errors import ConfigError, ShopError
from ...profiling.heads.head import Network, TaskHead
from ...profiling.heads.scores import OUT_SCORES, Seen, spread_of
from ...profiling.heads.words import WordFeatures, fit_words_of
from .calibrate import choose_score, fit_temperature, log_loss, out_scores
from .config import HEADS, HeadConfig
from .data import HeadTask, Labelled
from .report import held_out_metrics

Floats = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Floats]
"""Unit vectors of texts, (n, d)."""
Progress = Callable[[str, int, int], None]

_MOST_USUAL = 2000


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A trained head and how it was chosen.

    Attributes:
        head: ready to answer
        losses: log loss in nats of each kind and length tried, after its temperature, on held-out sentences
        areas: AUROC of each out-of-scope score of the chosen kind on held-out sentences; NaN where it cannot be known
        held_out: measures on the held-out sentences, which chose it
        n_train, n_held_out: sentences
    """

    head: TaskHead
    losses: Mapping[str, float]
    areas: Mapping[str, float]
    held_out: Mapping[str, float]
    n_train: int
    n_held_out: int


def fit_head(
    task: HeadTask,
    config: HeadConfig | None = None,
    *,
    encode: Encode | None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FittedHead:
    """Train a head for a task.

    Every kind that can be is trained, then the best one for other numbers of epochs; the head of least log loss on
    held-out sentences is kept. Its temperature, out-of-scope score and the usual familiarity are set on the same
    sentences. Where they were held out of the training split, the chosen head is trained once more on all of it.

    Args:
        task: see `heads.data.head_tasks`
        config: None = the defaults
        encode: vectors of texts; None leaves only kinds that need none
        seed: of every draw; the same seed gives the same head with the same number of threads
        progress: told the kind being trained

    Raises:
        ConfigError: the kind asked for needs an encoder and there is none, or the score cannot be computed.
        ShopError: no held-out sentence is left to choose and calibrate with.
    """
    config = config or HeadConfig()
    kinds = _kinds(config, encode is not None)
    held = _Part.of(task, task.held_out, encode)
    if not held.inside.any():
        raise ShopError(
            f"labels: task {task.name!r} must have held-out sentences of its classes that differ from the training "
            "sentences, got none; add other sentences"
        )
    train = _Part.of(task, task.train, encode)
    tell = progress or (lambda *_: None)
    tried: dict[tuple[str, int], TaskHead] = {}
    losses: dict[tuple[str, int], float] = {}

    def attempt(pairs: Sequence[tuple[str, int]]) -> tuple[str, int]:
        """Train and calibrate what is new; the best of all so far."""
        for done, pair in enumerate(pairs):
            tell(f"{task.name}: {pair[0]}, {pair[1]} epochs", done, len(pairs))
            if pair not in tried:
                tried[pair], losses[pair] = _calibrated(_train(task, train, *pair, config, seed), held)
        return min(losses, key=lambda pair: losses[pair])

    lengths = [at_least(n, len(train.texts), config) for n in config.epochs]
    best = attempt([(kind, lengths[0]) for kind in kinds])
    best = attempt([(best[0], n) for n in lengths[1:]])
    head, areas = _abstaining(tried[best], held, config)
    measured = held_out_metrics(head, task, held.vectors)
    if not task.own_valid:
        again = _train(task, train.joined(held), *best, config, seed)
        head = replace(head, network=again.network, words=again.words)
    named = {f"{kind}, {epochs} epochs": loss for (kind, epochs), loss in losses.items()}
    return FittedHead(head, named, areas, measured, len(task.train.texts), len(task.held_out.texts))


def at_least(epochs: int, n: int, config: HeadConfig) -> int:
    """Epochs over n sentences, more where there would be fewer than ``min_steps`` steps.

    >>> at_least(6, 1280, HeadConfig(batch=128, min_steps=300))
    30
    """
    return max(epochs, math.ceil(config.min_steps / math.ceil(n / config.batch)))


@dataclass(frozen=True, eq=False)
class _Part:
    """Sentences with everything heads look at: place of the label (k = none of the classes), whether out of scope."""

    texts: tuple[str, ...]
    vectors: Floats | None
    rows: NDArray[np.int64]
    outside: NDArray[np.bool_]
    k: int

    @classmethod
    def of(cls, task: HeadTask, part: Labelled, encode: Encode | None) -> _Part:
        vectors = None if encode is None else np.asarray(encode(part.texts), dtype=np.float32)
        return cls(part.texts, vectors, task.rows(part), task.outside(part), len(task.classes))

    def where(self, chosen: NDArray[np.bool_]) -> _Part:
        texts = tuple(text for text, keep in zip(self.texts, chosen.tolist(), strict=True) if keep)
        vectors = None if self.vectors is None else self.vectors[chosen]
        return _Part(texts, vectors, self.rows[chosen], self.outside[chosen], self.k)

    def joined(self, other: _Part) -> _Part:
        vectors = None
        if self.vectors is not None and other.vectors is not None:
            vectors = np.concatenate([self.vectors, other.vectors])
        rows, outside = np.concatenate([self.rows, other.rows]), np.concatenate([self.outside, other.outside])
        return _Part(self.texts + other.texts, vectors, rows, outside, self.k)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Sentences of a class."""
        return self.rows < self.k


def _kinds(config: HeadConfig, has_encoder: bool) -> tuple[str, ...]:
    """Kinds to try."""
    able = tuple(name for name, kind in HEADS.items() if has_encoder or not kind.vectors)
    if config.kind == "auto":
        return able
    if config.kind not in able:
        raise ConfigError(f"kind: without an encoder must be auto or among {', '.join(able)}, got {config.kind!r}")
    return (config.kind,)


def _train(task: HeadTask, part: _Part, kind: str, epochs: int, config: HeadConfig, seed: int) -> TaskHead:
    """A head with weights, not yet calibrated."""
    from .train import Inputs, train_network

    spec = HEADS[kind]
    taught = bool(part.outside.sum() >= config.outside_from)
    part = part.where(part.inside | (part.outside & taught))  # sentences of classes too rare teach nothing
    words = fit_words_of(part.texts, at_most=config.max_terms) if spec.words else None
    hidden = config.hidden if spec.hidden else 0
    inputs = Inputs(
        part.vectors if spec.vectors else None,
        None if words is None else words.rows(part.texts),
        0 if words is None else len(words.terms),
    )
    network = train_network(
        inputs,
        part.rows,
        part.k + int(taught),
        config,
        hidden=hidden,
        epochs=epochs,
        seed=seed,
    )
    if spec.vectors and part.vectors is not None:
        network = replace(network, means=class_means(part.vectors, part.rows, part.k))
    return _uncalibrated(task, kind, network, words)


def _uncalibrated(task: HeadTask, kind: str, network: Network, words: WordFeatures | None) -> TaskHead:
    """A head that answers always, at temperature 1."""
    return TaskHead(
        task=task.name,
        kind=kind,
        classes=task.classes,
        out_label=task.out_label,
        network=network,
        words=words,
        temperature=1.0,
        out_score="energy",
        spread=(1.0, 1.0),
        usual=np.zeros(0, dtype=np.float32),
        abstain_below=0.0,
    )


def class_means(vectors: Floats, rows: NDArray[np.int64], k: int) -> Floats:
    """Unit mean vector of each class, (k, d); ``rows`` (n,) beyond k - 1 count nowhere."""
    means = np.zeros((k, vectors.shape[1]), dtype=np.float32)
    inside = rows < k
    np.add.at(means, rows[inside], vectors[inside])
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def _calibrated(head: TaskHead, held: _Part) -> tuple[TaskHead, float]:
    """The head with its temperature, and its log loss then."""
    known = held.where(held.inside)
    logits = head.see(known.texts, known.vectors).logits
    temperature = fit_temperature(logits, known.rows)
    return replace(head, temperature=temperature), log_loss(logits, known.rows, temperature)


def _abstaining(head: TaskHead, held: _Part, config: HeadConfig) -> tuple[TaskHead, dict[str, float]]:
    """The head with the score that tells held-out sentences in and out of scope apart best, and what is usual."""
    known = held.where(held.inside)
    head = replace(head, spread=spread_of(head.see(known.texts, known.vectors)))
    both = held.where(held.inside | held.outside)
    seen: Seen = head.see(both.texts, both.vectors)
    areas = out_scores(seen, both.outside)
    chosen = choose_score(areas, config.score)
    usual = np.sort(np.asarray(OUT_SCORES[chosen].score(seen), dtype=np.float32)[~both.outside])
    if len(usual) > _MOST_USUAL:
        usual = np.quantile(usual, np.linspace(0, 1, _MOST_USUAL)).astype(np.float32)
    return replace(head, out_score=chosen, usual=usual, abstain_below=config.abstain), areas
