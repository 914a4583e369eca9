"""Which kind of index suits a catalogue, worked out before anything is built.

Covers bytes (resident, and at the peak of building, on CPU and GPU), a rough time of a single query from what this
machine reads a second, and the choice with its reasons. Recall is not foretold: approximate kinds are tuned to it after
building, on real queries, and `tune` says what they reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ...profiling.errors import ConfigError
from .config import AUTO, IndexConfig, ServedIndexConfig
from .ivf import code_bytes, list_count
from .kinds import EXACT, INDEXES, Sizes

_COMPARED = 0.025
"""Share of the rows that product texts need compared for a recall of .95 at a thousand groups; falls as their root."""

_CACHED = 0.5
"""Time to get through a byte of the centroids, which stay in the cache, against one read from memory."""

_COST: Mapping[str, float] = {
    "flat": 1.0, "flat-fp16": 1.2, "sq8": 1.6, "int8": 1.0, "ivf-flat": 1.1, "ivf-sq8": 1.7, "ivf-pq": 1.0,
    "ivf-rabitq": 6.0, "hnsw": 4.0,
}  # fmt: skip
"""Time to get through a byte of codes, against a byte of float32 in a row: decoding, and reading out of order."""

_REACHES: Mapping[str, float] = {"flat": 1.0, "flat-fp16": 0.999, "sq8": 0.975, "int8": 0.985}
_APPROXIMATE_REACHES = 0.99
_FIXED_S = 60e-6

LARGE = "ivf-pq"
"""Kind for catalogues of which an exact search takes too long: the quickest of a million rows at one recall."""


class Wishes(BaseModel):
    """What an index has to fit into."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(ge=1, description="item vectors")
    dims: int = Field(ge=1, description="their dimensions")
    memory_bytes: int = Field(ge=1, description="for the index and the item vectors together")
    vectors_on_disk: bool = Field(
        False, description="item vectors stay in their file and do not count; rescoring then reads it"
    )
    gpu_bytes: int = Field(0, ge=0, description="memory of a GPU that may be used; 0: none")
    recall: float = Field(0.95, gt=0, le=1, description="recall at 10 wanted")
    latency_ms: float = Field(1.0, gt=0, description="median of a single query wanted")
    bytes_per_s: float = Field(8e9, gt=0, description="what one core reads in a row; measure it")


@dataclass(frozen=True)
class Choice:
    """One kind weighed.

    Attributes:
        config: how it would be built
        sizes: predicted bytes of the index
        vectors: bytes of the item vectors that stay beside it, 0 where it needs none
        query_ms: a rough prediction of a single query's median
        against: why it does not fit; empty if it does
    """

    config: IndexConfig
    sizes: Sizes
    vectors: int
    query_ms: float
    against: tuple[str, ...] = ()

    @property
    def resident(self) -> int:
        """Bytes held while serving, item vectors included."""
        return self.sizes.resident + self.vectors

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "kind": self.config.kind,
            "lists": self.config.lists,
            "resident_bytes": self.sizes.resident,
            "vector_bytes": self.vectors,
            "build_peak_bytes": self.sizes.build_peak,
            "gpu_bytes": self.sizes.gpu,
            "query_ms": round(self.query_ms, 3),
            "against": list(self.against),
        }


@dataclass(frozen=True)
class Plan:
    """The kinds weighed, and the one chosen.

    Attributes:
        wishes: what was asked for
        choices: every kind that could be built here, by name
        kind: the chosen one
        why: in words
    """

    wishes: Wishes
    choices: Mapping[str, Choice]
    kind: str
    why: str

    @property
    def chosen(self) -> Choice:
        """The chosen kind, weighed."""
        return self.choices[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        weighed = {name: choice.to_dict() for name, choice in self.choices.items()}
        return {"wishes": self.wishes.model_dump(), "kind": self.kind, "why": self.why, "choices": weighed}


def plan_index(wishes: Wishes, *, config: IndexConfig | None = None) -> Plan:
    """Choose a kind: the quickest exact one that fits, else the quickest approximate one that fits.

    Args:
        wishes: rows, dimensions and limits
        config: structure that is not to be chosen, such as the number of groups

    Raises:
        ConfigError: nothing fits; the message says what each kind lacks.
    """
    config = config or IndexConfig()
    places = {"cpu", "gpu"} if wishes.gpu_bytes else {"cpu"}
    choices = {name: _weigh(name, wishes, config) for name, kind in INDEXES.items() if kind.where in places}
    fit = [name for name, choice in choices.items() if not choice.against]
    if not fit:
        lacks = "; ".join(f"{name}: {', '.join(choice.against)}" for name, choice in choices.items())
        raise ConfigError(f"no kind of index fits: {lacks}. Allow more memory or time, or ask for less recall")
    exact = [name for name in fit if INDEXES[name].exact]
    sharp = [name for name in exact if _REACHES.get(name, 1.0) > _APPROXIMATE_REACHES]
    kind = min(sharp or exact or fit, key=lambda name: choices[name].query_ms)
    chosen = choices[kind]
    why = (
        f"{INDEXES[kind].about}: compares every row in about {chosen.query_ms:.2f} ms, so nothing is missed"
        if exact
        else f"{INDEXES[kind].about}: no exact kind fits ({_first(choices)}); of the others it should answer soonest, "
        f"in about {chosen.query_ms:.2f} ms"
    )
    return Plan(wishes, choices, kind, why)


def served_kind(rows: int, dims: int, config: ServedIndexConfig) -> str:
    """Kind of index for a catalogue's texts: as configured, else exact unless a search would take too long.

    What a search finds is scored again, so the quickest exact kind will do. Times are those of a machine as `Wishes`
    supposes it, so that a build does the same wherever it runs.

    Raises:
        ConfigError: a kind that is not searched in this process.

    >>> [served_kind(rows, 576, ServedIndexConfig()) for rows in (50_000, 1_000_000)]
    ['int8', 'ivf-pq']
    """
    mine = [name for name, kind in INDEXES.items() if kind.where == "cpu"]
    if config.kind not in (AUTO, *mine):
        raise ConfigError(f"index.kind must be {AUTO} or one of {', '.join(mine)}, got {config.kind!r}")
    if config.kind != AUTO:
        return config.kind
    wishes = Wishes(rows=rows, dims=dims, memory_bytes=1)  # memory is no matter here
    time_s = {kind: _query_s(kind, wishes, config) for kind in EXACT}
    quickest = min(time_s, key=lambda kind: time_s[kind])
    return quickest if 1e3 * time_s[quickest] <= config.most_ms else LARGE


def _weigh(kind: str, wishes: Wishes, config: IndexConfig) -> Choice:
    """One kind against the wishes."""
    n, dim = wishes.rows, wishes.dims
    own = config.model_copy(update={"kind": kind})
    if kind.startswith("ivf") or kind == "gpu-ivf":
        own = own.model_copy(update={"lists": list_count(n, own)})
    sizes = INDEXES[kind].sizes(n, dim, own)
    vectors = 0 if INDEXES[kind].exact or wishes.vectors_on_disk else 4 * n * dim
    query_ms = 1e3 * _query_s(kind, wishes, own)
    reaches = _REACHES.get(kind, 0.999 if INDEXES[kind].exact else _APPROXIMATE_REACHES)
    against = []
    matrix = 0 if wishes.vectors_on_disk else 4 * n * dim
    peak = matrix + sizes.build_peak - sizes.gpu
    for name, needed in (("held", sizes.resident - sizes.gpu + vectors), ("while building", peak)):
        if needed > wishes.memory_bytes:
            against.append(f"{_mb(needed)} {name}, {_mb(wishes.memory_bytes)} allowed")
    if sizes.gpu > wishes.gpu_bytes:
        against.append(f"{_mb(sizes.gpu)} on the GPU, {_mb(wishes.gpu_bytes)} allowed")
    if reaches < wishes.recall:
        against.append(f"recall {reaches} at best, {wishes.recall} asked for")
    if query_ms > wishes.latency_ms:
        against.append(f"about {query_ms:.2f} ms a query, {wishes.latency_ms:g} asked for")
    return Choice(own, sizes, vectors, query_ms, tuple(against))


def _query_s(kind: str, wishes: Wishes, config: IndexConfig) -> float:
    """Seconds of a single query on one core, roughly: the bytes it has to get through."""
    n, dim = wishes.rows, wishes.dims
    if INDEXES[kind].where == "gpu":
        return _FIXED_S + 2 * n * dim / 2e12
    if INDEXES[kind].exact:
        width = {"flat": 4, "flat-fp16": 2, "sq8": 1, "int8": 1}.get(kind, 4)
        return _FIXED_S + _COST.get(kind, 1.0) * width * n * dim / wishes.bytes_per_s
    if kind == "hnsw":
        return _FIXED_S + _COST[kind] * 120 * config.links * dim / wishes.bytes_per_s
    lists = list_count(n, config)
    share = min(1.0, _COMPARED * (1024 / lists) ** 0.5)
    codes = share * n * (code_bytes(dim, config) + 8)
    return _FIXED_S + (_CACHED * 4 * lists * dim + _COST.get(kind, 2.0) * codes) / wishes.bytes_per_s


def _first(choices: Mapping[str, Choice]) -> str:
    """What the first exact kind lacks."""
    return next(
        (f"{name}: {choice.against[0]}" for name, choice in choices.items() if INDEXES[name].exact), "none here"
    )


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
