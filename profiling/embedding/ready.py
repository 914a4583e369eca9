"""An encoder made ready for a shop: calibrated where it must be, and compared with fp32 wherever it is not that itself.

Covers which of the shop's texts are used, drawn by the hash of item ids so that they stay nearly the same from night to
night: a network is calibrated once and kept, and a comparison encodes only what changed. The measures and bars are
`fidelity`'s, networks are made by `encoder.prepare_encoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..encoders.encoder import Encoder, EncoderConfig, open_encoder, prepare_encoder
from ..encoders.fidelity import BARS, Fidelity, FidelityConfig, check_fidelity, fidelity, held_out_texts, misses
from ..errors import EncoderError, ShopError
from ..templates import TemplateConfig, item_texts
from ..texts import TextKind, clean_texts
from .embeddings import embed_texts
from .keys import text_keys
from .plan import Tell
from .rows import as_items, read_batches

PREPARED = "prepared"
"""Folder of prepared networks inside a vector cache."""
_CALIBRATED = 256
_FP32_MAPS = (3, 6)  # what is tried where int8 alone misses its bars


@dataclass(frozen=True)
class EncoderOpener:
    """Opens the same encoder again, in another process too."""

    config: EncoderConfig

    def __call__(self) -> Encoder:
        """The encoder."""
        return open_encoder(self.config)


@dataclass(frozen=True)
class ReadyEncoder:
    """An encoder that may be used for a shop.

    Attributes:
        encoder: opened
        opener: opens it elsewhere; a prepared network has to be in a folder that is seen there too
        fidelity: how near it is to fp32, None where it is that itself
        fp32_maps: linear maps that this call had to leave in fp32 for int8 to clear its bars
    """

    encoder: Encoder
    opener: EncoderOpener
    fidelity: Fidelity | None
    fp32_maps: int = 0


def ready_encoder(
    config: EncoderConfig,
    items: str | Path,
    cache_dir: str | Path,
    template: TemplateConfig | None = None,
    *,
    tell: Tell,
) -> ReadyEncoder:
    """Open an encoder; calibrate it and compare it with fp32 on texts of the shop where it is something else.

    Args:
        config: the encoder
        items: ``items.parquet`` of the shop
        cache_dir: vector cache of the shop; the vectors compared are kept there as any other, and prepared networks in
            ``prepared``, unless ``config.prepared`` names another folder
        template: how an item becomes a text, None = the default
        tell: told about progress

    Raises:
        EncoderError: the encoder cannot be opened, or strays from fp32 further than the bars of its precision allow.
        ShopError: the items cannot be read.
    """
    if config.precision == "fp32" and config.runtime in ("auto", "torch"):
        return ReadyEncoder(open_encoder(config), EncoderOpener(config), None)
    folder = Path(config.prepared or Path(cache_dir) / PREPARED)
    reference = open_encoder(config.model_copy(update={"precision": "fp32", "runtime": "torch", "prepared": None}))
    tell("Reading a sample", 0, 0)
    n_texts = max(bars.n_texts for bars in BARS.values())
    texts, others = sample_of_items(items, template or TemplateConfig(), n_texts, _CALIBRATED)
    tell("Opening the encoder", 0, 0)
    encoder = _prepared(config, folder, others)
    if encoder.stamp == reference.stamp or len(texts) < 2:
        return ReadyEncoder(encoder, _opener(config, folder, encoder), None)
    bars = BARS[encoder.stamp.precision]
    sample = held_out_texts(texts, others, bars.n_texts)
    measured = _measured(reference, encoder, sample, bars, cache_dir, tell)
    left = 0
    for maps in _FP32_MAPS if encoder.stamp.calibration else ():
        if not misses(measured, bars):
            break
        tell(f"Calibrating with {maps} maps in fp32", 0, 0)
        left, encoder = maps, _mixed(config, folder, others, maps)
        measured = _measured(reference, encoder, sample, bars, cache_dir, tell)
    about = f"encoder {encoder.stamp}" + (
        f" (to calibrate it anew, remove {folder})" if encoder.stamp.calibration else ""
    )
    check_fidelity(measured, bars, encoder=about)
    return ReadyEncoder(encoder, _opener(config, folder, encoder), measured, left)


def _opener(config: EncoderConfig, folder: Path, encoder: Encoder) -> EncoderOpener:
    """Opens this very encoder again."""
    kept = {"prepared": str(folder.resolve()), "precision": encoder.stamp.precision}
    return EncoderOpener(config.model_copy(update=kept | {"runtime": encoder.stamp.runtime or "torch"}))


def _measured(
    reference: Encoder, encoder: Encoder, sample: Sequence[str], bars: FidelityConfig, cache_dir: str | Path, tell: Tell
) -> Fidelity:
    """How near an encoder is to fp32 on some texts; their vectors are kept."""
    tell("Comparing with fp32", 0, 0)
    return fidelity(_Cached(reference, cache_dir), _Cached(encoder, cache_dir), sample, bars)


def _mixed(config: EncoderConfig, folder: Path, texts: Sequence[str], maps: int) -> Encoder:
    """int8 with some maps in fp32."""
    from ..runtimes.quantise import QuantiseConfig

    return prepare_encoder(config, texts, folder, quantise=QuantiseConfig(fp32_maps=maps))


def sample_of_items(
    items: str | Path, template: TemplateConfig, n_low: int, n_high: int, *, batch: int = 1 << 14
) -> tuple[list[str], list[str]]:
    """Distinct texts of the ``n_low`` items whose ids have the lowest hashes, and of the ``n_high`` with the highest.

    An item keeps its place whatever happens to the others. The two share items only where there are fewer than both
    together.

    Raises:
        ShopError: the items cannot be read.
    """
    low, high = _Lowest(n_low, template), _Lowest(n_high, template)
    try:
        with Path(items).open("rb") as file:
            for piece, _ in read_batches(file, batch):
                if "item_id" in piece.schema.names:
                    hashes = text_keys(map(str, piece.column("item_id").to_pylist()), "sample")[:, 0]
                    low.add(hashes, piece)
                    high.add(~hashes, piece)
    except OSError as error:
        raise ShopError(f"{items}: cannot be read ({error}); name the folder of a shop that has items") from error
    return low.texts(), high.texts()


class _Lowest:
    """Texts of the rows with the lowest hashes so far."""

    def __init__(self, n: int, template: TemplateConfig) -> None:
        self._n, self._template = n, template
        self._hashes, self._texts = np.empty(0, dtype=np.uint64), np.empty(0, dtype=object)  # ascending

    def add(self, hashes: NDArray[np.uint64], rows: pa.RecordBatch) -> None:
        """Consider rows with these hashes (n_rows,)."""
        full = len(self._hashes) == self._n
        near = np.flatnonzero(hashes < self._hashes[-1] if full else np.ones(len(hashes), dtype=bool))
        near = near[np.argsort(hashes[near], kind="stable")[: self._n]]
        fresh = clean_texts(item_texts(as_items(rows.take(pa.array(near))), self._template))
        found = np.concatenate([self._hashes, hashes[near]])
        texts = np.concatenate([self._texts, np.array(fresh, dtype=object)])
        order = np.argsort(found, kind="stable")[: self._n]
        self._hashes, self._texts = found[order], texts[order]

    def texts(self) -> list[str]:
        """The distinct ones that say something."""
        return [text for text in dict.fromkeys(self._texts.tolist()) if text]


def _prepared(config: EncoderConfig, folder: Path, texts: Sequence[str]) -> Encoder:
    """The encoder with its network from ``folder``; made there on ``texts`` where there is none that fits."""
    if config.precision == "int8":
        try:
            return open_encoder(config.model_copy(update={"prepared": str(folder)}))
        except EncoderError:  # none yet, or of another checkpoint; what else is wrong comes up again
            pass
    return prepare_encoder(config, texts, folder)


class _Cached:
    """An encoder whose vectors are kept."""

    def __init__(self, encoder: Encoder, cache_dir: str | Path) -> None:
        self.dim, self.stamp = encoder.dim, encoder.stamp
        self._encoder, self._cache_dir = encoder, cache_dir

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """As `Encoder.encode`."""
        return embed_texts(texts, self._encoder, self._cache_dir, kind=kind)
