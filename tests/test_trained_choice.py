"""Fusion and ranker trained ahead of building: kept as they were chosen, used as they are, refused where they do not
belong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tasteprint import building
from tasteprint.building import build_workspace, prepare
from tasteprint.choosing import choose_all
from tasteprint.cli import app
from tasteprint.config import Settings, load_settings
from tasteprint.profiling.encoders.stamp import EncoderStamp
from tasteprint.profiling.errors import ArtefactError, ShopError
from tasteprint.profiling.tables.shop import read_shop, write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.trained_choice import choice_digests, read_choice, read_fusion, save_fusion
from tasteprint.training import train_workspace_fusion, train_workspace_ranker, train_workspace_taste
from tasteprint.workspace import Workspace, open_workspace

SETS = ["encoder.name=hash:32", "ranking.few=5", "ranking.margin=0"]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(sets=SETS, environ={}).settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    """A shop, a workspace built from nothing, and one whose fusion and ranker were trained first."""
    folder = tmp_path_factory.mktemp("chosen")
    write_shop(tiny_shop(), folder / "shop")
    build_workspace(folder / "shop", folder / "plain", settings)
    train_workspace_ranker(folder / "shop", folder / "ahead", settings)
    return folder


def answers(opened: Workspace) -> list[list[tuple[str, float]]]:
    engine = opened.engine
    asks = [{"user": str(user)} for user in engine.log.user_ids[:6]] + [{"query": "green tea"}]
    found = [engine.answer(**ask, now_s=opened.last_s + 60, k=8).items for ask in asks]
    return [[(item.item_id, round(item.score, 5)) for item in items] for items in found]


def test_a_build_from_what_was_trained_is_the_build_that_trains_itself(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same seed, so the same choices; only when they are made differs."""

    def nothing_left(*args, **options):
        before = options["known"]
        chosen = choose_all(*args, **options)
        assert chosen.fusion == before.fusion
        assert all(chosen.rankers[name] is before.rankers[name] for name in before.rankers)
        assert set(chosen.rankers) == set(before.rankers)
        return chosen

    monkeypatch.setattr(building, "choose_all", nothing_left)
    build_workspace(folder / "shop", folder / "ahead", settings)
    plain, ahead = open_workspace(folder / "plain"), open_workspace(folder / "ahead")
    assert set(ahead.engine.recommender.weights) == set(ahead.about["weights"])
    kept = read_choice(folder / "ahead", stamp=stamp_of(folder))
    weights = {name: w for learned in kept.fusion.values() for name, w in learned.weights.items() if w > 0}
    assert dict(ahead.engine.recommender.weights) == pytest.approx(weights)
    assert [r["ranker"] for r in ahead.about["rankers"]] == [r.name for r in kept.rankers.values()]
    assert set(plain.about["weights"]) & set(ahead.about["weights"])
    assert all(answers(ahead))


def stamp_of(folder: Path) -> EncoderStamp:
    ready = prepare(folder / "shop", folder / "ahead", load_settings(sets=SETS, environ={}).settings, lambda *_: None)
    return ready.embeddings.stamp


def test_what_is_kept_is_what_was_chosen(folder: Path, settings: Settings, tmp_path: Path) -> None:
    kept = read_choice(folder / "ahead", stamp=stamp_of(folder))
    assert set(kept.fusion) == set(kept.rankers) == {"time_split", "search_full"}
    (tmp_path / "again").mkdir()
    save_fusion(tmp_path / "again", kept.fusion, stamp=stamp_of(folder))
    again = read_fusion(tmp_path / "again", stamp=stamp_of(folder))
    for protocol, learned in kept.fusion.items():
        assert again[protocol].weights == learned.weights
        assert again[protocol].recommender == learned.recommender
        assert again[protocol].gate == learned.gate
        assert again[protocol].newcomer_weights == learned.newcomer_weights
    for ranker in kept.rankers.values():
        if ranker.model is not None:
            values = np.random.default_rng(0).normal(size=(5, len(ranker.model.names))).astype(np.float32)
            assert np.isfinite(ranker.model.scores(values)).all()


def test_training_again_makes_the_next_build_anew(folder: Path, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "workspace"
    build_workspace(folder / "shop", path, settings)
    assert not build_workspace(folder / "shop", path, settings).fresh
    assert choice_digests(path) == {}
    train_workspace_fusion(folder / "shop", path, settings)
    assert set(choice_digests(path)) == {"fusion"}
    assert build_workspace(folder / "shop", path, settings).fresh
    assert not build_workspace(folder / "shop", path, settings).fresh


def test_a_fusion_of_another_taste_model_and_a_ranker_of_another_fusion_are_refused(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "workspace"
    train_workspace_ranker(folder / "shop", path, settings)
    kept = read_fusion(path, stamp=stamp_of(folder))
    changed = {
        name: type(learned)(**{**vars(learned), "weights": {**learned.weights, "popular": 0.123}})
        for name, learned in kept.items()
    }
    save_fusion(path, changed, stamp=stamp_of(folder))
    with pytest.raises(ArtefactError, match="tasteprint train ranker"):
        build_workspace(folder / "shop", path, settings)
    small = load_settings(
        sets=[*SETS, "taste.width=8", "taste.epochs=1", "taste.text=8", "taste.words=0", "taste.heads=2"], environ={}
    ).settings
    train_workspace_taste(folder / "shop", path, small, minutes=5.0, clock=lambda: 0.0)
    with pytest.raises(ArtefactError, match="another taste model; choose again: tasteprint train fusion"):
        build_workspace(folder / "shop", path, settings)


def test_a_shop_without_validation_has_nothing_to_choose_on(folder: Path, settings: Settings, tmp_path: Path) -> None:
    shop = read_shop(folder / "shop")
    write_shop(type(shop)(**{**vars(shop), "events": shop.events.iloc[:0], "judgements": None}), tmp_path / "shop")
    for train in (train_workspace_fusion, train_workspace_ranker):
        with pytest.raises(ShopError, match="nothing to choose on"):
            train(tmp_path / "shop", tmp_path / "workspace", settings)
    assert choice_digests(tmp_path / "workspace") == {}


@pytest.mark.parametrize("command", ["fusion", "ranker"])
def test_the_commands(folder: Path, tmp_path: Path, command: str) -> None:
    sets = [part for value in SETS for part in ("--set", value)]
    arguments = ["train", command, str(folder / "shop"), "-w", str(tmp_path / "workspace"), *sets]
    said = CliRunner().invoke(app, [*arguments, "--json"])
    assert said.exit_code == 0, said.output
    assert set(json.loads(said.stdout)["protocols"]) == {"time_split", "search_full"}
    words = CliRunner().invoke(app, arguments)
    assert words.exit_code == 0, words.output
    assert "time_split: " in words.stdout
