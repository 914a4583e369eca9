"""Saved adapters: what is written opens again everywhere, and what is not as recorded is refused with the reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasteprint.profiling.adapters import saved, saving
from tasteprint.profiling.adapters.card import model_card
from tasteprint.profiling.adapters.kinds import ADAPTERS, AdapterConfig, adapter_state
from tasteprint.profiling.adapters.merge import merged_transformer, write_merged
from tasteprint.profiling.adapters.saved import open_adapter
from tasteprint.profiling.adapters.saving import golden_vectors, restore_adapter, save_adapter
from tasteprint.profiling.adapters.text_model import TextModel, open_text_model
from tasteprint.profiling.artefact import read_artefact, write_artefact
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import EncoderError
from tests.profiling import family_checkpoints as made

MERGEABLE = [name for name, spec in ADAPTERS.items() if spec.mergeable]
OTHERS = [name for name in ADAPTERS if name not in MERGEABLE]
DATA = "d" * 64


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made.save_checkpoint(tmp_path_factory.mktemp("bert"), "bert"))


@pytest.fixture(scope="module")
def lora(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved LoRA adapter. Read only: copy it to change it."""
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    save(trained(bert, "lora"), folder)
    return folder


def trained(base: Path, kind: str, *, seed: int = 3) -> TextModel:
    """A model whose adapter does something."""
    config = AdapterConfig(kind=kind, rank=4, n_virtual=3, width=5, total_steps=10)  # type: ignore[arg-type]
    model = open_text_model(str(base), config, dropout=0.0)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def save(model: TextModel, folder: Path, **more: Any) -> str:
    base = open_encoder(EncoderConfig(name=str(model.folder))).stamp
    about = {"base": base, "probes": made.TEXTS, "data_digest": DATA}
    return save_adapter(model, folder, **about | {"settings": {"lr": 5e-4}, "metrics": {"ndcg": 0.5}} | more)


def adapted(base: Path, folder: Path, **more: Any) -> Any:
    return open_encoder(EncoderConfig(name=str(base), adapter=str(folder), **more))


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_encoder_opens_what_was_saved(bert: Path, tmp_path: Path, kind: str):
    model, base = trained(bert, kind), open_encoder(EncoderConfig(name=str(bert)))
    digest = save(model, tmp_path / "adapter")
    encoder, expected = adapted(bert, tmp_path / "adapter"), golden_vectors(model, made.TEXTS)
    np.testing.assert_allclose(encoder.encode(made.TEXTS), expected, atol=1e-5)
    assert np.abs(base.encode(made.TEXTS) - expected).max() > 1e-2
    assert encoder.stamp.weights == base.stamp.weights
    assert encoder.stamp.adapter == digest
    assert encoder.stamp.digest != base.stamp.digest
    with_adapter = replace(base.stamp, adapter=digest, max_length=encoder.stamp.max_length)
    assert encoder.stamp == with_adapter
    assert (encoder.adapter.merged is not None) == (kind in MERGEABLE)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_restored_to_the_last_bit(bert: Path, tmp_path: Path, kind: str):
    model = trained(bert, kind)
    save(model, tmp_path / "adapter")
    again = restore_adapter(tmp_path / "adapter", str(bert))
    np.testing.assert_array_equal(golden_vectors(again, made.TEXTS), golden_vectors(model, made.TEXTS))
    assert all(torch.equal(v, adapter_state(model)[n]) for n, v in adapter_state(again).items())
    assert again.adapter == model.adapter
    assert {n for n, p in again.named_parameters() if p.requires_grad} == set(adapter_state(model))


@pytest.mark.parametrize("family", ["roberta", "mpnet", "distilbert"])
@pytest.mark.parametrize("kind", MERGEABLE)
def test_merged_equals_unmerged_in_every_family(family: str, kind: str, tmp_path: Path):
    from transformers import AutoModel

    model = trained(Path(made.save_checkpoint(tmp_path / family, family)), kind)
    state = {name: p.clone() for name, p in model.named_parameters()}
    expected, merged = golden_vectors(model, made.TEXTS), write_merged(model, tmp_path / "merged")
    packed = open_encoder(EncoderConfig(name=str(merged)))
    np.testing.assert_allclose(packed.encode(made.TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(made.transformers_vectors(merged, made.TEXTS), expected, atol=1e-5)
    _, loaded = AutoModel.from_pretrained(merged, output_loading_info=True)
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]
    assert all(torch.equal(p, state[name]) for name, p in model.named_parameters())  # merging changed a copy


@pytest.mark.parametrize("kind", OTHERS)
def test_what_cannot_be_merged_says_so(bert: Path, tmp_path: Path, kind: str):
    model = trained(bert, kind)
    with pytest.raises(EncoderError, match=f"can be merged are lora, dora, adalora, ia3, bitfit, full, got {kind}"):
        merged_transformer(model)
    save(model, tmp_path / "adapter")
    bf16 = adapted(bert, tmp_path / "adapter", precision="bf16").encode(made.TEXTS)
    assert (bf16 * golden_vectors(model, made.TEXTS)).sum(axis=1).min() > 0.998
    for how in ({"precision": "int8"}, {"runtime": "onnx"}):
        pytest.importorskip("onnxruntime")
        with pytest.raises(EncoderError, match=f"{kind} cannot be merged and runs in torch in fp32 or bf16"):
            adapted(bert, tmp_path / "adapter", **how)


def test_sentence_transformers_opens_the_merged_checkpoint(bert: Path, lora: Path):
    from sentence_transformers import SentenceTransformer

    found = open_adapter(lora)
    vectors = SentenceTransformer(str(found.merged), device="cpu").encode(list(found.probes))
    np.testing.assert_allclose(vectors, found.vectors, atol=1e-5)


def test_a_corrupted_adapter_is_refused(bert: Path, lora: Path, tmp_path: Path):
    names = [name for name in read_artefact(lora, kind=saved.KIND).files if name != saved.CARD]
    assert {saved.WEIGHTS, "arrays.safetensors", "merged/model.safetensors", "merged/config.json"} <= set(names)
    for at, name in enumerate(names):
        folder = Path(shutil.copytree(lora, tmp_path / str(at)))
        (file,) = folder.glob(f"v-*/{name}")
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        with pytest.raises(EncoderError, match=r"it is corrupted .* was changed.*; copy it there again"):
            adapted(bert, folder)
        file.unlink()
        with pytest.raises(EncoderError, match=r"it is corrupted .* is missing"):
            adapted(bert, folder)


def test_an_absent_adapter_is_refused(bert: Path, tmp_path: Path):
    with pytest.raises(EncoderError, match=r"it is missing .* nothing was published there"):
        adapted(bert, tmp_path)


def test_a_mismatched_base_is_refused(bert: Path, lora: Path, tmp_path: Path):
    other = Path(made.save_checkpoint(tmp_path / "other", "bert", seed=1))
    with pytest.raises(
        EncoderError, match=r"wrong base, trained on .* with weights .*; name the encoder it was trained on"
    ):
        adapted(other, lora)
    with pytest.raises(EncoderError, match="wrong base"):
        restore_adapter(lora, str(other))
    spelled = Path(shutil.copytree(bert, tmp_path / "spelled"))  # same weights, other words
    file = spelled / "tokenizer.json"
    file.write_text(file.read_text().replace('"lamp"', '"lump"'))
    with pytest.raises(EncoderError, match=r"wrong base, trained on .* with tokenizer"):
        adapted(spelled, lora)


def test_a_no_op_is_refused(bert: Path, lora: Path, tmp_path: Path):
    untrained = open_text_model(str(bert), AdapterConfig(kind="lora", rank=4), dropout=0.0)
    with pytest.raises(EncoderError, match=r"does nothing \(no-op\): its vectors equal the base's on all 9 probes"):
        save(untrained, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
    rewritten(lora, tmp_path / "forged", base_vectors="vectors")
    with pytest.raises(EncoderError, match=r"forged: it does nothing \(no-op\)"):
        adapted(bert, tmp_path / "forged")


def test_other_probes_are_refused(bert: Path, lora: Path, tmp_path: Path):
    held = read_artefact(lora, kind=saved.KIND)
    turned = -held.arrays["vectors"]
    rewritten(lora, tmp_path / "forged", vectors=turned)
    encoder = adapted(bert, tmp_path / "forged")  # its files are whole: only encoding shows it
    with pytest.raises(
        EncoderError, match=r"golden probes do not match: .* has cosine -1.0.*weights or libraries changed"
    ):
        encoder.encode(["lamp"])
    with pytest.raises(EncoderError, match="golden probes do not match"):
        restore_adapter(tmp_path / "forged", str(bert))


def test_an_adapter_that_is_not_at_work_is_refused(bert: Path, lora: Path, tmp_path: Path):
    """The base's weights in place of the merged ones, every checksum right: the upstream trap."""
    rewritten(lora, tmp_path / "forged", merged=bert / "model.safetensors")
    with pytest.raises(EncoderError, match="it gets the base's vectors, so the adapter is not at work"):
        adapted(bert, tmp_path / "forged").encode(["lamp"], "query")


def rewritten(
    folder: Path, to: Path, *, merged: Path | None = None, vectors: Any = None, base_vectors: str | None = None
) -> None:
    """A saved adapter with other contents and checksums that fit them."""
    held = read_artefact(folder, kind=saved.KIND)
    arrays = {name: np.array(array) for name, array in held.arrays.items()}
    if vectors is not None:
        arrays["vectors"] = vectors
    if base_vectors is not None:
        arrays["base_vectors"] = arrays[base_vectors]

    def write(version: Path) -> dict[str, str]:
        shutil.copytree(held.folder, version, dirs_exist_ok=True)
        for name in ("manifest.json", "arrays.safetensors"):
            (version / name).unlink()
        if merged is not None:
            shutil.copyfile(merged, version / saved.MERGED / "model.safetensors")
        return {}

    write_artefact(to, kind=held.kind, stamp=held.stamp, inputs=held.inputs, arrays=arrays, meta=held.meta, files=write)


def test_a_crash_leaves_the_old_adapter(bert: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = Path(shutil.copytree(lora, tmp_path / "adapter"))
    before = open_adapter(folder).digest
    other = trained(bert, "lora", seed=4)
    for name in ("write_merged", "model_card", "write_artefact"):
        with monkeypatch.context() as patch:
            patch.setattr(saving, name, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                save(other, folder)
        assert open_adapter(folder).digest == before
    assert save(other, folder) == open_adapter(folder).digest != before
    assert len(list(folder.glob("v-*"))) == 1


def test_a_merge_gone_wrong_is_not_saved(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(saving, "write_merged", lambda model, to: Path(shutil.copytree(bert, to)))
    with pytest.raises(EncoderError, match="the merged checkpoint strays from the model"):
        save(trained(bert, "lora"), tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_saving_checks_what_it_is_given(bert: Path, tmp_path: Path):
    model, base = trained(bert, "lora"), open_encoder(EncoderConfig(name=str(bert))).stamp
    with pytest.raises(EncoderError, match="probes must be 2 to 64 different texts, got 1"):
        save(model, tmp_path, probes=["lamp", "lamp "])
    with pytest.raises(EncoderError, match="base must be the encoder in"):
        save(model, tmp_path, base=replace(base, weights="0" * 64))
    with pytest.raises(EncoderError, match="config must be the model's own"):
        save(model, tmp_path, config=AdapterConfig(kind="ia3"))
    with pytest.raises(EncoderError, match="the model has none"):
        save(open_text_model(str(bert)), tmp_path)


def test_probes_are_checked_at_any_length(bert: Path, tmp_path: Path):
    save(trained(bert, "lora"), tmp_path, probes=["blue lamp", "a " * 200])
    found = open_adapter(tmp_path)
    assert found.n_tokens.tolist() == [4, 32]
    assert adapted(bert, tmp_path, max_length=8).encode(["lamp"]).shape == (1, 16)
    with pytest.raises(EncoderError, match="max_length must be at least 5"):
        saved.check_probes(replace(found, n_tokens=found.n_tokens + 1), lambda texts: found.vectors, max_length=4)


def test_the_model_card_says_what_it_is(lora: Path):
    found = open_adapter(lora)
    card = (found.folder / saved.CARD).read_text()
    for said in (
        "# lora adapter for",
        found.digest,
        found.base.weights,
        DATA,
        "| ndcg | 0.5 |",
        "| rank | 4 |",
        "9 golden",
    ):
        assert said in card
    assert found.about["settings"] == {"lr": 5e-4}
    assert found.about["metrics"] == {"ndcg": 0.5}


def test_the_model_card_shows_groups_side_by_side(lora: Path):
    found = open_adapter(lora)
    meta = dict(found.about) | {"config": found.config.model_dump(mode="json"), "probes": list(found.probes)}
    meta |= {"metrics": {"base": {"ndcg": 0.5}, "tuned": {"ndcg": 0.625, "recall": 0.75}}}
    meta |= {"settings": {"adapter": {"rank": 99}, "train": {"epochs": 2, "loss": {"name": "a|b"}}}}
    card = model_card(found.base, meta, found.vectors, found.base_vectors)
    for row in ("|  | base | tuned |", "| ndcg | 0.5 | 0.625 |", "| recall |  | 0.75 |", "| train.epochs | 2 |"):
        assert row in card
    assert "| train.loss.name | a\\|b |" in card
    assert "99" not in card
    assert "n_virtual" not in card  # lora does not read it
    assert "Nothing was measured." in model_card(found.base, meta | {"metrics": {}}, found.vectors, found.base_vectors)


def test_the_digest_is_the_adapters_alone(bert: Path, lora: Path, tmp_path: Path):
    again = save(trained(bert, "lora"), tmp_path / "again", metrics={"ndcg": 0.6}, probes=made.TEXTS[:3])
    assert again == open_adapter(lora).digest
    assert save(trained(bert, "lora", seed=4), tmp_path / "other") != again


def test_only_checkpoints_take_an_adapter(lora: Path):
    for name in ("hash:32", "static:somewhere"):
        with pytest.raises(EncoderError, match="adapter must be null for it"):
            open_encoder(EncoderConfig(name=name, adapter=str(lora)))


def test_opening_a_merged_adapter_imports_no_peft(bert: Path, lora: Path):
    code = (
        "import sys\nfrom tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder\n"
        f"encoder = open_encoder(EncoderConfig(name={str(bert)!r}, adapter={str(lora)!r}))\n"
        "before = 'torch' in sys.modules\nencoder.encode(['red lamp'], 'query')\n"
        "print(before, [name for name in ('peft', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False []"


@pytest.mark.pretrained
def test_stamps_without_an_adapter_are_as_they_were(minilm: str):
    assert open_encoder(EncoderConfig(name=minilm)).stamp.digest == "4c5495f1135382e6"


def test_the_stamp_survives_json(bert: Path, lora: Path):
    stamp = adapted(bert, lora).stamp
    assert type(stamp).from_dict(json.loads(json.dumps(stamp.to_dict()))) == stamp
