"""Heads written by hand, small enough to work out on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasteprint.profiling.heads.head import Network, TaskHead
from tasteprint.profiling.heads.words import fit_words_of

ROOT_HALF = float(np.sqrt(0.5))


def linear_head(task: str = "stage", classes: tuple[str, ...] = ("browse", "compare")) -> TaskHead:
    """Two classes along the axes of the plane: logits = 2 x vector, classes' means are the axes."""
    network = Network(
        centre=np.zeros(2, dtype=np.float32),
        scale=0.5,
        layers=((np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.float32)),),
        word_weights=None,
        word_bias=None,
        means=np.eye(2, dtype=np.float32),
    )
    return TaskHead(
        task=task,
        kind="linear",
        classes=classes,
        out_label=None,
        network=network,
        words=None,
        temperature=1.0,
        out_score="likeness",
        spread=(1.0, 1.0),
        usual=np.array([0.8, 0.9, 1.0], dtype=np.float32),
        abstain_below=0.3,
    )


def word_head(task: str = "mood") -> TaskHead:
    """ "good" means glad, "bad" means sad."""
    words = fit_words_of(["good", "good", "bad", "bad"])
    weights = np.zeros((2, 2), dtype=np.float32)
    weights[words.terms.index("good"), 0] = weights[words.terms.index("bad"), 1] = 4.0
    network = Network(np.zeros(0, dtype=np.float32), 1.0, (), weights, np.zeros(2, dtype=np.float32), None)
    head = linear_head(task, ("glad", "sad"))
    usual = np.array([2.0, 4.0], dtype=np.float32)
    return replace(head, kind="words", network=network, words=words, out_score="max_logit", usual=usual)
