"""Fitting a smaller network to a larger one's vectors: it comes nearer, time bounds it, seeds repeat it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasteprint.finetune.smaller.distil_encoder import FitConfig, batches, fit_vectors, learning_rate
from tasteprint.finetune.smaller.prune import keep_layers
from tasteprint.finetune.smaller.slim import Slim, read_slim, slim_tokens, vectors_of
from tasteprint.profiling.errors import ConfigError
from tests.profiling.family_checkpoints import WORDS, save_checkpoint


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Slim:
    return read_slim(str(save_checkpoint(tmp_path_factory.mktemp("bert"), "bert", layers=3)))


@pytest.fixture(scope="module")
def tokens(teacher: Slim) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return slim_tokens(teacher, [" ".join(rng.choice(WORDS, int(rng.integers(1, 9)))) for _ in range(160)])


class Clock:
    """Seconds that pass with each look."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def fit(teacher: Slim, tokens: list[list[int]], step_s: float = 0.0, **settings: float) -> tuple[Slim, object]:
    student = keep_layers(teacher, [0, 2])
    config = FitConfig.model_validate({"steps": 60, "batch": 16, "lr": 5e-3} | settings)
    vectors = vectors_of(teacher, tokens).numpy()
    return fit_vectors(student, tokens, vectors, config, rng=np.random.default_rng(1), clock=Clock(step_s))


def test_fitting_brings_a_network_without_a_layer_nearer_on_texts_it_never_saw(
    teacher: Slim, tokens: list[list[int]]
) -> None:
    fitted, done = fit(teacher, tokens)
    assert done.after.cosine_mean > done.before.cosine_mean + 0.02  # type: ignore[attr-defined]
    assert done.losses[-1] < done.losses[0]  # type: ignore[attr-defined]
    assert (fitted.n_layers, done.steps) == (2, 60)  # type: ignore[attr-defined]
    assert torch.equal(fitted.weights.words, teacher.weights.words)  # embeddings are left alone
    assert not any(tensor.requires_grad for layer in fitted.weights.layers for tensor in layer.values())


def test_the_whole_network_has_nothing_to_learn(teacher: Slim, tokens: list[list[int]]) -> None:
    vectors = vectors_of(teacher, tokens).numpy()
    config = FitConfig(steps=3, lr=1e-4)
    same, done = fit_vectors(teacher, tokens, vectors, config, rng=np.random.default_rng(0), clock=Clock(0))
    assert done.before.cosine_mean == pytest.approx(1, abs=1e-6)
    assert max(done.losses) < 1e-5
    torch.testing.assert_close(vectors_of(same, tokens), torch.from_numpy(vectors), atol=1e-2, rtol=0)


def test_the_student_given_is_not_changed_and_a_seed_repeats(teacher: Slim, tokens: list[list[int]]) -> None:
    before = {name: tensor.clone() for name, tensor in teacher.weights.layers[0].items()}
    one, two = (fit(teacher, tokens, steps=5)[0] for _ in range(2))
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.weights.layers[0].items())
    for mine, other in zip(one.weights.layers, two.weights.layers, strict=True):
        assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_time_ends_it(teacher: Slim, tokens: list[list[int]]) -> None:
    _, done = fit(teacher, tokens, step_s=6, minutes=1)  # ten looks at the clock
    assert 8 <= done.steps <= 10  # type: ignore[attr-defined]


def test_the_learning_rate_rises_and_falls() -> None:
    config = FitConfig(lr=0.1, warmup=0.2)
    assert [round(learning_rate(at, config), 3) for at in (0.1, 0.2, 0.6, 1.0)] == [0.05, 0.1, 0.05, 0.0]


def test_every_text_is_in_one_batch_with_its_like() -> None:
    lengths = [1, 9] * 40
    made = batches(lengths, 8, np.random.default_rng(0))
    assert sorted(np.concatenate(made).tolist()) == list(range(80))
    assert all(len({lengths[row] for row in batch}) == 1 for batch in made)


def test_vectors_must_fit_the_texts(teacher: Slim, tokens: list[list[int]]) -> None:
    with pytest.raises(ConfigError, match=r"must be \(160, 16\) for 12 texts or more, got \(160, 8\)"):
        fit_vectors(teacher, tokens, np.zeros((160, 8), np.float32), rng=np.random.default_rng(0), clock=Clock(0))
    with pytest.raises(ConfigError, match="12 texts or more"):
        fit_vectors(teacher, tokens[:3], np.zeros((3, 16), np.float32), rng=np.random.default_rng(0), clock=Clock(0))
