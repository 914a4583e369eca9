"""Saved indexes: damage and strange stamps are refused, and a crash leaves what was there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import ArtefactError
from tasteprint.retrieval.index import ApproximateIndex, IndexConfig, build_index
from tasteprint.retrieval.index import store as store_module
from tasteprint.retrieval.index.store import measured, open_index, save_index


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
    stamp = open_encoder(EncoderConfig(name="hash:16")).stamp
    save_index(build_index(rows, kind="ivf-sq8"), tmp_path / "i", stamp=stamp, measured={"recall": {"10": 0.96}})
    return tmp_path / "i"


def files(saved: Path) -> list[Path]:
    return sorted(file for file in saved.rglob("*") if file.is_file() and file.name != ".lock")


def test_what_tuning_found_is_in_the_manifest(saved: Path) -> None:
    assert measured(saved) == {"recall": {"10": 0.96}}


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_damage_to_any_file_is_refused(saved: Path, how: str) -> None:
    assert len(files(saved)) == 4  # pointer, manifest, vectors, what FAISS wrote
    for file in files(saved):
        good = file.read_bytes()
        if how == "cut":
            file.write_bytes(good[: len(good) // 2])
        elif how == "flipped":
            file.write_bytes(good[: len(good) // 3] + bytes([good[len(good) // 3] ^ 1]) + good[len(good) // 3 + 1 :])
        else:
            file.unlink()
        with pytest.raises(ArtefactError):
            open_index(saved)
        file.write_bytes(good)
    open_index(saved)


def test_signs_are_kept_with_the_index(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((500, 16)).astype(np.float32)
    index = build_index(rows, config=IndexConfig(kind="ivf-pq", sketch=True))
    save_index(index, tmp_path / "i")
    opened = open_index(tmp_path / "i")
    assert isinstance(index, ApproximateIndex)
    assert isinstance(opened, ApproximateIndex)
    assert index.sketch is not None
    assert opened.sketch is not None
    for name in ("bits", "centre", "spread"):
        np.testing.assert_array_equal(getattr(opened.sketch, name), getattr(index.sketch, name))
    assert opened.resident_bytes == index.resident_bytes


def test_vectors_of_another_encoder_are_refused(saved: Path) -> None:
    stamp = open_encoder(EncoderConfig(name="hash:16")).stamp
    open_index(saved, stamp=stamp)
    with pytest.raises(ArtefactError, match="vectors of different encoders cannot be compared"):
        open_index(saved, stamp=replace(stamp, weights="0" * 64))


def test_an_exact_index_of_an_earlier_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(path: Path, *, meta: dict[str, object], **more: object) -> str:
        return write(path, meta={name: value for name, value in meta.items() if name != "rounding"}, **more)

    write = store_module.write_artefact
    monkeypatch.setattr(store_module, "write_artefact", without)
    save_index(build_index(np.eye(50, 16, dtype=np.float32), kind="flat"), tmp_path / "old")
    with pytest.raises(ArtefactError, match="made by another version; build it again"):
        open_index(tmp_path / "old")


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="nothing was published there"):
        open_index(tmp_path / "none")


def test_a_crash_while_writing_leaves_the_old_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyboardInterrupt

    before = open_index(saved).n_items
    monkeypatch.setattr(store_module, "import_faiss", broken)
    with pytest.raises(KeyboardInterrupt):
        save_index(build_index(np.eye(50, 16, dtype=np.float32), kind="ivf-flat"), saved)
    monkeypatch.undo()
    assert open_index(saved).n_items == before


def test_kinds_that_live_elsewhere_cannot_be_saved(tmp_path: Path) -> None:
    index = replace(build_index(np.eye(50, 16, dtype=np.float32), kind="ivf-flat"), kind="milvus")
    with pytest.raises(ArtefactError, match="kind 'milvus' cannot be saved"):
        save_index(index, tmp_path / "i")
