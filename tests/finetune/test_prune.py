"""Smaller networks: reading and writing, dropping layers, cutting heads and units, against transformers and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tasteprint.finetune.smaller.prune import (
    IMPORTANCE,
    PruneConfig,
    best,
    cut_heads,
    cut_units,
    drop_order,
    keep_layers,
    layers_to_keep,
    prune,
)
from tasteprint.finetune.smaller.slim import Slim, forward, read_slim, slim_tokens, vectors_of, write_slim
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import ConfigError, EncoderError
from tests.profiling.family_checkpoints import FAMILIES, TEXTS, save_checkpoint, transformers_vectors


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("bert"), "bert", layers=4)


@pytest.fixture(scope="module")
def slim(bert: Path) -> Slim:
    return read_slim(str(bert))


@pytest.fixture(scope="module")
def tokens(slim: Slim) -> list[list[int]]:
    return slim_tokens(slim, TEXTS)


def with_layer(slim: Slim, number: int, **changed: torch.Tensor) -> Slim:
    """The network with some tensors of one layer replaced; ``out_weight`` means ``out.weight``."""
    layers = [dict(layer) for layer in slim.weights.layers]
    layers[number] |= {name.replace("_", "."): tensor for name, tensor in changed.items()}
    return slim.with_layers(layers)


@pytest.mark.parametrize("family", FAMILIES)
def test_reads_runs_and_writes_every_family_as_transformers_has_it(family: str, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "base", family, layers=3)
    slim = read_slim(str(folder))
    tokens = slim_tokens(slim, TEXTS)
    np.testing.assert_allclose(vectors_of(slim, tokens).numpy(), transformers_vectors(folder, TEXTS), atol=1e-5)
    small = cut_units(keep_layers(slim, [0, 2]), [range(20), range(12, 32)])
    write_slim(small, tmp_path / "small")
    found = vectors_of(small, tokens).numpy()
    np.testing.assert_allclose(transformers_vectors(tmp_path / "small", TEXTS), found, atol=1e-5)
    packed = open_encoder(EncoderConfig(name=str(tmp_path / "small")))
    np.testing.assert_allclose(packed.encode(TEXTS), found, atol=1e-5)


@pytest.mark.parametrize("runtime", ["torch", "openvino", "onnx"])
def test_fewer_heads_than_fill_the_width_run_in_every_engine(slim: Slim, runtime: str, tmp_path: Path) -> None:
    if runtime != "torch":
        pytest.importorskip({"onnx": "onnxruntime"}.get(runtime, runtime))
    small = cut_heads(slim, [[1], [0], [1], [0]])
    assert (small.heads, small.head_size, small.weights.layers[0]["qkv.weight"].shape) == (1, 8, (24, 16))
    write_slim(small, tmp_path / "small")
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert (config["num_attention_heads"], config["attention_head_size"]) == (1, 8)
    config = EncoderConfig(name=str(tmp_path / "small"), runtime=runtime)  # type: ignore[arg-type]
    seen = open_encoder(config).encode(TEXTS)
    np.testing.assert_allclose(seen, vectors_of(small, slim_tokens(small, TEXTS)).numpy(), atol=1e-5)


def test_keeping_all_changes_nothing(slim: Slim, tokens: list[list[int]], tmp_path: Path) -> None:
    whole = vectors_of(slim, tokens)
    for same in (
        keep_layers(slim, range(4)),
        cut_heads(slim, [[0, 1]] * 4),
        cut_units(slim, [range(32)] * 4),
        prune(slim, "units", 32, tokens),
        read_slim(str(write_slim(slim, tmp_path / "same"))),
    ):
        assert torch.equal(vectors_of(same, tokens), whole)
        assert same.n_parameters() == slim.n_parameters()


def test_cutting_heads_and_units_that_are_zero_changes_nothing(slim: Slim, tokens: list[list[int]]) -> None:
    dead = slim
    for number in range(4):
        out, down = (slim.weights.layers[number][f"{name}.weight"].clone() for name in ("out", "down"))
        out[:, 8 * (number % 2) : 8 * (number % 2) + 8] = 0  # head 0 or 1
        down[:, number::4] = 0  # eight units
        dead = with_layer(dead, number, out_weight=out, down_weight=down)
    whole = vectors_of(dead, tokens)
    for importance in IMPORTANCE:
        config = PruneConfig(importance=importance, refit=False)  # type: ignore[arg-type]
        fewer = prune(prune(dead, "heads", 1, tokens, config), "units", 24, tokens, config)
        assert (fewer.heads, fewer.units) == (1, 24)
        torch.testing.assert_close(vectors_of(fewer, tokens), whole, atol=1e-5, rtol=0)


def test_cutting_a_head_is_zeroing_it(slim: Slim, tokens: list[list[int]]) -> None:
    zeroed = slim
    for number in range(4):
        out = slim.weights.layers[number]["out.weight"].clone()
        out[:, 8:] = 0
        zeroed = with_layer(zeroed, number, out_weight=out)
    torch.testing.assert_close(vectors_of(cut_heads(slim, [[0]] * 4), tokens), vectors_of(zeroed, tokens))


def test_taylor_is_the_squared_slope_of_the_vector_by_the_gate(slim: Slim, tokens: list[list[int]]) -> None:
    rated = IMPORTANCE["taylor"](slim, tokens, "heads", PruneConfig(draws=64, batch=3))
    step, number, head = 1e-3, 2, 1
    moved = []
    for gate in (1 + step, 1 - step):
        out = slim.weights.layers[number]["out.weight"].clone()
        out[:, 8 * head : 8 * head + 8] *= gate
        moved.append(vectors_of(with_layer(slim, number, out_weight=out), tokens).double())
    slope = (moved[0] - moved[1]) / (2 * step)  # (n, dim)
    assert float(rated[number][head]) == pytest.approx(float(slope.square().sum(1).mean()), rel=0.25)


def test_activation_is_the_spread_of_what_a_unit_adds(slim: Slim, tokens: list[list[int]]) -> None:
    given: list[torch.Tensor] = []

    def tap(number: int, name: str, entering: torch.Tensor) -> torch.Tensor:
        if (number, name) == (1, "down"):
            given.append(entering[0])
        return entering

    for text in tokens:  # one at a time: nothing is padded
        forward(slim, [text], tap=tap)
    rows = torch.cat(given)  # (n_tokens, 32)
    added = rows[:, 5, None] * slim.weights.layers[1]["down.weight"][:, 5]  # (n_tokens, dim)
    expected = (added - added.mean(0)).square().sum(1).mean()
    rated = IMPORTANCE["activation"](slim, tokens, "units", PruneConfig(batch=4))
    assert float(rated[1][5]) == pytest.approx(float(expected), rel=1e-4)


def test_refitting_brings_a_pruned_network_nearer(slim: Slim, tokens: list[list[int]]) -> None:
    whole = vectors_of(slim, tokens)
    near = {
        refit: float(
            (vectors_of(prune(slim, "units", 16, tokens, PruneConfig(refit=refit)), tokens) * whole).sum(1).mean()
        )
        for refit in (False, True)
    }
    assert near[True] > near[False] + 0.01


def test_a_unit_that_repeats_another_is_made_up_for_by_the_refit(slim: Slim, tokens: list[list[int]]) -> None:
    twin = slim
    for number in range(4):
        layer = slim.weights.layers[number]
        up, bias = layer["up.weight"].clone(), layer["up.bias"].clone()
        up[16:], bias[16:] = up[:16], bias[:16]
        twin = with_layer(twin, number, up_weight=up, up_bias=bias)
    from tasteprint.finetune.smaller.prune import _refitted

    kept = [range(16)] * 4
    refitted = _refitted(twin, cut_units(twin, kept), "units", kept, tokens, PruneConfig(ridge=1e-9))
    torch.testing.assert_close(vectors_of(refitted, tokens), vectors_of(twin, tokens), atol=1e-4, rtol=0)


def test_units_that_never_change_go_into_the_bias(slim: Slim, tokens: list[list[int]]) -> None:
    constant = slim
    for number in range(4):
        layer = slim.weights.layers[number]
        up, bias = layer["up.weight"].clone(), layer["up.bias"].clone()
        up[::2], bias[::2] = 0, 1.5
        constant = with_layer(constant, number, up_weight=up, up_bias=bias)
    fewer = prune(constant, "units", 16, tokens)
    torch.testing.assert_close(vectors_of(fewer, tokens), vectors_of(constant, tokens), atol=1e-4, rtol=0)


def test_a_layer_that_does_nothing_is_dropped_first(slim: Slim, tokens: list[list[int]]) -> None:
    layer = slim.weights.layers[1]
    idle = {name: torch.zeros_like(layer[name]) for name in ("out.weight", "out.bias", "down.weight", "down.bias")}
    plain = {f"{norm}.weight": torch.ones(16) for norm in ("norm1", "norm2")}
    plain |= {f"{norm}.bias": torch.zeros(16) for norm in ("norm1", "norm2")}
    layers = [dict(one) for one in slim.weights.layers]
    layers[1] |= {**idle, **plain}
    layers[0] |= {name: tensor for name, tensor in plain.items() if name.startswith("norm2")}  # what enters is normed
    lazy = slim.with_layers(layers)
    assert drop_order(lazy, tokens, least=3) == (1,)
    kept = layers_to_keep(lazy, tokens, 3)
    assert kept == (0, 2, 3)
    torch.testing.assert_close(vectors_of(keep_layers(lazy, kept), tokens), vectors_of(lazy, tokens), atol=1e-4, rtol=0)


def test_layers_are_dropped_one_by_one_by_measured_harm(slim: Slim, tokens: list[list[int]]) -> None:
    whole = vectors_of(slim, tokens)

    def near(kept: list[int]) -> float:
        return float((vectors_of(keep_layers(slim, kept), tokens) * whole).sum(1).mean())

    first = max(range(4), key=lambda gone: near([n for n in range(4) if n != gone]))
    left = [n for n in range(4) if n != first]
    second = max(left, key=lambda gone: near([n for n in left if n != gone]))
    assert drop_order(slim, tokens, least=2) == (first, second)
    assert layers_to_keep(slim, tokens, 4) == (0, 1, 2, 3)


def test_best_takes_the_highest_and_the_first_of_equals() -> None:
    assert best(torch.tensor([1.0, 3.0, 1.0, 2.0]), 3) == [0, 1, 3]


def test_mistakes_say_what_is_allowed(slim: Slim, tokens: list[list[int]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="from 0 to 3"):
        keep_layers(slim, [4])
    with pytest.raises(ConfigError, match="distinct"):
        keep_layers(slim, [1, 1])
    with pytest.raises(ConfigError, match="1 to 4 can be kept"):
        drop_order(slim, tokens, least=5)
    with pytest.raises(ConfigError, match="heads: must keep 1 to 2"):
        prune(slim, "heads", 3, tokens)
    with pytest.raises(ConfigError, match="4 lists of one length"):
        cut_units(slim, [[0], [1, 2], [0], [1]])
    mpnet = read_slim(str(save_checkpoint(tmp_path / "mpnet", "mpnet")))
    with pytest.raises(ConfigError, match="prune units instead"):
        prune(mpnet, "heads", 1, tokens)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    with pytest.raises(EncoderError, match="holds something"):
        write_slim(slim, tmp_path / "full")
    with pytest.raises(EncoderError, match=r"no config\.json"):
        read_slim(str(tmp_path))
