"""The packed network on every member of the BERT family, against transformers' own output."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from tasteprint.profiling.encoders.bert import pool, pool_packed
from tasteprint.profiling.encoders.checkpoint import read_checkpoint
from tasteprint.profiling.encoders.families import FAMILIES, shape_of
from tasteprint.profiling.encoders.transformer import TransformerEncoder
from tasteprint.profiling.errors import EncoderError
from tests.profiling import family_checkpoints as made


@pytest.fixture(scope="module", params=made.FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made.save_checkpoint(tmp_path_factory.mktemp("family") / request.param, request.param))


def test_every_family_is_tested():
    assert set(made.FAMILIES) == set(FAMILIES)


def test_packed_equals_transformers(checkpoint: Path):
    encoder = TransformerEncoder(checkpoint, batch_tokens=64)
    assert type(encoder._runtime).__name__ == "BertNetwork"
    expected = made.transformers_vectors(checkpoint, made.TEXTS)
    np.testing.assert_allclose(encoder.encode(made.TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode([made.TEXTS[0]], "query")[0], expected[0], atol=1e-5)


def test_bf16_is_near(checkpoint: Path):
    vectors = TransformerEncoder(checkpoint, precision="bf16").encode(made.TEXTS)
    cosines = (vectors * made.transformers_vectors(checkpoint, made.TEXTS)).sum(axis=1)
    assert cosines.min() > 0.998
    assert cosines.max() < 1 - 1e-9


def test_a_head_around_the_encoder_changes_nothing(checkpoint: Path, tmp_path: Path):
    from safetensors.numpy import load_file, save_file

    prefix = FAMILIES[json.loads((checkpoint / "config.json").read_text())["model_type"]].prefixes[0]
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    weights = load_file(checkpoint / "model.safetensors")
    save_file({prefix + k: v for k, v in weights.items()}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(
        TransformerEncoder(tmp_path).encode(made.TEXTS), TransformerEncoder(checkpoint).encode(made.TEXTS)
    )


def test_missing_weights_are_named(checkpoint: Path, tmp_path: Path):
    from safetensors.numpy import load_file, save_file

    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    weights = load_file(checkpoint / "model.safetensors")
    absent = next(name for name in sorted(weights) if ".1." in name and name.endswith("weight"))
    del weights[absent]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=absent.replace(".", r"\.")):
        TransformerEncoder(tmp_path).encode(["lamp"])


def test_long_texts_meet_far_buckets_of_the_relative_bias():
    """Distances beyond the exact buckets, against transformers' own bucket function."""
    import torch
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    from tasteprint.profiling.encoders.weights import _by_distance, relative_bias

    table = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    at = torch.arange(300)
    expected = table[MPNetEncoder.relative_position_bucket(at[None] - at[:, None])].permute(2, 0, 1)
    assert torch.equal(relative_bias(_by_distance(table, 512), 300), expected)


def test_flash_attention_gets_what_it_documents(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    """The GPU's call, answered by a stand-in that splits the texts as torch's varlen_attn says it does."""
    import torch

    encoder = TransformerEncoder(checkpoint)
    network, longest = encoder._runtime, []
    if network._weights.relative is not None:
        assert network._varlen is None  # flash attention takes no bias
        return

    def stand_in(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        assert query.shape == key.shape == value.shape == (int(cu_seq_q[-1]), 2, 8)
        longest.append((max_q, max_k))
        made = [
            torch.nn.functional.scaled_dot_product_attention(
                *(x[a:b].transpose(0, 1)[None] for x in (query, key, value))
            )
            for a, b in itertools.pairwise(cu_seq_q)
        ]
        return torch.cat([one[0].transpose(0, 1) for one in made])

    expected = encoder.encode(made.TEXTS)
    monkeypatch.setattr(network, "_varlen", stand_in)
    np.testing.assert_allclose(encoder.encode(made.TEXTS), expected, atol=1e-5)
    assert longest[0] == (32, 32)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooling_packed_texts(pooling: str):
    import torch

    hidden = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    made_of = pool_packed(hidden, torch.tensor([4, 1, 2], dtype=torch.int32), pooling)
    expected = torch.cat([pool(part[None], None, pooling) for part in hidden.split([4, 1, 2])])
    assert torch.allclose(made_of, expected, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "deberta-v2"},
        {"model_type": "bert", "position_embedding_type": "relative_key"},
        {"model_type": "bert", "is_decoder": True},
        {"model_type": "distilbert", "activation": "relu"},
        {"model_type": "roberta"},
    ],
)
def test_other_networks_have_no_shape(config: dict[str, object]):
    sizes = {} if config == {"model_type": "roberta"} else {"num_hidden_layers": 2, "num_attention_heads": 2}
    assert shape_of(config | sizes) is None


def test_positions_leave_room_for_the_offset(checkpoint: Path):
    read = read_checkpoint(checkpoint)
    assert read.shape is not None
    assert read.positions == 42 - read.shape.offset
    assert read.dim == 16
