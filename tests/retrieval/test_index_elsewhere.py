"""Indexes that live on a GPU or a server: what they do without one, and the way around filters they do not know."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tasteprint.profiling.errors import ArtefactError, ConfigError, TasteprintError
from tasteprint.retrieval.index import INDEXES, ApproximateIndex, IndexConfig, build_index
from tasteprint.retrieval.index import gpu as gpu_module
from tasteprint.retrieval.index.approximate import Efforts
from tasteprint.retrieval.index.overfetch import OverfetchScanner
from tasteprint.retrieval.index.tune import exact_rows, recall_at, violations

GPU = [name for name, kind in INDEXES.items() if kind.where == "gpu"]


def shop(n: int = 3000, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), rng.standard_normal((12, dim)).astype(np.float32)


def bounded(matrix: np.ndarray, most_rows: int) -> ApproximateIndex:
    """An exact searcher that takes no filter and gives at most so many rows."""

    def ask(queries: np.ndarray, n: int, effort: int) -> tuple[np.ndarray, np.ndarray]:
        assert n <= most_rows
        products = queries @ matrix.T
        rows = np.argsort(-products, axis=1)[:, :n]
        return rows, np.take_along_axis(products, rows, 1)

    scanner = OverfetchScanner(ask, len(matrix), 1, most_rows, 0)
    return ApproximateIndex("fake", scanner, matrix, Efforts((matrix.shape[1],), {}, 1), 1, exact_rows=0)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05, 0.002, 0.0])
@pytest.mark.parametrize("way", ["spread", "against the queries"])
@pytest.mark.parametrize("most_rows", [3000, 50])
def test_a_searcher_without_filters_still_answers_exactly(share: float, way: str, most_rows: int) -> None:
    matrix, queries = shop()
    queries = np.repeat(queries[:1], 12, axis=0) + 0.1 * queries
    liking = np.random.default_rng(1).random(3000) if way == "spread" else -(matrix @ queries[0])
    allowed = np.zeros(3000, dtype=bool)
    allowed[np.argsort(-liking)[: round(share * 3000)]] = True
    found = bounded(matrix, most_rows).search_batch(queries, 10, allowed=allowed)
    assert violations(found, allowed) == 0
    assert (found.count == min(10, int(allowed.sum()))).all()
    assert recall_at(found, exact_rows(matrix, queries, 10, allowed=allowed)) == 1.0


def test_more_rows_than_the_searcher_gives_come_from_the_exact_way() -> None:
    matrix, queries = shop(400)
    found = bounded(matrix, 50).search_batch(queries, 200)
    assert (found.count == 200).all()
    assert recall_at(found, exact_rows(matrix, queries, 200)) == 1.0


@pytest.mark.parametrize("kind", GPU)
def test_without_a_gpu_each_kind_says_so(kind: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TasteprintError, match=rf"^{kind}: .*(no GPU|without cuVS)"):
        build_index(shop(100)[0], kind=kind)


class StandIn:
    """FAISS as its GPU build offers it, with indexes of the processor behind the same names and arguments."""

    def __init__(self, faiss: Any) -> None:
        self.faiss, self.searched = faiss, []
        self.ScalarQuantizer, self.METRIC_INNER_PRODUCT = faiss.ScalarQuantizer, faiss.METRIC_INNER_PRODUCT
        self.SearchParametersIVF = faiss.SearchParametersIVF
        self.StandardGpuResources, self.GpuIndexFlatConfig = SimpleNamespace, SimpleNamespace
        self.GpuIndexCagraConfig, self.SearchParametersCagra = SimpleNamespace, SimpleNamespace

    def get_num_gpus(self) -> int:
        return 1

    def GpuIndexFlatIP(self, resources: object, dim: int, config: SimpleNamespace) -> Any:
        assert config.useFloat16
        return self.faiss.IndexFlatIP(dim)

    def GpuIndexIVFScalarQuantizer(
        self, resources: object, dim: int, lists: int, kind: int, metric: int, residual: bool
    ) -> Any:
        quantizer = self.faiss.IndexFlatIP(dim)
        index = self.faiss.IndexIVFScalarQuantizer(quantizer, dim, lists, kind, metric, residual)
        index.referenced_objects = [quantizer]
        return index

    def GpuIndexCagra(self, resources: object, dim: int, metric: int, config: SimpleNamespace) -> Any:
        assert (metric, config.graph_degree) == (self.METRIC_INNER_PRODUCT, 48)
        flat = self.faiss.IndexFlatIP(dim)

        def search(queries: np.ndarray, n: int, params: SimpleNamespace) -> Any:
            assert params.itopk_size >= n
            return flat.search(queries, n)

        return SimpleNamespace(train=flat.add, search=search)


@pytest.mark.parametrize("kind", ["gpu-flat", "gpu-ivf", "gpu-cagra"])
def test_with_a_stand_in_for_the_gpu_each_kind_answers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn(gpu_module.import_faiss())
    monkeypatch.setattr(gpu_module, "import_faiss", lambda: stand_in)
    matrix, queries = shop()
    index = build_index(matrix, config=IndexConfig(kind=kind, effort=200))
    assert recall_at(index.search_batch(queries, 10), exact_rows(matrix, queries, 10)) >= 0.95
    allowed = np.random.default_rng(0).random(3000) < 0.2
    found = index.search_batch(queries, 10, allowed=allowed)
    assert violations(found, allowed) == 0
    assert recall_at(found, exact_rows(matrix, queries, 10, allowed=allowed)) >= 0.95
    assert index.resident_bytes == pytest.approx(INDEXES[kind].sizes(3000, 16, IndexConfig(kind=kind)).gpu, rel=0.01)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", GPU)
def test_on_a_gpu_each_kind_finds_what_is_there(kind: str) -> None:
    matrix, queries = shop(50_000, 64)
    try:
        index = build_index(matrix, kind=kind)
    except TasteprintError as error:
        pytest.skip(str(error))
    assert recall_at(index.search_batch(queries, 10), exact_rows(matrix, queries, 10)) >= 0.9
    allowed = np.random.default_rng(0).random(50_000) < 0.01
    found = index.search_batch(queries, 10, allowed=allowed)
    assert violations(found, allowed) == 0
    assert (found.count == 10).all()


def test_milvus_needs_an_address() -> None:
    with pytest.raises(ConfigError, match="milvus needs an address"):
        build_index(shop(20)[0], kind="milvus")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("milvus_lite") is None, reason="milvus-lite is not installed")
@pytest.mark.filterwarnings("ignore")
def test_milvus_answers_as_numpy_does(tmp_path: Path) -> None:
    matrix, queries = shop(600)
    config = IndexConfig(kind="milvus", address=str(tmp_path / "items.db"), collection="items")
    index = build_index(matrix, config=config)
    assert recall_at(index.search_batch(queries, 10), exact_rows(matrix, queries, 10)) >= 0.95
    allowed = np.random.default_rng(0).random(600) < 0.3
    found = index.search_batch(queries, 10, allowed=allowed)
    assert violations(found, allowed) == 0
    assert recall_at(found, exact_rows(matrix, queries, 10, allowed=allowed)) >= 0.95
    from tasteprint.retrieval.index.milvus import open_milvus

    assert open_milvus(600, 16, config).n_items == 600
    with pytest.raises(ArtefactError, match="must have 700 rows, got 600"):
        open_milvus(700, 16, config)
