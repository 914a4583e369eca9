"""Which item text serves plain dense search best: one knob of `TemplateConfig` turned at a time.

Usage: python benchmarks/templates.py SHOPS [--docs 300] [--cache DIR] [--encoder NAME] [--held-out]

SHOPS is the folder that holds the shops. Every figure is a mean reciprocal rank over a pool of items, kept small so
that the table takes minutes. Tasks, none of which touches a test query:

- ``judged``: validation queries of a shop with graded judgements; relevant are the items at the shop's threshold
- ``review``: what a shopper wrote about an item before the validation period finds the item
- ``known``: three words drawn from an item's columns, half of them from the title, find the item (simulated known-item
  queries: Azzopardi, de Rijke and Balog, SIGIR 2007), on every shop with attributes
- ``title``: the title finds the item when it is left out of the item's text

``+-`` is the standard error of the paired difference from the base template. ``--held-out`` prints one figure instead:
the default template on the test queries of shops that have no others, to be looked at and never to be chosen by.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasteprint.profiling.embedding.embeddings import embed_texts
from tasteprint.profiling.encoders.encoder import EncoderConfig, TextKind, open_encoder
from tasteprint.profiling.tables.shop import Shop, read_shop
from tasteprint.profiling.templates import FieldName, TemplateConfig, item_texts, query_text, readable_attributes

Encode = Callable[[list[str], TextKind], NDArray[np.float32]]

BASE = TemplateConfig(
    fields=("title", "brand", "category", "description", "attributes"),
    labels="attributes",
    separator=". ",
    category="root_first",
    max_attributes=16,
    skip_repeated=True,
)
VARIANTS: dict[str, dict[str, object]] = {
    "base": {},
    "title": {"fields": ("title",)},
    "title brand category": {"fields": ("title", "brand", "category")},
    "no description": {"fields": ("title", "brand", "category", "attributes")},
    "no attributes": {"fields": ("title", "brand", "category", "description")},
    "brand first": {"fields": ("brand", "title", "category", "description", "attributes")},
    "category first": {"fields": ("category", "title", "brand", "description", "attributes")},
    "description last": {"fields": ("title", "brand", "category", "attributes", "description")},
    "labels none": {"labels": "none"},
    "labels all": {"labels": "all"},
    "labels all, 8 attributes": {"labels": "all", "max_attributes": 8},
    "labels all, 8 attributes, separator |": {"labels": "all", "max_attributes": 8, "separator": " | "},
    "4 attributes": {"max_attributes": 4},
    "8 attributes": {"max_attributes": 8},
    "repeats kept": {"skip_repeated": False},
    "separator ,": {"separator": ", "},
}


@dataclass(frozen=True, eq=False)
class Task:
    """Queries and the items of a pool they should find.

    Attributes:
        name: task and shop
        queries: texts
        relevant: row of the pool and row of the query of each relevant pair, (n_pairs,) each
        pool: items searched
        without: columns hidden from the item's text
    """

    name: str
    queries: list[str]
    relevant: tuple[NDArray[np.int64], NDArray[np.int64]]
    pool: pd.DataFrame
    without: tuple[FieldName, ...] = ()


def tasks(shops: Path, n_docs: int, rng: np.random.Generator) -> Iterator[Task]:
    """Every task the shops in a folder allow."""
    for path in sorted(p.parent for p in shops.glob("*/items.parquet")):
        shop = read_shop(path)
        judged = shop.judgements is not None and (shop.judgements["split"] == "valid").any()
        if judged:
            yield judged_task(shop, n_docs, rng)
        if shop.items is None or shop.items["attributes"].notna().mean() < 0.5:
            continue
        rich = shop.items[shop.items["attributes"].map(lambda a: len(readable_attributes(a)) >= 3)]
        if shop.events is not None and shop.events["text"].notna().any():
            reviews = review_task(shop, rich, n_docs, rng)
            pool = reviews.pool
            yield reviews
        elif len(rich) >= n_docs:
            pool = rich.iloc[np.sort(rng.choice(len(rich), n_docs, replace=False))]
        else:
            continue
        yield known_task(shop.name, pool, rng)
        if pool["description"].notna().mean() > 0.5:
            titles = [query_text(title) for title in pool["title"]]
            yield Task(f"title {shop.name}", titles, (np.arange(len(pool)), np.arange(len(pool))), pool, ("title",))


def judged_task(shop: Shop, n_docs: int, rng: np.random.Generator, split: str = "valid") -> Task:
    """Queries of one split against their judged items and as many others."""
    judgements, items = shop.table("judgements"), shop.table("items")
    judged = judgements[judgements["split"] == split]
    threshold = shop.meta["protocols"]["search"].get("relevant_from", judged["grade"].max())
    good = judged[judged["grade"] >= threshold]
    others = items["item_id"].iloc[rng.choice(len(items), min(len(items), 2 * n_docs), replace=False)]
    pool = items[items["item_id"].isin({*judged["item_id"], *others})]
    queries = sorted(good["query"].unique())
    row = pd.Index(pool["item_id"]).get_indexer(good["item_id"])
    of = pd.Index(queries).get_indexer(good["query"])
    return Task(f"judged {shop.name}", [query_text(q) for q in queries], (row, of), pool)


def known_task(name: str, pool: pd.DataFrame, rng: np.random.Generator) -> Task:
    """Five simulated queries an item, of three words each."""
    queries, row = [], []
    for at, item in enumerate(pool.to_dict("records")):
        values = [value for said in readable_attributes(item["attributes"]).values() for value in said]
        others = [item[c] for c in ("brand", "category", "description") if isinstance(item[c], str)]
        title, rest = words_of([item["title"]]), words_of([*others, *values])
        for _ in range(5):
            from_title = title if rng.random() < 0.5 or not rest else rest
            drawn = [str(rng.choice(source)) for source in (title or rest, rest or title, from_title or rest)]
            queries.append(" ".join(dict.fromkeys(drawn)))
            row.append(at)
    return Task(f"known {name}", queries, (np.array(row), np.arange(len(queries))), pool)


def review_task(shop: Shop, items: pd.DataFrame, n_docs: int, rng: np.random.Generator) -> Task:
    """One review an item, at least eight words long, written before the validation period."""
    events = shop.table("events")
    cut = shop.meta["protocols"]["time_split"]["valid_from"]
    early = events[events["text"].notna() & (events["at"] < pd.Timestamp(cut).tz_localize(None))]
    long = early[early["text"].str.split().str.len() >= 8]
    one = long.sample(frac=1, random_state=int(rng.integers(1 << 31))).drop_duplicates("item_id")
    one = one[one["item_id"].isin(items["item_id"])].head(n_docs)
    pool = items.set_index("item_id", drop=False).loc[one["item_id"]]
    queries = [" ".join(text.split()[:64]) for text in one["text"]]
    return Task(f"review {shop.name}", queries, (np.arange(len(one)), np.arange(len(one))), pool)


def words_of(texts: Sequence[str]) -> list[str]:
    """Words of two letters and more, lower case."""
    return re.findall(r"[^\W\d_]{2,}", " ".join(texts).lower())


def reciprocal_ranks(task: Task, template: TemplateConfig, encode: Encode) -> NDArray[np.float64]:
    """One over the rank of each query's first relevant item, (n_queries,)."""
    shown = task.pool.assign(**dict.fromkeys(task.without))
    scores = encode(task.queries, "query") @ encode(item_texts(shown, template), "item").T  # (n_queries, n_pool)
    row, of = task.relevant
    best = np.full(len(task.queries), -np.inf)
    np.maximum.at(best, of, scores[of, row])
    above = (scores > best[:, None] + 1e-6).sum(axis=1)
    tied = (np.abs(scores - best[:, None]) <= 1e-6).sum(axis=1) - 1
    return 1 / (1 + above + tied / 2)


def print_table(found: Sequence[Task], encode: Encode) -> None:
    """One row a template."""
    heads = [f"{task.name} ({len(task.queries)} queries, {len(task.pool)} items)" for task in found]
    print("| template | " + " | ".join(heads) + " | mean |\n" + "|---" * (len(found) + 2) + "|", flush=True)
    base: list[NDArray[np.float64]] = []
    for name, changes in VARIANTS.items():
        got = [reciprocal_ranks(task, BASE.model_copy(update=changes), encode) for task in found]
        base = base or got
        cells = [cell(mine, theirs) for mine, theirs in zip(got, base, strict=True)]
        print(f"| {name} | " + " | ".join(cells) + f" | {np.mean([g.mean() for g in got]):.4f} |", flush=True)


def cell(mine: NDArray[np.float64], base: NDArray[np.float64]) -> str:
    """Mean, and the standard error of its paired difference from the base."""
    difference = mine - base
    error = f" +-{difference.std() / len(difference) ** 0.5:.4f}" if difference.any() else ""
    return f"{mine.mean():.4f}{error}"


def print_held_out(shops: Path, n_docs: int, rng: np.random.Generator, encode: Encode) -> None:
    """The default template and bare titles on shops that have test queries only."""
    for path in sorted(p.parent for p in shops.glob("*/judgements.parquet")):
        shop = read_shop(path, tables=["items", "judgements"])
        if set(shop.table("judgements")["split"]) == {"test"}:
            task = judged_task(shop, n_docs, rng, "test")
            for name, template in {"default": TemplateConfig(), "title": TemplateConfig(fields=("title",))}.items():
                rank = reciprocal_ranks(task, template, encode).mean()
                print(f"{shop.name}: {name} {rank:.4f} ({len(task.queries)} queries, {len(task.pool)} items)")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shops", type=Path)
    parser.add_argument("--docs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--encoder", default=EncoderConfig().name)
    parser.add_argument("--held-out", action="store_true")
    asked = parser.parse_args()
    encoder, rng = open_encoder(EncoderConfig(name=asked.encoder)), np.random.default_rng(asked.seed)

    def encode(texts: list[str], kind: TextKind) -> NDArray[np.float32]:
        return embed_texts(texts, encoder, asked.cache, kind=kind)

    if asked.held_out:
        print_held_out(asked.shops, asked.docs, rng, encode)
    else:
        print_table(list(tasks(asked.shops, asked.docs, rng)), encode)


if __name__ == "__main__":
    main()
