"""Is this text about this catalogue at all? A calibrated yes or no, learned from the catalogue alone.

Covers made-up queries (titles and pieces of titles, some with slips), made-up nonsense (shuffled letters) and ordinary
sentences that no shopper types into a shop's search, and a small non-negative logistic model over the evidence that
tells them apart. Which category is meant is `prototypes`' work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

FEATURES: tuple[str, ...] = ("nearest", "near", "known", "together", "spelling", "concentration")
"""Evidence columns: cosine to the nearest anchor or category, mean cosine to the ten nearest anchors, share of the
query's information the catalogue knows, share one item holds, letters, concentration of the category distribution."""

SENTENCES: tuple[str, ...] = (
    "will it rain in the mountains tomorrow afternoon",
    "remind me to call my sister at six",
    "what is the capital of that country again",
    "tell me a joke about a penguin",
    "how many people live on this island",
    "translate good morning into spanish for me",
    "my flight was late and i missed the connection",
    "please move tuesday's meeting to thursday",
    "how much money is left on my account",
    "i forgot the code for my card",
    "why was the payment declined yesterday",
    "who won the football match last night",
    "what does this word mean exactly",
    "set an alarm for a quarter to seven",
    "is the restaurant on the corner open on sunday",
    "book a table for four people tonight",
    "how do i get to the train station from here",
    "i would like to talk to a human being",
    "are you a robot or a real person",
    "what time is it in tokyo right now",
    "my back hurts when i sit for too long",
    "send a message to my boss that i am ill",
    "what should i cook for dinner this evening",
    "how old is the universe according to science",
    "when is the next public holiday",
    "i moved house, how do i change my address",
    "transfer two hundred to my landlord every month",
    "is it safe to swim after eating",
    "what is the meaning of life",
    "read me the news of this morning",
    "how do taxes work for people with two jobs",
    "the app keeps asking me to log in again",
    "play the song i listened to on friday",
    "how long does the visa application take",
    "sorry, could you repeat that more slowly",
    "thank you very much, that was all",
    "what languages do you speak",
    "flip a coin and tell me the result",
    "who wrote the book we read at school",
    "do i need a vaccination before travelling there",
    "my wallet was stolen and i want to block everything",
    "explain how interest on a loan is calculated",
    "how many calories are in a slice of bread",
    "which bus goes to the airport after midnight",
    "i cannot remember whether i locked the door",
    "change your name to something friendlier",
    "spell the longest word you know",
    "what happened on this day a hundred years ago",
    "how far away is the nearest hospital",
    "did my salary arrive this month",
)
"""Ordinary sentences, written for this file, that ask a shop's catalogue for nothing."""


@dataclass(frozen=True, eq=False)
class Relevance:
    """P(about this catalogue) = logistic(bias + weights . (features - mean) / scale); weights are >= 0."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: float

    def probability(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of rows of `FEATURES`, (n, 6) -> (n,)."""
        logit = self.bias + ((features - self.mean) / self.scale) @ self.weights
        return (1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30)))).astype(np.float32)


def fit_relevance(
    features: NDArray[np.float32],
    about: NDArray[np.bool_],
    *,
    prior: float = 0.5,
    ridge: float = 0.02,
    rounds: int = 1500,
) -> Relevance:
    """Logistic regression with weights >= 0 by accelerated projected gradient, shifted to a prior.

    Both classes weigh the same in the fit; ``prior`` then moves the bias by its log odds (Elkan, The foundations of
    cost-sensitive learning, 2001, theorem 2).

    Args:
        features: rows of `FEATURES`, (n, 6)
        about: whether each row is about the catalogue, (n,), both kinds present
        prior: share of texts that are about the catalogue where the model will be used
        ridge: L2 penalty on the standardised weights
        rounds: gradient steps of Nesterov's method
    """
    mean = features.mean(axis=0)
    scale = np.maximum(features.std(axis=0), 1e-3)
    x = np.column_stack([(features - mean) / scale, np.ones(len(features))]).astype(np.float64)
    y = about.astype(np.float64)
    share = np.where(about, 0.5 / max(about.sum(), 1), 0.5 / max((~about).sum(), 1))
    step = 1.0 / (0.25 * float(np.einsum("n,nd,nd->", share, x, x)) + ridge)
    penalty = np.concatenate([np.full(x.shape[1] - 1, ridge), [0.0]])
    w = ahead = np.zeros(x.shape[1])
    for i in range(rounds):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ ahead, -30, 30)))
        new = ahead - step * (x.T @ (share * (p - y)) + penalty * ahead)
        new[:-1] = np.maximum(new[:-1], 0.0)
        ahead = new + i / (i + 3.0) * (new - w)
        w = new
    return Relevance(
        mean.astype(np.float32),
        scale.astype(np.float32),
        w[:-1].astype(np.float32),
        float(w[-1] + np.log(prior / (1 - prior))),
    )


def made_up_queries(titles: Sequence[str], n: int, *, rng: Generator) -> tuple[NDArray[np.int64], list[str]]:
    """Item rows and texts of up to ``n`` made-up queries: a quarter whole titles, the rest one to five of their words.

    One piece in six gets one slip of the finger. Titles without words are passed over.
    """
    rows = rng.permutation(len(titles))[:n]
    kept, texts = [], []
    for row in rows.tolist():
        said = titles[row].split()
        if not said:
            continue
        if rng.random() > 0.25 and len(said) > 1:
            some = np.sort(rng.choice(len(said), min(int(rng.integers(1, 6)), len(said)), replace=False))
            said = [said[i].strip(",;()") for i in some.tolist()]
            if rng.random() < 1 / 6:
                i = int(rng.integers(len(said)))
                said[i] = slip(said[i], rng=rng)
        text = " ".join(said).lower().strip()
        if any(c.isalnum() for c in text):
            kept.append(row)
            texts.append(text)
    return np.asarray(kept, dtype=np.int64), texts


def slip(word: str, *, rng: Generator) -> str:
    """A word with two neighbours swapped, a letter doubled or a letter gone; words under four letters unchanged."""
    if len(word) < 4:
        return word
    i = int(rng.integers(1, len(word) - 1))
    kind = int(rng.integers(3))
    if kind == 0:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + word[i] * 2 + word[i + 1 :] if kind == 1 else word[:i] + word[i + 1 :]


def shuffled(text: str, *, rng: Generator) -> str:
    """A text with the letters inside each word shuffled: right letters, wrong words."""
    return " ".join("".join(rng.permutation(list(word)).tolist()) for word in text.split())
