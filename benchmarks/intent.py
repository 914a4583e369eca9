"""What intent inference is worth on real shops: one table a part, printed as Markdown.

Usage: python benchmarks/intent.py SHOPS [--parts confidence category brand specificity speed] [--encoder NAME]
       [--cache DIR] [--seed 0]

SHOPS is the folder that holds the shops. Which shop serves which part follows from its tables: judged queries of the
valid split for ``confidence`` and (train too) ``specificity``, a category column for ``category``, a brand column for
``brand``. Catalogues above 12,000 items (titles for ``category``) are sampled, except for ``speed``. No query of a test
split is read.

- ``confidence``: area under the ROC curve of confidence, queries of the shop against texts that ask it for nothing:
  their own letters shuffled, labelled sentences of shops without items, titles of other shops
- ``category``: a fifth of the distinct titles leaves the catalogue before fitting, then whole titles and pieces of them
  must name their own category; items are embedded by title alone, so that no category leaks in
- ``brand``: made-up queries (brand and two words of a title, in a random order; the two words alone)
- ``specificity``: Spearman correlation with how alike the relevant items of a query are, where it has five and more
- ``speed``: one inference without the encoder, processor time
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from tasteprint.profiling.catalogue_words import fit_words
from tasteprint.profiling.embedding.embeddings import embed_texts
from tasteprint.profiling.encoders.encoder import Encoder, EncoderConfig, TextKind, open_encoder
from tasteprint.profiling.intent.facets import fit_facets, word_texts
from tasteprint.profiling.intent.intent import Intent, IntentModel, fit_intent
from tasteprint.profiling.intent.relevance import made_up_queries, shuffled
from tasteprint.profiling.intent.units import words
from tasteprint.profiling.tables.shop import Shop, read_shop

MOST_ITEMS = 12_000
MOST_TEXTS = 1_000


class Cached:
    """An encoder whose vectors are kept on disk."""

    def __init__(self, encoder: Encoder, folder: Path | None) -> None:
        self.encoder, self.folder = encoder, folder
        self.dim, self.stamp = encoder.dim, encoder.stamp

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """Vectors of ``texts``, from disk where they are there."""
        return embed_texts(list(texts), self.encoder, self.folder, kind=kind)


def sampled(items: pd.DataFrame) -> pd.DataFrame:
    """At most `MOST_ITEMS` rows, the same ones every time."""
    return items.sample(min(MOST_ITEMS, len(items)), random_state=0).reset_index(drop=True)


def confidence(shops: list[Shop], encoder: Encoder, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """Rows of the confidence table."""
    yield "shop", "calibrated with", "against", "texts", "AUC", "known: queries", "known: these", "help: these"
    for shop in shops:
        if shop.judgements is None or not (shop.judgements["split"] == "valid").any():
            continue
        queries = sorted(set(shop.judgements.loc[shop.judgements["split"] == "valid", "query"]))
        items = sampled(shop.items)
        others = {"own letters shuffled": [shuffled(query, rng=rng) for query in queries], **nothing_asked(shops, shop)}
        vectors = encoder.encode(items["title"].tolist())
        for name, used in (("made-up queries", encoder), ("items alone", None)):
            model = fit_intent(items, vectors, rng=np.random.default_rng(0), encoder=used)
            real = [intent.confidence for intent in ask(model, encoder, queries)]
            for against, texts in others.items():
                found = ask(model, encoder, texts)
                auc = roc_auc_score([1] * len(real) + [0] * len(texts), real + [i.confidence for i in found])
                known = np.mean(np.asarray(real) >= model.config.known_from)
                helps = np.mean([i.stage == "get_help" for i in found])
                yield (
                    *(shop.name, name, against, str(len(texts)), f"{auc:.3f}", f"{known:.0%}"),
                    *(f"{np.mean([i.known for i in found]):.0%}", f"{helps:.0%}"),
                )


def nothing_asked(shops: list[Shop], but: Shop) -> dict[str, list[str]]:
    """Sentences of shops without items (train and valid, by the first part of the label) and titles of other shops."""
    found: dict[str, list[str]] = {}
    for shop in shops:
        if shop.items is None and shop.labels is not None and (shop.labels["task"] == "intent").any():
            labels = shop.labels[shop.labels["split"] != "test"]
            for name, group in labels.groupby(labels["label"].str.split("/").str[0]):
                found[f"sentences: {name}"] = some(group["text"])
            outside = labels[labels["label"] == shop.meta.get("out_of_scope_label")]
            if len(outside):
                found[f"sentences: {shop.meta['out_of_scope_label']}"] = some(outside["text"])
        elif shop.items is not None and shop.name != but.name and "category" in shop.items and has(shop, "category"):
            found[f"titles of {shop.name}"] = some(shop.items["title"].str.lower())
    return found


def category(shops: list[Shop], encoder: Encoder, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """Rows of the category table."""
    yield "shop", "categories", "asked with", "texts", "level", "first right", "in first five", "commonest"
    for shop in shops:
        if not has(shop, "category"):
            continue
        items = shop.items[shop.items["category"].notna()]
        some_titles = rng.permutation(items["title"].unique())[:MOST_ITEMS]
        items = items[items["title"].isin(set(some_titles))].reset_index(drop=True)
        titles = items["title"].unique()
        out = items["title"].isin(set(rng.permutation(titles)[: len(titles) // 5])).to_numpy()
        train = items[~out].reset_index(drop=True)
        model = fit_intent(
            train, encoder.encode(train["title"].tolist()), rng=np.random.default_rng(0), encoder=encoder
        )
        held = items[out].sample(min(MOST_TEXTS, int(out.sum())), random_state=0)
        rows, pieces = made_up_queries(held["title"].tolist(), MOST_TEXTS, rng=rng)
        truth = held["category"].tolist()
        asked = {"held-out titles": (held["title"].tolist(), truth), "pieces": (pieces, [truth[r] for r in rows])}
        for name, (texts, wanted) in asked.items():
            found = ask(model, encoder, texts)
            for level in range(1, max(path.count(" > ") for path in wanted) + 2):
                cut = cut_at(level)
                first = np.mean([cut(top(i)[0]) == cut(w) for i, w in zip(found, wanted, strict=True)])
                five = np.mean([cut(w) in map(cut, top(i)) for i, w in zip(found, wanted, strict=True)])
                most = train["category"].map(cut).value_counts(normalize=True).iloc[0]
                yield (
                    *(shop.name, str(len(model.prototypes.paths)), name, str(len(texts)), str(level)),
                    *(f"{first:.3f}", f"{five:.3f}", f"{most:.3f}"),
                )


def brand(shops: list[Shop], encoder: Encoder, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """Rows of the brand table."""
    yield "shop", "brands", "made-up queries", "n", "brand found", "other brands named a query"
    for shop in shops:
        if not has(shop, "brand") or shop.items["brand"].nunique() < 10:
            continue
        known = fit_words(word_texts(shop.items))
        model = fit_facets(shop.items, known=known)
        some_items = shop.items[shop.items["brand"].notna()].sample(2 * MOST_TEXTS, random_state=0)
        tally = {"brand and two words": [0, 0, 0], "two words": [0, 0, 0]}
        for name, title in zip(some_items["brand"], some_items["title"], strict=True):
            rest = [word for word in title.split() if not set(words(word)) & set(words(name))]
            if len(rest) < 2:
                continue
            two = [rest[i].lower() for i in rng.choice(len(rest), 2, replace=False)]
            both = [*two, name.upper()] if rng.random() < 0.5 else [name.lower(), *two]
            for kind, text in (("brand and two words", " ".join(both)), ("two words", " ".join(two))):
                found = model.parse(text, known).brands
                same = [b for b in found if "".join(words(name)) in {"".join(words(v)) for v in b.brands}]
                tally[kind] = [a + b for a, b in zip(tally[kind], (1, bool(same), len(found) - len(same)), strict=True)]
        for kind, (n, hits, wrong) in tally.items():
            yield shop.name, str(shop.items["brand"].nunique()), kind, str(n), f"{hits / n:.3f}", f"{wrong / n:.3f}"


def specificity(shops: list[Shop], encoder: Encoder, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """Rows of the specificity table."""
    yield "shop", "split", "queries", "Spearman", "one word", "two or three", "four and more", "with a model number"
    for shop in shops:
        if shop.judgements is None or not (shop.judgements["split"] == "valid").any():
            continue
        items = sampled(shop.items)
        vectors = encoder.encode(items["title"].tolist())
        model = fit_intent(items, vectors, rng=np.random.default_rng(0), encoder=encoder)
        title = shop.items.set_index("item_id")["title"]
        for split in ("train", "valid"):
            good = shop.judgements[shop.judgements["split"] == split]
            good = good[good["grade"] >= float(shop.meta["protocols"]["search"]["relevant_from"])]
            relevant = good.groupby("query")["item_id"].unique()
            relevant = relevant[relevant.map(len) >= 5]
            relevant = relevant.sample(min(MOST_TEXTS, len(relevant)), random_state=0)
            near = encoder.encode([title[one] for ids in relevant for one in ids])
            alike, first = [], 0
            for n in map(len, relevant):
                some_near = near[first : first + n]
                alike.append(float(((some_near @ some_near.T).sum() - n) / (n * (n - 1))))
                first += n
            found = ask(model, encoder, relevant.index.tolist())
            score = np.asarray([i.specificity for i in found])
            n = np.asarray([len(i.text.split()) for i in found])
            model_number = np.asarray([bool(i.facets.models) for i in found])
            groups = [n == 1, (n > 1) & (n < 4), n > 3, model_number]
            means = [f"{score[g].mean():.2f}" if g.any() else "-" for g in groups]
            yield shop.name, split, str(len(found)), f"{spearmanr(score, alike).statistic:.3f}", *means


def speed(shops: list[Shop], encoder: Encoder, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """Rows of the speed table, over all items of a shop under random vectors (the arithmetic is the same)."""
    yield "shop", "items", "categories", "fit s", "one: median ms", "one: p95 ms", "a text in 256 ms", "state MB"
    for shop in shops:
        if shop.items is None:
            continue
        start = time.process_time()
        vectors = rng.normal(size=(len(shop.items), 384)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        model = fit_intent(shop.items, vectors, rng=rng)
        fitted = time.process_time() - start
        _, texts = made_up_queries(shop.items["title"].tolist(), 256, rng=rng)
        vectors = vectors[: len(texts)]
        taken = []
        for i, text in enumerate(texts):
            start = time.process_time()
            model.infer([text], vectors[i : i + 1])
            taken.append(1e3 * (time.process_time() - start))
        start = time.process_time()
        model.infer(texts, vectors)
        batch = 1e3 * (time.process_time() - start) / len(texts)
        size = sum(array.nbytes for array in model.to_state()[0].values()) / 1e6
        yield (
            *(shop.name, f"{len(shop.items):,}", str(len(model.prototypes.paths)), f"{fitted:.1f}"),
            *(f"{np.median(taken):.2f}", f"{np.quantile(taken, 0.95):.2f}", f"{batch:.2f}", f"{size:.1f}"),
        )


def ask(model: IntentModel, encoder: Encoder, texts: Sequence[str]) -> list[Intent]:
    """Intents of queries."""
    return model.infer(texts, encoder.encode(model.plain(texts), "query"))


def top(intent: Intent) -> list[str]:
    """Paths of the categories named, at least one."""
    return [share.path for share in intent.categories] or [""]


def cut_at(level: int) -> Callable[[str], str]:
    """A function that keeps the first ``level`` parts of a path."""
    return lambda path: " > ".join(path.split(" > ")[:level])


def some(texts: pd.Series) -> list[str]:
    """At most `MOST_TEXTS` of these."""
    return texts.sample(min(MOST_TEXTS, len(texts)), random_state=0).tolist()


def has(shop: Shop, name: str) -> bool:
    """Whether half of the shop's items have this column."""
    return shop.items is not None and name in shop.items and shop.items[name].notna().mean() > 0.5


PARTS = {
    "confidence": confidence,
    "category": category,
    "brand": brand,
    "specificity": specificity,
    "speed": speed,
}


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shops", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--encoder", default=None)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tables = ("items", "judgements", "labels")
    folders = sorted(path.parent for path in given.shops.glob("*/shop.json"))
    shops = [read_shop(f, tables=[t for t in tables if (f / f"{t}.parquet").is_file()]) for f in folders]
    encoder = Cached(open_encoder(EncoderConfig(name=given.encoder) if given.encoder else None), given.cache)
    for part in given.parts:
        print(f"\n### {part}\n")
        for i, row in enumerate(PARTS[part](shops, encoder, np.random.default_rng(given.seed))):
            print("| " + " | ".join(row) + " |", flush=True)
            if i == 0:
                print("|" + " --- |" * len(row))


if __name__ == "__main__":
    main()
