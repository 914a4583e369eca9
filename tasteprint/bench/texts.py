"""Texts to time encoders on: a shop's own, or generated ones as long as product texts are.

Generated texts say nothing about fidelity at a real shop: their words are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator

from ..profiling.errors import ShopError

if TYPE_CHECKING:
    import pandas as pd

    from ..profiling.tables.shop import Shop
    from ..profiling.templates import TemplateConfig

_MEDIAN_WORDS, _SIGMA, _MOST_WORDS = 19, 0.6, 300
"""Length of generated texts: lognormal, so that the mean is near 23 words (36 tokens) and few are very long."""

_QUERY_WORDS = 4


@dataclass(frozen=True)
class BenchTexts:
    """What encoders are timed on.

    Attributes:
        items: distinct item texts, timed and compared
        others: further distinct item texts, for calibrating
        queries: short texts
        source: where they come from, in words
    """

    items: tuple[str, ...]
    others: tuple[str, ...]
    queries: tuple[str, ...]
    source: str


def bench_texts(
    shop: Path | None,
    n: int,
    *,
    n_others: int,
    n_queries: int,
    rng: Generator,
    template: TemplateConfig | None = None,
) -> BenchTexts:
    """Item texts and queries of the shop at ``shop``, or generated ones.

    A shop without judged queries lends the first words of its titles.

    Raises:
        ShopError: the shop has no items, or fewer than ten texts.
    """
    if shop is None:
        made = generated_texts(n + n_others, rng)
        return BenchTexts(made[:n], made[n:], generated_queries(n_queries, rng), "generated texts")
    from ..profiling.tables.shop import read_shop
    from ..profiling.templates import item_texts

    read = read_shop(shop, tables=["items", "judgements"])
    if read.items is None:
        raise ShopError(f"shop {shop}: bench needs items.parquet, but there is none; name a shop with items")
    distinct = [text for text in dict.fromkeys(item_texts(read.items, template)) if text]
    if len(distinct) < 10:
        raise ShopError(f"shop {shop}: bench needs 10 distinct item texts, got {len(distinct)}; name a larger shop")
    drawn = [distinct[row] for row in rng.permutation(len(distinct))[: n + n_others]]
    n = min(n, max(len(drawn) - n_others, len(drawn) // 2))
    return BenchTexts(tuple(drawn[:n]), tuple(drawn[n:]), _queries(read, n_queries, rng), f"texts of {read.name}")


def generated_texts(n: int, rng: Generator) -> tuple[str, ...]:
    """``n`` distinct texts that look like titles with descriptions."""
    from ..profiling.tables.tiny_words import GOODS

    titles = [(title, brand, category) for category, (_, brands, names, _) in GOODS.items()
              for title in names for brand in brands]  # fmt: skip
    words = sorted({word for title, _, _ in titles for word in title.split()})
    texts = []
    for number, length in enumerate(rng.lognormal(np.log(_MEDIAN_WORDS), _SIGMA, n)):
        title, brand, category = titles[int(rng.integers(len(titles)))]
        start = [*title.split(), brand, *category.replace(">", " ").split()]
        more = rng.choice(words, _MOST_WORDS).tolist()
        code = f"{brand[:2].upper()}-{number:04d}"  # makes it distinct
        texts.append(" ".join([*[*start, *more][: int(np.clip(length, 5, _MOST_WORDS))], code]))
    return tuple(texts)


def generated_queries(n: int, rng: Generator) -> tuple[str, ...]:
    """``n`` queries of one to four words."""
    from ..profiling.tables.tiny_words import GOODS

    words = sorted({word.lower() for _, _, names, _ in GOODS.values() for title in names for word in title.split()})
    return tuple(" ".join(rng.choice(words, int(rng.integers(1, _QUERY_WORDS + 1))).tolist()) for _ in range(n))


def asked_words(judgements: pd.DataFrame | None, items: pd.DataFrame | None) -> list[str]:
    """What a shop's shoppers ask: its judged queries, each once, else the first words of titles, in small letters."""
    if judgements is not None:
        return [str(query) for query in judgements["query"].dropna().unique()]
    titles = [] if items is None else items["title"].dropna().unique().tolist()
    return [" ".join(str(title).lower().split()[:_QUERY_WORDS]) for title in titles]


def _queries(shop: Shop, n: int, rng: Generator) -> tuple[str, ...]:
    found = asked_words(shop.judgements, shop.items)
    return tuple(found[row] for row in rng.permutation(len(found))[:n])
