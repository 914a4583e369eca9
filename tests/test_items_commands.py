"""``tasteprint items``: the files it reads, what it says, and what an opened workspace then has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from tasteprint.commands.items import app
from tasteprint.item_changes import changes_after
from tasteprint.profiling.errors import ShopError, WorkspaceError
from tasteprint.retrieval.filters import Filters
from tasteprint.workspace import open_workspace

LAMP = {"item_id": "n-1", "title": "zebra quilt", "price": 4.5, "attributes": {"colour": "red"}}


@pytest.fixture
def workspace(tiny_workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_workspace, tmp_path / "workspace"))


def run(*arguments: object, said: str | None = None) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=said)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_items_come_and_go(workspace: Path) -> None:
    there = "-w", workspace
    table = pd.DataFrame([LAMP | {"item_id": f"p-{n}", "attributes": None} for n in range(3)])
    table.to_parquet(workspace / "new.parquet")
    table.assign(item_id=["c-0", "c-1", "007"], price=[1, None, 3]).to_csv(workspace / "new.csv", index=False)
    (workspace / "new.jsonl").write_text(json.dumps(LAMP) + "\n\n", encoding="utf-8")
    assert run("add", workspace / "new.parquet", *there) == "added or replaced: 3\n"
    assert json.loads(run("add", workspace / "new.csv", *there, "--json")) == {"upserted": 3, "change": 2}
    run("add", workspace / "new.jsonl", *there)
    run("add", "-", *there, said=json.dumps(LAMP | {"title": "yellow kayak"}))
    gone = str(open_workspace(workspace).items["item_id"].iloc[0])
    assert run("remove", gone, "p-0", "never", gone, *there) == "removed: 2\n"
    assert run("remove", gone, *there) == "removed: 0\n"  # it is gone already
    told = json.loads(run("list", *there, "--json"))
    assert told.pop("change") == 6
    assert told == {"upserted": ["p-1", "p-2", "c-0", "c-1", "007", "n-1"], "removed": ["p-0", "never", gone]}
    assert "+ n-1  yellow kayak\n" in run("list", *there)
    opened = open_workspace(workspace)
    best = opened.engine.search("yellow kayak", now_s=opened.last_s + 1, k=1, weights={"meaning": 1}).items[0]
    assert best.item_id == "n-1"
    assert "007" in opened.engine.titles
    assert run("reset", *there, "--through", 4) == "4 changes dropped; build again to have the shop's own catalogue\n"
    left = run("list", *there)
    assert left.endswith("\nadded or replaced: 0, removed: 3, by change 8\n")
    assert run("reset", *there, "--through", 5).startswith("0 changes")
    assert json.loads(run("reset", *there, "--json")) == {"dropped": 2}
    assert run("list", *there) == "added or replaced: 0, removed: 0, by change 0\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("bad.jsonl", "{", "cannot be read"),
        ("list.jsonl", "[1]", "one JSON object a line"),
        ("titles.jsonl", '{"item_id": "a"}', "title"),
        ("twice.csv", "item_id,title\na,b\na,c\n", "twice"),
        ("none.parquet", None, "cannot be read"),
        ("price.csv", "item_id,title,price\na,b,-3\n", "price of 'a'"),
        ("empty.jsonl", "", ""),
    ],
)
def test_files_that_make_no_sense(workspace: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (workspace / name).write_text(content, encoding="utf-8")
    if not said:
        assert run("add", workspace / name, "-w", workspace) == "added or replaced: 0\n"
        return
    with pytest.raises(ShopError, match=said):
        run("add", workspace / name, "-w", workspace)
    assert not (workspace / "changes").exists()


@pytest.mark.parametrize("command", ["list", "reset"])
def test_a_folder_that_is_no_workspace(tmp_path: Path, command: str) -> None:
    with pytest.raises(WorkspaceError, match="no workspace at"):
        run(command, "-w", tmp_path)


def test_many_items_are_many_changes_and_attributes_are_kept(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasteprint.commands.items._BATCH", 2)
    lines = [json.dumps(LAMP | {"item_id": f"n-{n}", "title": f"quilt {n}"}) for n in range(5)]
    (workspace / "new.jsonl").write_text("\n".join(lines), encoding="utf-8")
    told = json.loads(run("add", workspace / "new.jsonl", "-w", workspace, "--json"))
    assert told == {"upserted": 5, "change": 3}
    assert [len(change.items) for _, change in changes_after(workspace)] == [2, 2, 1]
    opened = open_workspace(workspace)
    red = Filters(attributes={"colour": "red"})
    found = opened.engine.search("quilt", now_s=opened.last_s + 1, k=10, filters=red, weights={"meaning": 1})
    assert {item.item_id for item in found.items} >= {f"n-{n}" for n in range(5)}
