"""`tasteprint distil`: on a tiny random BERT and the tiny shop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasteprint.cli import app
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import EncoderError, ShopError
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.profiling.templates import item_texts
from tests.small_bert import save_small_bert


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with one layer and 16 dimensions, and single letters for a vocabulary."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    return save_small_bert(tmp_path_factory.mktemp("small-bert"), [*letters, *(f"##{letter}" for letter in letters)])


def run(*words: object) -> dict:  # type: ignore[type-arg]
    done = CliRunner().invoke(app, ["distil", *(str(word) for word in words), "--json"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return dict(json.loads(done.stdout))


def test_what_is_distilled_opens_by_the_name_that_was_said(
    tiny_workspace: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    shop = tiny_workspace.parent / "shop"
    made = run(shop, "--out", tmp_path / "static", "--encoder", tiny_bert, "--cache", tmp_path / "cache")
    assert made["n_texts"] == 38  # 42 items, a tenth of them kept out
    assert made["fidelity"]["n_texts"] == 4
    static, base = (open_encoder(EncoderConfig(name=name)) for name in (made["name"], str(tiny_bert)))
    assert made["base"]["digest"] == base.stamp.digest
    assert static.stamp.weights == made["weights"]
    assert (static.dim, made["dim"], made["n_tokens"]) == (16, 16, 57)
    texts = item_texts(read_shop(shop, tables=["items"]).table("items"))
    plainly = run(shop, "--out", tmp_path / "plainly", "--encoder", tiny_bert, "--texts", 0)["name"]
    near, far = (
        (one.encode(texts) * base.encode(texts)).sum(axis=1).mean()
        for one in (static, open_encoder(EncoderConfig(name=plainly)))
    )
    assert near > max(far + 0.02, 0.9)
    plain = run(shop, "--out", tmp_path / "plain", "--encoder", tiny_bert, "--texts", 0, "--dim", 8)
    assert (plain["fidelity"], plain["n_texts"], plain["dim"]) == (None, 0, 8)


def test_words_and_mistakes(tiny_workspace: Path, tiny_bert: Path, tmp_path: Path) -> None:
    shop, out = tiny_workspace.parent / "shop", tmp_path / "static"
    words = ["distil", str(shop), "--out", str(out), "--encoder", str(tiny_bert)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"static:{out}: 57 tokens" in done.stdout
    assert "fitted to 38 texts; on others: cosine" in done.stdout
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, EncoderError)
    assert f"{out} exists; name a new folder or remove it" in str(again.exception)
    nowhere = CliRunner().invoke(app, ["distil", "nowhere", "--out", f"{out}2", "--encoder", str(tiny_bert)])
    assert isinstance(nowhere.exception, ShopError)
