"""The contract of every kind of adapter: starts where it says, trains alone, round-trips, and has the right size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tasteprint.profiling.adapters.kinds import (
    ADAPTERS,
    AdapterConfig,
    adapter_state,
    after_step,
    attach_adapter,
    load_adapter_state,
    load_training_state,
    n_trainable,
    regulariser,
    training_state,
)
from tasteprint.profiling.adapters.text_model import TextModel, open_text_model
from tasteprint.profiling.errors import EncoderError
from tests.profiling import family_checkpoints as made

LAYERS, DIM, INNER, RANK, VIRTUAL, WIDTH = 2, 16, 32, 4, 3, 5
START_RANK = 6
SIZES = {
    "lora": LAYERS * RANK * (4 * 2 * DIM + 2 * (DIM + INNER)),
    "dora": LAYERS * (RANK * (4 * 2 * DIM + 2 * (DIM + INNER)) + 5 * DIM + INNER),
    "adalora": LAYERS * START_RANK * (4 * (2 * DIM + 1) + 2 * (DIM + INNER + 1)),
    "ia3": LAYERS * (2 * DIM + INNER),
    "prefix": LAYERS * 2 * VIRTUAL * DIM,
    "prompt": VIRTUAL * DIM,
    "bottleneck": LAYERS * 2 * (2 * DIM * WIDTH + WIDTH + DIM),
    "parallel": LAYERS * (2 * DIM * WIDTH + WIDTH + DIM),
    "bitfit": DIM + LAYERS * (5 * DIM + INNER + 2 * DIM),
    "full": (20 + 42 + 2 + 2) * DIM + LAYERS * (4 * (DIM * DIM + DIM) + 2 * DIM * INNER + INNER + DIM + 4 * DIM),
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made.save_checkpoint(tmp_path_factory.mktemp("bert"), "bert"))


@pytest.fixture(params=ADAPTERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def config_of(kind: str, **more: object) -> AdapterConfig:
    return AdapterConfig(
        **{"kind": kind, "rank": RANK, "n_virtual": VIRTUAL, "width": WIDTH, "total_steps": 10} | more  # type: ignore[arg-type]
    )


def opened(folder: Path, kind: str, *, seed: int = 0, moved: float = 0.0, checkpointing: bool = False) -> TextModel:
    model = open_text_model(str(folder), config_of(kind), seed=seed, dropout=0.0, checkpointing=checkpointing)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if moved and parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * moved)
    return model


def vectors(model: TextModel) -> np.ndarray:
    with torch.no_grad():
        return model.encode_tokens(model.tokens(made.TEXTS)).numpy()


def pull(model: TextModel) -> torch.Tensor:
    """A loss whose gradient reaches every direction."""
    found = model.encode_tokens(model.tokens(made.TEXTS))
    goal = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    return ((found - goal) ** 2).sum()


def test_starts_where_it_says(bert: Path, kind: str):
    model = opened(bert, kind)
    base = made.transformers_vectors(bert, made.TEXTS)
    far = np.abs(vectors(model) - base).max()
    assert far < 1e-6 if ADAPTERS[kind].identity else far > 1e-2
    assert model.adapter is not None
    assert model.adapter.kind == kind


def test_only_the_adapter_trains(bert: Path, kind: str):
    model = opened(bert, kind, moved=0.2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    pull(model).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in trained), name
        if name in trained and not name.endswith("key.bias"):  # softmax does not see a bias that all keys share
            assert float(parameter.grad.abs().max()) > 1e-7, name
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved <= trained
    assert {name for name in trained if not name.endswith("key.bias")} <= moved


def test_state_round_trips_to_the_last_bit(bert: Path, kind: str):
    model, other = opened(bert, kind, moved=0.2), opened(bert, kind, seed=1)
    state = adapter_state(model)
    assert not np.array_equal(vectors(model), vectors(other))
    load_adapter_state(other, state)
    np.testing.assert_array_equal(vectors(model), vectors(other))
    assert all(torch.equal(values, state[name]) for name, values in adapter_state(other).items())
    with pytest.raises(EncoderError, match="parameters differ between the model and the state"):
        load_adapter_state(other, {**state, "another": torch.zeros(1)})


def test_size_is_the_closed_form(bert: Path, kind: str):
    trained, everything = n_trainable(opened(bert, kind))
    assert trained == SIZES[kind]
    assert everything >= SIZES["full"]


def test_the_seed_decides_the_start(bert: Path, kind: str):
    one, two, again = (adapter_state(opened(bert, kind, seed=seed)) for seed in (0, 1, 0))
    assert all(torch.equal(values, again[name]) for name, values in one.items())
    drawn = kind not in ("ia3", "bitfit", "full")
    assert any(not torch.equal(values, two[name]) for name, values in one.items()) == drawn


def test_opening_leaves_the_global_generator_alone(bert: Path):
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    opened(bert, "lora", seed=9)
    assert torch.equal(torch.randn(3), expected)


def test_recomputing_layers_changes_no_gradient(bert: Path, kind: str):
    plain, thrifty = opened(bert, kind, moved=0.2), opened(bert, kind, moved=0.2, checkpointing=True)
    for model in (plain, thrifty):
        pull(model).backward()
    for (name, one), (_, two) in zip(plain.named_parameters(), thrifty.named_parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-6, msg=name)


def test_an_untouched_first_layer(bert: Path, kind: str):
    if kind == "prompt":
        pytest.skip("a prompt stands before all layers")
    model = open_text_model(str(bert), config_of(kind, first_layer=1))
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert names
    assert all(".layer.1." in name for name in names)
    with pytest.raises(EncoderError, match="below the network's 2 layers, got 2"):
        open_text_model(str(bert), config_of(kind, first_layer=2))


def test_maps_can_be_chosen(bert: Path):
    model = open_text_model(str(bert), config_of("lora", maps=("query", "value")))
    assert n_trainable(model)[0] == LAYERS * 2 * RANK * 2 * DIM


def test_one_adapter_a_model(bert: Path):
    model = opened(bert, "lora")
    with pytest.raises(EncoderError, match="has a lora adapter already"):
        attach_adapter(model, config_of("ia3"))


def test_a_bare_model_trains_whole(bert: Path):
    model = open_text_model(str(bert))
    assert n_trainable(model) == (SIZES["full"], SIZES["full"])
    assert model.training
    assert regulariser(model) is None


def test_virtual_tokens_need_room(bert: Path):
    for kind in ("prompt", "prefix"):
        with pytest.raises(EncoderError, match="n_virtual must be at most 34"):
            open_text_model(str(bert), config_of(kind, n_virtual=40))


def test_shares_have_to_fit():
    with pytest.raises(ValueError, match="must stay below 1 together"):
        AdapterConfig(warm_share=0.5, fixed_share=0.5)
    with pytest.raises(ValueError, match="must be above rank 16"):
        AdapterConfig(start_rank=16)


def adalora(folder: Path, *, first: int = 0, last: int = 10, resume: dict[str, object] | None = None) -> TextModel:
    """AdaLoRA trained from step ``first`` to ``last`` by plain gradient descent."""
    model = opened(folder, "adalora")
    if resume is not None:
        load_adapter_state(model, resume["adapter"])  # type: ignore[arg-type]
        load_training_state(model, resume["training"])  # type: ignore[arg-type]
    for step in range(first, last):
        (pull(model) + regulariser(model)).backward()
        torch.optim.SGD(model.parameters(), lr=0.05).step()
        after_step(model, step)
        model.zero_grad()
    return model


def test_adalora_moves_ranks(bert: Path):
    from tasteprint.profiling.adapters.low_rank import ranks

    maps = 6 * LAYERS
    halfway, done = ranks(adalora(bert, last=5)), ranks(adalora(bert))
    assert sum(done.values()) == RANK * maps
    assert RANK * maps < sum(halfway.values()) < START_RANK * maps
    assert len(done) == maps
    assert max(done.values()) > RANK > min(done.values())  # some maps gave, others kept


def test_adalora_resumes_to_the_last_bit(bert: Path):
    whole = adapter_state(adalora(bert))
    for cut in (4, 8):  # while ranks are moving, and after the last change
        half = adalora(bert, last=cut)
        held = {"adapter": adapter_state(half), "training": training_state(half)}
        resumed = adapter_state(adalora(bert, first=cut, resume=held))
        assert all(torch.equal(values, resumed[name]) for name, values in whole.items())


def test_adaloras_memory_goes_on_from_where_it_was(bert: Path):
    half = adalora(bert, last=4)
    held = {"adapter": adapter_state(half), "training": training_state(half)}
    whole, resumed = training_state(adalora(bert, last=5)), training_state(adalora(bert, first=4, last=5, resume=held))
    assert len(whole) > 3 * 2 * 6 * LAYERS
    assert all(torch.equal(values, resumed[name]) for name, values in whole.items())


def test_adalora_says_when_gradients_are_gone(bert: Path):
    model = opened(bert, "adalora")
    with pytest.raises(EncoderError, match="before the gradients are cleared"):
        after_step(model, 0)


def test_adaloras_regulariser_is_zero_for_orthonormal_directions(bert: Path):
    model = opened(bert, "adalora")
    with torch.no_grad():
        for name, matrix in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                torch.nn.init.orthogonal_(matrix)
    assert regulariser(model).item() < 1e-5
    with torch.no_grad():
        for name, matrix in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                matrix.mul_(2)  # P P' = 4 I: |3 I| = 3 sqrt(6), weighted .1
    assert regulariser(model).item() == pytest.approx(0.1 * 3 * START_RANK**0.5, rel=1e-5)
