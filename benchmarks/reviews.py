"""How well reviews are read: area under the ROC curve and macro F1 of polarity against what reviewers said or rated.

Usage: python benchmarks/reviews.py SHOP [SHOP ...] [--split valid|test]

A shop with sentiment labels (``positive``, ``negative``) is read on its split, a shop with rated review texts on the
validation or test period of its ``time_split``. ``rules`` knows no label; ``learned`` was fitted on the labels of the
training split or on the ratings before the validation period. F1 calls polarity > 0 positive and what is not known
negative; the ``known`` columns leave out what the model says it does not know. Choose on ``valid``; open ``test`` once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, roc_auc_score

from tasteprint.profiling.log import rating_weight
from tasteprint.profiling.reviews.opinions import OpinionModel, fit_opinions, polarity_of, read
from tasteprint.profiling.tables.shop import Shop, read_shop


def rated_texts(shop: Shop) -> pd.DataFrame:
    """Columns text, sign, split of everything in the shop that says how a text was meant."""
    if shop.labels is not None:
        labels = shop.labels[shop.labels["task"] == "sentiment"]
        sign = labels["label"].map({"positive": 1.0, "negative": -1.0})
        return pd.DataFrame({"text": labels["text"], "sign": sign, "split": labels["split"]}).dropna()
    events = shop.events[shop.events["text"].notna() & shop.events["rating"].notna()]
    cuts = shop.meta["protocols"]["time_split"]
    valid, test = (pd.Timestamp(cuts[name]).tz_localize(None) for name in ("valid_from", "test_from"))
    split = np.where(events["at"] < valid, "train", np.where(events["at"] < test, "valid", "test"))
    sign = rating_weight(events["rating"].to_numpy(np.float32), shop.meta["rating_scale"])
    return pd.DataFrame({"text": events["text"], "sign": sign.astype(float), "split": split})


def figures(texts: pd.Series, positive: np.ndarray, model: OpinionModel) -> dict[str, float]:
    """AUC and macro F1 over all texts and over those the model knows."""
    found = np.asarray([polarity_of(read(text), model) for text in texts])
    score, known = np.nan_to_num(found[:, 0]), found[:, 1] > 0
    return {
        "auc": roc_auc_score(positive, score),
        "f1": f1_score(positive, score > 0, average="macro"),
        "unknown": 1 - known.mean(),
        "auc known": roc_auc_score(positive[known], score[known]),
        "f1 known": f1_score(positive[known], score[known] > 0, average="macro"),
    }


def main() -> None:
    """Print one line a shop and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shops", nargs="+", type=Path)
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    options = parser.parse_args()
    for path in options.shops:
        shop = read_shop(path)
        table = rated_texts(shop)
        train, asked = table[table["split"] == "train"], table[table["split"] == options.split]
        models = {"rules": OpinionModel(), "learned": fit_opinions(train["text"].tolist(), train["sign"].to_numpy())}
        positive = (asked["sign"] > 0).to_numpy()
        for name, model in models.items():
            row = figures(asked["text"], positive, model)
            print(
                f"{shop.name} {options.split} n={len(asked)} {name}: "
                + " ".join(f"{k} {v:.3f}" for k, v in row.items())
            )


if __name__ == "__main__":
    main()
