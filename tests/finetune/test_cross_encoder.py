"""Training a cross-encoder: it learns, goes on where it was killed, is saved with proofs, and finds its weight."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from pydantic import ValidationError
from typer.testing import CliRunner

from tasteprint.commands.cross_encoder import cross_encoder
from tasteprint.evaluation.metrics import relevance
from tasteprint.finetune.cross_encoder.config import CrossConfig, read_cross_config
from tasteprint.finetune.cross_encoder.material import PairMaterial
from tasteprint.finetune.cross_encoder.model import CrossModel, open_cross_model, save_cross_model
from tasteprint.finetune.cross_encoder.run import CROSS, HeldPairs, held_pairs, train_cross_encoder
from tasteprint.finetune.cross_encoder.weight import Reread, choose_weight, reread
from tasteprint.finetune.examples import link
from tasteprint.finetune.labelling.pseudo import Catalogue, cross_encoder_judge
from tasteprint.finetune.run_folder import Outcome, read_curve, read_outcome
from tasteprint.finetune.trainer import TextTrainer
from tasteprint.finetune.validation import Held
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import ConfigError, EncoderError
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.retrieval.second_stage.cross_encoder import open_cross_encoder
from tests.finetune.runs import base_for, small_shop


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_for(small_shop(), tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """One thread: sums in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_of(base: Path, **sections: dict[str, object]) -> CrossConfig:
    train = {"epochs": 6, "batch_anchors": 4, "learning_rate": 0.01, "max_length": 32, "evaluations": 3}
    tree = {"base": str(base), "pairs": {"sources": ["judged"]}, **sections}
    return CrossConfig.model_validate(tree | {"train": train | sections.get("train", {})})


def trained(base: Path, out: Path, config: CrossConfig | None = None) -> Outcome:
    return train_cross_encoder(small_shop(), config or config_of(base), out, clock=time.perf_counter)


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    torch.set_num_threads(1)
    return trained(base, tmp_path_factory.mktemp("whole") / "run")


def test_a_run_learns_and_what_it_saves_opens(base: Path, whole: Outcome) -> None:
    folder = Path(whole.folder)
    assert whole.tuned["ndcg@10"] > whole.base["ndcg@10"]
    assert read_outcome(folder) == whole
    curve = read_curve(folder)
    assert [row["step"] for row in curve if "eval_score" in row] == [6, 12, 18]
    assert max(row["eval_score"] for row in curve if "eval_score" in row) == pytest.approx(whole.tuned["score"])
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert read_cross_config(folder) == config_of(base)
    encoder = open_encoder(EncoderConfig(name=str(base)))
    cross = open_cross_encoder(folder / CROSS, base=encoder.stamp)
    assert cross.digest == whole.adapter
    assert cross.scores(cross.probes) == pytest.approx(cross.probe_scores, abs=1e-4)
    said = cross.about["metrics"]["weight"]
    assert said["weight"] == cross.weight
    assert max(said["reached"].values()) == said["reached"][f"{cross.weight:g}"]


def test_killed_and_resumed_is_the_same_to_the_last_bit(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(base, adapter={"kind": "lora", "rank": 4}, train={"dropout": 0.2, "epochs": 4})
    straight = trained(base, tmp_path / "straight", config)
    step, count = TextTrainer.training_step, itertools.count(1)

    def killed(self: TextTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if next(count) > 6:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(TextTrainer, "training_step", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(base, tmp_path / "killed", config)
    torch.manual_seed(99)
    resumed = trained(base, tmp_path / "killed", config)
    assert resumed.tuned == straight.tuned
    assert resumed.adapter == straight.adapter  # digest of all that was written


def test_clicks_and_hard_negatives(base: Path, tmp_path: Path) -> None:
    """No judgements at all: what was clicked after a query, told apart from its neighbours."""
    shop = replace(small_shop(), judgements=None)
    negatives = {"kind": "hard", "n": 2}
    config = config_of(base, pairs={"sources": ["queries"]}, negatives=negatives, train={"epochs": 2})
    outcome = train_cross_encoder(shop, config, tmp_path / "run", clock=time.perf_counter)
    assert 0 < outcome.base["ndcg@10"] < 1
    cross = open_cross_encoder(tmp_path / "run" / CROSS)
    assert cross.weight == config.rerank.fallback
    assert cross.about["metrics"]["weight"]["queries"] == 0


def test_it_is_a_teacher_of_pseudo_labels(whole: Outcome) -> None:
    texts = ["green tea", "desk lamp", "oak chair"]
    nothing = np.zeros((3, 2), dtype=np.float32)
    catalogue = Catalogue(pd.DataFrame(), texts, nothing, lambda some: nothing)
    judge = cross_encoder_judge(catalogue, str(Path(whole.folder) / CROSS))
    found = judge(["tea", "lamp"], np.array([0, 1, 1]), np.array([0, 1, 2]))
    cross = open_cross_encoder(Path(whole.folder) / CROSS)
    assert found == pytest.approx(cross.scores([("tea", texts[0]), ("lamp", texts[1]), ("lamp", texts[2])]))


def test_cached_gradients_are_those_of_the_whole_batch(base: Path, tmp_path: Path) -> None:
    plain = config_of(base, train={"epochs": 2, "dropout": 0.0})
    pieces = config_of(base, train={"epochs": 2, "dropout": 0.0, "cached_tokens": 64})
    losses = []
    for name, config in (("plain", plain), ("pieces", pieces)):
        trained(base, tmp_path / name, config)
        losses.append([row["loss"] for row in read_curve(tmp_path / name) if "loss" in row])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_run_of_other_settings_is_refused(base: Path, whole: Outcome, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finished run"):
        trained(base, Path(whole.folder))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(config_of(base, train={"seed": 3}).model_dump_json())
    with pytest.raises(ConfigError, match="other settings"):
        trained(base, folder)


@pytest.mark.parametrize("kind", ["prefix", "bottleneck", "adalora"])
def test_what_cannot_be_saved_merged_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match="must be one of lora, dora, ia3, bitfit, full"):
        CrossConfig.model_validate({"adapter": {"kind": kind}})


@pytest.fixture(scope="module")
def model(base: Path) -> CrossModel:
    return open_cross_model(config_of(base))


def test_batches_are_the_links_and_the_own_negatives(base: Path, model: CrossModel) -> None:
    documents = [f"green tea {row}" for row in range(6)]
    pairs = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 3])
    gain, spared = np.array([3.0, 0.0, 1.5, 1.0, 3.0]), (np.array([0]), np.array([3]))
    examples = link(["a", "b", "c"], documents, pairs, gain=gain, source="judged", spared=spared)
    found = np.array([[2, 3], [3, 0], [1, 0]], dtype=np.int32), np.array([[True, True], [True, False], [False, False]])
    material = PairMaterial(examples, model, config_of(base, train={"batch_anchors": 3}), negatives=found)
    batch = material.batch(0)
    gains = batch["gain"].double().numpy().round(6).tolist()
    rows = zip(batch["anchor"].tolist(), batch["document"].tolist(), gains, strict=True)
    assert set(rows) == {(0, 0, 1.0), (0, 1, 0.0), (1, 1, 0.5), (2, 2, 0.333333), (2, 3, 1.0)} | {
        (0, 2, 0.0),
        (1, 3, 0.0),
    }
    order = batch["anchor"].tolist()
    assert [order[row] for row in np.unique(batch["own"].numpy(), return_index=True)[1]] == list(dict.fromkeys(order))
    again = PairMaterial(examples, model, config_of(base, train={"batch_anchors": 3}), negatives=found).batch(0)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    texts = material.texts(batch)
    assert len(texts) == material.n_texts(batch) == 7
    assert texts == model.pairs([(examples.anchors[a], examples.documents[d]) for a, d in zip(
        batch["anchor"].tolist(), batch["document"].tolist(), strict=True)])  # fmt: skip


def held_of(gain: list[list[float]]) -> Held:
    table = np.array(gain)
    row, column = np.nonzero(table >= 0)
    truth = relevance(row, column, len(table), gain=table[row, column], relevant=table[row, column] > 0)
    texts = tuple(f"t{i}" for i in range(table.shape[1]))
    graded = any(len({g for g in line if g >= 0}) > 1 for line in gain)
    return Held(tuple(f"q{i}" for i in range(len(table))), texts, ("judged",) * len(table), truth, graded)


class Counting:
    """An encoder whose vectors are made of a text's number."""

    dim = 2

    def encode(self, texts: list[str], kind: str = "item") -> np.ndarray:
        angle = np.array([int(text[1:]) for text in texts]) * 0.3
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_figures_of_graded_pairs_are_the_ndcg_of_the_judged() -> None:
    held = held_of([[3.0, 0.0, 1.0, -1.0]])
    watched = held_pairs(held, Counting())
    assert list(zip(watched.anchor.tolist(), watched.document.tolist(), strict=True)) == [(0, 0), (0, 1), (0, 2)]
    assert watched.base == pytest.approx([1.0, np.cos(0.3), np.cos(0.6)], abs=1e-6)
    best = 3 + 1 / np.log2(3)
    found = watched.measure(np.array([0.1, 0.3, 0.2], dtype=np.float32))["ndcg@10"]  # 0, 1, 3
    assert found == pytest.approx((1 / np.log2(3) + 3 / 2) / best)
    assert watched.measure(np.array([3, 1, 2], dtype=np.float32))["score"] == pytest.approx(1.0)


def test_links_without_grades_are_told_apart_from_their_neighbours() -> None:
    held = held_of([[-1.0] * 29 + [1.0]])
    watched: HeldPairs = held_pairs(held, Counting())
    near = sorted(range(30), key=lambda row: -np.cos(row * 0.3))[:20]
    assert set(watched.document.tolist()) == {29, *near}


def test_a_weight_is_chosen_by_what_it_does_to_the_order(base: Path, tmp_path: Path) -> None:
    """Scores that say the gain itself are given weight, noise is given none, and the search alone is weight 0."""
    shop, config = small_shop(), config_of(base)
    encoder = open_encoder(EncoderConfig(name=str(base)))
    table = shop.table("judgements")
    titles = dict(zip(shop.table("items")["item_id"], shop.table("items")["title"], strict=True))
    known = {(q, titles[i]): g for q, i, g in zip(table["query"], table["item_id"], table["grade"], strict=True)}

    def right(pairs: list[tuple[str, str]]) -> np.ndarray:
        grades = [next((g for (q, t), g in known.items() if q == query and t in text), 0) for query, text in pairs]
        return np.array(grades, dtype=np.float32)

    chosen = choose_weight(shop, config, right, encoder, cache=tmp_path)
    assert chosen.weight > 0
    assert chosen.reached[f"{chosen.weight:g}"] > chosen.reached["0"] + 0.05
    flat = choose_weight(shop, config, lambda pairs: np.ones(len(pairs), dtype=np.float32), encoder, cache=tmp_path)
    assert flat.weight == 0
    assert len(set(flat.reached.values())) == 1
    read = reread(shop, right, encoder, template=config.template, depth=10, cache=tmp_path)
    assert read.read.sum(axis=1).tolist() == [10] * len(read.queries)
    assert read.judged.sum() == len(read.truth.items)
    no_labels = replace(shop, judgements=None)
    assert choose_weight(no_labels, config, right, encoder).weight == config.rerank.fallback


def test_metrics_of_rereading_by_hand() -> None:
    truth = relevance(np.array([0, 0]), np.array([5, 7]), 1, gain=np.array([1.0, 3.0]), relevant=np.array([True, True]))
    flag = np.array([[True, True, False]])
    read = Reread(
        ("q",),
        truth,
        items=np.array([[4, 5, 7]], dtype=np.int32),
        fused=np.array([[0.9, 0.5, 0.1]], dtype=np.float32),
        cross=np.array([[0.0, 1.0, 9.0]], dtype=np.float32),
        read=flag,
        judged=~np.array([[True, False, False]]),
    )
    ideal = 3 + 1 / np.log2(3)
    assert read.each(0.0, judged=False)[0] == pytest.approx((1 / np.log2(3)) / ideal)  # 4 then 5; 7 was not read
    assert read.each(1.0, judged=False)[0] == pytest.approx(1 / ideal)
    assert read.each(0.0, judged=True)[0] == pytest.approx((1 + 3 / np.log2(3)) / ideal)
    assert read.each(float("inf"), judged=True)[0] == pytest.approx(1.0)
    assert read.score(1.0) == pytest.approx((1 / ideal + 1.0) / 2)


def test_saving_refuses_the_untrained_and_a_wrong_base(base: Path, model: CrossModel, tmp_path: Path) -> None:
    stamp = open_encoder(EncoderConfig(name=str(base))).stamp
    probes = [("green tea", "tea"), ("lamp", "oak")]
    with pytest.raises(EncoderError, match="no-op"):
        save_cross_model(model, tmp_path / "c", base=stamp, probes=probes, data_digest="d", weight=0.1)
    other = replace(stamp, weights="0" * 64)
    with pytest.raises(EncoderError, match="base must be"):
        save_cross_model(model, tmp_path / "c", base=other, probes=probes, data_digest="d", weight=0.1)
    assert not (tmp_path / "c" / "CURRENT").exists()


@pytest.fixture(scope="module")
def command() -> typer.Typer:
    app = typer.Typer()
    app.command("cross-encoder")(cross_encoder)
    app.callback()(lambda: None)
    return app


def test_the_command_trains_and_measures(base: Path, tmp_path: Path, command: typer.Typer) -> None:
    shop, out = tmp_path / "shop", tmp_path / "run"
    write_shop(small_shop(), shop)
    sets = [
        f"base={base}",
        "pairs.sources=['judged']",
        "train.epochs=3",
        "train.batch_anchors=4",
        "train.max_length=32",
    ]
    words = ["cross-encoder", str(shop), "--out", str(out), "--exam", "valid"]
    made = CliRunner().invoke(command, [*words, *(word for one in sets for word in ("--set", one))])
    assert made.exit_code == 0, made.output
    assert "search + cross" in made.stdout
    again = CliRunner().invoke(command, [*words, "--json"])  # measured only
    assert again.exit_code == 0, again.output
    said = json.loads(again.stdout)
    assert said["adapter"] == read_outcome(out).adapter
    assert set(said["exam"]["figures"]) == {"search", "search + cross", "cross"}
    assert {test["b"] for test in said["exam"]["tests"]} == {"search", "cross"}
    refused = CliRunner().invoke(command, [*words[:-1], "train"])
    assert isinstance(refused.exception, ConfigError)
