"""Items that come and go between builds: opened with the workspace, folded in by the next build, dropped when asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasteprint.building import Built, build_workspace
from tasteprint.config import load_settings
from tasteprint.item_changes import CatalogueJournal, changes_after, changes_digest, changes_folder, reset
from tasteprint.profiling.errors import UnknownIdError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.workspace import Workspace, open_workspace, shop_yardsticks

SETTINGS = load_settings(sets=["encoder.name=hash:64"], environ={}).settings
PLAIN = {"meaning": 1.0}


def items(*rows: tuple[str, str]) -> pd.DataFrame:
    return conform(
        "items", pd.DataFrame([{"item_id": i, "title": t, "category": "New", "price": 4.0} for i, t in rows])
    )


def change(opened: Workspace, *rows: tuple[str, str], removed: tuple[str, ...] = ()) -> int:
    journal = CatalogueJournal(changes_folder(opened.path))
    return journal.append(opened.speaker.change(items(*rows) if rows else None, removed))


def build(workspace: Path) -> Built:
    return build_workspace(workspace.parent / "shop", workspace, SETTINGS)


@pytest.fixture
def workspace(tiny_workspace: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_workspace.parent / "shop", tmp_path / "shop")
    return Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))


def top(opened: Workspace, query: str, k: int = 1) -> list[str]:
    found = opened.engine.search(query, now_s=opened.last_s + 1, k=k, weights=PLAIN)
    return [item.item_id for item in found.items]


def test_opening_applies_what_came_and_went(workspace: Path) -> None:
    built = open_workspace(workspace)
    n, gone = len(built.items), str(built.items["item_id"].iloc[0])
    assert changes_after(workspace) == []
    assert not changes_folder(workspace).exists()
    change(built, ("n1", "zebra quilt"), ("n2", "yellow kayak"))
    change(built, ("n1", "striped zebra quilt"), removed=(gone, "n2"))
    opened = open_workspace(workspace)
    assert opened.applied == 2
    assert top(opened, "striped zebra quilt") == ["n1"]
    assert len(opened.items) == n + 1  # n2 came and went, and nobody saw it
    assert opened.items["item_id"].tolist() == opened.engine.log.item_ids.tolist()
    assert opened.items.iloc[-1]["title"] == "striped zebra quilt"
    with pytest.raises(UnknownIdError, match="was removed"):
        opened.engine.facts.row(gone)
    assert open_workspace(workspace, changes=False).applied == 0
    assert gone in top(open_workspace(workspace, changes=False), str(built.items["title"].iloc[0]), k=5)
    yardsticks = shop_yardsticks(opened, read_shop(opened.shop))
    assert yardsticks.row_of["n1"] == n
    assert len(yardsticks.vectors) == n + 1


def test_a_build_folds_them_in_and_answers_alike(workspace: Path) -> None:
    before = open_workspace(workspace)
    gone, replaced = (str(item_id) for item_id in before.items["item_id"].iloc[[0, 1]])
    assert not build(workspace).fresh
    change(before, ("n1", "zebra quilt"), (replaced, "renamed thing"), removed=(gone,))
    live = open_workspace(workspace)
    assert build(workspace).fresh
    assert not build(workspace).fresh
    built = open_workspace(workspace)
    assert built.applied == 1
    assert built.removed == (gone,)
    for query in ("zebra quilt", "renamed thing", str(before.items["title"].iloc[5])):
        one, other = (w.engine.search(query, now_s=w.last_s + 1, k=15, weights=PLAIN) for w in (live, built))
        np.testing.assert_allclose([i.score for i in one.items], [i.score for i in other.items], atol=1e-5)
        assert {i.item_id for i in one.items[:5]} == {i.item_id for i in other.items[:5]}
        assert gone not in {i.item_id for i in other.items}
    held = built.engine.log.item == built.engine.facts.any_row(gone)
    assert held.sum() == (before.engine.log.item == 0).sum()  # histories are as they were
    change(built, (gone, "back again"))
    back = open_workspace(workspace)
    assert top(back, "back again") == [gone]
    assert back.applied == 2


@pytest.mark.slow
def test_many_records_are_put_together_by_a_build(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasteprint.item_changes._MANY", 3)
    opened = open_workspace(workspace)
    for turn in range(5):
        change(opened, ("n1", f"zebra quilt {turn}"), ("n2", "kayak"))
    assert build(workspace).fresh
    assert [number for number, _ in changes_after(workspace)] == [6]
    assert not build(workspace).fresh
    again = open_workspace(workspace)
    assert again.applied == 6
    assert again.items.iloc[-2:]["title"].tolist() == ["zebra quilt 4", "kayak"]


@pytest.mark.slow
def test_reset_gives_the_word_back_to_the_shop(workspace: Path) -> None:
    opened = open_workspace(workspace)
    assert reset(workspace) == 0
    change(opened, ("n1", "zebra quilt"), removed=(str(opened.items["item_id"].iloc[0]),))
    build(workspace)
    assert reset(workspace) == 1
    assert build(workspace).fresh
    after = open_workspace(workspace)
    pd.testing.assert_frame_equal(after.items, opened.items)
    assert after.removed == ()
    assert change(after, ("n2", "yellow kayak")) == 2
    assert top(open_workspace(workspace), "yellow kayak") == ["n2"]


def test_a_removal_alone_is_a_reason_to_build(workspace: Path) -> None:
    opened = open_workspace(workspace)
    before, gone = changes_digest(workspace), opened.items["item_id"].tolist()[:2]
    change(opened, removed=(gone[0],))
    once = changes_digest(workspace)
    change(opened, removed=(gone[1],))
    assert len({before, once, changes_digest(workspace)}) == 3
    change(opened, removed=(gone[0],))
    change(opened, removed=tuple(gone))
    assert len({once, changes_digest(workspace)}) == 2  # what it comes to counts, not in how many steps
