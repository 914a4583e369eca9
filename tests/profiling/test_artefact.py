"""Artefacts: round trips, every kind of damage, and crashes at every step of writing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from tasteprint.profiling import artefact
from tasteprint.profiling.artefact import read_artefact, write_artefact
from tasteprint.profiling.encoders.stamp import EncoderStamp
from tasteprint.profiling.errors import ArtefactError

STAMP = EncoderStamp(weights="a" * 64, max_length=256, name="mine")


def publish(path: Path, value: int) -> str:
    """A small artefact whose content says ``value``."""
    return write_artefact(
        path,
        kind="numbers",
        stamp=STAMP,
        inputs={"shop": "5f" * 32},
        arrays={"x": np.full((4, 3), value, dtype=np.float32), "none": np.zeros((0, 2), dtype=np.int64)},
        tables={"ids": pd.DataFrame({"item_id": ["a", "b", "ключ", "d"], "price": [1.5, None, 2.0, value]})},
        meta={"value": value},
    )


def value_of(path: Path) -> int:
    """What `publish` wrote, read from all three places, which must agree."""
    got = read_artefact(path, kind="numbers", stamp=STAMP)
    said = {int(got.meta["value"]), int(got.arrays["x"][0, 0]), int(got.tables["ids"]["price"].iloc[-1])}
    assert len(said) == 1
    return said.pop()


def version(path: Path) -> Path:
    """Folder of the version being served."""
    return path / (path / "CURRENT").read_text().split()[0]


def test_round_trip(tmp_path: Path):
    digest = publish(tmp_path / "deep" / "a", 7)
    got = read_artefact(tmp_path / "deep" / "a", kind="numbers")
    np.testing.assert_array_equal(got.arrays["x"], np.full((4, 3), 7, dtype=np.float32))
    assert got.arrays["x"].dtype == np.float32
    assert got.arrays["none"].shape == (0, 2)
    assert got.tables["ids"]["item_id"].tolist() == ["a", "b", "ключ", "d"]
    assert np.isnan(got.tables["ids"]["price"][1])
    assert (got.stamp, got.inputs, got.meta, got.digest) == (STAMP, {"shop": "5f" * 32}, {"value": 7}, digest)
    assert publish(tmp_path / "b", 7) == digest  # the content's name, not the moment's


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"])
def test_every_number_type_comes_back(tmp_path: Path, dtype: str):
    values = np.arange(-6, 6).astype(dtype).reshape(3, 4).T  # not contiguous
    write_artefact(tmp_path, kind="k", arrays={"values": values, "one": np.array([True])})
    back = read_artefact(tmp_path, kind="k").arrays
    np.testing.assert_array_equal(back["values"], values)
    assert back["values"].dtype == values.dtype


def test_arrays_are_mapped_and_equal_what_safetensors_reads(tmp_path: Path):
    from safetensors.numpy import load_file

    publish(tmp_path, 3)
    got = read_artefact(tmp_path, kind="numbers", verify=False).arrays["x"]
    np.testing.assert_array_equal(got, load_file(version(tmp_path) / "arrays.safetensors")["x"])
    with pytest.raises(ValueError, match="read-only"):
        got[0, 0] = 1


def test_scipy_multiplies_with_mapped_arrays_without_copying_them(tmp_path: Path):
    """It copies views of something much longer; what is mapped must not look like one."""
    csr = sparse.random_array((200, 300), density=0.1, format="csr", rng=np.random.default_rng(0))
    arrays = {name: getattr(csr, name) for name in ("data", "indices", "indptr")}
    write_artefact(tmp_path, kind="numbers", arrays=arrays | {"beside": np.zeros(100_000)})
    got = read_artefact(tmp_path, kind="numbers").arrays
    again = sparse.csr_array((got["data"], got["indices"], got["indptr"]), shape=csr.shape)
    assert np.shares_memory(again.data, got["data"])
    assert np.shares_memory(sparse.csr_array(again).indices, got["indices"])
    np.testing.assert_array_equal((csr @ csr.T).toarray(), (again @ again.T).toarray())


def test_a_new_version_replaces_the_old_and_leaves_nothing(tmp_path: Path):
    publish(tmp_path, 1)
    publish(tmp_path, 2)
    assert value_of(tmp_path) == 2
    assert sorted(e.name for e in tmp_path.iterdir()) == sorted([".lock", "CURRENT", version(tmp_path).name])


def test_arrays_of_a_replaced_version_stay_readable(tmp_path: Path):
    publish(tmp_path, 1)
    old = read_artefact(tmp_path, kind="numbers").arrays["x"]
    publish(tmp_path, 2)
    assert (old == 1).all()


def test_nothing_published(tmp_path: Path):
    with pytest.raises(ArtefactError, match="nothing was published there; build it first"):
        read_artefact(tmp_path / "none", kind="numbers")


@pytest.mark.parametrize("name", ["manifest.json", "arrays.safetensors", "ids.parquet"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_damage_is_found(tmp_path: Path, name: str, damage: str):
    publish(tmp_path, 1)
    file = version(tmp_path) / name
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"{name}.*(missing|bytes|cut short|changed).*build it again"):
        read_artefact(tmp_path, kind="numbers")


@pytest.mark.parametrize("pointer", ["", "v-abc", "../../elsewhere " + "0" * 64 + "\n", "v-abc " + "0" * 63])
def test_damaged_pointer(tmp_path: Path, pointer: str):
    publish(tmp_path, 1)
    (tmp_path / "CURRENT").write_text(pointer)
    with pytest.raises(ArtefactError, match="CURRENT is damaged"):
        read_artefact(tmp_path, kind="numbers")


def test_wrong_stamp_names_both(tmp_path: Path):
    publish(tmp_path, 1)
    other = replace(STAMP, weights="b" * 64, name="theirs")
    with pytest.raises(ArtefactError, match=rf"mine.*{STAMP.digest}.*theirs.*{other.digest}.*weights: .*compared"):
        read_artefact(tmp_path, kind="numbers", stamp=other)
    write_artefact(tmp_path, kind="numbers", meta={})
    with pytest.raises(ArtefactError, match="made by encoder none"):
        read_artefact(tmp_path, kind="numbers", stamp=STAMP)


def test_wrong_kind_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    publish(tmp_path, 1)
    with pytest.raises(ArtefactError, match="must be 'index', got 'numbers'"):
        read_artefact(tmp_path, kind="index")
    monkeypatch.setattr(artefact, "FORMAT_VERSION", 99)
    with pytest.raises(ArtefactError, match="format version 1, but this program reads 99"):
        read_artefact(tmp_path, kind="numbers")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"arrays": {"a b": np.zeros(1)}}, "identifiers, got 'a b'"),
        ({"arrays": {"ids": np.array(["x"], dtype=object)}}, "'ids' must be numeric.*object.*table"),
        ({"meta": {"x": float("nan")}}, "JSON"),
        ({"meta": {"x": np.zeros(2)}}, "JSON"),
    ],
)
def test_content_that_cannot_be_kept(tmp_path: Path, content: dict, match: str):
    with pytest.raises(ArtefactError, match=match):
        write_artefact(tmp_path / "a", kind="k", **content)
    assert not (tmp_path / "a").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="cannot be written"):
        publish(tmp_path / "file", 1)


class Crash(BaseException):
    """Stands for the process dying: nothing catches it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Let the ``step``-th call that changes the disk for good die before it is done; returns a count of the calls."""
    calls = 0

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == step:
                raise Crash
            return real(*args)

        return call

    for name in ("replace", "fsync"):
        monkeypatch.setattr(artefact.os, name, dying(getattr(os, name)))
    monkeypatch.setattr(artefact.shutil, "rmtree", lambda *_, **__: None)  # a dead process cleans nothing
    return lambda: calls


def test_a_crash_at_any_step_keeps_a_whole_version(tmp_path: Path):
    publish(tmp_path, 1)
    step, served = 0, []
    while True:
        step += 1
        with pytest.MonkeyPatch.context() as patch:
            count = crash_at(patch, step)
            try:
                publish(tmp_path, 2)
            except Crash:
                served.append(value_of(tmp_path))
                continue
            assert count() == step - 1
            break
    # old until the pointer is swapped, new from then on, never neither: only the last fsync comes after the swap
    assert served == [1] * (len(served) - 1) + [2]
    assert len(served) >= 8
    publish(tmp_path, 3)
    assert value_of(tmp_path) == 3
    assert len(list(tmp_path.iterdir())) == 3  # what the crashes left is gone


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_killed_process_keeps_the_old_version(tmp_path: Path, name: str):
    publish(tmp_path, 1)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from tasteprint.profiling.artefact import write_artefact\n"
        f"os.{name} = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_artefact(sys.argv[1], kind='numbers', arrays={'x': np.ones(1000)})\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert value_of(tmp_path) == 1
    publish(tmp_path, 2)  # the dead writer's lock is free
    assert value_of(tmp_path) == 2


def test_readers_during_writes_always_see_a_whole_version(tmp_path: Path):
    publish(tmp_path, 0)
    stop, wrong = threading.Event(), []

    def read() -> None:
        last = 0
        while not stop.is_set():
            try:
                now = value_of(tmp_path)
            except ArtefactError as error:
                wrong.append(error)
                return
            if now < last:
                wrong.append(ValueError(f"{now} after {last}"))
            last = now

    reader = threading.Thread(target=read)
    reader.start()
    for value in range(1, 30):
        publish(tmp_path, value)
    stop.set()
    reader.join()
    assert wrong == []


def test_manifest_says_what_design_asks(tmp_path: Path):
    publish(tmp_path, 1)
    manifest = json.loads((version(tmp_path) / "manifest.json").read_text())
    assert manifest["format_version"] == 1
    assert manifest["stamp"]["weights"] == STAMP.weights
    assert manifest["arrays"]["x"]["shape"] == [4, 3]
    assert manifest["tables"]["ids"]["rows"] == 4
    assert set(manifest["files"]) == {"arrays.safetensors", "ids.parquet"}
