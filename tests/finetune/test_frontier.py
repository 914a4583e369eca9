"""The frontier: what is made opens and is what it says, nothing of the test is read, the page is well-formed."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tasteprint.cli import app
from tasteprint.evaluation.harness import evaluate
from tasteprint.evaluation.protocol import Options
from tasteprint.finetune.labelling import pseudo
from tasteprint.finetune.smaller import distil_encoder, frontier, frontier_page, prune
from tasteprint.finetune.smaller.frontier import FrontierConfig, frontier_sample, pareto
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.encoders.fidelity import compare_vectors
from tasteprint.profiling.errors import ConfigError, EncoderError, ShopError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop, write_shop
from tasteprint.profiling.templates import TemplateConfig, item_texts
from tests.profiling.family_checkpoints import WORDS, save_checkpoint

TEMPLATE = TemplateConfig()


def rooms() -> Shop:
    """120 items of a few words, and judged queries of two words."""
    rng = np.random.default_rng(0)
    titles = list(dict.fromkeys(" ".join(rng.choice(WORDS[:10], 4, replace=False)) for _ in range(200)))[:120]
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(120)], "title": titles})
    rows = [
        (" ".join(titles[n].split()[:2]) + f" {n}", f"i{other}", grade, ("train", "valid", "test")[n % 3])
        for n in range(60)
        for other, grade in ((n, 2.0), ((n + 7) % 120, 0.0))
    ]
    judged = pd.DataFrame(rows, columns=["query", "item_id", "grade", "split"])
    return Shop(
        "rooms", items=conform("items", items), judgements=conform("judgements", judged), meta={"name": "rooms"}
    )


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("bert"), "bert", layers=3)


@pytest.fixture(scope="module")
def made(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("made")
    write_shop(rooms(), folder / "shop")
    words = ["frontier", folder / "shop", "--out", folder / "out", "--encoder", bert, "--minutes", 0.01, "--rounds", 1]
    words += ["--kinds", "layers,heads,units,distilled,static"]
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return folder / "out", json.loads(done.stdout)


def row_of(said: dict, name: str) -> dict:  # type: ignore[type-arg]
    return next(row for row in said["rows"] if row["candidate"]["name"] == name)


def test_every_kind_is_made_smaller_and_measured(made: tuple[Path, dict]) -> None:  # type: ignore[type-arg]
    out, said = made
    names = [row["candidate"]["name"] for row in said["rows"]]
    assert names == [
        "base", "layers-2", "heads-1", "units-24", "units-16", "distilled-2", "distilled-1", "static",
    ]  # fmt: skip
    base = row_of(said, "base")
    assert base["fidelity"]["cosine_mean"] == pytest.approx(1, abs=1e-6)
    assert base["faster"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert base["lost"]["ndcg@10"]["difference"] == 0
    for row in said["rows"][1:]:
        one = row["candidate"]
        if one["name"] != "static":
            assert one["parameters"] < base["candidate"]["parameters"]
            assert one["bytes"] < base["candidate"]["bytes"]
        assert open_encoder(EncoderConfig(**one["config"])).encode(["red lamp"]).shape == (1, 16)
    assert any(row["best"] for row in said["rows"])
    assert {file.name for file in out.iterdir() if file.is_file()} == {
        f"frontier.{s}" for s in ("json", "md", "svg", "html")
    }


@pytest.mark.slow
def test_int8_and_what_is_made_of_a_distilled_network(bert: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    write_shop(rooms(), tmp_path / "shop")
    words = ["frontier", tmp_path / "shop", "--out", tmp_path / "out", "--encoder", bert, "--minutes", 0.01]
    done = CliRunner().invoke(app, [*map(str, words), "--kinds", "int8,distilled-int8", "--json"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    base, whole, small = json.loads(done.stdout)["rows"]
    assert [row["candidate"]["name"] for row in (whole, small)] == ["int8", "distilled-2-int8"]
    assert whole["fidelity"]["cosine_mean"] > 0.98
    assert whole["candidate"]["parameters"] == base["candidate"]["parameters"] > small["candidate"]["parameters"]
    for row in (whole, small):
        assert open_encoder(EncoderConfig(**row["candidate"]["config"])).stamp.precision == "int8"


def test_its_figures_are_those_of_the_encoder_on_its_own(made: tuple[Path, dict], bert: Path) -> None:  # type: ignore[type-arg]
    _, said = made
    config, shop = FrontierConfig(), rooms()
    sample = frontier_sample(shop, TEMPLATE, config)
    row = row_of(said, "units-16")
    small, whole = (
        open_encoder(EncoderConfig(**row["candidate"]["config"])),
        open_encoder(EncoderConfig(name=str(bert))),
    )
    near = compare_vectors(*(one.encode(sample.measured) for one in (whole, small)))
    assert row["fidelity"]["cosine_mean"] == pytest.approx(near.cosine_mean, abs=1e-6)
    vectors = small.encode(item_texts(shop.table("items")))
    found = evaluate(shop, "search_full", ["dense"], options=Options(stage="valid"), encoder=small, vectors=vectors)
    assert row["quality"]["ndcg@10"] == pytest.approx(found.runs["dense"].metrics["ndcg@10"], abs=1e-6)


def test_the_plot_and_the_page_are_well_formed(made: tuple[Path, dict]) -> None:  # type: ignore[type-arg]
    out, said = made
    drawn = ElementTree.parse(out / "frontier.svg").getroot()
    circles = drawn.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(said["rows"])
    page = (out / "frontier.html").read_text()
    body = page[page.index("<main>") : page.index("</main>") + len("</main>")]
    assert len(ElementTree.fromstring(body).findall(".//tbody/tr")) == len(said["rows"])
    table = (out / "frontier.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2 : 2 + len(said["rows"])]] == [
        f"| {row['candidate']['name']}" for row in said["rows"]
    ]


def test_a_sample_holds_out_what_is_measured_and_never_reads_the_test() -> None:
    shop, config = rooms(), FrontierConfig(measured=20, texts=60, items=30, queries=5)
    sample = frontier_sample(shop, TEMPLATE, config)
    assert len(sample.measured) == 20
    assert len(sample.fit_texts) == 60
    assert not set(sample.measured) & set(sample.fit_texts)
    training = set(shop.table("judgements").query("split == 'train'")["query"])
    asked = {t for t, kind in zip(sample.fit_texts, sample.fit_kinds, strict=True) if kind == "query"}
    assert len(asked) == 20
    assert asked <= training
    assert sample.shop is not None
    judged = sample.shop.table("judgements")
    assert (len(sample.shop.table("items")), judged["query"].nunique(), set(judged["split"])) == (30, 5, {"valid"})
    assert set(judged["item_id"]) <= set(sample.shop.table("items")["item_id"])
    blind = Shop("rooms", items=shop.items, meta=shop.meta)
    assert frontier_sample(blind, TEMPLATE, config).shop is None


@pytest.mark.parametrize(
    "module", [frontier, frontier_page, prune, distil_encoder, pseudo], ids=lambda one: one.__name__
)
def test_examples_in_docstrings_run(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed


def test_pareto_by_hand() -> None:
    assert pareto([(1.0, 1.0, -9.0), (0.9, 2.0, -9.0), (0.9, 1.5, -9.0), (0.5, 1.0, -1.0)]) == [True, True, False, True]
    assert pareto([(1.0, 1.0), (1.0, 1.0)]) == [True, True]  # equals do not beat each other


def test_mistakes_say_what_is_wrong(bert: Path, tmp_path: Path) -> None:
    write_shop(rooms(), tmp_path / "shop")

    def fails(*words: object) -> str:
        done = CliRunner().invoke(app, ["frontier", str(tmp_path / "shop"), *map(str, words)])
        assert isinstance(done.exception, ConfigError | EncoderError | ShopError), done.output
        return str(done.exception)

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    assert "kinds: must be among base, int8" in fails("--out", tmp_path / "o", "--encoder", bert, "--kinds", "tiny")
    assert "holds something" in fails("--out", tmp_path / "full", "--encoder", bert)
    assert "BERT family" in fails("--out", tmp_path / "p", "--encoder", save_gpt(tmp_path / "gpt"))
    few = Shop("few", items=rooms().table("items").head(5), meta={"name": "few"})
    with pytest.raises(ShopError, match="needs 20 distinct item texts, got 5"):
        frontier_sample(few, TEMPLATE, FrontierConfig())


def save_gpt(folder: Path) -> Path:
    """A folder that says it is of another family."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "hidden_size": 16}))
    return folder
