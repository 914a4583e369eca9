"""Making an encoder ready for a shop: samples that stay, networks that are kept, figures, and the gate."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.embedding import ready as embed_fidelity
from tasteprint.profiling.embedding.embeddings import embed_texts, open_embeddings
from tasteprint.profiling.embedding.ready import ReadyEncoder, ready_encoder, sample_of_items
from tasteprint.profiling.embedding.run import _silent, embed_shop
from tasteprint.profiling.encoders.encoder import Encoder, EncoderConfig
from tasteprint.profiling.encoders.fidelity import FidelityConfig
from tasteprint.profiling.errors import EncoderError, ShopError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop, write_shop
from tasteprint.profiling.templates import TemplateConfig
from tests.profiling import family_checkpoints as made

TITLES = [f"{a} {b} {c}" for a in made.WORDS for b in made.WORDS for c in ("", "in the kitchen")]
LENIENT = FidelityConfig(min_cosine=0.9, min_overlap=0.1, min_overlap_ties=0.1)


@pytest.fixture
def bert(tmp_path: Path) -> str:
    return str(made.save_checkpoint(tmp_path, "bert"))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    items = {"item_id": [f"i{row}" for row in range(len(TITLES))], "title": TITLES}
    return write_shop(Shop("s", items=conform("items", pd.DataFrame(items))), tmp_path / "shop")


@pytest.fixture
def ready(shop: Path, tmp_path: Path) -> Callable[[EncoderConfig], ReadyEncoder]:
    return lambda config: ready_encoder(config, shop / "items.parquet", tmp_path / "cache", tell=_silent)


def int8(bert: str) -> EncoderConfig:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    return EncoderConfig(name=bert, precision="int8", runtime="onnx")


def test_fp32_needs_no_sample(bert: str, tmp_path: Path):
    ready = ready_encoder(EncoderConfig(name=bert), tmp_path / "no items", tmp_path, tell=_silent)
    assert ready.fidelity is None
    assert pickle.loads(pickle.dumps(ready.opener))().stamp == ready.encoder.stamp


def test_another_engine_is_compared(bert: str, shop: Path, tmp_path: Path, ready: Callable[..., ReadyEncoder]):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    got = ready(EncoderConfig(name=bert, runtime="onnx"))
    assert got.fidelity is not None
    assert got.fidelity.cosine_min > 0.9999
    embed_shop(shop, tmp_path / "out", got.encoder, fidelity=got.fidelity.to_dict())
    assert open_embeddings(tmp_path / "out").meta["fidelity"] == got.fidelity.to_dict()


def test_int8_is_calibrated_once(bert: str, monkeypatch: pytest.MonkeyPatch, ready: Callable[..., ReadyEncoder]):
    monkeypatch.setitem(embed_fidelity.BARS, "int8", LENIENT)  # type: ignore[arg-type]
    config = int8(bert)
    first = ready(config)
    assert first.fidelity is not None
    assert first.encoder.stamp.calibration
    from tasteprint.profiling.runtimes import prepared

    monkeypatch.setattr(prepared, "_make", lambda *_: pytest.fail("made twice"))
    encoded: list[int] = []

    def counted(texts: list[str], encoder: Encoder, cache_dir: Path, *, kind: str) -> np.ndarray:
        return embed_texts(texts, encoder, cache_dir, progress=lambda _, total: encoded.append(total))

    monkeypatch.setattr(embed_fidelity, "embed_texts", counted)
    second = ready(config)
    assert second.encoder.stamp == first.encoder.stamp
    assert second.fidelity == first.fidelity
    assert encoded == [0, 0]  # both encoders' vectors of the sample were kept
    elsewhere = pickle.loads(pickle.dumps(second.opener))()
    assert elsewhere.stamp == first.encoder.stamp
    np.testing.assert_array_equal(elsewhere.encode(TITLES[:9]), first.encoder.encode(TITLES[:9]))


def test_the_gate(bert: str, monkeypatch: pytest.MonkeyPatch, ready: Callable[..., ReadyEncoder]):
    monkeypatch.setitem(embed_fidelity.BARS, "int8", FidelityConfig(min_cosine=1.0))  # type: ignore[arg-type]
    with pytest.raises(
        EncoderError, match=r"to calibrate it anew, remove .*prepared.*mean cosine must be at least 1, got"
    ):
        ready(int8(bert))


def test_maps_stay_in_fp32_where_int8_alone_misses_a_bar(
    bert: str, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = int8(bert)

    def made(bars: FidelityConfig, name: str) -> ReadyEncoder:
        monkeypatch.setitem(embed_fidelity.BARS, "int8", bars)  # type: ignore[arg-type]
        return ready_encoder(config, shop / "items.parquet", tmp_path / name, tell=_silent)

    alone = made(LENIENT, "alone")
    assert alone.fidelity is not None
    assert alone.fp32_maps == 0
    above = 0.75 * alone.fidelity.cosine_mean + 0.25  # a quarter of the way to 1
    mixed = made(LENIENT.model_copy(update={"min_cosine": above}), "mixed")
    assert mixed.fidelity is not None
    assert mixed.fp32_maps in (3, 6)
    assert mixed.fidelity.cosine_mean >= above > alone.fidelity.cosine_mean
    assert mixed.encoder.stamp != alone.encoder.stamp
    again = made(LENIENT.model_copy(update={"min_cosine": above}), "mixed")  # what was kept clears the bar at once
    assert again.fp32_maps == 0
    assert again.encoder.stamp == mixed.encoder.stamp


def test_the_sample_stays(shop: Path, tmp_path: Path):
    template = TemplateConfig()
    low, high = sample_of_items(shop / "items.parquet", template, 100, 40, batch=64)
    assert (len(low), len(high)) == (100, 40)
    assert not set(low) & set(high)
    assert (low, high) == sample_of_items(shop / "items.parquet", template, 100, 40)
    frame = pd.read_parquet(shop / "items.parquet")
    frame.loc[frame.sample(frac=0.05, random_state=0).index, "title"] += " new"
    frame.sample(frac=0.97, random_state=1).to_parquet(tmp_path / "items.parquet")
    changed, _ = sample_of_items(tmp_path / "items.parquet", template, 100, 40)
    assert len(set(changed) & set(low)) >= 85
    frame[:0].to_parquet(tmp_path / "items.parquet")
    assert sample_of_items(tmp_path / "items.parquet", template, 100, 40) == ([], [])
    with pytest.raises(ShopError, match="shop that has items"):
        sample_of_items(tmp_path / "nowhere", template, 100, 40)
