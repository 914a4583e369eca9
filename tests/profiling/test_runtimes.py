"""Exported engines against packed torch, int8 on small random networks, and the folder that keeps them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder, prepare_encoder
from tasteprint.profiling.encoders.fidelity import compare_vectors
from tasteprint.profiling.errors import EncoderError, ExtraMissingError
from tasteprint.profiling.runtimes import choose, prepared
from tasteprint.profiling.runtimes.choose import RUNTIMES
from tasteprint.profiling.runtimes.quantise import QuantiseConfig
from tests.profiling import family_checkpoints as made

EXPORTED = [name for name in RUNTIMES if name != "torch"]
NEEDS = {"openvino": ["openvino"], "onnx": ["onnxruntime", "onnx"]}
SHOP = [f"{a} {b} {c}" for a in made.WORDS for b in made.WORDS[:6] for c in ("", "in the kitchen", "of steel")]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made.save_checkpoint(tmp_path_factory.mktemp("bert"), "bert"))


def need(runtime: str) -> str:
    for package in NEEDS[runtime]:
        pytest.importorskip(package)
    return runtime


QUICK = {("bert", "onnx"), ("mpnet", "onnx")}
PAIRS = [
    pytest.param(family, runtime, marks=() if (family, runtime) in QUICK else pytest.mark.slow)
    for family in made.FAMILIES
    for runtime in EXPORTED
]


@pytest.mark.parametrize(("family", "runtime"), PAIRS)
def test_exported_equals_packed(family: str, runtime: str, tmp_path: Path):
    folder = str(made.save_checkpoint(tmp_path, family))
    encoder = open_encoder(EncoderConfig(name=folder, runtime=need(runtime), batch_tokens=64))
    packed = open_encoder(EncoderConfig(name=folder))
    np.testing.assert_allclose(encoder.encode(made.TEXTS), packed.encode(made.TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(["red lamp"], "query"), packed.encode(["red lamp"], "query"), atol=1e-5)
    assert encoder.stamp.runtime == runtime
    assert encoder.stamp.digest != packed.stamp.digest


@pytest.mark.parametrize("runtime", EXPORTED)
def test_int8_is_near_and_kept(bert: Path, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = EncoderConfig(name=str(bert), precision="int8", runtime=need(runtime))
    encoder = prepare_encoder(config, SHOP, tmp_path)
    vectors, truth = encoder.encode(made.TEXTS), open_encoder(EncoderConfig(name=str(bert))).encode(made.TEXTS)
    assert compare_vectors(truth, vectors, k=2).cosine_mean > 0.998
    assert np.abs(vectors - truth).max() > 1e-4  # it is int8 indeed
    monkeypatch.setattr(prepared, "_make", lambda *_: pytest.fail("made twice"))
    again = prepare_encoder(config, SHOP, tmp_path)
    np.testing.assert_array_equal(again.encode(made.TEXTS), vectors)
    later = open_encoder(EncoderConfig(name=str(bert), precision="int8", prepared=str(tmp_path)))  # runtime found
    np.testing.assert_array_equal(later.encode(made.TEXTS), vectors)
    assert later.stamp == again.stamp == encoder.stamp
    assert {file.name for file in tmp_path.rglob("*.*")} <= {
        "manifest.json",
        "model.xml",
        "model.bin",
        "model.onnx",
        ".lock",
    }


@pytest.fixture(scope="module")
def kept(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small BERT in int8."""
    folder = tmp_path_factory.mktemp("kept")
    prepare_encoder(int8(bert), SHOP, folder)
    return folder


def int8(checkpoint: Path, folder: Path | None = None) -> EncoderConfig:
    runtime = need("onnx")
    kept = None if folder is None else str(folder)
    return EncoderConfig(name=str(checkpoint), precision="int8", runtime=runtime, prepared=kept)  # type: ignore[arg-type]


def test_other_texts_and_settings_are_another_calibration(bert: Path, kept: Path, tmp_path: Path):
    first = open_encoder(int8(bert, kept)).stamp
    other = prepare_encoder(int8(bert), SHOP[:40], tmp_path).stamp
    finer = prepare_encoder(int8(bert), SHOP, tmp_path, quantise=QuantiseConfig(weight_bits=8)).stamp
    assert len({stamp.calibration for stamp in (first, other, finer)}) == 3
    assert len({stamp.digest for stamp in (first, other, finer)}) == 3
    assert open_encoder(int8(bert, tmp_path)).stamp == finer  # the last one prepared is the one kept


def test_a_damaged_network_is_refused_then_made_again(bert: Path, kept: Path, tmp_path: Path):
    folder = Path(shutil.copytree(kept, tmp_path / "kept"))
    expected = open_encoder(int8(bert, folder)).encode(made.TEXTS)
    file = next(folder.rglob("model.onnx"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(EncoderError, match="changed"):
        open_encoder(int8(bert, folder)).encode(["lamp"])
    np.testing.assert_array_equal(prepare_encoder(int8(bert), SHOP, folder).encode(made.TEXTS), expected)


def test_another_checkpoint_does_not_open_it(kept: Path, tmp_path: Path):
    other = made.save_checkpoint(tmp_path, "bert", seed=1)
    with pytest.raises(EncoderError, match="weights"):
        open_encoder(int8(other, kept))


def test_int8_without_preparation_is_said(bert: Path, tmp_path: Path):
    with pytest.raises(EncoderError, match="prepare_encoder"):
        open_encoder(int8(bert)).encode(["lamp"])
    with pytest.raises(EncoderError, match="nothing was published"):
        open_encoder(int8(bert, tmp_path))
    with pytest.raises(EncoderError, match="calibrated on the shop's texts, got none"):
        prepare_encoder(int8(bert), ["", None], tmp_path)


def test_a_prepared_network_without_its_engine_says_the_line(bert: Path, kept: Path, monkeypatch: pytest.MonkeyPatch):
    encoder = open_encoder(int8(bert, kept))
    monkeypatch.setattr(prepared, "find_spec", lambda _: None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'tasteprint\[fast\]'"):
        encoder.encode(["lamp"])


def test_one_text_is_enough_to_calibrate(bert: Path, tmp_path: Path):
    encoder = prepare_encoder(int8(bert), ["leather sofa"], tmp_path)
    assert np.isfinite(encoder.encode(made.TEXTS)).all()


def test_a_network_outside_the_family_is_refused(bert: Path, tmp_path: Path):
    folder = Path(shutil.copytree(bert, tmp_path / "relu"))
    said = (folder / "config.json").read_text()
    (folder / "config.json").write_text(said.replace('"gelu"', '"relu"'))
    with pytest.raises(EncoderError, match="not of the BERT family"):
        prepare_encoder(int8(folder), SHOP, tmp_path / "kept")


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_an_adapter_merged_in_is_just_a_checkpoint(bert: Path, tmp_path: Path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    adapted = get_peft_model(
        AutoModel.from_pretrained(bert), LoraConfig(r=4, target_modules=["query", "value", "dense"])
    )
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    merged = Path(shutil.copytree(bert, tmp_path / "merged"))
    adapted.merge_and_unload().save_pretrained(merged)
    truth = open_encoder(EncoderConfig(name=str(merged))).encode(made.TEXTS)
    vectors = prepare_encoder(int8(merged), SHOP, tmp_path / "kept").encode(made.TEXTS)
    base = open_encoder(EncoderConfig(name=str(bert))).encode(made.TEXTS)
    assert compare_vectors(truth, vectors, k=2).cosine_mean > 0.998
    assert compare_vectors(truth, base, k=2).cosine_mean < 0.99


def test_bytes_do_not_depend_on_threads(bert: Path, kept: Path):
    many = [f"{text} {n % 5 * 'lamp '}" for n, text in enumerate(SHOP)]
    for config in (EncoderConfig(name=str(bert), batch_tokens=64), int8(bert, kept)):
        one = open_encoder(config.model_copy(update={"threads": 1})).encode(many)
        three = open_encoder(config.model_copy(update={"threads": 3})).encode(many)
        np.testing.assert_array_equal(one, three)


def test_a_prepared_query_needs_no_torch(bert: Path, kept: Path):
    need("onnx")
    code = (
        "import sys\nfrom tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder\n"
        f"config = EncoderConfig(name={str(bert)!r}, precision='int8', prepared={str(kept)!r})\n"
        "open_encoder(config).encode(['red lamp'], 'query')\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_what_the_machine_multiplies_in(
    bert: Path, bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    machine = choose.Machine(gpu=False, bf16=bf16, vnni=False, packages=frozenset({"torch"}))
    monkeypatch.setattr(choose, "this_machine", lambda: machine)
    encoder = open_encoder(EncoderConfig(name=str(bert), precision="auto", device="cpu"))
    assert encoder.stamp == open_encoder(EncoderConfig(name=str(bert), precision=expected)).stamp  # type: ignore[arg-type]
    assert encoder.encode(["red lamp"]).shape == (1, 16)
    assert prepare_encoder(EncoderConfig(name=str(bert), precision="auto"), SHOP, tmp_path).stamp == encoder.stamp


def test_torch_needs_no_preparation(bert: Path, tmp_path: Path):
    encoder = prepare_encoder(EncoderConfig(name=str(bert)), SHOP, tmp_path)
    assert encoder.stamp == open_encoder(EncoderConfig(name=str(bert))).stamp
    assert not list(tmp_path.iterdir())
    assert prepare_encoder(EncoderConfig(name="hash:32", precision="auto"), SHOP, tmp_path).dim == 32
