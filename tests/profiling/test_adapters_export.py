"""A merged adapter in the exported engines, its fidelity gated, and in the commands that embed and build a shop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tasteprint.building import build_workspace
from tasteprint.cli import app
from tasteprint.config import load_settings
from tasteprint.profiling.adapters.kinds import AdapterConfig
from tasteprint.profiling.adapters.saved import open_adapter
from tasteprint.profiling.adapters.saving import save_adapter
from tasteprint.profiling.adapters.text_model import open_text_model
from tasteprint.profiling.embedding import ready as embed_fidelity
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder, prepare_encoder
from tasteprint.profiling.encoders.fidelity import FidelityConfig, check_fidelity, compare_vectors, fidelity
from tasteprint.profiling.errors import ArtefactError, EncoderError
from tasteprint.workspace import open_workspace
from tests.profiling import family_checkpoints as made
from tests.small_bert import save_small_bert

SHOP = [f"{a} {b} {c}" for a in made.WORDS for b in made.WORDS[:6] for c in ("", "in the kitchen", "of steel")]
WORDS = ("green", "tea", "garden", "hose", "running", "shoes", "kettle", "lamp", "wool", "blanket")
LENIENT = FidelityConfig(min_cosine=0.9, min_overlap=0.3, min_overlap_ties=0.3)  # for weights that are noise


def save_lora(base: Path, folder: Path, probes: list[str], *, seed: int = 3) -> Path:
    """A LoRA adapter that does something."""
    model = open_text_model(str(base), AdapterConfig(rank=4), dropout=0.0)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_adapter(
        model, folder, base=open_encoder(EncoderConfig(name=str(base))).stamp, probes=probes, data_digest="d" * 64
    )
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made.save_checkpoint(tmp_path_factory.mktemp("bert"), "bert"))


@pytest.fixture(scope="module")
def lora(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lora(bert, tmp_path_factory.mktemp("lora") / "adapter", made.TEXTS)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_exported_adapter_passes_the_gate(bert: Path, lora: Path, runtime: str, precision: str, tmp_path: Path):
    for package in {"onnx": ("onnxruntime", "onnx"), "openvino": ("openvino",)}[runtime]:
        pytest.importorskip(package)
    config = EncoderConfig(name=str(bert), adapter=str(lora), precision=precision, runtime=runtime)  # type: ignore[arg-type]
    reference = open_encoder(EncoderConfig(name=str(bert), adapter=str(lora)))
    encoder = prepare_encoder(config, SHOP, tmp_path)
    assert encoder.stamp.adapter == reference.stamp.adapter != ""
    bars = LENIENT if precision == "int8" else embed_fidelity.BARS["fp32"]
    check_fidelity(fidelity(reference, encoder, SHOP), bars)
    base = open_encoder(EncoderConfig(name=str(bert)))
    assert compare_vectors(base.encode(made.TEXTS), encoder.encode(made.TEXTS), k=2).cosine_mean < 0.9
    again = open_encoder(config.model_copy(update={"prepared": str(tmp_path)}))
    np.testing.assert_array_equal(again.encode(SHOP), encoder.encode(SHOP))


def test_a_network_prepared_for_the_base_is_not_the_adapters(bert: Path, lora: Path, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    plain = EncoderConfig(name=str(bert), precision="int8", runtime="onnx")
    prepare_encoder(plain, SHOP, tmp_path)
    with pytest.raises(EncoderError, match=r"was made of something else .*adapter"):
        open_encoder(plain.model_copy(update={"prepared": str(tmp_path), "adapter": str(lora)}))


def test_embed_takes_an_adapter(tiny_workspace: Path, tmp_path: Path):
    base = save_small_bert(tmp_path / "bert", WORDS)
    adapter = save_lora(base, tmp_path / "adapter", ["green tea", "garden hose", "wool blanket"])

    def embed(*sets: str) -> dict:  # type: ignore[type-arg]
        words = ["embed", str(tiny_workspace.parent / "shop"), "--out", str(tmp_path / "out"), "--json"]
        words += ["--set", f"encoder.name={base}", *(word for one in sets for word in ("--set", one))]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
        return dict(json.loads(done.stdout))

    plain, tuned = embed(), embed(f"encoder.adapter={adapter}")
    assert plain["stamp"]["adapter"] == ""
    assert tuned["stamp"]["adapter"] == open_adapter(adapter).digest
    assert tuned["stamp"]["weights"] == plain["stamp"]["weights"]
    assert tuned["encoded_texts"] == tuned["texts"] > 0  # nothing of the base's is taken for the adapter's
    assert embed(f"encoder.adapter={adapter}")["up_to_date"]


def test_a_workspace_takes_an_adapter_and_refuses_another(tmp_path: Path, tiny_workspace: Path):
    base = save_small_bert(tmp_path / "bert", WORDS)
    adapter = save_lora(base, tmp_path / "adapter", ["green tea", "garden hose", "wool blanket"])
    sets = [f"encoder.name={base}", f"encoder.adapter={adapter}"]
    settings = load_settings(sets=sets, environ={}).settings
    build_workspace(tiny_workspace.parent / "shop", tmp_path / "work", settings)
    opened = open_workspace(tmp_path / "work")
    assert opened.encoder.stamp.adapter == open_adapter(adapter).digest
    assert opened.engine.search("green tea", now_s=opened.last_s + 1, k=3).items
    save_lora(base, adapter, ["green tea", "garden hose"], seed=4)
    with pytest.raises(ArtefactError, match="adapter"):
        open_workspace(tmp_path / "work")
