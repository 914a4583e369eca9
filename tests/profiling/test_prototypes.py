import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.catalogue_words import fit_words
from tasteprint.profiling.categories import PrototypeConfig, back_off, centroids_of, item_labels, price_levels
from tasteprint.profiling.clusters import contrastive_names, nearest_centroid, spherical_kmeans
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.intent.facets import word_texts
from tasteprint.profiling.intent.prototypes import fit_prototypes, prototypes_from_state, prototypes_state, softmax
from tasteprint.profiling.tables.tiny import tiny_shop


def unit(rows: list[list[float]]) -> np.ndarray:
    array = np.asarray(rows, dtype=np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_small_categories_back_off_to_the_deepest_prefix_with_enough_items() -> None:
    labels = ["a > b > c", "a > b > c", "a > b > d", "a > e", "f", None]
    paths, member = back_off(labels, 2)
    assert paths == ("a", "a > b", "a > b > c", "f")
    assert member.tolist() == [2, 2, 1, 0, 3, -1]


def test_centroids_by_hand() -> None:
    """a > b holds x and y; a holds z alone: b's sum + 2 * mean(x, y, z), a has no parent."""
    vectors = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    paths, member = ("a", "a > b"), np.asarray([1, 1, 0])
    got = centroids_of(vectors, member, paths, shrinkage=2.0)
    want = unit([[0, 0, 1], [1 + 2 / 3, 1 + 2 / 3, 2 / 3]])
    assert got == pytest.approx(want, abs=1e-6)
    assert centroids_of(vectors, member, paths, shrinkage=0.0)[1] == pytest.approx(unit([[1, 1, 0]])[0], abs=1e-6)


def test_word_scores_equal_the_dense_formula() -> None:
    titles = ["red lamp", "blue lamp", "red sofa", "green sofa", "sofa bed", "lamp"]
    items = pd.DataFrame({"title": titles, "category": ["L", "L", "S", "S", "S", "L"]})
    known = fit_words(titles)
    model = fit_prototypes(
        items, HashEncoder().encode(titles), known, PrototypeConfig(min_items=1), rng=np.random.default_rng(0)
    )
    for word in ("red", "lamp", "bed"):
        share = known.frequency(word) / 6
        got = model.word_scores([[known.vocabulary[word]]])[0]
        for category, name in enumerate(model.paths):
            held = sum(word in t.split() for t, c in zip(titles, items["category"], strict=True) if c == name)
            assert got[category] == pytest.approx(np.log((held + 2 * share) / (3 + 2) / share), rel=1e-5)


def test_price_levels_are_thirds_by_category_and_overall() -> None:
    price = pd.Series([*range(1, 13), *range(100, 103), np.nan])
    member = np.asarray([0] * 12 + [1] * 3 + [-1])
    levels = price_levels(pd.DataFrame({"price": price}), member, 2)
    assert levels[0] == pytest.approx(np.quantile(range(1, 13), [1 / 3, 2 / 3]))
    assert np.isnan(levels[1]).all()
    assert levels[2] == pytest.approx(np.quantile(price.dropna(), [1 / 3, 2 / 3]))
    assert np.isnan(price_levels(pd.DataFrame({"title": ["x"]}), np.asarray([0]), 1)).all()


def test_kmeans_finds_planted_groups() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(4, 8, dtype=np.float32)
    truth = np.repeat(np.arange(4), 30)
    vectors = centres[truth] + 0.1 * rng.normal(size=(120, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    groups = nearest_centroid(vectors, spherical_kmeans(vectors, 4, rng=rng))
    assert len({(t, g) for t, g in zip(truth.tolist(), groups.tolist(), strict=True)}) == 4
    assert nearest_centroid(np.zeros((2, 8), np.float32), centres).tolist() == [-1, -1]


def test_names_are_the_words_that_set_groups_apart() -> None:
    titles = ["red lamps for desk", "red lamps tall", "red sofa for two", "red sofa leather"]
    names = contrastive_names(np.asarray([0, 0, 1, 1]), fit_words(titles), titles, n_words=1)
    assert names == ["lamps", "sofa"]
    assert len(set(contrastive_names(np.asarray([0, 1]), fit_words(["same", "same"]), ["same", "same"]))) == 2


def labels_of(items: pd.DataFrame) -> tuple[str, list[str | None]]:
    vectors = HashEncoder().encode(items["title"].tolist())
    known = fit_words(word_texts(items))
    return item_labels(items, vectors, known, PrototypeConfig(min_items=2), rng=np.random.default_rng(0))


def test_categories_come_from_the_column_an_attribute_or_clusters() -> None:
    items = tiny_shop().items[["title", "category"]]
    assert labels_of(items)[0] == "category"
    kind = items["category"].str.split(" > ").str[-1]
    noise = [f"c{i % 4}" for i in range(len(items))]
    attributes = [json.dumps({"maker": n, "product_type": k, "id": "7"}) for k, n in zip(kind, noise, strict=True)]
    source, labels = labels_of(items[["title"]].assign(attributes=attributes))
    assert source == "attribute:product_type"
    assert labels == kind.tolist()
    source, labels = labels_of(items[["title"]])
    assert source == "clusters"
    assert all(labels)


def test_held_out_titles_find_their_category() -> None:
    """Half of each category's titles name the other half's category far above chance."""
    items = tiny_shop().items
    train, test = items.iloc[::2].reset_index(drop=True), items.iloc[1::2]
    known = fit_words(word_texts(train))
    encoder = HashEncoder(256)
    vectors = encoder.encode(train["title"].tolist())
    model = fit_prototypes(train, vectors, known, PrototypeConfig(min_items=2), rng=np.random.default_rng(0))
    rows = [known.rows(title.lower().split()) for title in test["title"]]
    share = model.probabilities(encoder.encode(test["title"].tolist()), rows)
    assert share.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    right = np.mean([model.paths[k] == c for k, c in zip(share.argmax(axis=1), test["category"], strict=True)])
    assert right > 0.5  # six categories: chance is .17


def test_calibration_takes_the_held_out_item_out_of_its_category() -> None:
    """Vectors without any structure: an item resembles its category only through itself: no weight."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(200, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = pd.DataFrame({"title": [f"w{i}" for i in range(200)], "category": [f"c{i % 40}" for i in range(200)]})
    model = fit_prototypes(items, vectors, fit_words(items["title"]), PrototypeConfig(), rng=rng)
    assert model.weights[0] <= 5.0
    assert model.weights[1] == 0.0  # each title's word is its own: without the item nothing is left of it
    share = model.probabilities(vectors, [[] for _ in range(200)])
    assert share.max() < 0.5


def test_state_survives_json_and_one_category_is_certain() -> None:
    items = tiny_shop().items
    vectors = HashEncoder().encode(items["title"].tolist())
    known = fit_words(word_texts(items))
    model = fit_prototypes(items, vectors, known, rng=np.random.default_rng(0))
    arrays, meta = prototypes_state(model)
    again = prototypes_from_state(arrays, json.loads(json.dumps(meta)))
    for field in dataclasses.fields(model):
        assert np.array_equal(getattr(model, field.name), getattr(again, field.name), equal_nan=False) or (
            field.name == "price_levels"
        )
    one = items.assign(category="only > one")
    lone = fit_prototypes(one, vectors, known, rng=np.random.default_rng(0))
    assert softmax(np.zeros((1, 1), np.float32)).tolist() == [[1.0]]
    assert lone.probabilities(vectors[:1], [[]]).sum() == pytest.approx(1.0)
