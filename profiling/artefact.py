"""Stamped folders on disk: written under a temporary name, checked by sha256, published by swapping one pointer.

Layout of an artefact at ``path``::

    path/CURRENT       the version being served and the sha256 of its manifest, one line
    path/v-<name>/     manifest.json, arrays.safetensors, <table>.parquet, and files of the owner's own

Covers arrays, tables and JSON metadata, a crash at any point of writing, damage found while reading, and the refusal
to mix encoder stamps. Writers of one path take turns; readers never wait. What an artefact means is its owner's to
know, from ``kind`` and ``meta``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .encoders.stamp import EncoderStamp
from .errors import ArtefactError
from .files import DTYPES, TEMPORARY, locked, map_tensors, sha256_of, sync_folder, write_synced

FORMAT_VERSION = 1

_POINTER = "CURRENT"
_MANIFEST = "manifest.json"
_ARRAYS = "arrays.safetensors"
_LOCK = ".lock"

FileWriter = Callable[[Path], Mapping[str, str]]
"""Writes files into the folder it is given, in folders of their own if need be; returns the sha256 by name of those it
has synced itself."""


@dataclass(frozen=True, eq=False)
class Artefact:
    """An artefact read whole.

    Attributes:
        kind: what it is, such as ``embeddings``
        stamp: stamp of the encoder whose vectors it holds, None where it holds none
        inputs: digests of what it was built from, by name
        arrays: by name; memory-mapped and read-only
        tables: by name
        meta: JSON values
        digest: sha256 of the manifest: names this very content
        folder: where its files are, until another version is published
        files: size and sha256 of each file by name
    """

    kind: str
    stamp: EncoderStamp | None
    inputs: Mapping[str, str]
    arrays: Mapping[str, NDArray[Any]]
    tables: Mapping[str, pd.DataFrame]
    meta: Mapping[str, Any]
    digest: str
    folder: Path
    files: Mapping[str, Mapping[str, Any]]


def write_artefact(
    path: str | Path,
    *,
    kind: str,
    stamp: EncoderStamp | None = None,
    inputs: Mapping[str, str] | None = None,
    arrays: Mapping[str, NDArray[Any]] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    meta: Mapping[str, Any] | None = None,
    files: FileWriter | None = None,
) -> str:
    """Publish an artefact at ``path``; returns its digest. A crash at any point leaves the old version served.

    Args:
        path: folder of the artefact, made if absent
        kind: what it is; readers must ask for the same
        stamp: stamp of the encoder whose vectors it holds, None where it holds none
        inputs: digests of what it was built from, by name
        arrays: numeric arrays by name; strings belong into ``tables``
        tables: data frames by name
        meta: JSON values
        files: writes what is too large for memory into the new version; its names must not be those of the rest

    Raises:
        ArtefactError: a name is unusable, an array is not numeric, ``meta`` is not JSON, or ``path`` cannot be written.
    """
    path = Path(path)
    arrays, tables = dict(arrays or {}), dict(tables or {})
    _check_content(arrays, tables)
    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "stamp": None if stamp is None else stamp.to_dict(),
        "inputs": dict(inputs or {}),
        "arrays": {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in arrays.items()},
        "tables": {name: {"rows": len(table)} for name, table in tables.items()},
        "meta": dict(meta or {}),
    }
    _json_bytes(manifest)  # fail before anything is written
    try:
        path.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent)
        with locked(path / _LOCK):
            _remove(path, TEMPORARY)  # what crashed writers left
            folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path))
            try:
                known = dict(files(folder)) if files is not None else {}
                manifest["files"] = _write_files(folder, arrays, tables, known)
                written = _json_bytes(manifest)
                write_synced(folder / _MANIFEST, written)
                sync_folder(folder)
                digest = hashlib.sha256(written).hexdigest()
                _publish(path, folder, digest)
            finally:
                shutil.rmtree(folder, ignore_errors=True)  # gone already unless something failed
            _clean(path)
    except OSError as error:
        raise ArtefactError(
            f"artefact {path} cannot be written ({error}); free space or name another folder"
        ) from error
    return digest


def read_artefact(path: str | Path, *, kind: str, stamp: EncoderStamp | None = None, verify: bool = True) -> Artefact:
    """The version of an artefact that is being served.

    Args:
        path: folder of the artefact
        kind: what it must be
        stamp: the stamp its vectors must have, None = any
        verify: compare sha256 of every file; without it only presence and sizes are compared

    Raises:
        ArtefactError: nothing was published there, a file is missing, cut short or changed, it is of another kind or
            written by another format version, or its stamp differs; the message names what was found and expected.
    """
    path = Path(path)
    while True:
        version, digest = _pointer(path)
        try:
            return _read_version(path, version, digest, kind=kind, stamp=stamp, verify=verify)
        except ArtefactError:
            if _pointer(path)[0] == version:  # else a writer published and cleaned up meanwhile: read the new one
                raise


def check_stamp(what: object, found: EncoderStamp | None, expected: EncoderStamp) -> None:
    """Refuse to mix vectors of two encoders.

    Raises:
        ArtefactError: the stamps differ; names both, and the fields in which they differ.
    """
    if found == expected:
        return
    differs = "" if found is None else f" ({found.difference(expected)})"
    raise ArtefactError(
        f"{what}: made by encoder {found or 'none'}, but expected {expected}{differs}; "
        "vectors of different encoders cannot be compared: build it again, or open it with the encoder that made it"
    )


def _read_version(
    path: Path, version: str, digest: str, *, kind: str, stamp: EncoderStamp | None, verify: bool
) -> Artefact:
    """One version, checked and read."""
    folder = path / version
    manifest = _read_manifest(folder / _MANIFEST, digest)
    if manifest["kind"] != kind:
        raise ArtefactError(f"artefact {path}: kind must be {kind!r}, got {manifest['kind']!r}; name another folder")
    found = None if manifest["stamp"] is None else EncoderStamp.from_dict(manifest["stamp"])
    if stamp is not None:
        check_stamp(f"artefact {path}", found, stamp)
    for name, says in manifest["files"].items():
        _check_file(folder / name, says, verify=verify)
    try:
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in manifest["tables"]}
        arrays = map_tensors(folder / _ARRAYS)[0] if manifest["arrays"] else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"artefact {path}: {folder} cannot be read ({error}); build it again") from error
    return Artefact(
        kind, found, manifest["inputs"], arrays, tables, manifest["meta"], digest, folder, manifest["files"]
    )


def _check_content(arrays: Mapping[str, NDArray[Any]], tables: Mapping[str, pd.DataFrame]) -> None:
    """Names must be plain and arrays numeric."""
    for name in [*arrays, *tables]:
        if not name.isidentifier():
            raise ArtefactError(f"artefact: names of arrays and tables must be identifiers, got {name!r}; rename it")
    for name, array in arrays.items():
        if array.dtype.str[1:].replace("b1", "?") not in DTYPES.values():
            raise ArtefactError(
                f"artefact: array {name!r} must be numeric or boolean, got {array.dtype}; put strings into a table"
            )


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON."""
    try:
        return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ArtefactError(f"artefact: meta and inputs must be JSON values ({error}); convert them first") from error


def _write_files(
    folder: Path, arrays: Mapping[str, NDArray[Any]], tables: Mapping[str, pd.DataFrame], known: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Write arrays and tables to the disk itself; size and sha256 of each file there by name."""
    from safetensors.numpy import save_file

    if arrays:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / _ARRAYS)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    files = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir():
            sync_folder(file)
            continue
        if name not in known:
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        files[name] = {"bytes": file.stat().st_size, "sha256": known.get(name) or sha256_of(file)}
    return files


def _publish(path: Path, folder: Path, digest: str) -> None:
    """Give the finished folder its name, then swap the pointer to it: the one step that readers see."""
    version = f"v-{digest[:12]}-{folder.name.removeprefix(TEMPORARY)}"
    os.replace(folder, path / version)
    sync_folder(path)
    pointer = path / f"{TEMPORARY}{_POINTER}"
    write_synced(pointer, f"{version} {digest}\n".encode())
    os.replace(pointer, path / _POINTER)
    sync_folder(path)


def _clean(path: Path) -> None:
    """Remove what is not served. Called by the one writer."""
    _remove(path, "v-", but=_pointer(path)[0])


def _remove(path: Path, prefix: str, *, but: str = "") -> None:
    """Remove the folders whose names start so."""
    for entry in path.iterdir():
        if entry.is_dir() and entry.name != but and entry.name.startswith(prefix):
            shutil.rmtree(entry, ignore_errors=True)


def _pointer(path: Path) -> tuple[str, str]:
    """Name of the version being served and the sha256 of its manifest."""
    try:
        said = (path / _POINTER).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtefactError(f"artefact {path}: nothing was published there; build it first") from error
    except (OSError, ValueError) as error:
        raise ArtefactError(f"artefact {path}: {_POINTER} cannot be read ({error}); build it again") from error
    match = re.fullmatch(r"(v-\w[\w-]*) ([0-9a-f]{64})\n", said)
    if match is None:
        raise ArtefactError(f"artefact {path}: {_POINTER} is damaged, got {said!r:.80}; build it again")
    return match[1], match[2]


def _read_manifest(file: Path, digest: str) -> dict[str, Any]:
    """The manifest, compared with its sha256 and this program's format version."""
    try:
        read = file.read_bytes()
    except OSError as error:
        raise ArtefactError(f"artefact: {file} is missing ({error}); build it again") from error
    if hashlib.sha256(read).hexdigest() != digest:
        raise ArtefactError(f"artefact: {file} is cut short or changed, its sha256 is not {digest}; build it again")
    manifest: dict[str, Any] = json.loads(read)
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ArtefactError(
            f"artefact: {file} has format version {manifest.get('format_version')}, but this program reads "
            f"{FORMAT_VERSION}; build it again"
        )
    return manifest


def _check_file(file: Path, says: Mapping[str, Any], *, verify: bool) -> None:
    """A file is there, whole, and unchanged if ``verify``."""
    if not file.is_file():
        raise ArtefactError(f"artefact: {file} is missing; build it again")
    size = file.stat().st_size
    if size != says["bytes"]:
        raise ArtefactError(f"artefact: {file} must have {says['bytes']} bytes, got {size}; build it again")
    if verify and sha256_of(file) != says["sha256"]:
        raise ArtefactError(f"artefact: {file} was changed, its sha256 is not {says['sha256']}; build it again")
