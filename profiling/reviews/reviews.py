"""Reviews understood: how a shopper feels and about what, from their own words, with no labels needed.

`understand_review` reads one text; `fit_opinions` (see `opinions`) adapts it to a shop; `rate_by_words` lets unrated
reviews count in interest with their sign. A text in a language that is not known is said to be unknown: polarity NaN,
confidence 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .aspects import AspectOpinion, aspect_opinions, fit_aspects, general_aspects
from .opinions import OpinionModel, polarity_of, read


@dataclass(frozen=True)
class ReviewOpinion:
    """What one review says.

    Attributes:
        polarity: from -1 (bad) to 1 (good); NaN where it is not known
        confidence: from 0 (not known) to 1
        aspects: what is praised or complained about, in order of mention
    """

    polarity: float
    confidence: float
    aspects: tuple[AspectOpinion, ...]


@dataclass(frozen=True)
class AspectSummary:
    """What a shopper said of one aspect over all their reviews: mean polarity, number of mentions and one quote."""

    aspect: str
    polarity: float
    mentions: int
    quote: str


def understand_review(
    text: str | None, *, model: OpinionModel | None = None, aspects: frozenset[str] | None = None
) -> ReviewOpinion:
    """Polarity, confidence and aspects of one review.

    Args:
        text: the review; null and empty are not known
        model: a shop's own model; the plain rules if None
        aspects: a shop's own aspects (`shop_aspects`); the general ones if None

    >>> found = understand_review("The fabric is lovely but the zipper broke.")
    >>> [(a.aspect, a.polarity > 0, a.quote) for a in found.aspects]
    [('fabric', True, 'The fabric is lovely'), ('zipper', False, 'the zipper broke')]
    """
    model = model or OpinionModel()
    reading = read(text)
    polarity, confidence = polarity_of(reading, model)
    if not text or not reading.hits or reading.english < model.config.english:
        return ReviewOpinion(polarity, confidence, ())
    named = general_aspects() if aspects is None else aspects
    return ReviewOpinion(polarity, confidence, tuple(aspect_opinions(text, reading.sentences, named)))


def shop_aspects(texts: Sequence[str | None], *, least_uses: int = 15) -> frozenset[str]:
    """The aspects a shop's reviewers talk about, with the general ones."""
    return fit_aspects((read(text).sentences for text in texts if text), least_uses=least_uses)


def summarise(
    opinions: Sequence[ReviewOpinion], *, top: int = 5
) -> tuple[tuple[AspectSummary, ...], tuple[AspectSummary, ...]]:
    """What a shopper praises and what they complain about, most mentioned first, at most ``top`` each."""
    said: dict[str, list[AspectOpinion]] = defaultdict(list)
    for opinion in opinions:
        for aspect in opinion.aspects:
            said[aspect.aspect].append(aspect)
    rows = []
    for name, mentions in said.items():
        mean = sum(m.polarity for m in mentions) / len(mentions)
        telling = max(mentions, key=lambda m: m.polarity * (1 if mean >= 0 else -1))
        rows.append(AspectSummary(name, mean, len(mentions), telling.quote))
    rows.sort(key=lambda row: (-row.mentions * abs(row.polarity), row.aspect))
    praised = tuple(row for row in rows if row.polarity > 0.2)[:top]
    return praised, tuple(row for row in rows if row.polarity < -0.2)[:top]


def rate_by_words(
    events: pd.DataFrame, *, rating_scale: str | None, model: OpinionModel | None = None, least_confidence: float = 0.5
) -> pd.DataFrame:
    """Events with a rating read from the words where a review has a text and no rating.

    The rating is the polarity on the shop's scale, so that `log.event_log` weighs it with its sign; texts read with
    less than ``least_confidence`` stay unrated. The table given is not changed.
    """
    if "text" not in events:
        return events
    ratings = (
        pd.to_numeric(events["rating"]).to_numpy(np.float64, na_value=np.nan, copy=True)
        if "rating" in events
        else np.full(len(events), np.nan)
    )
    wanted = np.flatnonzero(np.isnan(ratings) & events["text"].notna().to_numpy())
    middle, half = (0.5, 0.5) if rating_scale == "0/1" else (3.0, 2.0)
    model = model or OpinionModel()
    for row, text in zip(wanted, events["text"].iloc[wanted], strict=True):
        polarity, confidence = polarity_of(read(text), model)
        if confidence >= least_confidence:
            ratings[row] = middle + half * polarity
    return events.assign(rating=ratings)
