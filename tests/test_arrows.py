"""The rooms import one way only, and importing the front door costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY = {
    "profiling": set(),
    "retrieval": {"profiling"},
    "serving": {"profiling", "retrieval"},
    "evaluation": {"profiling", "retrieval"},
    "finetune": {"profiling", "retrieval", "evaluation"},
}


def rooms_imported(source: str, package: list[str]) -> set[str]:
    """Rooms (and the front door as 'tasteprint') that a module's imports lead to."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            names = [prefix, *(f"{prefix}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "tasteprint" and len(parts) > 1:
                found.add(parts[1] if parts[1] in MAY else "tasteprint")
    return found


@pytest.mark.parametrize("room", MAY)
def test_rooms_import_one_way(room: str) -> None:
    wrong = []
    for path in sorted((ROOT / room).rglob("*.py")):
        package = ["tasteprint", *path.relative_to(ROOT).parts[:-1]]
        other = rooms_imported(path.read_text(), package) - MAY[room] - {room}
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(other)]
    assert not wrong


def test_the_arrow_check_sees_every_form_of_import() -> None:
    source = "from ..evaluation import splits\nimport tasteprint.finetune.x\nfrom ...tasteprint import cli\n"
    assert rooms_imported(source.splitlines()[0], ["tasteprint", "profiling"]) == {"evaluation"}
    assert rooms_imported(source.splitlines()[1], ["tasteprint", "profiling"]) == {"finetune"}
    assert rooms_imported("from .. import cli", ["tasteprint", "profiling"]) == {"tasteprint"}
    assert rooms_imported("from ..log import x", ["tasteprint", "profiling", "importers"]) == {"profiling"}


@pytest.mark.parametrize("code", ["import tasteprint", "import tasteprint.cli"])
def test_the_front_door_is_light(code: str) -> None:
    heavy = ("torch", "transformers", "pandas", "numpy", "faiss", "sklearn", "scipy", "sentence_transformers")
    script = f"{code}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_room_shadows_the_standard_library_from_the_root() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import cProfile; cProfile.Profile"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
