import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tasteprint.cli import app
from tasteprint.commands.heads import _cell
from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.heads.store import open_heads
from tasteprint.workspace import open_workspace

QUICK = (
    "--encoder",
    "hash:64",
    "--set",
    "epochs=[2]",
    "--set",
    "min_steps=30",
    "--set",
    "hidden=8",
    "--set",
    "lr=0.03",
)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def heads(tiny_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads of the tiny shop for its workspace's encoder."""
    out = tmp_path_factory.mktemp("made") / "heads"
    done = run("heads", tiny_workspace.parent / "shop", "--out", out, "--task", "category", "--kind", "linear", *QUICK)
    assert done.exit_code == 0, done.output
    assert "category" in done.stdout
    assert "tasteprint intent TEXT --head" in done.stdout
    return out


def test_json_has_held_out_and_test_figures_and_nothing_else(tiny_workspace: Path, tmp_path: Path) -> None:
    shop = tiny_workspace.parent / "shop"
    done = run("heads", shop, "--out", tmp_path / "heads", "--json", "--test", *QUICK)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert {row["task"] for row in said["held_out"]} == {"category", "intent", "sentiment"}
    methods = {row["method"] for row in said["test"]}
    assert methods == {"majority", "tfidf", "prototype", "logreg", "heads"}
    assert (tmp_path / "cache").is_dir()
    assert {head.task for head in open_heads(tmp_path / "heads").heads} == {"category", "intent", "sentiment"}


def test_without_an_encoder_words_do(tiny_workspace: Path, tmp_path: Path) -> None:
    shop, out = tiny_workspace.parent / "shop", tmp_path / "heads"
    done = run("heads", shop, "-o", out, "-t", "intent", "--encoder", "none", "--set", "min_steps=30", "--test")
    assert done.exit_code == 0, done.output
    assert "Test sentences" in done.stdout
    assert open_heads(out).encoder is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "colour"), "task: must be among"),
        (("--set", "hidden"), "must be KEY=VALUE"),
        (("--set", "hidden=0"), "hidden: .* got 0"),
        (("--set", "colour=1"), "colour: .* got 1"),
        (("--kind", "magic"), "kind: "),
        (("--set", "adapt.epochs=1"), "need an adapter, got none"),
        (("--adapter", "magic"), "adapter.kind: "),
        (("--adapter", "lora", "--set", "adapt.epochs=0"), "epochs: .* got 0"),
    ],
)
def test_mistakes_are_named(tiny_workspace: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = run("heads", tiny_workspace.parent / "shop", "--out", tmp_path / "heads", "--encoder", "hash:8", *words)
    assert isinstance(done.exception, ConfigError)
    with pytest.raises(ConfigError, match=message):
        raise done.exception
    assert not (tmp_path / "heads").exists()


def test_intents_say_what_the_head_says(tiny_workspace: Path, heads: Path) -> None:
    done = run("intent", "dark roast coffee", "--workspace", tiny_workspace, "--head", heads, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    (answer,) = said["answers"]
    assert (answer["task"], answer["label"]) == ("category", "Food > Coffee")
    assert said["categories"][0] == {"path": "Food > Coffee", "probability": answer["probability"]}
    assert said["known"]
    shown = run("intent", "dark roast coffee", "--workspace", tiny_workspace, "--head", heads)
    assert "head category" in shown.stdout
    plain = json.loads(run("intent", "dark roast coffee", "--workspace", tiny_workspace, "--json").stdout)
    assert "answers" not in plain


def test_a_workspace_opens_the_heads_its_settings_name(tiny_workspace: Path, heads: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_workspace.parent / "shop", tmp_path / "shop")
    done = run(
        "build", tmp_path / "shop", "--workspace", tmp_path / "work", "--set", "encoder.name=hash:64",
        "--set", f"intent.heads=['{heads}']",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    opened = open_workspace(tmp_path / "work")
    assert [one.heads[0].task for one in opened.intent_model.heads] == ["category"]
    said = json.loads(run("intent", "dark roast coffee", "--workspace", tmp_path / "work", "--json").stdout)
    assert said["answers"][0]["label"] == "Food > Coffee"


def test_cells() -> None:
    assert [_cell(value) for value in (0.5, 1234, "a", None)] == ["0.500", "1,234", "a", ""]
