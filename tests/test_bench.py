"""`tasteprint bench encoder`: on a tiny random BERT and on the hash encoder; its arithmetic by hand figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tasteprint.bench.contenders import BASELINE, RUNTIMES, Bench, Contender, worth_timing
from tasteprint.bench.encoder import Work, query_ms, summarise
from tasteprint.bench.texts import BenchTexts, bench_texts, generated_queries, generated_texts
from tasteprint.cli import app
from tasteprint.profiling.encoders.encoder import EncoderConfig
from tasteprint.profiling.encoders.peak import NetworkSize, Peak
from tasteprint.profiling.errors import ConfigError, EncoderError, ShopError
from tasteprint.profiling.timing import Spread
from tests.small_bert import save_small_bert

WORDS = ("red", "blue", "lamp", "desk", "sofa", "leather", "tea", "green", "steel", "kitchen", "garden", "hose", "of")
FEW = ("--texts", "12", "--rounds", "2", "--queries", "3")


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with one layer and 16 dimensions."""
    return save_small_bert(tmp_path_factory.mktemp("small-bert"), WORDS)


def run(*words: object) -> dict:  # type: ignore[type-arg]
    done = CliRunner().invoke(app, ["bench", "encoder", *(str(word) for word in words), "--json"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return dict(json.loads(done.stdout))


def test_a_checkpoint_and_what_cannot_run(tiny_bert: Path) -> None:
    found = run("--encoder", tiny_bert, "--runtimes", "torch-fp32,configured,static", *FEW, "--quick")
    rows = {row["runtime"]: row for row in found["rows"]}
    assert list(rows) == ["torch-fp32", "configured", "static"]
    assert "tasteprint distil" in rows["static"]["absent"]
    assert rows["static"]["ratio"] is None
    assert found["against"] == "torch-fp32"
    assert (found["n_texts"], found["n_queries"]) == (12, 3)
    assert found["n_tokens"] > 12 * 3
    for name in ("torch-fp32", "configured"):
        row = rows[name]
        assert len(row["seconds"]) == 2
        assert row["fidelity"]["cosine_mean"] == pytest.approx(1)
        assert 0 < row["query_ms"][0] <= row["query_ms"][1]
        assert 0 < row["share"] < 1.5
        assert row["tokens_per_s"] == pytest.approx(row["texts_per_s"] * found["n_tokens"] / 12)
    assert rows["torch-fp32"]["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert {"cpu"} == {peak["device"] for peak in found["peaks"]}


@pytest.mark.slow
def test_all_runtimes_against_sentence_transformers(tiny_bert: Path) -> None:
    found = run("--encoder", tiny_bert, *FEW)
    assert [row["runtime"] for row in found["rows"]] == [name for name in RUNTIMES if name != "configured"]
    rows = {row["runtime"]: row for row in found["rows"]}
    assert found["against"] == BASELINE
    for name in (BASELINE, "sentence-transformers-best", "torch-fp32"):
        assert rows[name]["fidelity"]["cosine_min"] > 0.9999
    assert all(bool(row["absent"]) != bool(row["seconds"]) for row in found["rows"])


def test_an_encoder_without_a_network() -> None:
    found = run("--encoder", "hash:32", "--runtimes", f"configured,torch-fp32,{BASELINE}", *FEW)
    rows = {row["runtime"]: row for row in found["rows"]}
    assert rows["configured"]["fidelity"]["overlap"] == 1
    assert rows["configured"]["share"] is None
    assert rows["configured"]["tokens_per_s"] is None
    assert all("is no network" in rows[name]["absent"] for name in ("torch-fp32", BASELINE))
    assert found["peaks"] == []


def test_the_table_in_words(tiny_workspace: Path) -> None:
    shop = tiny_workspace.parent / "shop"
    words = ("bench", "encoder", "--encoder", "hash:32", "--shop", str(shop), *FEW)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1
    assert [line.split("|")[1].strip() for line in table[2:]] == ["configured"]
    assert "1.00 (1.00-1.00)" in table[2]
    assert "12 texts of tiny; 2 rounds" in done.stdout
    assert "3 queries" in done.stdout
    assert any(line.startswith("static: no static encoder was named") for line in lines)


def test_mistakes() -> None:
    def fails(*words: str) -> BaseException | None:
        return CliRunner().invoke(app, ["bench", "encoder", "--encoder", "hash:8", *words]).exception

    assert isinstance(fails("--runtimes", "torch-fp16"), ConfigError)
    assert "torch-fp32, torch-bf16" in str(fails("--runtimes", "torch-fp16"))
    assert "none of the runtimes can run here" in str(fails("--runtimes", "torch-fp32"))
    assert isinstance(fails("--shop", "nowhere"), ShopError)
    assert CliRunner().invoke(app, ["bench", "encoder", "--rounds", "0"]).exit_code == 2


def test_figures_by_hand() -> None:
    """Two texts of 10 and 30 tokens in a network of 1,000 a token and 10 a pair: 50,000 operations a round."""
    size = NetworkSize(layers=1, hidden=2, inner=3)
    work = Work(size, (10, 30), ())
    flops = 40 * size.token_flops + (100 + 900) * size.attention_flops
    assert flops == 40 * 56 + 1000 * 8
    contenders = {
        name: Contender(lambda texts: np.zeros((0, 2), dtype=np.float32), str, "cpu", precision, "")
        for name, precision in (("slow", "fp32"), ("fast", "int8"), ("lookup", ""))
    }
    rows = summarise(
        {"slow": [4.0, 1.0, 2.0], "fast": [1.0, 0.5, 0.5], "lookup": [0.1, 0.1, 0.1]},
        "slow",
        work,
        [Peak("cpu", "fp32", 10_240.0, "torch", 64), Peak("cuda", "int8", 1.0, "torch", 64)],
        contenders,
    )
    assert rows["slow"].ratio == Spread(1.0, 1.0, 1.0)
    assert rows["fast"].ratio == Spread(4.0, 2.0, 4.0)
    assert (rows["slow"].texts_per_s, rows["slow"].tokens_per_s) == (1.0, 20.0)
    assert rows["slow"].share == flops / 2.0 / 10_240.0
    assert rows["fast"].share is None  # no int8 peak of the processor
    assert rows["lookup"].share is None


def test_query_times_by_hand() -> None:
    assert query_ms([0.001] * 99 + [0.101]) == (1.0, 2.0)  # the 99th percentile lies 1 % of the way up
    assert query_ms([]) is None


def test_bf16_is_left_out_where_it_is_slower(tmp_path: Path) -> None:
    texts = BenchTexts((), (), (), "")
    peaks = {"fp32": 100e9, "bf16": 10e9}
    bench = Bench(EncoderConfig(name="x"), texts, tmp_path, lambda: 0.0, peaks=peaks)
    with pytest.raises(EncoderError, match="10 GFLOP/s here, fp32 at 100"):
        bench.check_worth("bf16")
    Bench(EncoderConfig(name="x"), texts, tmp_path, lambda: 0.0, peaks=peaks, forced=True).check_worth("bf16")
    Bench(EncoderConfig(name="x"), texts, tmp_path, lambda: 0.0, peaks=peaks | {"bf16": 2e11}).check_worth("bf16")


def test_a_missing_extra_is_a_row_with_the_line_that_installs_it(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasteprint.profiling.runtimes import choose

    real = choose.find_spec
    monkeypatch.setattr(choose, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    found = run("--encoder", tiny_bert, "--runtimes", "torch-fp32,onnx-int8", *FEW, "--quick")
    assert "pip install 'tasteprint[fast]'" in found["rows"][1]["absent"]
    assert found["rows"][0]["ratio"]["median"] == 1


def test_the_help_names_every_runtime() -> None:
    said = " ".join(CliRunner().invoke(app, ["bench", "encoder", "--help"]).stdout.split())
    named = said.split("Runtimes: ")[1].split(".")[0]
    assert named.replace(" ", "") == "".join(RUNTIMES)  # lines break at hyphens


def test_quick_leaves_out_what_would_hardly_be_chosen() -> None:
    whole, quick = (worth_timing(EncoderConfig(), quick=quick) for quick in (False, True))
    assert [name for name in RUNTIMES if name != "configured"] == whole
    assert set(whole) - set(quick) - {"openvino-int8", "onnx-int8"} == {"openvino-fp32", "onnx-fp32"}
    assert len({"openvino-int8", "onnx-int8"} & set(quick)) == 1
    assert "configured" in worth_timing(EncoderConfig(precision="auto"))


def test_generated_texts_are_as_long_as_product_texts() -> None:
    texts = generated_texts(2000, np.random.default_rng(0))
    words = np.array([len(text.split()) for text in texts])
    assert len(set(texts)) == 2000
    assert 18 < words.mean() < 28
    assert words.max() > 4 * words.mean()
    assert texts[:5] == generated_texts(2000, np.random.default_rng(0))[:5]
    assert all(1 <= len(query.split()) <= 4 for query in generated_queries(50, np.random.default_rng(0)))


def test_texts_of_a_shop(tiny_workspace: Path) -> None:
    shop = tiny_workspace.parent / "shop"
    read = bench_texts(shop, 30, n_others=20, n_queries=5, rng=np.random.default_rng(0))
    assert len(read.items) == 22  # 42 items: the texts for calibrating come first
    assert not set(read.items) & set(read.others)
    assert len(read.queries) == 5
    assert read.source == "texts of tiny"
