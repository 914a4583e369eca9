"""Shared by the tests of embedding: small shops, an encoder whose vectors depend on their batch, comparing results."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasteprint.profiling.embedding.plan import Chunk, EmbedConfig
from tasteprint.profiling.embedding.run import Encode, encode_here
from tasteprint.profiling.encoders.encoder import Encoder
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop, write_shop

SIZES = EmbedConfig(chunk_texts=16, shard_items=100, batch_items=30)


class BatchEncoder(HashEncoder):
    """Vectors that depend, like a network's last bits, on what is encoded beside them; remembers the texts."""

    def __init__(self, seed: int = 0, pause_s: float = 0.0) -> None:
        super().__init__(dim=16, seed=seed)
        self.seen: list[str | None] = []
        self.pause_s = pause_s

    def encode(self, texts: Sequence[str | None], kind: str = "item") -> NDArray[np.float32]:  # type: ignore[override]
        time.sleep(self.pause_s)
        self.seen += list(texts)
        beside = hashlib.sha256("\0".join(text or "" for text in texts).encode()).digest()[0]
        return super().encode(texts) + np.float32(beside * 1e-7)


def make_shop(folder: Path, titles: Sequence[str | None]) -> Path:
    """A shop of items with these titles."""
    items = conform("items", pd.DataFrame({"item_id": [f"i{row}" for row in range(len(titles))], "title": titles}))
    return write_shop(Shop("s", items=items), folder, overwrite=True)


def titles_of(n: int) -> list[str | None]:
    """Titles, some of them twice, one blank."""
    return [*(f"lamp {row % (n - 20)}" for row in range(n - 1)), ""]


def content(out: Path) -> dict[str, str]:
    """sha256 of every file that is served, by name, and what the pointer says of the manifest."""
    version, digest = (out / "CURRENT").read_text().split()
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (out / version).iterdir()}
    return found | {"CURRENT": digest}


def leftovers(out: Path) -> list[str]:
    """What a finished run should not leave."""
    return [str(path) for path in out.rglob("*") if path.name.startswith((".tmp-", ".run"))]


def damage(file: Path, where: str) -> None:
    """Change a file of the cache."""
    raw = bytearray(file.read_bytes())
    if where == "cut":
        raw = raw[:-40]
    else:
        raw[-5 if where == "keys" else len(raw) // 2] ^= 1
    file.write_bytes(raw)


class Stopped(Exception):
    """What stops a run in these tests."""


def stopping(encoder: Encoder, after: int) -> Encode:
    """Encoding that fails after so many chunks."""

    def encode(chunks: Iterable[Chunk]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for number, made in enumerate(encode_here(encoder)(chunks)):
            if number == after:
                raise Stopped
            yield made

    return encode
