"""Training the taste model: the network against numpy, losses by hand, and runs that repeat and resume to the bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tasteprint.profiling.errors import ArtefactError, ConfigError
from tasteprint.profiling.log import EventLog
from tasteprint.profiling.taste_model import TasteModel, request_events, taste_state
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.taste.checkpoints import prune_checkpoints
from tasteprint.retrieval.taste.config import TasteConfig
from tasteprint.retrieval.taste.features import Features, item_features, item_words
from tasteprint.retrieval.taste.losses import LOSSES, Compared
from tasteprint.retrieval.taste.network import Dropout, exported
from tasteprint.retrieval.taste.sequences import epoch_batches
from tasteprint.retrieval.taste.trainer import batch_loss
from tasteprint.retrieval.taste.training import fit_taste, new_network

N = 24
SMALL = TasteConfig(
    width=8, layers=1, inner=8, last=6, text=4, words=4, vocabulary=50, negatives=None, batch=64, learning_rate=0.02
)


def successor_log(make_log, n_users: int = 40, *, top: int = N) -> EventLog:
    """Everybody takes an item and then the ones after it, one a day."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        first = int(rng.integers(top - 5))
        rows += [(f"u{user:03d}", first + step, float(step)) for step in range(5)]
    return make_log(rows, N)


def training_set(log: EventLog, make_items) -> TrainingSet:
    titles = [f"family{item // 2} thing{item % 2}" for item in range(log.n_items)]
    vectors = np.random.default_rng(1).standard_normal((log.n_items, 6)).astype(np.float32)
    return TrainingSet(log, make_items(titles), vectors, float(log.at_s.max()) + 1)


def fit(train: TrainingSet, config: TasteConfig = SMALL, *, epochs: int = 2, seed: int = 0, **options) -> TasteModel:
    return fit_taste(train, config.model_copy(update={"epochs": epochs}), rng=np.random.default_rng(seed), **options)


def same(one: TasteModel, other: TasteModel) -> bool:
    (a, said), (b, told) = taste_state(one), taste_state(other)
    return said == told and all(np.array_equal(a[name], b[name]) for name in a)


VARIANTS = {
    "default": {},
    "all of it": {"alike": True, "vocabulary": 50},
    "together": {"ties": "together"},
    "plain": {"cosine": False, "kinds": False, "gaps": False},
    "ids only": {"text": 0, "words": 0, "vocabulary": 0, "positions": "absolute"},
    "no ids": {"ids": False},
    "no layers": {"layers": 0},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_numpy_computes_what_the_network_computes(make_log, make_items, make_requests, changes) -> None:
    log = successor_log(make_log)
    config = SMALL.model_copy(update=changes)
    train = training_set(log, make_items)
    network = new_network(log, config, item_features(train, config, rng=np.random.default_rng(0)), seed=3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    model, requests = exported(network, epochs=1), make_requests(log)
    events = request_events(requests, last=config.last, together=config.ties == "together")
    with torch.no_grad():
        tokens = network.items()[torch.from_numpy(events.item.astype(np.int64))]
        learned, alike = network(events, tokens)
    expected = np.concatenate([learned.numpy(), alike.numpy()], axis=1)
    np.testing.assert_allclose(model.states(events)[events.valid], expected, rtol=1e-3, atol=1e-4)


def test_softmax_loss_is_the_cross_entropy_of_the_catalogue() -> None:
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    target = torch.tensor([3, 0, 6, 6, 2])
    right = scores[torch.arange(5), target]
    ours = LOSSES["softmax"](Compared(right, scores, target, torch.arange(7), torch.ones(5)))
    plain = torch.nn.functional.cross_entropy(scores, target)
    torch.testing.assert_close(ours, plain)
    (mine,), (theirs,) = (torch.autograd.grad(loss, scores, retain_graph=True) for loss in (ours, plain))
    torch.testing.assert_close(mine, theirs)


def test_losses_by_hand_and_a_hit_among_the_negatives_does_not_count() -> None:
    right, others = torch.tensor([1.0, 2.0]), torch.tensor([[0.5, 9.0], [9.0, 0.0]])
    compared = Compared(right, others, torch.tensor([4, 7]), torch.tensor([7, 4]), torch.tensor([1.0, 3.0]))
    first, second = np.log1p(np.exp(0.5 - 1.0)), np.log1p(np.exp(0.0 - 2.0))
    assert float(LOSSES["softmax"](compared)) == pytest.approx((first + 3 * second) / 4)
    split = [np.log1p(np.exp(-1.0)) + np.log1p(np.exp(0.5)), np.log1p(np.exp(-2.0)) + np.log1p(np.exp(0.0))]
    assert float(LOSSES["bce"](compared)) == pytest.approx((split[0] + 3 * split[1]) / 4)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(make_log, make_items, loss) -> None:
    log = successor_log(make_log, 6)
    config = SMALL.model_copy(update={"loss": loss, "dropout": 0.0})
    features = item_features(training_set(log, make_items), config, rng=np.random.default_rng(0))
    network = new_network(log, config, features, seed=0).double()
    (batch,) = epoch_batches(log, config, np.random.default_rng(0))

    def value() -> torch.Tensor:
        return batch_loss(network, batch, np.random.default_rng(5))

    value().backward()
    rng = np.random.default_rng(0)
    for name, weight in network.named_parameters():
        if weight.numel() and weight.grad is not None:
            place = int(weight.grad.abs().argmax()) if rng.random() < 0.7 else int(rng.integers(weight.numel()))
            flat, step = weight.data.view(-1), 1e-5
            flat[place] += step
            above = float(value().detach())
            flat[place] -= 2 * step
            below = float(value().detach())
            flat[place] += step
            slope = (above - below) / (2 * step)
            assert slope == pytest.approx(float(weight.grad.view(-1)[place]), rel=1e-3, abs=1e-6), name


def test_dropout_keeps_the_mean_and_is_off_without_noise() -> None:
    dropout, ones = Dropout(0.5), torch.ones(400, 400)
    assert torch.equal(dropout(ones), ones)
    dropout.use(np.random.default_rng(0))
    found = dropout(ones)
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert float(found.mean()) == pytest.approx(1.0, abs=0.01)


def test_what_follows_what_is_learned(make_log, make_items, make_requests) -> None:
    log = successor_log(make_log, 100)
    config = SMALL.model_copy(update={"dropout": 0.1, "words": 0, "learning_rate": 0.03, "width": 16})
    model = fit(training_set(log, make_items), config, epochs=12)
    last = log.item[log.user_start[1:] - 1]
    kept = last < N - 2
    best = model.scores(make_requests(log)).argmax(axis=1)
    assert (best == last + 1)[kept].mean() > 0.6  # chance is 1 in 24


def test_an_item_never_seen_has_the_vector_its_words_give_it(make_log, make_items) -> None:
    log = successor_log(make_log, top=N - 2)  # the last two items are never taken
    train = training_set(log, make_items)
    model = fit(train)
    assert np.linalg.norm(model.items[-2:], axis=1).min() > 0.5
    titles = train.items["title"].tolist()
    renamed = TrainingSet(log, make_items([*titles[:-1], titles[4]]), train.vectors.copy(), train.until_s)
    renamed.vectors[-1] = renamed.vectors[4]
    text_only = fit(renamed, SMALL.model_copy(update={"ids": False}))
    np.testing.assert_allclose(text_only.items[-1], text_only.items[4], atol=1e-5)


def test_one_seed_gives_one_model_and_another_gives_another(make_log, make_items) -> None:
    train = training_set(successor_log(make_log), make_items)
    before = torch.random.get_rng_state()
    one = fit(train)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    assert same(one, fit(train))
    assert not same(one, fit(train, seed=1))


class Killed(Exception):
    pass


def test_a_run_that_was_killed_goes_on_to_the_same_bits(make_log, make_items, tmp_path: Path) -> None:
    train = training_set(successor_log(make_log), make_items)
    worth = {1: 0.1, 2: 0.5, 3: 0.4, 4: 0.45, 5: 0.2}

    def objective(model: TasteModel) -> float:
        return worth[model.epochs]

    def dies(model: TasteModel) -> float:
        if model.epochs == 4:
            raise Killed
        return worth[model.epochs]

    whole = fit(train, epochs=5, objective=objective)
    with pytest.raises(Killed):
        fit(train, epochs=5, objective=dies, folder=tmp_path)
    resumed = fit(train, epochs=5, objective=objective, folder=tmp_path)
    assert same(whole, resumed)
    assert whole.epochs == 2
    assert same(whole, fit(train, epochs=5, objective=objective, folder=tmp_path))  # nothing is left to do


def test_patience_and_the_budget_end_a_run(make_log, make_items) -> None:
    train = training_set(successor_log(make_log, 5), make_items)
    looked: list[int] = []

    def worse(model: TasteModel) -> float:
        looked.append(model.epochs)
        return -float(model.epochs)

    assert fit(train, SMALL.model_copy(update={"patience": 3}), epochs=50, objective=worse).epochs == 1
    assert looked == [1, 2, 3, 4]
    ticks = iter(range(0, 10_000, 25))
    assert fit(train, epochs=50, minutes=1.0, clock=lambda: float(next(ticks))).epochs == 2
    slow = iter(range(0, 10_000, 500))
    assert fit(train, epochs=50, minutes=1.0, clock=lambda: float(next(slow))).epochs == 1
    with pytest.raises(ConfigError, match="minutes: must be positive and come with a clock"):
        fit(train, minutes=1.0)


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(make_log, make_items, tmp_path: Path) -> None:
    train = training_set(successor_log(make_log, 5), make_items)

    def epochs(minutes: float | None) -> int:
        ticks = iter(range(0, 10_000, 30))  # an epoch takes half a minute
        clock = None if minutes is None else lambda: float(next(ticks))
        return fit(train, epochs=6, minutes=minutes, clock=clock, folder=tmp_path).epochs

    assert [epochs(minutes) for minutes in (0.5, 0.4, 1.6, None)] == [1, 1, 3, 6]


def test_another_run_and_a_damaged_file_are_refused(make_log, make_items, tmp_path: Path) -> None:
    train = training_set(successor_log(make_log, 5), make_items)
    fit(train, epochs=1, folder=tmp_path)
    with pytest.raises(ArtefactError, match="other options, data or seed"):
        fit(train, epochs=1, seed=1, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ArtefactError, match="cannot be read"):
        fit(train, epochs=1, folder=tmp_path)


def test_the_trainings_used_last_stay(make_log, make_items, tmp_path: Path) -> None:
    train = training_set(successor_log(make_log, 5), make_items)
    folders = [tmp_path / f"{n:016x}" for n in range(4)]
    for age_s, folder in enumerate(folders):
        fit(train, epochs=1, folder=folder)
        for file in (folder, *folder.iterdir()):
            os.utime(file, (1e9 - age_s, 1e9 - age_s))
    other = tmp_path / "vectors-of-mine"
    other.mkdir()
    fit(train, epochs=1, folder=folders[3])  # the oldest is read: it is used now
    assert prune_checkpoints(tmp_path, keep=4) == ()
    assert prune_checkpoints(tmp_path, keep=2) == (folders[1].name, folders[2].name)
    assert sorted(tmp_path.iterdir()) == sorted([folders[0], folders[3], other])
    assert prune_checkpoints(tmp_path / "absent") == ()


def test_shops_without_text_words_or_events_still_get_a_model(make_log, make_items, make_requests) -> None:
    log = successor_log(make_log, 5)
    bare = TrainingSet(log, make_items([""] * N), None, float(log.at_s.max()))
    assert fit(bare, epochs=1).scores(make_requests(log)).shape == (5, N)
    nobody = TrainingSet(log.select(np.zeros(len(log), bool)), make_items([f"t{i}" for i in range(N)]), None, 0.0)
    assert np.isfinite(fit(nobody, epochs=1).items).all()


def test_item_words_read_every_column() -> None:
    row = {
        "title": "A b",
        "brand": None,
        "category": "X > Y",
        "attributes": '{"tags": ["one two", "long words of this"]}',
    }
    said = item_words(row)
    assert said == ["w:a", "w:b", "c:X", "c:X > Y", "a:tags=one two", "w:long", "w:words", "w:of", "w:this"]
    assert item_words(pd.Series({"title": None}).to_dict()) == []


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="heads: must divide width 8, got 3"):
        TasteConfig(width=8, heads=3)
    with pytest.raises(ValueError, match="an item needs one at least"):
        TasteConfig(ids=False, text=0, words=0, vocabulary=0)


def test_features_know_where_text_ends(make_log, make_items) -> None:
    found = item_features(training_set(successor_log(make_log), make_items), SMALL, rng=np.random.default_rng(0))
    assert isinstance(found, Features)
    assert found.n_text == 4
    for part in (found.rows[:, :4], found.rows[:, 4:]):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)
