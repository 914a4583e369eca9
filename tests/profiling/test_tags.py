"""Tags: the statistic by hand, what they must say and must not say, and that they read well."""

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.readable import abbreviations, readable_name
from tasteprint.profiling.shopper.tag_names import Name, item_names, plainness
from tasteprint.profiling.shopper.tags import TagConfig, fit_tags, interest_tags, log_odds


def catalogue() -> pd.DataFrame:
    rows = [(f"Vanilla cream tub {k}", "FROZEN > ICE CRM/SHERBETS > TUBS", "Polar") for k in range(6)]
    rows += [(f"Organic carrots {k} bag", "PRODUCE > VEGETABLES > ROOTS", "Private") for k in range(6)]
    rows += [(f"Rye bread {k}", "BAKERY > BREAD > RYE", None) for k in range(30)]
    rows += [(f"White bread {k}", "BAKERY > BREAD > WHITE", "Big") for k in range(30)]
    frame = pd.DataFrame(rows, columns=["title", "category", "brand"])
    return frame.assign(attributes='{"shelf": "12", "moods": ["Cosy", "yes"]}')


def test_log_odds_by_hand():
    ratio, z = log_odds(np.asarray([8.0]), 10.0, np.asarray([0.2]), 10.0)
    expected = np.log(10 / 10) - np.log(0.2 / 0.8)  # (8 + 2) of (10 + 10) against 20 %
    assert ratio[0] == pytest.approx(expected)
    assert z[0] == pytest.approx(expected / np.sqrt(1 / 10 + 1 / 10))


def test_tags_say_what_is_over_represented():
    model = fit_tags(catalogue())
    tags = interest_tags(model, np.asarray([0, 1, 2, 40]), np.ones(4))
    assert {t.name for t in tags} <= {"Polar", "Frozen", "Ice crm, sherbets", "vanilla cream tub"}
    assert tags
    assert not any("bread" in t.name.lower() or "Bakery" in t.name for t in tags)
    assert all(t.share == 0.75 and t.items == 3 for t in tags)


def test_no_two_tags_say_the_same():
    """Category, brand and words of the same items make one tag."""
    tags = interest_tags(fit_tags(catalogue()), np.arange(12), np.ones(12))
    assert len(tags) == 2
    assert {t.items for t in tags} == {6}


def test_an_average_shopper_has_no_tags():
    model = fit_tags(catalogue(), config=TagConfig(fewest=0))
    assert interest_tags(model, np.arange(72), np.ones(72)) == ()


def test_own_label_is_called_so():
    frame = catalogue().assign(category=None, title=[f"x{k}" for k in range(72)])
    tags = interest_tags(fit_tags(frame), np.arange(4, 12), np.ones(8))
    assert tags[0].name == "own label"
    assert tags[0].kind == "brand"


def test_disliked_items_and_nothing_at_all():
    model = fit_tags(catalogue())
    assert interest_tags(model, np.asarray([0, 1, 2]), -np.ones(3)) == ()
    assert interest_tags(model, np.zeros(0, dtype=int), np.zeros(0)) == ()
    both = interest_tags(model, np.arange(12), np.where(np.arange(12) < 6, -1.0, 1.0))
    assert {t.items for t in both} == {6}
    assert len(both) == 1


def test_only_the_proportions_of_weights_matter():
    model = fit_tags(catalogue())
    rows, weights = np.arange(9), np.linspace(0.1, 1, 9)
    one, two = interest_tags(model, rows, weights), interest_tags(model, rows, 1024 * weights)
    assert [t.name for t in one] == [t.name for t in two]
    np.testing.assert_allclose([t.z for t in one], [t.z for t in two])


def test_background_is_what_is_sold():
    """What everybody buys is no tag even where the catalogue holds little of it."""
    sold = np.where(np.arange(72) < 6, 100.0, 1.0)
    assert interest_tags(fit_tags(catalogue(), sold=sold), np.arange(6), np.ones(6)) == ()


def test_names_cover_phrases_plurals_and_attributes():
    frame = pd.DataFrame(
        {
            "title": ["Age of Gold, map", "age of gold maps", "Map set of 6"],
            "attributes": ['{"genre": ["RPG", "2D"]}'] * 3,
        }
    )
    names, carries = item_names(frame, least_items=1, most=100)
    found = {(n.kind, n.key): carries[:, [k]].toarray().ravel().tolist() for k, n in enumerate(names)}
    assert found["term", "age of gold"] == [1, 1, 0]
    assert found["term", "map"] == [1, 1, 1]
    assert found["attribute", "rpg"] == [1, 1, 1]
    assert ("term", "gold map") in found  # only where nothing separates the words
    assert found["term", "gold map"] == [0, 1, 0]
    assert ("attribute", "2d") not in found


def test_plain_names_come_first():
    assert plainness(Name("category", "", "Ice cream")) > plainness(Name("category", "", "SFT DRNK 12/18&15PK"))
    assert plainness(Name("term", "", "tea cup")) > plainness(Name("term", "", "tea"))


def test_abbreviations_need_one_likely_word():
    names = ["Frozen fish", "FRZN MEAT", "frozen", "Plant pots", "Planters", "planters", "PLANTS"]
    assert abbreviations(names) == {"frzn": "frozen"}
    assert abbreviations(["brst", "breast", "breast", "burst", "burst"]) == {}
    assert readable_name("FRZN FISH W/CHIPS", {"frzn": "frozen"}) == "Frozen fish with chips"
    assert readable_name("USB") == "USB"


@pytest.mark.data
def test_tags_of_real_shoppers_read_well(shop_path):
    """Every tag of a sample of shoppers is a short name in words, and most shoppers have some."""
    path = shop_path("complete_journey")
    items = pd.read_parquet(path / "items.parquet")
    events = pd.read_parquet(path / "events.parquet", columns=["user_id", "item_id"]).iloc[:60_000]
    row = pd.Index(items["item_id"]).get_indexer(pd.Index(events["item_id"]))
    model = fit_tags(items, sold=np.bincount(row, minlength=len(items)))
    counts = pd.Series(row).groupby(events["user_id"].to_numpy()).value_counts()
    tagged = [interest_tags(model, c.index.get_level_values(1), np.log1p(c)) for _, c in counts.groupby(level=0)]
    assert np.mean([len(t) >= 3 for t in tagged]) > 0.9
    names = [tag.name for tags in tagged for tag in tags]
    assert np.mean([len(name) <= 40 for name in names]) > 0.95
    assert not any(name.isupper() and len(name) > 4 for name in names)
