"""Training pairs from what a shop has: one source a kind of evidence, all in the form of `examples.Examples`.

Covers the dict of sources, which of them a shop can feed, and judgements. Pairs from behaviour are in
`behaviour_pairs`, from the catalogue alone in `catalogue_pairs`; who may be trained on with whom is `splits`' and
`leaks`' work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..evaluation.gains import grade_gain
from ..profiling.errors import ConfigError, ShopError
from ..profiling.tables.shop import Shop
from ..profiling.templates import TemplateConfig, item_texts, query_text
from ..profiling.texts import TextKind
from .behaviour_pairs import (
    asked_events,
    bought_events,
    query_pairs,
    review_pairs,
    reviewed_events,
    shared_pairs,
    together_pairs,
)
from .catalogue_pairs import catalogue_pairs
from .examples import Examples, link, merge, take
from .leaks import FROM_QUERIES, later_queries
from .pairs_config import CatalogueConfig, PairsConfig
from .splits import grouped, without_near

__all__ = ["PAIR_SOURCES", "CatalogueConfig", "PairSource", "PairsConfig", "available", "shop_examples"]

Build = Callable[[Shop, PairsConfig, Sequence[str], np.random.Generator], Examples]
"""(shop, config, text of each item row, rng) -> examples, not yet grouped."""


@dataclass(frozen=True)
class PairSource:
    """One kind of evidence.

    Attributes:
        build: makes the examples
        anchor, document: what the two sides are to an encoder
        needs: what a shop must have, in words
        has: whether a shop has it
    """

    build: Build
    anchor: TextKind
    document: TextKind
    needs: str
    has: Callable[[Shop, PairsConfig], bool]


def shop_examples(
    shop: Shop, config: PairsConfig | None = None, *, template: TemplateConfig | None = None, rng: np.random.Generator
) -> Examples:
    """All examples the chosen sources make of a shop, near-duplicate anchors in one group.

    Args:
        shop: tables; items at least
        config: which sources, which judgements, until when
        template: how an item becomes a text
        rng: what is random in making pseudo-queries and sampling

    Raises:
        ConfigError: an unknown source, or one the shop has nothing for.
        ShopError: the shop has nothing to learn from, or a table names an item that is not in the catalogue.
    """
    config = PairsConfig() if config is None else config
    return grouped(merge(list(SourceParts(shop, config, template, int(rng.integers(2**63))))))


@dataclass(frozen=True, eq=False)
class SourceParts:
    """The examples of a shop one source after another, made when they are asked for: one source in memory at a time.

    Iterating again gives the same examples. Anchors of different sources are not grouped with each other.

    Attributes:
        shop, config, template: as in `shop_examples`
        seed: of what is random, each source its own stream
    """

    shop: Shop
    config: PairsConfig
    template: TemplateConfig | None
    seed: int

    def __iter__(self) -> Iterator[Examples]:
        names = _chosen(self.shop, self.config)
        texts = item_texts(self.shop.table("items"), self.template)
        for name in names:
            rng = np.random.default_rng([self.seed, list(PAIR_SOURCES).index(name)])
            made = PAIR_SOURCES[name].build(self.shop, self.config, texts, rng)
            made = _apart(made, self.shop, self.config)
            few = rng.permutation(len(made))[: self.config.most_anchors]
            yield made if len(few) == len(made) else take(made, np.sort(few))


def _chosen(shop: Shop, config: PairsConfig) -> tuple[str, ...]:
    """The configured sources, all known and all possible."""
    names = most_direct(shop, config) if config.sources == "auto" else config.sources
    for name in names:
        if name not in PAIR_SOURCES:
            raise ConfigError(f"sources must be among {', '.join(PAIR_SOURCES)}, got {name!r}")
        if not PAIR_SOURCES[name].has(shop, config):
            raise ConfigError(
                f"sources: {name!r} needs {PAIR_SOURCES[name].needs}, which shop {shop.name!r} lacks; "
                f"it has data for {', '.join(available(shop, config)) or 'none'}"
            )
    if not names:
        raise ShopError(f"shop {shop.name!r} has nothing to learn from; it needs items, judgements or events")
    return names


def _apart(made: Examples, shop: Shop, config: PairsConfig) -> Examples:
    """Without anchors, and links to queries, that are judged queries of a later split or nearly so."""
    later = later_queries(shop, config.split)
    if not later or not FROM_QUERIES & set(made.source):
        return made
    return without_near(made, later)


def available(shop: Shop, config: PairsConfig) -> tuple[str, ...]:
    """The sources a shop has data for, in the order of `PAIR_SOURCES`."""
    return tuple(name for name, source in PAIR_SOURCES.items() if source.has(shop, config))


def most_direct(shop: Shop, config: PairsConfig) -> tuple[str, ...]:
    """The sources of the first row of `DIRECT` that the shop has data for any of."""
    found = available(shop, config)
    rows = [tuple(name for name in row if name in found) for row in DIRECT]
    return next((row for row in rows if row), ())


def judged_pairs(shop: Shop, config: PairsConfig, texts: Sequence[str], rng: np.random.Generator) -> Examples:
    """Judged queries and all their judged items, with the gain of ``shop.json``; grades without gain stay as 0.

    Queries without any gain are left out. Judgements without a split count as test.
    """
    table = _judgements(shop, config)
    item = shop.item_rows(table["item_id"], "judgements")
    gain = grade_gain(table["grade"].to_numpy(np.float64), shop.meta.get("grade_gain"))
    query, queries = pd.factorize(table["query"].map(query_text), sort=True)
    total = np.bincount(query, weights=gain, minlength=len(queries))
    keep = total[query] > 0
    return link(
        [str(text) for text in queries], texts, (query[keep], item[keep]), gain=gain[keep], weight=None, source="judged"
    )


def pseudo_pairs(shop: Shop, config: PairsConfig, texts: Sequence[str], rng: np.random.Generator) -> Examples:
    """What a teacher judged (`pseudo.pseudo_labels`): trusted pairs linked, its other candidates spared."""
    from .labelling.pseudo import pseudo_links, read_pseudo

    return pseudo_links(read_pseudo(str(config.pseudo)), shop, texts)


def _judgements(shop: Shop, config: PairsConfig) -> pd.DataFrame:
    """The judgements of the split asked for."""
    table = shop.table("judgements")
    return table[table["split"].fillna("test") == config.split]


def _any(shop: Shop, config: PairsConfig, chosen: Callable[[Shop, PairsConfig], pd.DataFrame]) -> bool:
    """Whether the shop has events that a source reads."""
    return shop.items is not None and shop.events is not None and len(chosen(shop, config)) > 0


PAIR_SOURCES: Mapping[str, PairSource] = {
    "judged": PairSource(
        judged_pairs,
        "query",
        "item",
        "judgements of the split asked for",
        lambda shop, config: shop.judgements is not None and len(_judgements(shop, config)) > 0,
    ),
    "queries": PairSource(
        query_pairs, "query", "item", "events of items that a query led to", lambda s, c: _any(s, c, asked_events)
    ),
    "catalogue": PairSource(
        catalogue_pairs, "query", "item", "items", lambda shop, config: shop.items is not None and len(shop.items) > 0
    ),
    "reviews": PairSource(
        review_pairs, "review", "item", "events with a text about an item", lambda s, c: _any(s, c, reviewed_events)
    ),
    "together": PairSource(
        together_pairs, "item", "item", "events by which items were wanted", lambda s, c: _any(s, c, bought_events)
    ),
    "pseudo": PairSource(
        pseudo_pairs, "query", "item", "pairs.pseudo, a table of 'tasteprint label pseudo'", lambda s, c: bool(c.pseudo)
    ),
    "shared": PairSource(
        shared_pairs, "query", "query", "events of items that a query led to", lambda s, c: _any(s, c, asked_events)
    ),
}
"""Name -> how pairs are made of one kind of evidence."""

DIRECT: tuple[tuple[str, ...], ...] = (
    ("judged", "pseudo"),
    ("queries", "shared"),
    ("catalogue", "reviews", "together"),
)
"""Evidence from the most direct on: what people judged, what they typed and took, and what goods say of themselves."""
