"""The taste model in numpy: against a plain loop, and what it promises of batches, order, time and states."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from tasteprint.profiling.errors import ArtefactError
from tasteprint.profiling.log import Requests
from tasteprint.profiling.taste_events import N_AGES, N_KINDS
from tasteprint.profiling.taste_model import (
    TasteLayer,
    TasteModel,
    request_events,
    taste_from_state,
    taste_state,
)
from tests.profiling.taste_samples import asked, log_of

D, HEADS, LAST, ITEMS, FEATURES = 6, 2, 5, 10, 4


def random_model(*, together: bool = False, scale: float = 3.0, seed: int = 0) -> TasteModel:
    """A small model with every part switched on."""
    rng = np.random.default_rng(seed)
    shapes = {
        "norm1": (D,), "shift1": (D,), "norm2": (D,), "shift2": (D,), "qkv": (D, 3 * D), "qkv_bias": (3 * D,),
        "out": (D, D), "out_bias": (D,), "up": (D, 8), "up_bias": (8,), "down": (8, D), "down_bias": (D,),
        "distance": (LAST + 1, HEADS), "age": (N_AGES, HEADS),
    }  # fmt: skip

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    layers = tuple(TasteLayer(**{field.name: drawn(*shapes[field.name]) for field in fields(TasteLayer)}) for _ in "12")
    return TasteModel(
        items=drawn(ITEMS, D + FEATURES),
        kind=drawn(N_KINDS, D),
        gap=drawn(N_AGES, D),
        place=drawn(LAST, D),
        layers=layers,
        norm=drawn(D),
        shift=drawn(D),
        alike_distance=drawn(LAST + 1),
        alike_age=drawn(N_AGES),
        alike_gain=drawn(FEATURES),
        scale=scale,
        last=LAST,
        together=together,
        epochs=1,
    )


def by_hand(model: TasteModel, requests: Requests) -> np.ndarray:
    """Shopper vectors of single requests, event by event and head by head in float64."""
    events = request_events(requests, last=model.last, together=model.together)
    out = []
    for row in range(len(events.item)):
        n = int(events.valid[row].sum())
        age, distance = events.age()[row], events.distance(model.last)[row]
        item = model.items[events.item[row, :n]].astype(float)
        x = item[:, :D] * np.sqrt(D) + model.kind[events.kind[row, :n]] + model.gap[events.gap()[row, :n]]
        x = x + model.place[:n]
        sees = events.step[row, :n][None, :] <= events.step[row, :n][:, None]
        for layer in model.layers:
            h = norm(x, layer.norm1, layer.shift1) @ layer.qkv + layer.qkv_bias
            mixed = np.zeros((n, D))
            for head in range(HEADS):
                part = slice(head * D // HEADS, (head + 1) * D // HEADS)
                q, k, v = (whole[:, part] for whole in np.split(h, 3, axis=1))
                for i in range(n):
                    bias = layer.distance[distance[i, :n], head] + layer.age[age[i, :n], head]
                    raw = k @ q[i] / np.sqrt(D // HEADS) + bias
                    weight = np.exp(raw) * sees[i]
                    mixed[i, part] = (weight / weight.sum()) @ v
            x = x + mixed @ layer.out + layer.out_bias
            x = x + np.maximum(norm(x, layer.norm2, layer.shift2) @ layer.up + layer.up_bias, 0) @ layer.down
            x = x + layer.down_bias
        states = norm(x, model.norm, model.shift)
        states *= model.scale / np.linalg.norm(states, axis=1, keepdims=True)
        newest = np.flatnonzero(events.step[row, :n] == events.step[row, :n].max())
        pooled = []
        for i in newest:
            weight = np.exp(model.alike_distance[distance[i, :n]] + model.alike_age[age[i, :n]]) * sees[i]
            pooled.append((weight / weight.sum()) @ item[:, D:] * model.alike_gain)
        out.append(np.r_[states[newest].mean(axis=0), np.mean(pooled, axis=0)])
    return np.array(out)


def norm(x: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Layer norm in float64."""
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * gain + offset


ROWS = [("a", 1, 0), ("a", 2, 90), ("a", 3, 90), ("b", 4, 7), ("c", 5, 0), ("c", 5, 50), ("c", 7, 50), ("c", 8, 50)]


@pytest.mark.parametrize("together", [False, True])
def test_a_plain_loop_gives_the_same(together: bool) -> None:
    model, requests = random_model(together=together), asked(log_of(ROWS), 200)
    found = model.shoppers(requests)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(model, requests), rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(model.scores(requests), found @ model.items.T)


def test_a_batch_gives_what_single_requests_give_and_no_history_gives_zeros() -> None:
    model, requests = random_model(), asked(log_of(ROWS), 200)
    empty = Requests(requests.log, np.array([0, 0, 3]), np.array([0, 3, 4]), requests.now_s)
    both = model.shoppers(empty)
    assert not both[0].any()
    np.testing.assert_allclose(both[1:], model.shoppers(requests)[:2], atol=1e-5)
    many = requests.take(np.tile(np.arange(3), 700))
    np.testing.assert_allclose(model.shoppers(many), np.tile(model.shoppers(requests), (700, 1)), atol=1e-4)


@pytest.mark.parametrize("together", [False, True])
def test_later_events_change_nothing_before_them(together: bool) -> None:
    model = random_model(together=together)
    rows = [("a", 1, 0), ("a", 2, 10), ("a", 3, 20), ("a", 4, 30)]
    other = [*rows[:3], ("a", 9, 30)]
    one, two = (model.states(request_events(asked(log_of(r), 99), last=5, together=together)) for r in (rows, other))
    np.testing.assert_array_equal(one[0, :3], two[0, :3])
    assert np.abs(one[0, 3] - two[0, 3]).max() > 0.01


def test_events_at_one_time_have_no_order_when_they_are_together() -> None:
    model = replace(random_model(together=True), place=np.zeros((0, D), np.float32))
    rows = [("a", 1, 0), ("a", 2, 10), ("a", 3, 10), ("a", 4, 10)]
    turned = [rows[0], rows[3], rows[1], rows[2]]
    one, two = (model.shoppers(asked(log_of(r), 99)) for r in (rows, turned))
    np.testing.assert_allclose(one, two, atol=1e-5)
    loose = replace(model, together=False)
    assert np.abs(loose.shoppers(asked(log_of(rows), 99)) - loose.shoppers(asked(log_of(turned), 99))).max() > 0.01


def test_kind_sign_time_and_the_time_of_asking_all_count() -> None:
    model, rows = random_model(), [("a", 1, 0), ("a", 2, 90)]
    plain = model.shoppers(asked(log_of(rows), 200))
    changed = {
        "kind": asked(log_of(rows, kind=["view", "purchase"]), 200),
        "sign": asked(log_of(rows, rating=[1.0, 5.0]), 200),
        "gap": asked(log_of([("a", 1, 0), ("a", 2, 10)]), 200),
        "now": asked(log_of(rows), 2000),
    }
    for name, requests in changed.items():
        assert np.abs(model.shoppers(requests) - plain).max() > 1e-3, name


def test_a_model_comes_back_from_its_state_and_a_damaged_one_does_not() -> None:
    model, requests = random_model(together=True), asked(log_of(ROWS), 200)
    arrays, meta = taste_state(model)
    np.testing.assert_array_equal(taste_from_state(arrays, meta).shoppers(requests), model.shoppers(requests))
    with pytest.raises(ArtefactError, match="format must be"):
        taste_from_state(arrays, meta | {"format": 99})
    with pytest.raises(ArtefactError, match=r"layers\.1\.qkv is missing"):
        taste_from_state({name: array for name, array in arrays.items() if name != "layers.1.qkv"}, meta)
