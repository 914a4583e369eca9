"""What all importers share: the report adds up, nothing is half-written, options and paths are checked."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasteprint.profiling.errors import ConfigError, ShopError
from tasteprint.profiling.importers import IMPORTERS, ImportReport, import_shop
from tasteprint.profiling.importers.base import pseudonyms, rank_in_user, time_split_at
from tasteprint.profiling.importers.k_core import k_core_mask
from tasteprint.profiling.importers.report import Ledger
from tasteprint.profiling.tables.shop import read_shop
from tasteprint.profiling.tables.validate import validate_shop

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
MAPS = Path(__file__).resolve().parents[2] / "configs" / "import"

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "complete-journey": ("complete-journey", {"source": SAMPLES / "complete_journey"}),
    "retail csv": ("online-retail", {"source": SAMPLES / "online_retail" / "online_retail.csv"}),
    "retail xlsx": ("online-retail", {"source": SAMPLES / "online_retail" / "online_retail_ii.xlsx"}),
    "amazon 2014": (
        "amazon-2014",
        {"source": SAMPLES / "amazon_2014" / "reviews.json", "metadata": SAMPLES / "amazon_2014" / "meta.json"},
    ),
    "amazon 2014 core": (
        "amazon-2014",
        {
            "source": SAMPLES / "amazon_2014" / "reviews.json",
            "metadata": SAMPLES / "amazon_2014" / "meta.json.gz",
            "k_core": 2,
        },
    ),
    "amazon 2023": (
        "amazon-2023",
        {"source": SAMPLES / "amazon_2023" / "reviews.jsonl", "metadata": SAMPLES / "amazon_2023" / "meta.jsonl"},
    ),
    "movielens csv": ("movielens", {"source": SAMPLES / "movielens_latest"}),
    "movielens dat": ("movielens", {"source": SAMPLES / "movielens_1m"}),
    "movielens 100k": ("movielens", {"source": SAMPLES / "movielens_100k"}),
    "csv": ("csv", {"source": SAMPLES / "corner_shop", "column_map": MAPS / "corner-shop.toml"}),
    "generated": ("generated", {}),
}


def run(case: str, out: Path) -> ImportReport:
    name, options = CASES[case]
    return import_shop(name, out, **options)


def test_every_importer_has_a_case() -> None:
    assert {name for name, _ in CASES.values()} == set(IMPORTERS)


@pytest.mark.parametrize("case", CASES)
def test_contract(case: str, tmp_path: Path) -> None:
    """The shop validates, every row is accounted for, and the report is kept with the shop."""
    report = run(case, tmp_path / "shop")
    assert validate_shop(tmp_path / "shop") == []
    for name, count in report.sources.items():
        assert count.read == count.kept + sum(count.dropped.values()), name
    meta = read_shop(tmp_path / "shop").meta
    assert meta["import"] == report.as_dict()
    assert meta["tables"] == {n: rows for n, rows in report.written.items() if not n.startswith("extra/")}
    assert os.listdir(tmp_path) == ["shop"]


@pytest.mark.parametrize("case", CASES)
def test_events_are_numbered_in_order(case: str, tmp_path: Path) -> None:
    run(case, tmp_path / "shop")
    events = read_shop(tmp_path / "shop").table("events").sort_values(["user_id", "at", "seq"])
    for _, history in events.groupby("user_id"):
        assert history["seq"].tolist() == list(range(len(history)))


@pytest.mark.parametrize("case", CASES)
def test_importing_twice_gives_the_same_bytes(case: str, tmp_path: Path) -> None:
    run(case, tmp_path / "one")
    run(case, tmp_path / "two")
    for file in sorted((tmp_path / "one").rglob("*.*")):
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes(), file.name


def test_progress_reaches_the_end_and_never_goes_back(tmp_path: Path) -> None:
    name, options = CASES["amazon 2014"]
    seen: dict[str, list[float]] = {}
    import_shop(name, tmp_path / "a", **options, progress=lambda stage, share: seen.setdefault(stage, []).append(share))
    assert set(seen) == {"reading reviews", "reading items", "writing reviews"}
    for shares in seen.values():
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_existing_shop_is_kept_and_failures_leave_nothing(tmp_path: Path) -> None:
    run("csv", tmp_path / "a")
    before = (tmp_path / "a" / "shop.json").read_text()
    with pytest.raises(ShopError, match="exists already"):
        run("movielens csv", tmp_path / "a")
    with pytest.raises(ShopError, match=r"ratings\.csv, ratings\.dat, u\.data"):
        import_shop("movielens", tmp_path / "a", source=tmp_path, overwrite=True)
    assert (tmp_path / "a" / "shop.json").read_text() == before
    assert os.listdir(tmp_path) == ["a"]
    import_shop("movielens", tmp_path / "a", source=SAMPLES / "movielens_1m", overwrite=True)
    assert json.loads((tmp_path / "a" / "shop.json").read_text())["name"] == "movielens"


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("etsy", {}, ConfigError, "'etsy' is not one of complete-journey"),
        ("movielens", {}, ShopError, "--from: expected a MovieLens folder"),
        ("movielens", {"source": "nowhere"}, ShopError, "nowhere does not exist"),
        ("movielens", {"source": SAMPLES, "metadata": "x"}, ConfigError, "--metadata: the importer movielens"),
        ("online-retail", {"source": SAMPLES, "k_core": 5}, ConfigError, "--k-core"),
        ("amazon-2014", {"source": SAMPLES / "README.md"}, ShopError, "--metadata: expected the items"),
        (
            "amazon-2014",
            {"source": SAMPLES / "README.md", "metadata": SAMPLES / "README.md"},
            ShopError,
            "no review of",
        ),
        ("amazon-2014", {"source": SAMPLES, "metadata": SAMPLES}, ShopError, "got a folder"),
        ("csv", {"source": SAMPLES}, ConfigError, "--map: expected a TOML file"),
        ("online-retail", {"source": SAMPLES / "corner_shop" / "graded.csv"}, ShopError, "expected columns InvoiceNo"),
        ("complete-journey", {"source": SAMPLES / "corner_shop"}, ShopError, r"transactions\.parquet"),
    ],
)
def test_wrong_calls(name: str, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        import_shop(name, tmp_path / "shop", **options)
    assert os.listdir(tmp_path) == []


def test_ledger_refuses_to_lose_rows() -> None:
    ledger = Ledger()
    ledger.read("a", 3)
    ledger.drop("a", "bad", 4)
    with pytest.raises(RuntimeError, match="3 rows read but 4 dropped"):
        ledger.sources()


pairs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60)


@given(pairs, st.integers(0, 4))
def test_k_core_is_the_largest_set_that_holds(events: list[tuple[int, int]], k: int) -> None:
    """Against the plain definition: drop one weak user's or item's events at a time until none is weak."""
    left = set(range(len(events)))
    while True:
        users = Counter(events[e][0] for e in left)
        items = Counter(events[e][1] for e in left)
        weak = {e for e in left if users[events[e][0]] < k or items[events[e][1]] < k}
        if not weak:
            break
        left -= {min(weak)}
    user = np.array([u for u, _ in events], dtype=np.int32)
    item = np.array([i for _, i in events], dtype=np.int32)
    assert set(np.flatnonzero(k_core_mask(user, item, k=k)).tolist()) == left


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40), st.integers(2, 4))
def test_k_core_equals_the_core_of_the_graph(events: set[tuple[int, int]], k: int) -> None:
    """Without repeated pairs it is the k-core of the bipartite graph, by networkx."""
    graph = nx.Graph([(("u", u), ("i", i)) for u, i in events])
    core = nx.k_core(graph, k)
    listed = sorted(events)
    mask = k_core_mask(np.array([u for u, _ in listed], dtype=int), np.array([i for _, i in listed], dtype=int), k=k)
    assert int(mask.sum()) == core.number_of_edges()


def test_negative_core() -> None:
    with pytest.raises(ConfigError, match="k_core: expected 0 or more, got -1"):
        k_core_mask(np.zeros(1, int), np.zeros(1, int), k=-1)


def test_rank_in_user_counts_each_users_events() -> None:
    user = np.array([3, 1, 3, 3, 1])
    at = np.array([9, 5, 1, 4, 5])
    order = np.lexsort((np.arange(5), at, user))
    assert rank_in_user(user, order).tolist() == [2, 0, 0, 1, 1]
    assert rank_in_user(np.zeros(0, int), np.zeros(0, int)).tolist() == []


def test_pseudonyms_differ_by_salt_and_hide_the_id() -> None:
    one, two = pseudonyms(["A1", "A2"], salt="x")
    assert len({one, two, *pseudonyms(["A1"], salt="y")}) == 3
    assert len(one) == 17
    assert "A1" not in one


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=200))
def test_time_split_keeps_order_and_leaves_training_events(days: list[int]) -> None:
    at_s = np.array(days, dtype=float) * 86400
    split = time_split_at(at_s, ["view"]).get("time_split")
    if split is not None:
        valid, test = (np.datetime64(split[c][:-1], "s").astype(float) for c in ("valid_from", "test_from"))
        assert at_s.min() < valid < test <= at_s.max()
