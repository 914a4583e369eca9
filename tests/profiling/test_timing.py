"""Interleaved timing and measured peaks: by hand figures, with a clock that is moved by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasteprint.profiling.encoders.peak import PRECISIONS, NetworkSize, best_of, measure_peaks, network_size
from tasteprint.profiling.errors import EncoderError
from tasteprint.profiling.timing import Spread, paired_ratios, spread, time_calls, time_rounds, turns

MINILM = NetworkSize(layers=6, hidden=384, inner=1536)


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def take(self, seconds: float) -> None:
        self.now += seconds


def test_operations_of_minilm_and_bert_base() -> None:
    """Facts: 21.2 MFLOP a token and 9.2k times the length; BERT-base has 85 M weights in its linear maps."""
    assert MINILM.token_flops == 2 * 6 * (4 * 384 * 384 + 2 * 384 * 1536) == 21_233_664
    assert MINILM.attention_flops == 9216
    base = NetworkSize(layers=12, hidden=768, inner=3072)
    assert base.token_flops == 2 * 84_934_656
    assert MINILM.flops([10, 1]) == 11 * 21_233_664 + 9216 * (100 + 1)
    assert MINILM.flops([]) == 0


def test_sizes_are_read_under_each_familys_names(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 2}')
    assert network_size(tmp_path) == NetworkSize(layers=2, hidden=4, inner=8)
    file.write_text('{"dim": 4, "hidden_dim": 8, "n_layers": 2}')  # DistilBERT
    assert network_size(tmp_path) == NetworkSize(layers=2, hidden=4, inner=8)
    file.write_text('{"hidden_size": 4}')
    with pytest.raises(EncoderError, match=r"must say hidden_size.*KeyError"):
        network_size(tmp_path)
    with pytest.raises(EncoderError, match="FileNotFoundError"):
        network_size(tmp_path / "nowhere")


def test_the_count_is_that_of_the_products() -> None:
    """Each linear map of a layer is a product of a token's vector with a matrix: an addition a multiplication."""
    assert sum(a * b for a, b in MINILM.products) * 2 * MINILM.layers == MINILM.token_flops


def test_best_of_is_the_shortest() -> None:
    clock, taken = Clock(), iter([5.0, 2.0, 3.0, 9.0])
    assert best_of(lambda: clock.take(next(taken)), clock=clock, seconds=8) == 2.0  # the fourth never starts
    clock = Clock()
    assert best_of(lambda: clock.take(1.0), clock=clock, seconds=0, least=2) == 1.0
    assert clock.now == 2.0


def test_peaks_are_measured_in_every_precision_there_is() -> None:
    import time

    peaks = measure_peaks(NetworkSize(1, 16, 32), clock=time.perf_counter, seconds=0.001)
    assert [peak.precision for peak in peaks] == [p for p in PRECISIONS if p in {peak.precision for peak in peaks}]
    assert "fp32" in {peak.precision for peak in peaks}
    for peak in peaks:
        assert peak.flops_per_s > 1e5
        assert peak.rows >= 64
        assert (peak.device, peak.by) in {("cpu", "torch"), ("cpu", "openvino"), ("cpu", "onnxruntime")}


def test_spread() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0]) == Spread(median=2.5, low=1.0, high=4.0)


def test_ratios_are_taken_inside_each_round() -> None:
    """A machine that is three times slower in the second round changes no ratio."""
    times = {"base": [2.0, 6.0, 2.2], "twice": [1.0, 3.0, 1.1], "same": [2.0, 6.0, 2.2]}
    ratios = paired_ratios(times, "base")
    assert ratios["twice"] == Spread(pytest.approx(2.0), pytest.approx(2.0), pytest.approx(2.0))
    assert ratios["base"] == ratios["same"] == Spread(1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="shorter"):
        paired_ratios({"base": [1.0, 2.0], "other": [1.0]}, "base")


def test_nobody_is_always_first_or_always_after_the_same_one() -> None:
    orders = turns("abcd", 8)
    assert all(sorted(order) == list("abcd") for order in orders)
    assert {order[0] for order in orders} == set("abcd")
    before = {name: {order[order.index(name) - 1] for order in orders if order[0] != name} for name in "abcd"}
    assert all(len(others) > 1 for others in before.values())
    assert turns([], 2) == [[], []]


def test_rounds_take_turns_and_pauses_are_not_timed() -> None:
    clock, order = Clock(), []

    def run(name: str, seconds: float) -> object:
        order.append(name)
        return clock.take(seconds)

    times = time_rounds(
        {"a": lambda: run("a", 1.0), "b": lambda: run("b", 2.0)}, 3, clock=clock, pause=lambda: clock.take(10.0)
    )
    assert times == {"a": [1.0] * 3, "b": [2.0] * 3}
    assert order == ["a", "b", "b", "a", "b", "a"]


def test_calls_are_warmed_up_and_taken_in_blocks() -> None:
    clock, asked = Clock(), {"a": [], "b": []}  # type: ignore[var-annotated]

    def call(name: str, item: int) -> None:
        asked[name].append(item)
        clock.take(item)

    times = time_calls(
        {"a": lambda item: call("a", item), "b": lambda item: call("b", item)},
        [1, 2, 3, 4, 5],
        clock=clock,
        pause=lambda: clock.take(100),
        block=3,
        warm=2,
    )
    assert times == {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5]}
    assert asked["a"] == [1, 2, 1, 2, 3, 4, 5, 4, 5]
    assert time_calls({"a": lambda item: None}, [], clock=clock, pause=lambda: None) == {"a": []}
