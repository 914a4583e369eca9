"""Training ahead of building: kept, resumed, used by the next build, refused where it does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tasteprint.building import build_workspace, prepare
from tasteprint.cli import app
from tasteprint.config import Settings, load_settings
from tasteprint.profiling.errors import ArtefactError, ShopError
from tasteprint.profiling.tables.shop import read_shop, write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.trained import read_taste, taste_digest
from tasteprint.training import train_workspace_taste
from tasteprint.workspace import Workspace, open_workspace

SMALL = ("encoder.name=hash:64", "taste.width=8", "taste.inner=8", "taste.text=8", "taste.words=8", "taste.epochs=3")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(sets=SMALL, environ={}).settings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    """A folder with a shop and a workspace whose taste model is trained, not built."""
    folder = tmp_path_factory.mktemp("trained")
    write_shop(tiny_shop(), folder / "shop")
    train_workspace_taste(folder / "shop", folder / "workspace", settings, minutes=5.0, clock=lambda: 0.0)
    return folder


@pytest.fixture(scope="module")
def built(trained: Path, settings: Settings) -> Workspace:
    return open_workspace(build_workspace(trained / "shop", trained / "workspace", settings).path, verify=True)


def test_the_build_uses_what_was_trained(trained: Path, built: Workspace, settings: Settings) -> None:
    ready = prepare(trained / "shop", trained / "workspace", settings, lambda *_: None)
    kept = read_taste(trained / "workspace", ready.everything, stamp=ready.embeddings.stamp)
    assert kept is not None
    assert kept.config == settings.taste.model_copy(update={"ties": kept.config.ties, "shuffle": kept.config.shuffle})
    space = built.engine.recommender.space
    assert space.taste_model is not None
    np.testing.assert_array_equal(space.items["taste_learned"], kept.final.items)
    assert built.about["taste"]["taste_epochs"] == kept.final.epochs == kept.before.epochs
    assert any("taste_learned" in found["single"] for found in built.about["validation"].values())
    assert not np.array_equal(kept.before.items, kept.final.items)  # weights were chosen with one that had not seen all


def test_a_profile_has_the_learned_block_and_says_so(built: Workspace) -> None:
    engine = built.engine
    user = str(engine.log.user_ids[0])
    answer = engine.recommend(user, now_s=built.last_s + 60, weights={"taste_learned": 1.0}, k=5)
    row = engine.user_row[user]
    space = engine.recommender.space
    requests = engine._requests(user, None, None, built_context(built), None)
    expected = space.items["taste_learned"] @ space.taste_model.shoppers(requests)[0]
    found = [engine.facts.row(item.item_id) for item in answer.items]
    np.testing.assert_allclose([item.score for item in answer.items], expected[found], rtol=1e-5)
    assert {r.part for item in answer.items for r in item.reasons} == {"taste_learned"}
    assert row >= 0


def built_context(built: Workspace):
    from tasteprint.profiling.context import Context

    return Context(built.last_s + 60)


def test_training_again_builds_again_and_nothing_else_does(trained: Path, built: Workspace, settings: Settings) -> None:
    shop, path = trained / "shop", trained / "workspace"
    assert not build_workspace(shop, path, settings).fresh
    before = taste_digest(path)
    train_workspace_taste(shop, path, settings, minutes=5.0, clock=lambda: 0.0)  # finished: read, not made again
    assert taste_digest(path) == before
    assert not build_workspace(shop, path, settings).fresh


def with_items(trained: Path, folder: Path, keep: slice) -> Path:
    """The shop with only these items and their events."""
    shop = read_shop(trained / "shop")
    items = shop.items.iloc[keep]
    events = shop.events[shop.events["item_id"].isna() | shop.events["item_id"].isin(items["item_id"])]
    write_shop(type(shop)(**{**vars(shop), "items": items, "events": events, "judgements": None}), folder)
    return folder


def test_items_that_came_since_have_a_place_and_the_others_keep_theirs(
    trained: Path, built: Workspace, settings: Settings, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    fewer = with_items(trained, tmp_path / "fewer", slice(3, None))
    train_workspace_taste(fewer, workspace, settings, minutes=5.0, clock=lambda: 0.0)
    opened = open_workspace(build_workspace(trained / "shop", workspace, settings).path)
    ready = prepare(fewer, workspace, settings, lambda *_: None)
    before = read_taste(workspace, ready.everything, stamp=ready.embeddings.stamp)
    rows = opened.engine.recommender.space.items["taste_learned"]
    width = len(before.final.norm)
    np.testing.assert_array_equal(rows[3:, :width], before.final.items[:, :width])
    assert np.linalg.norm(rows[:3, :width], axis=1) == pytest.approx(np.linalg.norm(rows[3:, :width], axis=1).mean())


def test_a_model_of_mostly_other_items_is_refused(trained: Path, settings: Settings, tmp_path: Path) -> None:
    n_items = len(read_shop(trained / "shop").items)
    few = with_items(trained, tmp_path / "few", slice(n_items * 2 // 3, None))
    train_workspace_taste(few, tmp_path / "workspace", settings, minutes=5.0, clock=lambda: 0.0)
    with pytest.raises(ArtefactError, match="train it again"):
        build_workspace(trained / "shop", tmp_path / "workspace", settings)


def test_a_shop_without_events_has_nothing_to_train_on(trained: Path, settings: Settings, tmp_path: Path) -> None:
    shop = read_shop(trained / "shop")
    write_shop(type(shop)(**{**vars(shop), "events": shop.events.iloc[:0], "judgements": None}), tmp_path / "shop")
    with pytest.raises(ShopError, match="no events"):
        train_workspace_taste(tmp_path / "shop", tmp_path / "workspace", settings, minutes=1.0, clock=lambda: 0.0)


def test_the_command(trained: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(trained / "workspace", tmp_path / "workspace"))
    sets = [part for value in SMALL for part in ("--set", value)]
    said = CliRunner().invoke(app, ["train", "taste", str(trained / "shop"), "-w", str(workspace), "--json", *sets])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["taste_epochs"] >= 1
