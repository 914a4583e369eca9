"""Embedding on Ray: the same bytes as here, nothing left running, nothing listening to other machines."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.embedding.plan import EmbedConfig
from tasteprint.profiling.embedding.ready import EncoderOpener
from tasteprint.profiling.embedding.run import embed_shop
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import ExtraMissingError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop, write_shop

CONFIG = EncoderConfig(name="hash:32")
SIZES = EmbedConfig(chunk_texts=16, shard_items=100, batch_items=30)

ON_RAY = """
import json, os, sys
from pathlib import Path
from tasteprint.profiling.embedding.ready import EncoderOpener
from tasteprint.profiling.embedding.plan import EmbedConfig
from tasteprint.profiling.embedding.on_ray import encode_on_ray
from tasteprint.profiling.embedding.run import embed_shop
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import EncoderError

shop, out, wrong = sys.argv[1:]
config = EncoderConfig(name="hash:32")
encoder = open_encoder(config)
opener = EncoderOpener(config if wrong == "no" else EncoderConfig(name="hash:16"))
sizes = EmbedConfig(chunk_texts=16, shard_items=100, batch_items=30)
reached = set()

def tell(what, done, total, counts=None):
    if what != "Encoding texts" or not done:
        return
    family = {4: "/proc/net/tcp", 6: "/proc/net/tcp6"}
    mine = {os.readlink(f) for p in Path("/proc").glob("[0-9]*") if b"ray" in (p / "cmdline").read_bytes()
            for f in sockets(p)}
    for file in family.values():
        for line in Path(file).read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and f"socket:[{parts[9]}]" in mine:
                reached.add(parts[1].split(":")[0])

def sockets(process):
    try:
        return [f for f in (process / "fd").iterdir() if os.readlink(f).startswith("socket:")]
    except OSError:
        return []

encode = encode_on_ray(opener, encoder.stamp.digest, workers=2)
try:
    report = embed_shop(shop, out, encoder, config=sizes, encode=encode, tell=tell)
except EncoderError as error:
    print("refused:", error)
else:
    import ray
    print(json.dumps([report.n_encoded, ray.is_initialized(), sorted(reached)]))
"""


def on_ray(shop: Path, out: Path, *, wrong: bool = False) -> str:
    """What a run on Ray prints; in a process of its own, as Ray warns in ways that tests here forbid."""
    words = [sys.executable, "-c", ON_RAY, str(shop), str(out), "yes" if wrong else "no"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    titles = [f"lamp {row % 230}" for row in range(250)]
    items = conform("items", pd.DataFrame({"item_id": [f"i{row}" for row in range(250)], "title": titles}))
    return write_shop(Shop("s", items=items), tmp_path / "shop")


def served(out: Path) -> dict[str, bytes]:
    version, digest = (out / "CURRENT").read_text().split()
    return {file.name: file.read_bytes() for file in (out / version).iterdir()} | {"CURRENT": digest.encode()}


@pytest.mark.slow
def test_the_same_bytes(shop: Path, tmp_path: Path):
    pytest.importorskip("ray")
    embed_shop(shop, tmp_path / "here", open_encoder(CONFIG), config=SIZES)
    n_encoded, running, reached = json.loads(on_ray(shop, tmp_path / "ray"))
    assert served(tmp_path / "ray") == served(tmp_path / "here")
    assert (n_encoded, running) == (230, False)
    # addresses in the kernel's order of bytes: 127.0.0.1, alone and inside IPv6
    assert set(reached) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert reached


@pytest.mark.slow
def test_a_worker_with_another_encoder_is_refused(shop: Path, tmp_path: Path):
    pytest.importorskip("ray")
    assert "another encoder than the driver" in on_ray(shop, tmp_path / "out", wrong=True)
    assert not (tmp_path / "out" / "CURRENT").exists()


def test_without_ray(monkeypatch: pytest.MonkeyPatch):
    from tasteprint.profiling.embedding.on_ray import encode_on_ray

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'tasteprint\[scale\]'"):
        encode_on_ray(EncoderOpener(CONFIG), "0")


def test_an_opener_travels():
    opener = pickle.loads(pickle.dumps(EncoderOpener(CONFIG)))
    np.testing.assert_array_equal(opener().encode(["lamp"]), open_encoder(CONFIG).encode(["lamp"]))
