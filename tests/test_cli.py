"""The command line from the outside: help, JSON, exit codes, and errors a user can mend."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.main import get_command
from typer.testing import CliRunner

from tasteprint import __version__
from tasteprint.cli import app, main

COMMANDS = (
    "import", "validate", "embed", "distil", "build", "search", "recommend", "profile", "intent", "heads", "evaluate",
    "bench", "demo", "config", "doctor", "finetune", "frontier", "label", "curves", "train",
    "serve", "serve-key", "ingest", "forget", "verify-store", "load",
    "similar", "complements", "audience", "items", "index",
)  # fmt: skip
TALKERS = ("serve", "serve-key")
"""Commands whose result is no value: a server, a secret that is shown once."""
HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "sklearn", "pandas", "numpy", "scipy", "plotly")


def run(*words: object) -> Result:
    """A command in this process; errors a user can mend come out as in `main`."""
    return CliRunner().invoke(app, [str(word) for word in words])


def fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """The one line of stderr of a command that ends with exit code 1 through `main`."""
    monkeypatch.setattr(sys, "argv", ["tasteprint", *(str(word) for word in words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    return lines[0]


def first_user(workspace: Path) -> str:
    from tasteprint.workspace import open_workspace

    return str(open_workspace(workspace).engine.log.user_ids[3])


def test_all_commands_of_the_issue_are_there() -> None:
    assert set(get_command(app).commands) == set(COMMANDS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_with_examples(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0, done.output
    assert "Examples:" in done.stdout
    assert f"tasteprint {command}" in done.stdout.split("Examples:")[1]
    if command not in TALKERS:
        assert "--json" in done.stdout
    for parameter in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", "help"), f"{parameter.name} without words"


def test_help_and_version_of_the_whole() -> None:
    done = run("--help")
    assert done.exit_code == 0
    for command in COMMANDS:
        assert f"  {command} " in done.stdout
    assert run("--version").stdout.strip() == __version__


def test_the_help_in_a_process_of_its_own_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['tasteprint', '--help']\n"
        "from tasteprint.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stopped:\n    print('code', stopped.code)\n"
        f"print('heavy', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: tasteprint" in done.stdout
    assert "code 0" in done.stdout
    assert "heavy []" in done.stdout


@pytest.mark.parametrize(
    ("words", "seconds"), [(["-c", "import tasteprint"], 0.3), (["-m", "tasteprint.cli", "--help"], 1.0)]
)
def test_starting_takes_little_processor_time(words: list[str], seconds: float) -> None:
    """Processor time, not the clock: other programs on the machine do not count."""

    def taken() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(taken() for _ in range(3)) < seconds


def test_errors_in_a_process_of_its_own_are_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tasteprint.cli", "search", "tea", "-w", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert f"tasteprint build SHOP --workspace {tmp_path / 'nowhere'}" in done.stderr


def test_search(tiny_workspace: Path) -> None:
    done = run("search", "garden hose", "-w", tiny_workspace, "--k", 3, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [item["rank"] for item in found["items"]] == [1, 2, 3]
    assert "Hose" in found["items"][0]["title"]
    assert found["intent"]["text"] == "garden hose"
    words = run("search", "garden hose", "-w", tiny_workspace, "--k", 3)
    assert words.exit_code == 0, words.output
    assert found["items"][0]["item_id"] in words.stdout


def test_search_with_everything(tiny_workspace: Path) -> None:
    user = first_user(tiny_workspace)
    done = run(
        "search", "garden", "-w", tiny_workspace, "--user", user, "-k", 50, "--category", "Garden", "--price-min", 5,
        "--price-max", 60, "--diversity", 0.3, "--weight", "meaning=1", "--weight", "taste=0.5",
        "--at", "2024-05-01T12:00", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    from tasteprint.workspace import open_workspace

    items = open_workspace(tiny_workspace).items.set_index("item_id")
    garden = items["category"].str.startswith("Garden") & items["price"].between(5, 60)
    assert {item["item_id"] for item in found["items"]} == set(items.index[garden])
    assert f"{int(garden.sum())} are left by category='Garden'" in found["shortage"]
    assert {r["part"] for item in found["items"] for r in item["reasons"]} <= {"meaning", "taste_long", "taste_short"}


def test_recommend(tiny_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = first_user(tiny_workspace)
    found = json.loads(run("recommend", user, "-w", tiny_workspace, "--json").stdout)
    assert len(found["items"]) == 10
    assert found["intent"] is None
    for item in found["items"]:
        assert item["score"] == pytest.approx(sum(r["amount"] for r in item["reasons"]), abs=1e-3)
    asked = json.loads(run("recommend", user, "-w", tiny_workspace, "--query", "tea", "--json").stdout)
    assert asked["intent"]["text"] == "tea"
    monkeypatch.setenv("TASTEPRINT_WORKSPACE", str(tiny_workspace))
    assert json.loads(run("recommend", user, "--json").stdout) == found


def test_intent(tiny_workspace: Path) -> None:
    done = run("intent", "green tea under 10", "-w", tiny_workspace, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["text"] == "green tea under 10"
    assert 0 <= found["specificity"] <= 1
    asked = json.loads(run("search", "green tea under 10", "-w", tiny_workspace, "--json").stdout)
    assert asked["intent"] == found
    words = run("intent", "green tea under 10", "-w", tiny_workspace)
    assert words.exit_code == 0, words.output
    assert "specificity" in words.stdout


def test_build(tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = tiny_workspace.parent / "shop"
    monkeypatch.setenv("TASTEPRINT_WORKSPACE", str(tiny_workspace))  # names the workspace, is no setting
    done = run("build", shop, "--set", "encoder.name=hash:64", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["fresh"], found["items"], found["shoppers"]) == (False, 42, 30)
    words = run("build", shop, "-w", tiny_workspace, "--set", "encoder.name=hash:64")
    assert "up to date; 42 items" in words.stdout
    assert "weights: " in words.stdout


def test_build_draws_on_stderr_only(tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasteprint import building
    from tasteprint.choosing import Chosen

    monkeypatch.setattr(building, "choose_all", lambda *_, **__: Chosen())
    done = run(
        "build", tiny_workspace.parent / "shop", "-w", tmp_path / "new", "--set", "encoder.name=hash:8", "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["fresh"]
    assert done.stderr.strip() == ""


def test_config() -> None:
    found = json.loads(run("config", "--set", "encoder.name=hash:64", "--json").stdout)
    assert found["encoder.name"] == {"value": "hash:64", "from": "--set encoder.name"}


def test_doctor() -> None:
    done = run("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["python"]["ok"]
    assert found["index (faiss)"]["ok"]
    assert "searches" in found["index (faiss)"]["found"]
    assert done.exit_code == int(any(f["needed"] and not f["ok"] for f in found.values()))
    for finding in found.values():
        assert finding["ok"] or finding["mend"] or finding["name"] == "accelerator", finding
    words = run("doctor")
    assert all(name in words.stdout for name in found)


def test_doctor_says_how_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasteprint.commands import doctor

    real = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "faiss" else real(name))
    done = run("doctor")
    assert done.exit_code == 1
    assert "MISSING index (faiss)" in done.stdout
    assert "mend: pip install 'tasteprint[cpu]'" in done.stdout


def test_who_and_where_somebody_is_reaches_the_answer(tiny_workspace: Path) -> None:
    from tasteprint.workspace import open_workspace

    def items(*words: str) -> list[dict[str, object]]:
        return json.loads(run("recommend", *words, "-w", tiny_workspace, "--json").stdout)["items"]

    opened = open_workspace(tiny_workspace)
    user, place = str(opened.engine.log.user_ids[0]), opened.engine.recommender.space.context.places[0]
    here = items(user, "--place", place, "--weight", "context=1")
    nowhere = items(user, "--weight", "context=1")
    assert [item["item_id"] for item in here] != [item["item_id"] for item in nowhere]
    age = sorted({a["age_band"] for a in opened.engine.attributes.values() if "age_band" in a})[0]
    assert len(items("somebody new", "--attribute", f"age_band={age}")) == 10


def test_mistakes_are_one_line(
    tiny_workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(*words: object) -> str:
        return fails(capsys, monkeypatch, *words)

    nowhere = tmp_path / "nowhere"
    for command in (("search", "tea"), ("recommend", "u000"), ("intent", "tea"), ("profile", "u000")):
        said = line(*command, "-w", nowhere)
        assert f"no workspace at {nowhere}; build one: tasteprint build SHOP --workspace {nowhere}" in said
    assert "user_id 'nobody' has no events" in line("recommend", "nobody", "-w", tiny_workspace)
    assert "user_id 'nobody' has no events" in line("search", "tea", "-u", "nobody", "-w", tiny_workspace)
    assert "user_id 'nobody' has no events" in line("profile", "nobody", "-w", tiny_workspace)
    assert "swap them" in line("search", "tea", "-w", tiny_workspace, "--price-min", 5, "--price-max", 1)
    assert "'tase' is not a part" in line("search", "tea", "-w", tiny_workspace, "--weight", "tase=1")
    assert "--weight must be PART=NUMBER" in line("search", "tea", "-w", tiny_workspace, "--weight", "taste")
    assert "--weight must be PART=NUMBER" in line("search", "tea", "-w", tiny_workspace, "--weight", "taste=much")
    assert "--attribute must be NAME=VALUE" in line("search", "tea", "-w", tiny_workspace, "--attribute", "25")
    assert "--at must be an ISO 8601 time" in line("search", "tea", "-w", tiny_workspace, "--at", "yesterday")
    assert "no shop.json" in line("build", nowhere, "-w", tmp_path / "work")
    assert "no shop.json" in line("build", nowhere, "-w", tmp_path / "work", "--json")
    assert "no shop.json" in line("evaluate", nowhere, "-p", "time_split", "-o", tmp_path / "out")
    assert "nearest is 'encoder.name'" in line("build", nowhere, "-w", tmp_path / "work", "--set", "encoder.nmae=x")
    assert "nearest is 'encoder.name'" in line("config", "--set", "encoder.nmae=x")
    assert "cannot be read" in line("config", "--config", tmp_path / "nowhere.toml")
    assert not (tmp_path / "work" / "model").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("search",),
        ("search", "tea"),
        ("search", "tea", "-w", "x", "--k", "0"),
        ("search", "tea", "-w", "x", "--diversity", "2"),
        ("serch", "tea"),
        ("build", "shop", "-w", "x", "--seed", "-1"),
    ],
)
def test_misused_options_are_usage_errors(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert "Usage: " in done.stderr


def test_titles_are_shown_as_they_are(tiny_workspace: Path) -> None:
    """Square brackets in titles and queries are text, not markup."""
    from tasteprint.commands.ask import show
    from tasteprint.retrieval.ranking import Answer, Recommendation

    item = Recommendation(
        "[bold]id[/bold]", "Hose [/] [red]25 m[/red]", 1.0, 1, (), 'Means what "[x]" asks for (100%).'
    )
    show(Answer((item,), None, "1 [few]", True))
    done = run("search", "[bold]tea[/nothing]", "-w", tiny_workspace)
    assert done.exit_code == 0, done.output


def test_a_workspace_may_be_given_as_a_relative_path(tiny_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_workspace.parent)
    assert run("search", "tea", "-w", tiny_workspace.name, "--json").exit_code == 0
