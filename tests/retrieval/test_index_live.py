"""An index that takes changes, against brute force: found at once, gone at once, and as if built anew."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasteprint.profiling.encoders.encoder import HashEncoder
from tasteprint.profiling.errors import ArtefactError
from tasteprint.retrieval.index import INDEXES, build_index
from tasteprint.retrieval.index.live import LiveView, live_view
from tasteprint.retrieval.index.live_index import LiveConfig, LiveIndex, create_live_index

DIM = 8
CALM = LiveConfig(background=False)


def exact(matrix: np.ndarray):
    return build_index(matrix, kind="flat")


def vectors(n: int, seed: int = 0) -> np.ndarray:
    """Rows of small whole numbers, so that products are exact and ties are common."""
    return np.random.default_rng(seed).integers(-3, 4, (n, DIM)).astype(np.float32)


def ids(n: int, first: int = 0) -> list[str]:
    return [f"i{number}" for number in range(first, first + n)]


def assert_same(index: LiveIndex, truth: dict[str, np.ndarray], k: int = 7) -> None:
    """The index finds what numpy finds in ``truth``, whose order is that of the newest vectors; ties by it."""
    names = list(truth)
    matrix = np.array(list(truth.values()), dtype=np.float32).reshape(len(truth), DIM)
    queries = vectors(4, seed=99)
    for query, hits in zip(queries, index.search_batch(queries, k), strict=True):
        products = matrix @ query
        order = np.lexsort((np.arange(len(names)), -products))[:k]
        np.testing.assert_array_equal(hits.scores, products[order])
        above = int((hits.scores > hits.scores.min(initial=np.inf)).sum())  # FAISS settles ties at the edge as it likes
        assert list(hits.ids)[:above] == [names[row] for row in order][:above]
        assert [truth[item_id] @ query for item_id in hits.ids] == hits.scores.tolist()
        assert len(set(hits.ids)) == len(order)
    assert index.n_items == len(truth)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_changes_are_as_if_built_anew(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("live") / "index"
    n = data.draw(st.integers(0, 12))
    truth = dict(zip(ids(n), vectors(n), strict=True))
    index = create_live_index(folder, ids=ids(n), vectors=vectors(n), build=exact, config=CALM)
    for step in range(data.draw(st.integers(1, 8))):
        act = data.draw(st.sampled_from(["upsert", "remove", "both", "compact", "open"]))
        chosen = data.draw(st.lists(st.sampled_from(ids(20)), unique=True, max_size=6))
        new = vectors(len(chosen), seed=step + 1)
        if act == "upsert":
            index.upsert(chosen, new)
        elif act == "remove":
            assert index.remove(chosen) == len(set(chosen) & set(truth))
        elif act == "both":
            index.apply(ids=chosen[2:], vectors=new[2:], removed=chosen[:2])
        elif act == "compact":
            index.compact()
        else:
            index.close()
            index = LiveIndex(folder, build=exact, config=CALM)
        for place, item_id in enumerate(chosen if act in ("upsert", "remove", "both") else []):
            truth.pop(item_id, None)
            if act == "upsert" or (act == "both" and place >= 2):
                truth[item_id] = new[place]
        if truth:
            assert_same(index, truth)
        else:
            assert index.search(new[0] if len(new) else np.ones(DIM, np.float32), 3).ids == ()
    index.close()


@pytest.mark.parametrize("kind", ["flat", "flat-fp16"])
def test_a_view_answers_like_an_index_of_its_rows(kind: str) -> None:
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((300, DIM)).astype(np.float32)
    more = rng.standard_normal((40, DIM)).astype(np.float32)
    view = live_view(build_index(matrix, kind=kind))
    gone = np.array([3, 299, 17])
    changed = view.changed(gone=gone, vectors=more).changed(gone=np.array([300, 339]))
    everything = np.vstack([matrix, more])
    alive = np.ones(340, dtype=bool)
    alive[[3, 299, 17, 300, 339]] = False
    allowed = rng.random(340) < 0.3
    for may, mask in ((alive, None), (alive & allowed, allowed)):
        for query in rng.standard_normal((5, DIM)).astype(np.float32):
            rows, scores = changed.search(query, 9, allowed=mask)
            products = np.where(may, everything @ query, -np.inf)
            assert may[rows].all()
            slack = changed.slack(query)
            np.testing.assert_allclose(scores, products[rows], atol=slack)
            np.testing.assert_allclose(products[rows], np.sort(products)[::-1][:9], atol=2 * slack)
    assert view.n_alive == 300
    assert changed.n_alive == 335
    assert changed.resident_bytes > view.resident_bytes >= view.base.resident_bytes


@pytest.mark.parametrize("kind", [name for name, one in INDEXES.items() if one.where == "cpu"])
@pytest.mark.parametrize("n_gone", [20, 400])
def test_every_kind_takes_changes(kind: str, n_gone: int) -> None:
    rng = np.random.default_rng(6)
    centres = rng.standard_normal((40, 32))
    rows = centres[rng.integers(40, size=2500)] + 0.4 * rng.standard_normal((2500, 32))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    matrix, more, queries = rows[:2000], rows[2000:2100], rows[2100:2140]
    gone = np.sort(rng.choice(2000, n_gone, replace=False))
    view = live_view(build_index(matrix, kind=kind)).changed(gone=gone, vectors=more)
    allowed = rng.random(2100) < 0.2
    for mask in (None, allowed):
        may = np.ones(2100, dtype=bool) if mask is None else mask.copy()
        may[gone] = False
        products = np.where(may, queries @ rows[:2100].T, -np.inf)
        found = view.search_batch(queries, 10, allowed=mask)
        assert (found.count == 10).all()
        assert may[found.rows].all()
        assert (np.diff(found.scores, axis=1) <= 0).all()
        best = np.sort(products, axis=1)[:, ::-1][:, :10]
        reached = np.take_along_axis(products, found.rows, 1)
        if view.slack(queries[0]) is not None:  # an exact kind: nothing is missed that is better by more than it says
            slack = np.array([view.slack(query) for query in queries])[:, None]
            assert (np.sort(reached, axis=1)[:, ::-1] >= best - 2 * slack).all()
        assert (reached >= best[:, -1:] - 1e-6).mean() >= 0.8
    own = view.search_batch(more[:20], 1).rows[:, 0]
    assert (own >= 2000).all()  # what was added is compared exactly


def test_rows_that_are_gone_are_passed_over_also_where_they_were_the_best() -> None:
    matrix = np.random.default_rng(4).standard_normal((2000, DIM)).astype(np.float32)
    query = np.ones(DIM, dtype=np.float32)
    order = np.argsort(-(matrix @ query))
    for gone in (
        order[:60],
        order[[0, 2, 9]],
        order[1000:1050],
        order[::50],
    ):  # 60 are more than are spare
        view = live_view(exact(matrix)).changed(gone=gone)
        queries = np.stack([query, -query])
        found = view.search_batch(queries, 10)
        for place, one in enumerate(queries):
            products = matrix @ one
            products[gone] = -np.inf
            np.testing.assert_array_equal(found.rows[place], np.argsort(-products)[:10])
            assert found.count[place] == 10
    left = live_view(exact(matrix[:200])).changed(gone=np.arange(5))
    assert left.search(query, 500)[0].tolist() == [row for row in order if 5 <= row < 200]


def test_views_that_were_taken_before_stay_as_they_were() -> None:
    old = live_view(exact(vectors(10))).changed(vectors=vectors(3, seed=1))
    query = np.ones(DIM, dtype=np.float32)
    before = old.search(query, 13)
    one, other = old.changed(vectors=np.full((2, DIM), 9, np.float32)), old.changed(vectors=vectors(5, seed=2))
    np.testing.assert_array_equal(one.added[3:], 9)  # two futures of one view do not share their rows
    np.testing.assert_array_equal(other.added[3:], vectors(5, seed=2))
    for now, then in zip(old.search(query, 13), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert one.search(query, 1)[0].tolist() == [13]


def test_a_base_without_a_bound_has_none() -> None:
    class Guess:
        kind, n_items, dim, resident_bytes = "guess", 2, DIM, 0

        def slack(self, query: np.ndarray) -> None:
            return None

    view = LiveView(Guess(), DIM, np.ones(2, bool), live_view(None, dim=DIM).room)  # type: ignore[arg-type]
    assert view.slack(np.ones(DIM, np.float32)) is None
    assert view.kind == "guess"
    assert live_view(None, dim=3).search(np.ones(3, np.float32), 4)[0].tolist() == []
    with pytest.raises(ArtefactError, match="dim must be"):
        live_view(None)


BAD = {
    "NaN": (["a"], np.full((1, DIM), np.nan, np.float32), "row 0 is not"),
    "infinity": (["a", "b"], np.array([[0.0] * DIM, [np.inf] * DIM], np.float32), "row 1 is not"),
    "too large": (["a"], np.full((1, DIM), 7e4, np.float32), "row 0 is not"),
    "wrong width": (["a"], np.zeros((1, DIM + 1), np.float32), rf"must be \(n, {DIM}\)"),
    "one vector": (["a"], np.zeros(DIM, np.float32), "must be"),
    "too few": (["a", "b"], np.zeros((1, DIM), np.float32), "one an id, got 1 for 2"),
    "twice": (["a", "a"], np.zeros((2, DIM), np.float32), "'a' twice"),
    "empty id": ([""], np.zeros((1, DIM), np.float32), "text that is not empty"),
    "number id": ([7], np.zeros((1, DIM), np.float32), "text that is not empty, got 7"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_changes_nothing(case: str, tmp_path: Path) -> None:
    index = create_live_index(tmp_path / "index", ids=ids(5), vectors=vectors(5), build=exact, config=CALM)
    truth = dict(zip(ids(5), vectors(5), strict=True))
    bad_ids, bad, said = BAD[case]
    with pytest.raises(ArtefactError, match=said):
        index.upsert(bad_ids, bad)  # type: ignore[arg-type]
    with pytest.raises(ArtefactError, match="'i1' twice"):
        index.apply(ids=["i1"], vectors=vectors(1), removed=["i1"])
    assert_same(index, truth)
    index.close()
    again = LiveIndex(tmp_path / "index", build=exact)
    assert_same(again, truth)
    again.close()
    if bad.ndim == 2 and bad.shape[1] == DIM:
        with pytest.raises(ArtefactError, match=said):
            create_live_index(tmp_path / "other", ids=bad_ids, vectors=bad)  # type: ignore[arg-type]


def test_a_disk_that_refuses_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = create_live_index(tmp_path / "index", ids=ids(5), vectors=vectors(5), build=exact, config=CALM)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(ArtefactError, match="No space left"):
            index.upsert(["new"], vectors(1))
        with pytest.raises(ArtefactError, match="No space left"):
            index.compact()
    assert_same(index, dict(zip(ids(5), vectors(5), strict=True)))
    index.upsert(["new"], vectors(1, seed=4))
    assert "new" in index
    index.close()


def test_it_belongs_to_one_and_to_one_encoder(tmp_path: Path) -> None:
    stamp, other = HashEncoder(dim=DIM, seed=0).stamp, HashEncoder(dim=DIM, seed=1).stamp
    index = create_live_index(tmp_path / "index", ids=ids(3), vectors=vectors(3), stamp=stamp)
    with pytest.raises(ArtefactError, match="open elsewhere"):
        LiveIndex(tmp_path / "index")
    with pytest.raises(ArtefactError, match="is there already"):
        create_live_index(tmp_path / "index", dim=DIM)
    index.compact()
    index.close()
    with pytest.raises(ArtefactError, match="different encoders"):
        LiveIndex(tmp_path / "index", stamp=other)
    LiveIndex(tmp_path / "index", stamp=stamp).close()
    with pytest.raises(ArtefactError, match="nothing was published"):
        LiveIndex(tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match="dim must be"):
        create_live_index(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["flat", "flat-fp16", "ivf-flat"])
def test_a_built_index_is_opened_and_not_built_again(kind: str, tmp_path: Path) -> None:
    def build(matrix: np.ndarray):
        return build_index(matrix, kind=kind)

    def never(matrix: np.ndarray):
        raise AssertionError("built again")

    rng = np.random.default_rng(5)
    matrix = rng.standard_normal((3000, DIM)).astype(np.float32)
    index = create_live_index(tmp_path / "index", ids=ids(3000), vectors=matrix, build=build, config=CALM)
    index.apply(ids=["new"], vectors=matrix[:1] * 3, removed=["i0"])
    index.compact()
    before = index.search_batch(matrix[:5], 6)
    index.close()
    again = LiveIndex(tmp_path / "index", build=never, config=CALM)
    for one, other in zip(before, again.search_batch(matrix[:5], 6), strict=True):
        assert one.ids == other.ids
        np.testing.assert_array_equal(one.scores, other.scores)
    now = again.snapshot()
    rows = np.array([0, 2998, 2999])
    assert now.ids(rows) == ("i1", "i2999", "new")
    np.testing.assert_array_equal(now.vectors(rows), np.vstack([matrix[[1, 2999]], matrix[:1] * 3]))
    again.close()


@pytest.mark.parametrize(
    "name", ["vectors.safetensors", "index/v-*/part-0.faiss", "ids.parquet", "manifest.json", "journal"]
)
@pytest.mark.parametrize("how", ["flipped", "truncated"])
def test_damaged_files_are_refused(name: str, how: str, tmp_path: Path) -> None:
    index = create_live_index(tmp_path / "index", ids=ids(50), vectors=vectors(50), build=exact, config=CALM)
    index.upsert(ids(5, first=100), vectors(5))
    index.upsert(ids(5, first=200), vectors(5))
    index.close()
    pattern = "changes/*.journal" if name == "journal" else f"base/v-*/{name}"
    (file,) = (tmp_path / "index").glob(pattern)
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(data if how == "flipped" else data[: len(data) // 3])
    if name == "journal" and how == "truncated":  # as if its writing had been cut short: nobody was told of it
        opened = LiveIndex(tmp_path / "index", build=exact)
        assert opened.n_items == 50
        opened.close()
        return
    with pytest.raises(ArtefactError):
        LiveIndex(tmp_path / "index", build=exact)


def test_changes_and_searches_go_on_while_a_base_is_made(tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(matrix: np.ndarray):
        if started.is_set():
            assert go_on.wait(10)
        started.set()
        return exact(matrix)

    index = create_live_index(tmp_path / "index", ids=ids(20), vectors=vectors(20), build=slow, config=CALM)
    truth = dict(zip(ids(20), vectors(20), strict=True))
    index.upsert(["early"], vectors(1, seed=5))
    truth["early"] = vectors(1, seed=5)[0]
    index.compact_soon()
    time.sleep(0.05)
    index.apply(ids=["late", "i3"], vectors=vectors(2, seed=6), removed=["early", "i4"])
    del truth["early"], truth["i4"], truth["i3"]
    truth |= dict(zip(["late", "i3"], vectors(2, seed=6), strict=True))
    assert_same(index, truth)
    go_on.set()
    index.compact_soon()
    index.close()
    assert index.snapshot().view.n_base == 21
    assert_same(index, truth)
    again = LiveIndex(tmp_path / "index", build=exact)
    assert_same(again, truth)
    again.close()


def test_a_fresh_base_is_made_when_enough_has_changed(tmp_path: Path) -> None:
    config = LiveConfig(compact_rows=10)
    index = create_live_index(tmp_path / "index", ids=ids(30), vectors=vectors(30), build=exact, config=config)
    index.upsert(ids(9, first=50), vectors(9, seed=1))
    assert not index.wants_compaction()
    index.upsert(ids(1, first=70), vectors(1, seed=2))
    index.close()
    view = index.snapshot().view
    assert (view.n_base, len(view.added)) == (40, 0)


def test_a_base_that_cannot_be_built_leaves_the_old_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def picky(matrix: np.ndarray):
        if len(matrix) < 3:
            raise ArtefactError("too few rows")
        return exact(matrix)

    index = create_live_index(tmp_path / "index", ids=ids(4), vectors=vectors(4), build=picky, config=CALM)
    index.remove(ids(2))
    index.compact_soon()
    index.close()
    assert "too few rows" in caplog.text
    again = LiveIndex(tmp_path / "index", build=picky, config=CALM)
    assert_same(again, dict(zip(ids(2, first=2), vectors(4)[2:], strict=True)))
    again.close()


WRITER = """
import sys
import numpy as np
from tasteprint.retrieval.index.live_index import LiveConfig, LiveIndex
index = LiveIndex(sys.argv[1], config=LiveConfig(compact_rows=7))
n = index.n_items // 2
while True:
    vectors = np.array([[n % 101, n % 7, 1, 0, 0, 0, 0, 0], [n % 13, n % 3, 0, 1, 0, 0, 0, 0]], dtype=np.float32)
    index.upsert([f"n{n}", f"m{n}"], vectors)
    print(n, flush=True)
    n += 1
"""


@pytest.mark.slow
def test_killing_it_loses_no_acknowledged_change(tmp_path: Path) -> None:
    create_live_index(tmp_path / "index", dim=DIM).close()
    rng = np.random.default_rng(0)
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "index")], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(float(rng.random()) / 5)
            writer.send_signal(signal.SIGKILL)
            told = [int(line) for line in writer.stdout.read().split(b"\n") if line]
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "index", copy)
        index = LiveIndex(copy, build=exact, config=CALM)
        n = index.n_items // 2
        assert index.n_items == 2 * n
        assert n > (told[-1] if told else 0)
        now = index.snapshot()
        found = dict(zip(now.ids(rows := np.flatnonzero(now.view.alive)), now.vectors(rows), strict=True))
        for number in range(n):
            assert found[f"n{number}"][0] == number % 101
            assert found[f"m{number}"][0] == number % 13
        index.close()
        shutil.rmtree(copy)
