"""The tiny shop has every table and kind, repeats by seed, validates, and has tastes worth learning."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tasteprint.profiling.tables.schema import EVENT_KINDS, SPLITS, TABLES, TASKS
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.profiling.tables.validate import validate_shop


def test_every_table_kind_split_and_task() -> None:
    shop = tiny_shop()
    assert list(shop.tables()) == list(TABLES)
    assert set(shop.table("events")["kind"]) == set(EVENT_KINDS)
    assert set(shop.table("judgements")["split"]) == set(SPLITS)
    assert set(shop.table("labels")["task"]) == set(TASKS)
    for column in shop.table("events"):
        assert shop.table("events")[column].notna().any(), column


def test_has_what_awkward_tests_need() -> None:
    shop = tiny_shop()
    events = shop.table("events")
    assert (events["rating"] <= 2).sum() >= 10
    assert (events["quantity"] < 0).sum() >= 5
    assert len(set(events["user_id"]) - set(shop.table("users")["user_id"])) == 1
    assert shop.table("items")["brand"].isna().sum() == 1


def test_same_seed_same_shop_other_seed_other_shop() -> None:
    one, two, other = tiny_shop(3), tiny_shop(3), tiny_shop(4)
    for name, frame in one.tables().items():
        pd.testing.assert_frame_equal(frame, two.table(name))
    assert not one.table("events").equals(other.table("events"))


def test_other_seeds_validate(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        assert validate_shop(write_shop(tiny_shop(seed), tmp_path / str(seed))) == []


def test_shoppers_have_tastes() -> None:
    """Most of what a shopper buys is of one category, far above the 1 in 6 of chance."""
    shop = tiny_shop()
    bought = shop.table("events").query("kind == 'purchase'").merge(shop.table("items"), on="item_id")
    share = bought.groupby("user_id")["category"].agg(lambda c: c.value_counts(normalize=True).iloc[0])
    assert share.mean() > 0.5


def test_no_event_before_its_item_is_on_sale() -> None:
    shop = tiny_shop()
    events = shop.table("events").query("kind != 'own'").merge(shop.table("items"), on="item_id")
    assert (events["at"] >= events["created_at"]).mean() > 0.99
