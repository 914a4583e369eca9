"""Measuring runs on judged queries and comparing them: figures from the run's own encoder, tests paired by query."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tasteprint.cli import app
from tasteprint.evaluation.significance import clustered_t
from tasteprint.finetune.compare import EXAM, arm_names, as_json, as_markdown, compare_runs, comparison_page
from tasteprint.finetune.exam import examine, write_exam
from tasteprint.finetune.run import run
from tasteprint.finetune.train_config import FinetuneConfig
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.tables.shop import write_shop
from tasteprint.profiling.templates import item_texts
from tests.finetune.runs import base_for, small_config, small_shop


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three measured runs: two seeds of one arm, and another arm."""
    folder = tmp_path_factory.mktemp("runs")
    shop = small_shop()
    base = base_for(shop, folder / "bert")
    write_shop(shop, folder / "shop")
    configs = {
        "lora-0": small_config(base, epochs=3),
        "lora-1": small_config(base, epochs=3, seed=1),
        "bitfit-0": small_config(base, epochs=3, adapter="bitfit"),
    }
    for name, config in configs.items():
        config = config.model_copy(update={"shop": str(folder / "shop")})
        run(shop, config, folder / name, clock=time.perf_counter)
        write_exam(
            examine(shop, config, folder / name / "adapter", cache=folder / "cache"), folder / name / EXAM / "test"
        )
    return {"folder": folder, "base": base} | {name: folder / name for name in configs}


def test_an_exam_measures_the_tuned_encoder(runs: dict[str, Path]):
    """Recall of the tuned encoder, counted by hand over the tiny catalogue."""
    shop = small_shop()
    encoder = open_encoder(EncoderConfig(name=str(runs["base"]), adapter=str(runs["lora-0"] / "adapter")))
    ids = shop.table("items")["item_id"].to_numpy(object)
    vectors = encoder.encode(item_texts(shop.table("items")))
    judged = shop.table("judgements")
    file = runs["lora-0"] / EXAM / "test" / "search_full" / "per_request.parquet"
    measured = pd.read_parquet(file).set_index("query")
    for query, rows in judged[judged["split"] == "test"].groupby("query"):
        best = ids[np.argsort(-(vectors @ encoder.encode([query], "query")[0]), kind="stable")[:10]]
        gain = dict(zip(rows["item_id"], 2 ** rows["grade"] - 1, strict=True))
        discount = 1 / np.log2(np.arange(2, 12))
        found = sum(gain.get(item, 0.0) * d for item, d in zip(best, discount, strict=True))
        ideal = sum(np.sort(list(gain.values()))[::-1][:10] * discount[: min(10, len(gain))])
        assert measured.loc[query, "ndcg@10:tuned"] == pytest.approx(found / ideal, abs=1e-5)


def test_seeds_are_one_arm_and_arms_are_tested_in_pairs(runs: dict[str, Path]):
    found = compare_runs([runs["lora-0"], runs["lora-1"], runs["bitfit-0"]])
    assert [arm.name for arm in found.arms] == ["adapter.kind=lora", "adapter.kind=bitfit", "base", "bm25"]
    assert [len(arm.runs) for arm in found.arms] == [2, 1, 0, 0]
    key = ("search_full", "ndcg@10")
    tables = [
        pd.read_parquet(runs[name] / EXAM / "test" / "search_full" / "per_request.parquet")["ndcg@10:tuned"]
        for name in ("lora-0", "lora-1", "bitfit-0")
    ]
    both = (tables[0] + tables[1]) / 2
    np.testing.assert_allclose(found.arms[0].each[key], both, rtol=1e-6)
    by_hand = clustered_t((both - tables[2]).to_numpy(), np.arange(len(both)))
    (test,) = [t for t in found.tests if (t["protocol"], t["metric"], t["b"]) == (*key, "adapter.kind=bitfit")]
    assert test["difference"] == pytest.approx(by_hand.difference, abs=1e-7)
    assert test["p"] == pytest.approx(by_hand.p, rel=1e-4)
    said = as_json(found)["arms"][0]["measured"]["search_full ndcg@10"]
    assert said["mean"] == pytest.approx(both.mean(), abs=1e-6)
    assert len(said["runs"]) == 2
    assert "adapter.kind=bitfit" in as_markdown(found)
    assert comparison_page(found).count("<polyline") == 3


def test_runs_without_measurements_stand_side_by_side(runs: dict[str, Path]):
    found = compare_runs([runs["lora-0"], runs["bitfit-0"]], stage="valid")
    assert found.stage is None
    assert not found.tests
    assert "held out score" in as_markdown(found)


def test_runs_measured_on_other_queries_are_refused(runs: dict[str, Path], tmp_path: Path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(runs["lora-1"], other)
    for path in other.glob(f"{EXAM}/test/*/per_request.parquet"):
        table = pd.read_parquet(path)
        table["query"] = table["query"] + " x"
        table.to_parquet(path)
    with pytest.raises(ConfigError, match="on other queries"):
        compare_runs([runs["lora-0"], other])
    with pytest.raises(ConfigError, match="folder of a run"):
        compare_runs([runs["lora-0"], tmp_path / "nothing"])


def test_arms_of_one_setting_are_named_by_what_differs():
    configs = [FinetuneConfig.model_validate({"train": {"epochs": e}, "loss": {"temperature": 0.1}}) for e in (1, 2)]
    assert arm_names(configs) == ["train.epochs=1.0", "train.epochs=2.0"]
    assert arm_names(configs[:1]) == ["lora"]


def test_the_commands(runs: dict[str, Path], tmp_path: Path):
    runner = CliRunner()
    config = tmp_path / "run.toml"
    config.write_text(
        f'base = "{runs["base"]}"\n[adapter]\nrank = 4\n[pairs]\nsources = ["judged"]\n'
        "[train]\nepochs = 1\nbatch_anchors = 4\nlearning_rate = 0.01\nevaluations = 1\n"
    )
    shop, out = str(runs["folder"] / "shop"), str(tmp_path / "run")
    done = runner.invoke(app, ["finetune", str(config), "--shop", shop, "--out", out, "--exam", "valid"])
    assert done.exit_code == 0, done.output
    assert "score" in done.output
    assert (tmp_path / "run" / EXAM / "valid" / "search_rerank" / "results.json").is_file()
    done = runner.invoke(app, ["finetune", "exam", out, "--json"])
    assert json.loads(done.stdout)["search_full"]["methods"]["tuned"]["ndcg@10"] > 0
    reports = tmp_path / "reports"
    done = runner.invoke(app, ["finetune", "compare", out, str(runs["lora-0"]), "--out", str(reports), "--json"])
    assert len(json.loads(done.stdout)["arms"]) == 4
    assert {path.name for path in reports.iterdir()} == {"compare.html", "compare.md", "compare.json"}
