"""What an index is planned, tuned and timed on: item vectors, and queries by the blocks they weigh.

Covers a workspace, whose queries are its shop's own (words, shoppers, and both together with the weights it serves
with), matrices in files, and as many generated vectors as wanted, drawn from a mixture fitted to either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .bench.texts import asked_words
from .bench.vectors import fit_mixture
from .profiling.encoders.stamp import EncoderStamp
from .profiling.errors import ConfigError
from .retrieval.index.approximate import block_mix
from .retrieval.index.tune import Queries

if TYPE_CHECKING:
    from .workspace import Workspace

Matrix = NDArray[np.float32]
_PER_CLUSTER = 50


@dataclass(frozen=True, eq=False)
class Task:
    """What is searched.

    Attributes:
        vectors: (n_items, dim)
        widths: of the blocks
        queries: by mix of blocks, each (n, dim)
        source: where they come from, in words
        stamp: of the encoder that made the vectors, where known
    """

    vectors: Matrix
    widths: tuple[int, ...]
    queries: Queries
    source: str
    stamp: EncoderStamp | None = None


def workspace_task(opened: Workspace, n: int, *, rng: np.random.Generator) -> Task:
    """The text blocks of a workspace, and ``n`` queries of each mix: ``meaning``, ``taste``, ``mixed``.

    Words are what its shoppers ask, see `bench.texts.asked_words`. Where no shopper has
    events, nobody's taste is asked with.
    """
    from .profiling.log import Requests
    from .retrieval.view import TEXT_BLOCKS, View

    engine = opened.engine
    log, dims = engine.log, engine.recommender.space.dims
    known = np.flatnonzero(np.diff(log.user_start) > 0)
    users = rng.choice(known, n) if len(known) else np.zeros(0, dtype=np.int64)
    spans = np.column_stack([log.user_start[users], log.user_start[users + 1]]) if len(known) else np.zeros((n, 2), int)
    words = _words(opened, n, rng)
    vectors = opened.encoder.encode(words, kind="query")
    asked: dict[str, list[Matrix]] = {"meaning": [], "taste": [], "mixed": []}
    now_s = np.array([opened.last_s + 1])
    for start, stop, text, vector in zip(*spans.T, words, vectors, strict=True):
        silent = Requests(log, np.array([start]), np.array([stop]), now_s)
        spoken = replace(silent, texts=(text,))
        for name, requests, weights in (
            ("meaning", spoken, {"meaning": 1.0}), ("taste", silent, {"taste": 1.0}), ("mixed", spoken, None),
        ):  # fmt: skip
            query = vector[None] if requests.texts else None
            asked[name].append(View.make(engine, requests, weights, (None, query), 0.5).query_vector)
    queries = {name: np.vstack(some).astype(np.float32) for name, some in asked.items() if np.any(some)}
    widths = tuple(width for name in TEXT_BLOCKS if (width := dims[name]))
    return Task(engine.texts, widths, queries, f"text blocks of {opened.shop.name}", opened.encoder.stamp)


def matrix_task(
    matrix: Path, n: int, *, rng: np.random.Generator, queries: Path | None = None, widths: tuple[int, ...] = ()
) -> Task:
    """Vectors and queries from ``.npy`` files, ``n`` of each mix of blocks; without queries, rows ask for their like.

    Raises:
        ConfigError: a file cannot be read, or the shapes do not fit.
    """
    vectors = _read(matrix)
    widths = widths or (vectors.shape[1],)
    if sum(widths) != vectors.shape[1]:
        raise ConfigError(f"--widths must add up to {vectors.shape[1]}, got {widths}")
    asked = vectors if queries is None else _read(queries)
    if asked.shape[1] != vectors.shape[1]:
        raise ConfigError(f"--queries must have {vectors.shape[1]} columns as --matrix has, got {asked.shape[1]}")
    asked = asked[rng.permutation(len(asked))]
    mixes = block_mix(asked, widths)
    split = {_mix_name(mix, len(widths)): asked[mixes == mix][:n] for mix in np.unique(mixes).tolist()}
    return Task(vectors, widths, split, matrix.name)


def enlarged(task: Task, n: int, *, rng: np.random.Generator) -> Task:
    """The same queries over ``n`` generated vectors, distributed as the task's own."""
    real = task.vectors
    clusters = max(1, len(real) // _PER_CLUSTER)
    mixture = fit_mixture(real, task.widths, n_clusters=clusters, seed=int(rng.integers(1 << 16)))
    said = f"{n:,} drawn from a mixture of {clusters:,} Gaussians fitted to {len(real):,} {task.source}"
    return replace(task, vectors=mixture.draw(n, rng=rng), source=said, stamp=None)


def _mix_name(mix: int, n_blocks: int) -> str:
    """
    >>> _mix_name(5, 3)
    'blocks 1+3'
    """
    weighed = [str(block + 1) for block in range(n_blocks) if mix >> block & 1]
    return "nothing" if not weighed else f"block{'s' if len(weighed) > 1 else ''} {'+'.join(weighed)}"


def _words(opened: Workspace, n: int, rng: np.random.Generator) -> list[str]:
    """Words that its shop's shoppers ask."""
    judged = opened.shop / "judgements.parquet"
    found = asked_words(pd.read_parquet(judged, columns=["query"]) if judged.is_file() else None, opened.items)
    return [found[row] for row in rng.integers(len(found), size=n)]


def _read(file: Path) -> Matrix:
    """A matrix of float32, memory-mapped where it is one already."""
    try:
        read = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as a .npy matrix ({error}); write it with numpy.save") from error
    if read.ndim != 2:
        raise ConfigError(f"{file} must hold a matrix, got shape {read.shape}")
    return np.ascontiguousarray(read, dtype=np.float32)
