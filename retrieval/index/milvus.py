"""Milvus, for shops that outgrow one machine: a cluster by its address, or a file of milvus-lite in this process.

Covers filling a collection, searching it and attaching to one that is there. Filters are ours (`overfetch`): a mask
over a million rows is no expression that a server should be sent. The item vectors stay here too, for rescoring and
for the exact way, so that a filter is kept whatever the server does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...profiling.errors import ArtefactError, ConfigError, ExtraMissingError
from .config import IndexConfig
from .overfetch import OverfetchScanner
from .types import Rows, Scores

_BATCH_BYTES = 8 << 20
_MOST_ROWS = 16_384  # Milvus's own limit


def fill_milvus(matrix: NDArray[np.float32], config: IndexConfig) -> OverfetchScanner:
    """Put the rows of ``matrix`` into the collection, replacing what is there, and search it.

    Raises:
        ConfigError: no address.
        ExtraMissingError: pymilvus, or milvus-lite for a file, is not installed.
        ArtefactError: the server cannot be reached or refuses.
    """
    client = _client(config)
    errors = _errors()
    try:
        if client.has_collection(config.collection):
            client.drop_collection(config.collection)
        client.create_collection(
            config.collection, dimension=matrix.shape[1], primary_field_name="row", id_type="int",
            vector_field_name="vector", metric_type="IP", auto_id=False, consistency_level="Strong",
        )  # fmt: skip
        step = max(1, _BATCH_BYTES // (4 * matrix.shape[1]))
        for start in range(0, len(matrix), step):
            piece = np.ascontiguousarray(matrix[start : start + step], dtype=np.float32)
            rows: Any = [{"row": start + i, "vector": vector} for i, vector in enumerate(piece)]
            client.insert(config.collection, rows)
        client.flush(config.collection)
    except errors as error:
        raise ArtefactError(f"milvus at {config.address} refuses: {error}; see the server's log") from error
    return open_milvus(len(matrix), matrix.shape[1], config, client=client)


def open_milvus(n_items: int, dim: int, config: IndexConfig, *, client: Any = None) -> OverfetchScanner:
    """Search the collection that is there.

    Raises:
        ConfigError: no address.
        ExtraMissingError: pymilvus is not installed.
        ArtefactError: the collection is absent or has another number of rows, or the server cannot be reached.
    """
    client = _client(config) if client is None else client
    errors = _errors()
    try:
        if not client.has_collection(config.collection):
            raise ArtefactError(f"milvus at {config.address} has no collection {config.collection!r}; fill it first")
        client.load_collection(config.collection)
        held = int(client.query(config.collection, filter="", output_fields=["count(*)"])[0]["count(*)"])
    except errors as error:
        raise ArtefactError(f"milvus at {config.address} refuses: {error}; see the server's log") from error
    if held != n_items:
        raise ArtefactError(
            f"milvus collection {config.collection!r} must have {n_items} rows, got {held}; fill it again"
        )

    def ask(queries: NDArray[np.float32], n: int, effort: int) -> tuple[Rows, Scores]:
        rows, scores = np.full((len(queries), n), -1, np.int64), np.full((len(queries), n), -np.inf, np.float32)
        settings: Any = {"metric_type": "IP", "params": {"ef": max(effort, n), "nprobe": effort}}
        answers: Any = client.search(config.collection, data=list(queries), limit=n, search_params=settings)
        for line, hits in enumerate(answers):
            for place, hit in enumerate(hits):
                rows[line, place], scores[line, place] = hit["row"], hit["distance"]
        return rows, scores

    return OverfetchScanner(ask, n_items, _MOST_ROWS, _MOST_ROWS, 4 * n_items * dim)


def _client(config: IndexConfig) -> Any:
    """A connection."""
    if not config.address:
        raise ConfigError("milvus needs an address: a URI such as http://host:19530, or a file such as items.db")
    try:
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException
    except ImportError as error:
        raise ExtraMissingError("pymilvus is not installed; run: pip install 'tasteprint[scale]'") from error
    try:
        return MilvusClient(config.address)
    except (MilvusException, ConnectionError, ImportError) as error:
        raise ArtefactError(
            f"milvus at {config.address} cannot be opened ({error}); start it, or for a file: pip install milvus-lite"
        ) from error


def _errors() -> tuple[type[Exception], ...]:
    from pymilvus.exceptions import MilvusException

    return (MilvusException, ConnectionError)
