"""An encoder made ready for a shop: compared with fp32 on the shop's own texts wherever it is not that itself.

Covers which texts are compared, drawn by the hash of item ids so that they stay nearly the same from night to night,
and keeping their vectors, so that a comparison encodes only what changed. The measures and bars are `fidelity`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .embed_keys import text_keys
from .embed_plan import Tell
from .embed_rows import as_items, read_batches
from .embeddings import embed_texts
from .encoder import Encoder, EncoderConfig, open_encoder
from .errors import ShopError
from .fidelity import BARS, Fidelity, check_fidelity, fidelity
from .templates import TemplateConfig, item_texts
from .texts import TextKind, clean_texts

_REFERENCE = {"precision": "fp32", "runtime": "torch"}


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
        opener: opens it elsewhere
        fidelity: how near it is to fp32, None where it is that itself
    """

    encoder: Encoder
    opener: EncoderOpener
    fidelity: Fidelity | None


def ready_encoder(
    config: EncoderConfig,
    items: str | Path,
    cache_dir: str | Path,
    template: TemplateConfig | None = None,
    *,
    tell: Tell,
) -> ReadyEncoder:
    """Open an encoder, and compare it with fp32 on texts of the shop where it is something else.

    Args:
        config: the encoder
        items: ``items.parquet`` of the shop
        cache_dir: vector cache of the shop; the vectors compared are kept there as any other
        template: how an item becomes a text, None = the default
        tell: told about progress

    Raises:
        EncoderError: the encoder cannot be opened, or strays from fp32 further than the bars of its precision allow.
        ShopError: the items cannot be read.
    """
    opener = EncoderOpener(config)
    encoder = opener()
    known = {key: value for key, value in _REFERENCE.items() if key in EncoderConfig.model_fields}
    reference = open_encoder(config.model_copy(update=known))
    if reference.stamp == encoder.stamp:
        return ReadyEncoder(encoder, opener, None)
    bars = BARS[encoder.stamp.precision]
    texts = sample_of_items(items, template or TemplateConfig(), bars.n_texts)
    if len(texts) < 2:
        return ReadyEncoder(encoder, opener, None)  # nothing to compare
    tell("Comparing with fp32", 0, 0)
    measured = fidelity(_Cached(reference, cache_dir), _Cached(encoder, cache_dir), texts, bars)
    check_fidelity(measured, bars, encoder=f"encoder {encoder.stamp}")
    return ReadyEncoder(encoder, opener, measured)


def sample_of_items(items: str | Path, template: TemplateConfig, n: int, *, salt: str = "fidelity") -> list[str]:
    """Distinct texts of at most ``n`` items: those whose ids have the lowest hashes with ``salt``.

    An item keeps its place in the sample whatever happens to the others.

    Raises:
        ShopError: the items cannot be read.
    """
    hashes, texts = np.empty(0, dtype=np.uint64), np.empty(0, dtype=object)  # ascending
    try:
        with Path(items).open("rb") as file:
            for piece, _ in read_batches(file):
                frame = as_items(piece)
                keys = text_keys(frame["item_id"], salt)[:, 0]
                low = keys <= hashes[-1] if len(hashes) == n else np.ones(len(keys), dtype=bool)
                fresh = clean_texts(item_texts(frame[low], template))
                hashes = np.concatenate([hashes, keys[low]])
                texts = np.concatenate([texts, np.array(fresh, dtype=object)])
                order = np.argsort(hashes, kind="stable")[:n]
                hashes, texts = hashes[order], texts[order]
    except OSError as error:
        raise ShopError(f"{items}: cannot be read ({error}); name the folder of a shop that has items") from error
    return [text for text in dict.fromkeys(texts.tolist()) if text]


class _Cached:
    """An encoder whose vectors are kept."""

    def __init__(self, encoder: Encoder, cache_dir: str | Path) -> None:
        self.dim, self.stamp = encoder.dim, encoder.stamp
        self._encoder, self._cache_dir = encoder, cache_dir

    def encode(self, texts: Sequence[str | None], kind: TextKind = "item") -> NDArray[np.float32]:
        """As `Encoder.encode`."""
        return embed_texts(texts, self._encoder, self._cache_dir, kind=kind)
