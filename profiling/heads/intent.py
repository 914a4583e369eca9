"""What an intent makes of trained heads: which part each answer replaces, and what happens where a head abstains.

- ``category``: where the head answers with a path of this catalogue, its probabilities replace those of the prototypes,
  and the query counts as known. Its probability of other labels stays unknown.
- ``stage``: where it answers and all its labels are stages, its probabilities replace those of the signals.
- any other task is a free class: shown in ``answers``, and nothing else changes.

A head that abstains changes nothing: what works without training stays. What a caller overrides goes before both.
Covers applying answers; opening heads for a catalogue's encoder too, so that a query is encoded once where it can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..categories import prefixes
from ..encoders.encoder import Encoder
from ..intent.stages import STAGES
from ..intent.types import CategoryShare, Intent, levels_of
from .head import HeadAnswer
from .store import Heads, open_heads, stamp_of_heads


def open_heads_for(paths: Sequence[str | Path], encoder: Encoder) -> tuple[Heads, ...]:
    """Saved heads, each with ``encoder`` where they were trained on that very one, else with their own.

    Raises:
        ArtefactError: see `heads.store.open_heads`.
        EncoderError: an encoder of theirs cannot be opened.
    """
    return tuple(open_heads(p, encoder=encoder if stamp_of_heads(p) == encoder.stamp else None) for p in paths)


def applied(intent: Intent, answers: Sequence[HeadAnswer], paths: frozenset[str], *, top: int) -> Intent:
    """The intent with what heads answered.

    Args:
        intent: as inferred without them
        answers: one a head; of two heads for one task the later decides
        paths: every category of the catalogue and every one above it
        top: categories to name at most
    """
    if not answers:
        return intent
    for answer in answers:
        if answer.label is None:
            continue
        if answer.task == "category" and answer.label in paths:
            intent = _categorised(intent, answer, paths, top)
        elif answer.task == "stage" and {label for label, _ in answer.likely} <= set(STAGES):
            intent = _staged(intent, answer)
    said = tuple(f"head {_in_words(answer)}" for answer in answers)
    return replace(intent, answers=tuple(answers), signals=(*intent.signals, *said))


def all_paths(paths: Sequence[str]) -> frozenset[str]:
    """Categories and everything above them.

    >>> sorted(all_paths(["food > milk"]))
    ['food', 'food > milk']
    """
    return frozenset(prefix for path in paths for prefix in prefixes(path))


def _categorised(intent: Intent, answer: HeadAnswer, paths: frozenset[str], top: int) -> Intent:
    shares = tuple(CategoryShare(label, p) for label, p in answer.likely if label in paths and p > 1e-4)
    sure = max(intent.confidence, answer.probability)
    return replace(intent, categories=shares[:top], levels=levels_of(shares), confidence=sure, known=True)


def _staged(intent: Intent, answer: HeadAnswer) -> Intent:
    given = dict(answer.likely)
    total = sum(given.values())
    return replace(intent, stages={stage: given.get(stage, 0.0) / total for stage in STAGES})


def _in_words(answer: HeadAnswer) -> str:
    """An answer for a reader.

    >>> _in_words(HeadAnswer("mood", "glad", 0.9, 0.5, (("glad", 0.9),)))
    "mood: 'glad' (90%)"
    >>> _in_words(HeadAnswer("mood", None, 0.9, 0.01, (("glad", 0.9),)))
    'mood: does not know, 99% of known sentences look more familiar'
    """
    if answer.label is None:
        return f"{answer.task}: does not know, {1 - answer.familiarity:.0%} of known sentences look more familiar"
    return f"{answer.task}: {answer.label!r} ({answer.probability:.0%})"
