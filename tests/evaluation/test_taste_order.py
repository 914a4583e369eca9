"""Whether the order inside a day is learned from: where it tells something, where not, and where it deceives."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasteprint.evaluation.splits import Split, leave_one_out
from tasteprint.evaluation.taste_learning import known_requests, train_taste
from tasteprint.evaluation.taste_order import RACE, ROOM, decided, other_day, race, tied_share
from tasteprint.profiling.errors import ArtefactError
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.taste_model import taste_state
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.taste.config import TasteConfig
from tasteprint.retrieval.taste.training import TasteRun, fit_taste

N = 30
TINY = TasteConfig(width=8, layers=1, inner=8, last=8, text=0, words=0, negatives=None, batch=32, learning_rate=0.05)


def shop_of_days(*, ordered: bool, n_users: int = 120) -> Shop:
    """Three things a day at one time: each after the one before it, or any three in any order."""
    rng, rows = np.random.default_rng(0), []
    for user in range(n_users):
        for day in range(3):
            first = int(rng.integers(N))
            items = [(first + step) % N for step in range(3)] if ordered else rng.integers(N, size=3).tolist()
            at = pd.Timestamp("2024-01-01") + pd.Timedelta(days=day)
            rows += [(f"u{user:03d}", at, f"i{item:02d}") for item in items]
    events = pd.DataFrame(rows, columns=["user_id", "at", "item_id"]).assign(kind="purchase", seq=range(len(rows)))
    items = conform("items", pd.DataFrame({"item_id": [f"i{n:02d}" for n in range(N)], "title": ""}))
    return Shop("days", items=items, events=conform("events", events), meta={})


def stage(shop: Shop) -> tuple[TrainingSet, Split]:
    split = leave_one_out(shop, stage="valid")
    return TrainingSet(split.train, shop.items, None, split.until_s), split


@pytest.mark.parametrize("ordered", [True, False])
def test_the_files_order_is_read_where_validation_gains_by_it(ordered: bool) -> None:
    train, split = stage(shop_of_days(ordered=ordered))
    trained = train_taste(train, (train, split), TINY.model_copy(update={"epochs": 6}), seed=0)
    said = trained.about
    assert (trained.config.shuffle, said["taste_order"]) == ((False, "file") if ordered else (True, "shuffled"))
    assert {"taste_shuffled", "taste_file"} <= set(said)
    if ordered:
        assert said["taste_file"] > said["taste_shuffled"] + 0.1
    alone = TINY.model_copy(update={"epochs": 6, "shuffle": trained.config.shuffle, "ties": "sequence"})
    again = train_taste(train, (train, split), alone, seed=0)
    assert same(again.before, trained.before)  # the race changes nothing about the training that goes on
    assert "taste_file" not in again.about


def same(one, other) -> bool:
    a, b = taste_state(one)[0], taste_state(other)[0]
    return all(np.array_equal(a[name], b[name]) for name in a)


class Answers:
    """Knows the answers of some requests, and says the same of all other items."""

    def __init__(self, split: Split, known: np.ndarray) -> None:
        self._split, self._known = split, known
        self._row = {(int(start), int(stop)): n for n, (start, stop) in enumerate(spans(split.requests))}

    def scores(self, requests) -> np.ndarray:
        out = np.tile(-np.arange(requests.log.n_items, dtype=np.float32), (len(requests), 1))
        for place, span in enumerate(spans(requests)):
            row = self._row[int(span[0]), int(span[1])]
            if self._known[row]:
                out[place, self._split.truth.take(np.array([row])).items] = 1.0
        return out


def spans(requests):
    return zip(requests.start, requests.stop, strict=True)


def test_a_gain_inside_the_day_does_not_pay_for_a_loss_on_other_days() -> None:
    shop = shop_of_days(ordered=True)
    _, split = stage(shop)
    rng = np.random.default_rng(0)
    split = split.take(np.arange(len(split.requests)))
    # half of the requests are made to come a day later
    now_s = split.requests.now_s + np.where(np.arange(len(split.requests)) % 2, 86_400.0, 0.0)
    split = Split(**{**vars(split), "requests": Split.take(split, np.arange(len(now_s))).requests})
    object.__setattr__(split.requests, "now_s", now_s)
    other = other_day(split)
    assert other.tolist() == [bool(n % 2) for n in range(len(now_s))]
    some = rng.random(len(other)) < 0.5
    base = Answers(split, some)
    everywhere = decided(base, Answers(split, some | (rng.random(len(other)) < 0.5)), split)
    assert not everywhere.shuffle
    inside = decided(base, Answers(split, np.where(other, some & (rng.random(len(other)) < 0.2), True)), split)
    assert inside.shuffle
    assert inside.reached["file"] > inside.reached["shuffled"]
    assert inside.reached["file_other_day"] < inside.reached["shuffled_other_day"]
    assert decided(base, base, split).shuffle


def test_without_ties_or_time_there_is_no_race() -> None:
    train, split = stage(shop_of_days(ordered=True, n_users=20))
    apart = TrainingSet(train.log, train.items, None, train.until_s)
    object.__setattr__(apart.log, "at_s", apart.log.at_s + np.arange(len(apart.log)))
    assert tied_share(apart.log) == 0.0
    ticks = iter(range(0, 100_000, 20))
    slow = train_taste(train, (train, split), TINY, seed=0, minutes=1.0, clock=lambda: float(next(ticks)))
    assert slow.about["taste_order"] == "shuffled"
    assert "taste_file" not in slow.about
    assert slow.before.epochs <= 3 < ROOM


def test_tied_share() -> None:
    train, _ = stage(shop_of_days(ordered=True))
    log = train.log
    user = log.user()
    pairs = [(user[n], log.at_s[n]) for n in range(len(log))]
    assert tied_share(log) == sum(a == b for a, b in pairwise(pairs)) / len(log)


def test_a_race_that_was_run_is_not_run_again(tmp_path: Path) -> None:
    train, split = stage(shop_of_days(ordered=True, n_users=20))
    sample = known_requests(split)
    opened: list[bool] = []

    def open_run(shuffle: bool) -> TasteRun:
        opened.append(shuffle)
        config = TINY.model_copy(update={"shuffle": shuffle, "epochs": 5})
        return TasteRun(train, config, seed=1, folder=tmp_path / str(shuffle), beside=RACE)

    run, ended = race(open_run, sample, folder=tmp_path)
    assert opened == [True, False]
    assert len(run.values) == RACE
    again, told = race(open_run, sample, folder=tmp_path)
    assert (opened[2:], told) == ([ended.shuffle], ended)
    run.advance()
    again.advance()
    assert same(run.best(), again.best())
    (tmp_path / "order.json").write_text("{")
    with pytest.raises(ArtefactError, match="remove it to race again"):
        race(open_run, sample, folder=tmp_path)


def test_a_run_in_two_pieces_is_the_run_in_one() -> None:
    train, _ = stage(shop_of_days(ordered=True, n_users=20))
    config = TINY.model_copy(update={"epochs": 4, "shuffle": False})
    rng = np.random.default_rng(3)
    whole = fit_taste(train, config, rng=rng)
    run = TasteRun(train, config, seed=int(np.random.default_rng(3).integers(2**31)))
    run.advance(1)
    run.advance(3)
    assert len(run.values) == 3
    run.advance()
    assert same(run.best(), whole)


def test_the_time_pays_for_the_other_run_too() -> None:
    train, _ = stage(shop_of_days(ordered=True, n_users=20))
    config = TINY.model_copy(update={"epochs": 50, "shuffle": False})

    def epochs(beside: int) -> int:
        ticks = iter(range(0, 100_000, 6))
        run = TasteRun(train, config, seed=0, minutes=1.0, clock=lambda: float(next(ticks)), beside=beside)
        run.advance()
        return run.latest().epochs

    assert (epochs(0), epochs(RACE)) == (10, 10 - RACE)


def test_a_training_looked_at_with_new_items_alone_has_its_own_checkpoints(tmp_path: Path) -> None:
    train, split = stage(shop_of_days(ordered=True, n_users=20))
    alone = TINY.model_copy(update={"epochs": 1, "shuffle": True})
    train_taste(train, (train, split), alone, seed=0, folder=tmp_path)
    train_taste(train, (train, split), alone, seed=0, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    new = Split(**{**vars(split), "settings": {**split.settings, "only_new": True}})
    train_taste(train, (train, new), alone, seed=0, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
