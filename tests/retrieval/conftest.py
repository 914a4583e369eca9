"""Small logs, requests and catalogues that the retrieval tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.log import EventLog, Requests, event_log
from tasteprint.profiling.tables.schema import conform
from tasteprint.retrieval.scorer import TrainingSet

START_S = 1_700_000_000.0
DAY_S = 86_400.0


def _ids(n_items: int) -> list[str]:
    return [f"i{row:05d}" for row in range(n_items)]


def _log(rows: Sequence[tuple[str, int, float, dict[str, Any]] | tuple[str, int, float]], n_items: int) -> EventLog:
    records = []
    for seq, (user, item, day, *more) in enumerate(rows):
        at = pd.Timestamp(START_S + day * DAY_S, unit="s")
        record = {"user_id": user, "kind": "purchase", "at": at, "seq": seq, "item_id": f"i{item:05d}"}
        records.append(record | (more[0] if more else {}))
    return event_log(conform("events", pd.DataFrame(records)), _ids(n_items))


@pytest.fixture(scope="session")
def make_log() -> Callable[..., EventLog]:
    """A log from (user, item row, day[, other columns]); kind is purchase unless given."""
    return _log


@pytest.fixture(scope="session")
def make_requests() -> Callable[..., Requests]:
    """Requests for the whole history of every user of a log, a day after its end."""

    def make(log: EventLog, texts: Sequence[str] = (), now_day: float | None = None) -> Requests:
        end = float(log.at_s.max(initial=START_S)) + DAY_S if now_day is None else START_S + now_day * DAY_S
        now = np.full(log.n_users, end)
        return Requests(log, log.user_start[:-1], log.user_start[1:], now, tuple(texts))

    return make


@pytest.fixture(scope="session")
def make_items() -> Callable[..., pd.DataFrame]:
    """A catalogue in the contract from titles; other columns as keywords."""

    def make(titles: Sequence[str], **columns: Sequence[Any]) -> pd.DataFrame:
        return conform("items", pd.DataFrame({"item_id": _ids(len(titles)), "title": list(titles), **columns}))

    return make


@pytest.fixture(scope="session")
def random_shop(make_items: Callable[..., pd.DataFrame]) -> Callable[..., TrainingSet]:
    """A random training set: titles of few words, unit vectors, categories, brands, prices, purchases."""

    def make(n_items: int = 60, n_users: int = 12, n_events: int = 200, *, dim: int = 8, seed: int = 0) -> TrainingSet:
        rng = np.random.default_rng(seed)
        vocabulary = [f"word{n}" for n in range(max(12, n_items // 4))]
        titles = [" ".join(rng.choice(vocabulary, size=int(rng.integers(1, 6)))) for _ in range(n_items)]
        items = make_items(
            titles,
            category=[f"root{n % 3} > leaf{n % 7}" for n in rng.permutation(n_items)],
            brand=[f"brand{n % 5}" if n % 6 else None for n in rng.permutation(n_items)],
            price=np.where(rng.random(n_items) < 0.1, np.nan, rng.lognormal(2, 1, n_items)),
        )
        kinds = ["purchase", "purchase", "view", "cart", "impression", "review"]
        rows = []
        for _ in range(n_events):
            kind = str(rng.choice(kinds))
            more: dict[str, Any] = {"kind": kind}
            if kind == "review":
                more["rating"] = float(rng.integers(1, 6))
            user, item = f"u{rng.integers(n_users):02d}", int(n_items * rng.random() ** 2)
            rows.append((user, item, round(float(rng.integers(0, 100)) / 2, 1), more))
        rows += [(f"u{user:02d}", int(rng.integers(n_items)), 50.0) for user in range(n_users)]
        log = _log(rows, n_items)
        vectors = rng.standard_normal((n_items, dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return TrainingSet(log, items, vectors, float(log.at_s.max()) + 1.0)

    return make
