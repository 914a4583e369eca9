"""The ways to make a smaller encoder from one: int8, fewer layers, heads or units, distilled, static.

Each takes a `Workshop` and returns encoders that open like any other, with how they were made. Measuring them is
`frontier`'s work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.encoders.distil import distil_static
from ...profiling.encoders.encoder import STATIC, Encoder, EncoderConfig, prepare_encoder
from ...profiling.encoders.peak import Clock
from ...profiling.tables.shop import Shop
from .distil_encoder import FitConfig, fit_vectors
from .prune import Part, PruneConfig, drop_order, keep_layers, prune
from .slim import Slim, read_slim, slim_tokens, write_slim

Tell = Callable[[str], object]

_TRIED = 100  # texts that each layer is tried without on


class FrontierConfig(BaseModel):
    """What is made and how it is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float = Field(default=2.0, gt=0, description="fitting of each distilled network at most")
    steps: int = Field(default=3000, ge=1, description="steps of that fitting at most, 32 texts each")
    texts: int = Field(default=8000, ge=20, description="item texts and training queries to fit to at most")
    rated: int = Field(
        default=300, ge=4, le=5000, description="of these, texts that layers, heads and units are rated on"
    )
    measured: int = Field(default=500, ge=4, le=5000, description="texts fidelity is measured on; none is fitted to")
    items: int = Field(default=5000, ge=20, description="items searched: judged ones first, others drawn beside them")
    queries: int = Field(default=300, ge=1, description="validation queries at most")
    timed: int = Field(default=128, ge=2, description="texts of a timed round")
    rounds: int = Field(default=5, ge=1, description="timed rounds, all encoders in turn")
    seed: int = Field(default=0, ge=0, description="of every draw")


@dataclass(frozen=True, eq=False)
class Sample:
    """What a shop lends to a frontier.

    Attributes:
        fit_texts, fit_kinds: texts to fit to, and whether each is an ``item`` or a ``query``
        measured: item texts that nothing is fitted to
        shop: the items searched and their validation judgements; None where the shop has none
    """

    fit_texts: tuple[str, ...]
    fit_kinds: tuple[str, ...]
    measured: tuple[str, ...]
    shop: Shop | None


@dataclass(frozen=True, eq=False)
class Workshop:
    """What smaller encoders are made from.

    Attributes:
        config: of the base
        encoder: the base
        sample: texts
        vectors: the base's vectors of ``sample.fit_texts``
        options: sizes and times
        folder: where they are written
        clock: bounds the fitting
        tell: told what is being done
    """

    config: EncoderConfig
    encoder: Encoder
    sample: Sample
    vectors: NDArray[np.float32]
    options: FrontierConfig
    folder: Path
    clock: Clock
    tell: Tell

    def tokens(self, slim: Slim, n: int | None = None) -> list[list[int]]:
        """Token ids of the first ``n`` texts to fit to, all by default."""
        found: list[list[int]] = [[]] * len(self.sample.fit_texts[:n])
        for kind in dict.fromkeys(self.sample.fit_kinds):
            rows = [row for row in range(len(found)) if self.sample.fit_kinds[row] == kind]
            made = slim_tokens(slim, [self.sample.fit_texts[row] for row in rows], kind)
            for row, tokens in zip(rows, made, strict=True):
                found[row] = tokens
        return found

    @cached_property
    def slim(self) -> Slim:
        """The base's network."""
        return read_slim(self.config.name, max_length=self.config.max_length)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The order in which its layers are dropped."""
        self.tell("choosing layers to drop")
        n = min(self.options.rated, _TRIED)
        return drop_order(self.slim, self.tokens(self.slim, n), least=max(1, self.slim.n_layers // 3))

    def with_layers(self, n: int) -> tuple[Slim, str]:
        """The base with ``n`` layers, and which these are, counted from 1, in words."""
        gone = self.order[: self.slim.n_layers - n]
        kept = [number for number in range(self.slim.n_layers) if number not in gone]
        return keep_layers(self.slim, kept), ", ".join(str(number + 1) for number in kept)


@dataclass(frozen=True)
class Candidate:
    """An encoder to measure.

    Attributes:
        name, kind: what it is called, and the key of `KINDS` that made it
        config: opens it
        made: how, in words
        parameters: numbers in it
        bytes: size of the files an engine reads
    """

    name: str
    kind: str
    config: EncoderConfig
    made: str
    parameters: int
    bytes: int


def _layers(shop_of: Workshop) -> list[Candidate]:
    """Layers dropped, nothing fitted."""
    there, made = shop_of.slim.n_layers, []
    for n in sorted({there - 1, -(-2 * there // 3)} - {there, 0}, reverse=True):
        slim, said = shop_of.with_layers(n)
        made.append(_written(shop_of, slim, f"layers-{n}", "layers", f"layers {said}, not fitted"))
    return made


def _pruned(part: Part) -> Callable[[Workshop], list[Candidate]]:
    """Heads or units cut, what is left refitted in closed form."""

    def make(shop_of: Workshop) -> list[Candidate]:
        slim = shop_of.slim
        there, tokens = (slim.heads if part == "heads" else slim.units), shop_of.tokens(slim, shop_of.options.rated)
        made = []
        for n in sorted({3 * there // 4, there // 2} - {there, 0}, reverse=True):
            shop_of.tell(f"cutting {part}: {n} of {there} left")
            cut = prune(slim, part, n, tokens, PruneConfig(seed=shop_of.options.seed))
            said = f"{n} of {there} {part} in each layer, refitted by least squares"
            made.append(_written(shop_of, cut, f"{part}-{n}", part, said))
        return made

    return make


def _distilled(shop_of: Workshop) -> list[Candidate]:
    """Fewer layers, fitted to the base's vectors."""
    there = shop_of.slim.n_layers
    sizes = {-(-2 * there // 3), -(-there // 2), -(-there // 3)} - {there}
    return [_distil(shop_of, n, "distilled") for n in sorted(sizes, reverse=True)]


def _distilled_int8(shop_of: Workshop) -> list[Candidate]:
    """Half the layers, fitted, then int8."""
    n = max(1, -(-shop_of.slim.n_layers // 2))
    folder = shop_of.folder / f"distilled-{n}"
    if not folder.exists():
        _distil(shop_of, n, "distilled-int8")
    small = read_slim(str(folder), max_length=shop_of.config.max_length)
    config = shop_of.config.model_copy(update={"name": str(folder), "weights_sha256": None})
    return [_quantised(shop_of, config, f"distilled-{n}-int8", "distilled-int8", small.n_parameters())]


def _int8(shop_of: Workshop) -> list[Candidate]:
    """The base in int8."""
    return [_quantised(shop_of, shop_of.config, "int8", "int8", shop_of.slim.n_parameters())]


def _static(shop_of: Workshop) -> list[Candidate]:
    """Token vectors fitted to the base's vectors."""
    shop_of.tell("distilling a static encoder")
    slim, folder = shop_of.slim, shop_of.folder / "static"
    made = distil_static(
        shop_of.encoder,
        slim.checkpoint.encoder / "tokenizer.json",
        folder,
        texts=shop_of.sample.fit_texts,
        vectors=shop_of.vectors,
        rng=np.random.default_rng(shop_of.options.seed),
        lower=slim.checkpoint.lower,
    )
    said = f"{made.n_tokens:,} tokens and {made.n_pairs:,} pairs fitted to {made.n_texts:,} texts"
    config = EncoderConfig(name=f"{STATIC}{folder}")
    size = (made.n_tokens + made.n_pairs) * made.dim
    return [Candidate("static", "static", config, said, size, weights_bytes(folder))]


KINDS: Mapping[str, Callable[[Workshop], list[Candidate]]] = {
    "int8": _int8,
    "layers": _layers,
    "heads": _pruned("heads"),
    "units": _pruned("units"),
    "distilled": _distilled,
    "distilled-int8": _distilled_int8,
    "static": _static,
}
"""Ways to make smaller encoders, by name."""


def _distil(shop_of: Workshop, n: int, kind: str) -> Candidate:
    """``n`` layers kept and fitted."""
    options = shop_of.options
    slim, said = shop_of.with_layers(n)
    tokens, draw = shop_of.tokens(slim), np.random.default_rng(options.seed)
    shop_of.tell(f"fitting {n} layers, {options.minutes:g} min at most")
    fit = FitConfig(minutes=options.minutes, steps=options.steps)
    small, done = fit_vectors(slim, tokens, shop_of.vectors, fit, rng=draw, clock=shop_of.clock)
    said = f"layers {said}, fitted in {done.steps:,} steps to {len(tokens):,} texts"
    return _written(shop_of, small, f"distilled-{n}", kind, said, about=done.to_dict())


def _written(
    shop_of: Workshop, slim: Slim, name: str, kind: str, said: str, *, about: Mapping[str, Any] | None = None
) -> Candidate:
    """A network written to its folder."""
    folder = write_slim(slim, shop_of.folder / name, about={"made": said, "fit": dict(about or {})})
    config = shop_of.config.model_copy(update={"name": str(folder), "weights_sha256": None})
    return Candidate(name, kind, config, said, slim.n_parameters(), weights_bytes(folder))


def _quantised(shop_of: Workshop, config: EncoderConfig, name: str, kind: str, parameters: int) -> Candidate:
    """An encoder in int8, calibrated on the texts to fit to."""
    shop_of.tell(f"calibrating {name}")
    folder = shop_of.folder / name
    items = [t for t, k in zip(shop_of.sample.fit_texts, shop_of.sample.fit_kinds, strict=True) if k == "item"]
    wanted = config.model_copy(update={"precision": "int8", "runtime": "auto"})
    stamp = prepare_encoder(wanted, items, folder).stamp
    kept = wanted.model_copy(update={"prepared": str(folder), "runtime": stamp.runtime})
    size = sum(file.stat().st_size for file in folder.rglob("model.*") if file.suffix in (".onnx", ".bin", ".xml"))
    return Candidate(name, kind, kept, f"{parameters:,} numbers in int8 by {stamp.runtime}", parameters, size)


def weights_bytes(folder: Path) -> int:
    """Size of the weights in a checkpoint's folder."""
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
