"""The model adapters are trained in: against transformers, against computations by hand, and distributed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tasteprint.profiling.adapters.kinds import ADAPTERS, AdapterConfig, after_step
from tasteprint.profiling.adapters.merge import write_merged
from tasteprint.profiling.adapters.text_model import TextModel, batches, open_text_model, padded
from tasteprint.profiling.errors import EncoderError
from tests.profiling import family_checkpoints as made

SMALL = {"rank": 2, "n_virtual": 3, "width": 4, "total_steps": 10}


SAME = ("xlm-roberta", "camembert")  # RoBERTa under other names
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in SAME else ()) for name in made.FAMILIES]


@pytest.fixture(scope="module", params=NAMES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made.save_checkpoint(tmp_path_factory.mktemp("family") / request.param, request.param))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made.save_checkpoint(tmp_path_factory.mktemp("bert"), "bert"))


def opened(folder: Path, kind: str | None = None, **more: Any) -> TextModel:
    config = None if kind is None else AdapterConfig(**{"kind": kind} | SMALL)  # type: ignore[arg-type]
    return open_text_model(str(folder), config, dropout=0.0, **more)


def vectors(model: TextModel, texts: list[str] = made.TEXTS, **more: Any) -> np.ndarray:
    with torch.no_grad():
        return model.encode_tokens(model.tokens(texts), **more).numpy()


def moved(model: TextModel) -> TextModel:
    """The model with an adapter that does something."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def test_bare_equals_transformers(checkpoint: Path):
    expected = made.transformers_vectors(checkpoint, made.TEXTS)
    np.testing.assert_allclose(vectors(opened(checkpoint)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_padding_and_batches_change_nothing(checkpoint: Path, kind: str):
    model = moved(opened(checkpoint, kind))
    alone = np.concatenate([vectors(model, [text]) for text in made.TEXTS])
    for budget in (8, 64, 10_000):
        np.testing.assert_allclose(vectors(model, batch_tokens=budget), alone, atol=2e-6)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_gradients_reach_every_part_in_every_family(checkpoint: Path, kind: str):
    model = moved(opened(checkpoint, kind))
    model(model.tokens(made.TEXTS))[:, 0].sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_lora_changes_the_six_maps_of_a_layer(checkpoint: Path):
    model = opened(checkpoint, "lora")
    names = {n.split(".lora_")[0] for n, p in model.transformer.named_parameters() if p.requires_grad}
    assert names == set(model.map_names())
    assert len(names) == 12
    assert not any("pooler" in name for name in names)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_prompt_pools_the_text_alone(bert: Path, tmp_path: Path, pooling: str):
    from transformers import AutoModel

    folder = with_pooling(bert, tmp_path, pooling)
    model, plain = opened(folder, "prompt"), AutoModel.from_pretrained(bert).eval()
    (ids,) = model.tokens(["leather sofa in the kitchen"])
    assert model.prompt is not None
    with torch.no_grad():
        words = plain.embeddings.word_embeddings(torch.tensor([ids]))  # (1, t, dim)
        hidden = plain(inputs_embeds=torch.cat([model.prompt()[None], words], dim=1)).last_hidden_state[0]
    assert len(hidden) == 3 + len(ids)
    own = hidden[3:]
    expected = {"mean": own.mean(0), "cls": own[0], "max": own.amax(0)}[pooling]
    expected = (expected / expected.norm()).numpy()
    found = vectors(model, ["leather sofa in the kitchen", "lamp"])[0]  # beside a shorter text, so padded
    np.testing.assert_allclose(found, expected, atol=1e-6)
    whole = hidden.mean(0)
    assert np.abs(found - (whole / whole.norm()).numpy()).max() > 1e-3  # what pooling over all would give


def test_prompt_keeps_room_for_its_tokens(bert: Path):
    assert opened(bert).max_length == 42
    model = opened(bert, "prompt")
    assert model.max_length == 39
    assert len(model.tokens(["a " * 60])[0]) == 39
    assert np.isfinite(vectors(model, ["a " * 60])).all()


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_prefix_equals_transformers_own_cache(family: str, tmp_path: Path):
    from transformers import AutoModel, DynamicCache

    folder = Path(made.save_checkpoint(tmp_path, family))
    model, plain = opened(folder, "prefix"), AutoModel.from_pretrained(folder).eval()
    texts = ["leather sofa in the kitchen", "red lamp"]
    for text, found in zip(texts, vectors(model, texts), strict=True):
        ids = torch.tensor(model.tokens([text]))
        cache = DynamicCache()
        for at, layer in enumerate(model.layers):
            attention: Any = layer.attention.self
            split = [rows.detach().view(1, 3, 2, 8).transpose(1, 2) for rows in (attention.keys, attention.values)]
            cache.update(*split, at)
        first = 2 if family == "roberta" else 0  # where positions of texts start
        where = torch.arange(first, first + ids.shape[1])[None]
        with torch.no_grad():
            hidden = plain(
                input_ids=ids, attention_mask=torch.ones(1, 3 + ids.shape[1]), past_key_values=cache, position_ids=where
            ).last_hidden_state[0]
        np.testing.assert_allclose(found, functional.normalize(hidden.mean(0), dim=0).numpy(), atol=1e-6)


def test_prefix_attention_by_hand():
    """One head, two tokens that ask (1, 0), one prefix of key (ln 2, 0): weights 1/2, 1/4, 1/4."""
    from tasteprint.profiling.adapters.virtual import PrefixAttention

    base = torch.nn.Module()
    for name, row in {"q": [2**0.5, 0.0], "k": [0.0, 0.0], "v": [0.0, 0.0]}.items():  # sqrt(2) undoes the scaling
        linear = torch.nn.Linear(2, 2)
        torch.nn.init.zeros_(linear.weight)
        with torch.no_grad():
            linear.bias.copy_(torch.tensor(row))
        base.add_module(name, linear)
    base.add_module("dropout", torch.nn.Dropout(0.0))
    with torch.no_grad():
        base.v.weight.copy_(torch.eye(2))  # type: ignore[operator, union-attr]
    keys, values = torch.tensor([[float(np.log(2)), 0.0]]), torch.tensor([[8.0, 0.0]])
    attention = PrefixAttention(base, ("q", "k", "v", None), 1, keys, values)
    hidden = torch.tensor([[[0.0, 4.0], [0.0, 8.0]]])
    np.testing.assert_allclose(attention(hidden)[0][0].detach().numpy(), [[4.0, 3.0]] * 2, rtol=1e-6)
    masked = attention(hidden, torch.tensor([[[[True, False]]]]))[0][0]  # weights 2/3, 1/3, 0
    np.testing.assert_allclose(masked.detach().numpy(), [[16 / 3, 4 / 3]] * 2, rtol=1e-6)


def test_bottlenecks_stand_where_the_papers_put_them(bert: Path):
    """Houlsby's read the halves' results; the parallel one reads what enters the feed-forward half."""
    serial, beside = moved(opened(bert, "bottleneck")), moved(opened(bert, "parallel"))
    hidden, entering = torch.randn(2, 1, 3, 32).unbind()[0], torch.randn(1, 3, 16)
    half: Any = serial.layers[0].output
    plain = half.dense.base(hidden)
    expected = half.LayerNorm(plain + half.dense.bottleneck(plain) + entering)
    torch.testing.assert_close(half(hidden, entering), expected)
    half = beside.layers[0].output
    expected = half.base.LayerNorm(half.base.dense(hidden) + entering + half.bottleneck(entering))
    torch.testing.assert_close(half(hidden, entering), expected)


@pytest.mark.parametrize("kind", ["lora", "prefix"])
def test_recomputing_layers_in_every_family(checkpoint: Path, kind: str):
    plain, thrifty = moved(opened(checkpoint, kind)), moved(opened(checkpoint, kind, checkpointing=True))
    for model in (plain, thrifty):
        model(model.tokens(made.TEXTS))[:, :3].sum().backward()
    for one, two in zip(plain.parameters(), thrifty.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(vectors(plain), vectors(thrifty))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_gpu_gives_the_same(bert: Path, kind: str):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    there, here = moved(opened(bert, kind)).to("cuda"), moved(opened(bert, kind))
    with torch.no_grad():
        found = there.encode_tokens(there.tokens(made.TEXTS)).cpu().numpy()
    np.testing.assert_allclose(found, vectors(here), atol=1e-5)
    there(there.tokens(made.TEXTS))[:, :3].sum().backward()
    after_step(there, 0)
    if ADAPTERS[kind].mergeable:
        merged = write_merged(there, bert.parent / f"merged-{kind}")
        np.testing.assert_allclose(made.transformers_vectors(merged, made.TEXTS), vectors(there.cpu()), atol=1e-5)


def test_batches_hold_their_budget():
    lengths = [3, 9, 4, 4, 30, 1]
    found = list(batches(lengths, 12))
    assert sorted(chain.from_iterable(found)) == list(range(6))
    for rows in found:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= 12
    assert list(batches([], 8)) == []


def test_no_mask_where_nothing_is_padded():
    assert padded([[1, 2], [3, 4]], 0)[1] is None
    ids, mask = padded([[1, 2], [3]], 9)
    assert ids.tolist() == [[1, 2], [3, 9]]
    assert mask is not None
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_nothing_in_nothing_out(bert: Path):
    assert opened(bert).encode_tokens([]).shape == (0, 16)


def test_dropout_is_what_is_asked_for(bert: Path):
    kept, none = open_text_model(str(bert)), open_text_model(str(bert), dropout=0.0)
    assert not np.array_equal(vectors(kept), vectors(kept))
    np.testing.assert_array_equal(vectors(none), vectors(none))
    kept.eval()
    np.testing.assert_allclose(vectors(kept), vectors(none), atol=1e-6)
    with pytest.raises(EncoderError, match="max_length must be at least 4, got 3"):
        open_text_model(str(bert), max_length=3)
    for dropout in (-0.1, 1.0):
        with pytest.raises(EncoderError, match=r"dropout must be in \[0, 1\)"):
            open_text_model(str(bert), dropout=dropout)


def test_prompts_and_case_of_the_checkpoint(bert: Path, tmp_path: Path):
    folder = Path(shutil.copytree(bert, tmp_path / "copy"))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "the "}}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9, "do_lower_case": True}))
    model = opened(folder)
    assert model.tokens(["lamp"], "query") == model.tokens(["THE lamp"])
    assert model.tokens(["lamp"], "item") == model.tokens(["lamp"])
    assert len(model.tokens(["a " * 30])[0]) == 9
    assert opened(folder, max_length=5).max_length == 5
    assert opened(folder, max_length=500).max_length == 42


def test_another_network_is_refused(tmp_path: Path):
    from transformers import AutoTokenizer, ElectraConfig, ElectraModel

    plain = Path(made.save_checkpoint(tmp_path / "bert", "bert"))
    sizes = {"hidden_size": 16, "embedding_size": 16, "num_hidden_layers": 1, "intermediate_size": 32, "vocab_size": 20}
    ElectraModel(ElectraConfig(num_attention_heads=2, **sizes)).save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(plain).save_pretrained(tmp_path / "other")
    with pytest.raises(EncoderError, match=r"adapters know the networks bert, .* got electra"):
        open_text_model(str(tmp_path / "other"))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    import torch.distributed as distributed

    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("kind", ADAPTERS)
def test_distributed_uses_every_trained_parameter(bert: Path, alone: None, kind: str):
    from torch.nn.parallel import DistributedDataParallel

    model, plain = moved(opened(bert, kind)), moved(opened(bert, kind))
    shared = DistributedDataParallel(model)  # fails on the second step if a parameter gets no gradient
    for _ in range(2):
        for each in (shared, plain):
            each.zero_grad()
            each(model.tokens(made.TEXTS))[:, :3].sum().backward()
    for one, two in zip(model.parameters(), plain.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, two.grad)


def with_pooling(folder: Path, to: Path, pooling: str) -> Path:
    """The checkpoint with another pooling."""
    copied = Path(shutil.copytree(folder, to / pooling))
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    said = [{"type": f"sentence_transformers.models.{name}", "path": path} for name, path in modules]
    (copied / "modules.json").write_text(json.dumps(said))
    (copied / "1_Pooling").mkdir()
    (copied / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}))
    return copied
