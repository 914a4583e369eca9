"""Settings: order of the sources, where each value came from, and errors that help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from tasteprint.cli import app
from tasteprint.config import Settings, flatten, load_settings
from tasteprint.profiling.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "my.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_later_sources_win_and_are_named(toml) -> None:
    path = toml(
        "[encoder]\nname = 'file'\nmax_length = 11\nthreads = 1\n[recommender.transitions]\nwindow = 3\ndecay = 0.5\n"
    )
    environ = {
        "TASTEPRINT_ENCODER__MAX_LENGTH": "22",
        "TASTEPRINT_ENCODER__THREADS": "2",
        "TASTEPRINT_RECOMMENDER__TRANSITIONS__WINDOW": "4",
        "PATH": "ignored",
    }
    loaded = load_settings(path, sets=["encoder.threads=3"], environ=environ)
    found = {key: (value, source) for key, value, source in loaded.rows()}
    assert found["encoder.name"] == ("file", f"file {path}")
    assert found["encoder.max_length"] == (22, "environment TASTEPRINT_ENCODER__MAX_LENGTH")
    assert found["encoder.threads"] == (3, "--set encoder.threads")
    assert found["recommender.transitions.window"] == (4, "environment TASTEPRINT_RECOMMENDER__TRANSITIONS__WINDOW")
    assert found["recommender.transitions.decay"] == (0.5, f"file {path}")
    assert found["encoder.precision"] == (Settings().encoder.precision, "default")
    assert loaded.settings.recommender.transitions.window == 4


def test_nothing_given_is_the_defaults() -> None:
    loaded = load_settings(environ={})
    assert loaded.settings == Settings()
    assert {source for _, _, source in loaded.rows()} == {"default"}


def test_every_default_can_be_written_down_and_read_again(toml) -> None:
    sets = [
        f"{key}={json.dumps(value)}" for key, value in flatten(Settings().model_dump(mode="json")) if value is not None
    ]
    assert load_settings(sets=sets, environ={}).settings == Settings()


def test_the_file_may_be_named_by_the_environment(toml) -> None:
    path = toml("[encoder]\nname = 'hash:16'\n")
    assert load_settings(environ={"TASTEPRINT_CONFIG": str(path)}).settings.encoder.name == "hash:16"


@pytest.mark.parametrize(
    ("text", "value"),
    [("hash:64", "hash:64"), ("'quoted'", "quoted"), ("a=b", "a=b"), ("/a path/with blanks", "/a path/with blanks")],
)
def test_bare_words_are_text(text: str, value: str) -> None:
    assert load_settings(sets=[f"encoder.name={text}"], environ={}).settings.encoder.name == value


def test_lists_and_numbers_are_read_as_toml() -> None:
    sets = ['recommender.parts=["bm25", "popular"]', "recommender.bm25.k1 = 0.9"]
    recommender = load_settings(sets=sets, environ={}).settings.recommender
    assert (recommender.parts, recommender.bm25.k1) == (("bm25", "popular"), 0.9)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("encoder.nmae", "encoder.name"),
        ("recommender.transitions.widow", "recommender.transitions.window"),
        ("encodr.max_length", "encoder.max_length"),
    ],
)
def test_unknown_keys_name_the_nearest(key: str, nearest: str, toml) -> None:
    with pytest.raises(ConfigError, match=f"--set {key}: unknown key '{key}'; the nearest is '{nearest}'"):
        load_settings(sets=[f"{key}=1"], environ={})
    section, _, name = key.rpartition(".")
    with pytest.raises(ConfigError, match=f"the nearest is '{nearest}'"):
        load_settings(toml(f"[{section}]\n{name} = 1\n"), environ={})
    variable = "TASTEPRINT_" + key.upper().replace(".", "__")
    with pytest.raises(ConfigError, match=f"environment {variable}: .*the nearest is '{nearest}'"):
        load_settings(environ={variable: "1"})


def test_a_key_inside_a_value_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'encoder\.name\.first'"):
        load_settings(sets=["encoder.name=x", "encoder.name.first=y"], environ={})


def test_one_entry_of_a_table_leaves_the_others() -> None:
    usual = Settings().profile.interest.kind_weights
    kinds = load_settings(sets=["profile.interest.kind_weights.view=0.7"], environ={}).settings.profile.interest
    assert kinds.kind_weights == {**usual, "view": 0.7}


def test_a_section_is_no_setting() -> None:
    with pytest.raises(ConfigError, match="unknown key 'encoder'"):
        load_settings(sets=["encoder=hash:64"], environ={})


def test_an_empty_section_changes_nothing(toml) -> None:
    assert load_settings(toml("[encoder]\n# name = 'x'\n[recommender.bm25]\n"), environ={}).settings == Settings()
    with pytest.raises(ConfigError, match="unknown key 'encodr'"):
        load_settings(toml("[encodr]\n"), environ={})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recommender.transitions.decay=2", "recommender.transitions.decay: .*less than or equal to 1, got 2"),
        ("encoder.precision=fp8", "encoder.precision: .*'bf16' or 'int8', got \"fp8\""),
        ("recommender.bm25.k1=many", "recommender.bm25.k1: .*valid number"),
    ],
)
def test_values_out_of_range_say_where_they_came_from(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"--set {text.partition('=')[0]}: {words}"):
        load_settings(sets=[text], environ={})


def test_set_needs_a_value() -> None:
    with pytest.raises(ConfigError, match="--set must be KEY=VALUE"):
        load_settings(sets=["encoder.name"], environ={})


def test_files_that_cannot_be_read(toml, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        load_settings(tmp_path / "nowhere.toml", environ={})
    with pytest.raises(ConfigError, match=r"my\.toml is not TOML"):
        load_settings(toml("this is = = not"), environ={})
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(folder, environ={})
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[encoder]\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_settings(latin, environ={})


def test_variables_that_are_no_settings_are_left_alone() -> None:
    for name in ("TASTEPRINT_WORKSPACE", "TASTEPRINT_SHOPS", "TASTEPRINT_DEMO"):
        assert load_settings(environ={name: "/some/where"}).settings == Settings()
    with pytest.raises(ConfigError, match="environment TASTEPRINT_WORKSPAC"):
        load_settings(environ={"TASTEPRINT_WORKSPAC": "/some/where"})


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_shipped_configurations_load_and_comment_every_knob(path: Path) -> None:
    assert load_settings(path, environ={}).source
    for line in path.read_text().splitlines():
        assert not ("=" in line.partition("#")[0] and "#" not in line), f"no comment on: {line}"


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        Settings().encoder.name = "other"  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    def check(model: type) -> None:
        for name, field in model.model_fields.items():  # type: ignore[attr-defined]
            inner = field.annotation
            if isinstance(inner, type) and hasattr(inner, "model_fields"):
                check(inner)
            else:
                assert field.description, f"{model.__name__}.{name}"

    check(Settings)


def test_the_command_prints_values_and_sources(toml) -> None:
    path = toml("[encoder]\nname = 'hash:8'\n")
    done = CliRunner().invoke(app, ["config", "--config", str(path), "--set", "encoder.threads=2"])
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["encoder.name", "=", '"hash:8"', "#", "file", str(path)] in lines
    assert ["encoder.threads", "=", "2", "#", "--set", "encoder.threads"] in lines
    done = CliRunner().invoke(app, ["config", "-c", str(path), "--json"])
    assert json.loads(done.stdout)["encoder.name"] == {"value": "hash:8", "from": f"file {path}"}
