"""Each baseline against brute force, a closed form or another library; and one contract for all of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from tasteprint.evaluation.baselines import content, ease, factors, svd, user_knn
from tasteprint.evaluation.baselines.chance import fit_random
from tasteprint.evaluation.baselines.matrices import request_items, user_items
from tasteprint.evaluation.splits import time_split
from tasteprint.profiling.errors import ConfigError, ExtraMissingError
from tasteprint.profiling.log import EventLog, Requests
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval.scorer import TrainingSet


def log_of(taken: np.ndarray, *, at_s: np.ndarray | None = None) -> EventLog:
    """A log in which user u took item i ``taken[u, i]`` times, one event a second."""
    user, item = np.nonzero(taken)
    times = taken[user, item].astype(int)
    user, item = np.repeat(user, times), np.repeat(item, times)
    n = len(user)
    nan = np.full(n, np.nan, np.float32)
    return EventLog(
        user_ids=np.array([f"u{u}" for u in range(len(taken))], object),
        item_ids=np.array([f"i{i}" for i in range(taken.shape[1])], object),
        user_start=np.searchsorted(user, np.arange(len(taken) + 1)).astype(np.int64),
        item=item.astype(np.int32),
        at_s=np.arange(n, dtype=float) if at_s is None else at_s,
        kind=np.full(n, 4, np.int8),
        weight=np.ones(n, np.float32),
        quantity=nan,
        price=nan,
    )


def requests_of(log: EventLog) -> Requests:
    """Every user of a log asks, whole history visible."""
    return Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, 1e6))


@pytest.fixture
def taken() -> np.ndarray:
    rng = np.random.default_rng(7)
    matrix = (rng.random((40, 12)) < 0.3) * rng.integers(1, 4, (40, 12))
    matrix[3] = 0  # somebody without history
    return matrix


@pytest.fixture
def train(taken: np.ndarray) -> TrainingSet:
    rng = np.random.default_rng(8)
    vectors = rng.standard_normal((12, 5)).astype(np.float32)
    vectors[11] = 0
    return TrainingSet(log_of(taken), None, content.unit(vectors), 1e6)


def test_matrices_count_as_they_say(taken: np.ndarray) -> None:
    log = log_of(taken)
    assert np.array_equal(user_items(log, "binary").toarray(), taken > 0)
    assert user_items(log, "log").toarray() == pytest.approx(np.log2(1 + taken), abs=1e-6)
    assert np.array_equal(request_items(requests_of(log), "binary").toarray(), taken > 0)


def test_decay_counts_steps_and_a_basket_is_one_step() -> None:
    log = log_of(np.array([[1, 1, 1, 1]]), at_s=np.array([0.0, 5.0, 5.0, 9.0]))
    row = request_items(requests_of(log), "binary", decay=0.5).toarray()
    assert row.tolist() == [[0.25, 0.5, 0.5, 1.0]]
    again = log_of(np.array([[3, 0]]))
    assert request_items(requests_of(again), "binary", decay=0.5).toarray().tolist() == [[1, 0]]
    assert request_items(requests_of(again), "log", decay=0.5).toarray()[0, 0] == pytest.approx(np.log2(2.75))


def test_disliked_events_do_not_count(taken: np.ndarray) -> None:
    log = log_of(np.array([[1, 1]]))
    disliked = EventLog(**{**vars(log), "weight": np.array([1, -1], np.float32)})
    assert user_items(disliked, "binary").toarray().tolist() == [[1, 0]]
    assert request_items(requests_of(disliked), "binary").toarray().tolist() == [[1, 0]]


def test_user_knn_equals_sklearn_neighbours(taken: np.ndarray, train: TrainingSet) -> None:
    config = user_knn.UserKnnConfig(neighbours=5, power=2.0)
    got = user_knn.fit_user_knn(train, config).scores(requests_of(train.log))
    x = (taken > 0).astype(float)
    distance, who = NearestNeighbors(n_neighbors=40, metric="cosine").fit(x).kneighbors(x)
    for u in range(40):
        if not x[u].any():
            assert got[u].max() == pytest.approx(1e-6)  # the tie-break only: most popular first
            assert got[u].argmax() == taken.sum(axis=0).argmax()
            continue
        similarity = 1 - distance[u]
        sure = similarity[4] - similarity[5] > 1e-9  # otherwise which of the tied neighbours votes is open
        if sure:
            assert got[u] == pytest.approx((similarity[:5, None] ** 2 * x[who[u, :5]]).sum(axis=0), abs=1e-5)


def test_ease_solves_each_column_as_a_constrained_ridge_regression(taken: np.ndarray) -> None:
    """Column j of EASE is the ridge regression of item j on all other items: solve those one by one."""
    x = (taken > 0).astype(float)
    weights = ease.ease_weights(user_items(log_of(taken), "binary"), 3.0)
    for j in range(12):
        others = np.delete(np.arange(12), j)
        a = x[:, others]
        expected = np.linalg.solve(a.T @ a + 3.0 * np.eye(11), a.T @ x[:, j])
        assert weights[others, j] == pytest.approx(expected, abs=1e-5)
    assert not weights.diagonal().any()


def test_ease_keeps_the_most_popular_items_of_a_large_catalogue(taken: np.ndarray, train: TrainingSet) -> None:
    model = ease.fit_ease(train, ease.EaseConfig(ridge=3, max_items=4))
    popular = sorted(np.argsort(-(taken > 0).sum(axis=0), kind="stable")[:4].tolist())
    assert model.kept.tolist() == popular
    scores = model.scores(requests_of(train.log))
    assert np.delete(scores, popular, axis=1).max() <= 1.001e-6


def test_ease_refuses_a_ridge_too_small_for_float32() -> None:
    log = log_of(np.ones((3, 50), int))
    with pytest.raises(ConfigError, match="ridge"):
        ease.fit_ease(TrainingSet(log, None, None, 0.0), ease.EaseConfig(ridge=1e-9))


def test_svd_equals_the_dense_decomposition(taken: np.ndarray, train: TrainingSet) -> None:
    x = (taken > 0).astype(float)
    popular = np.maximum(x.sum(axis=0), 1)
    scaled = x * popular**-0.5
    _, _, right = np.linalg.svd(scaled, full_matrices=False)
    expected = scaled @ right[:3].T @ right[:3]
    config = svd.SvdConfig(factors=3, popularity_power=-0.5)
    got = svd.fit_svd(train, config).scores(requests_of(train.log))
    assert got == pytest.approx(expected, abs=1e-5)


def test_als_folds_in_as_the_library_does(taken: np.ndarray, train: TrainingSet) -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    model = factors.fit_als(train, factors.AlsConfig(factors=4, alpha=3.0, counts="log"))
    with threadpool_limits(1, "blas"):
        library = AlternatingLeastSquares(factors=4, alpha=3.0, regularization=0.05)
    library.item_factors = model.item_factors
    history = user_items(train.log, "log")
    theirs = library.recalculate_user(np.arange(40), history)
    assert model.fold_in(history) == pytest.approx(theirs, abs=1e-4)


def test_als_fold_in_minimises_its_loss(train: TrainingSet) -> None:
    """The gradient of sum c (p - x.y)^2 + reg |x|^2 is zero at the folded-in factors."""
    model = factors.fit_als(train, factors.AlsConfig(factors=4, alpha=3.0))
    history = user_items(train.log, "binary").toarray()
    confidence = np.where(history > 0, 3.0 * history, 1.0)
    x = model.fold_in(user_items(train.log, "binary"))
    gradient = (confidence * (x @ model.item_factors.T - (history > 0))) @ model.item_factors + 0.05 * x
    assert np.abs(gradient).max() < 1e-3


def test_bpr_prefers_what_was_taken(taken: np.ndarray, train: TrainingSet) -> None:
    model = factors.fit_bpr(train, factors.BprConfig(factors=16, iterations=200, regularization=0.001))
    scores = model.scores(requests_of(train.log))
    pairs = [(scores[u][taken[u] > 0].mean(), scores[u][taken[u] == 0].mean()) for u in range(40) if taken[u].any()]
    assert np.mean([inside > outside for inside, outside in pairs]) > 0.85
    assert scores[3] == pytest.approx(model.bias)


def test_content_is_the_cosine_with_the_decayed_mean(train: TrainingSet) -> None:
    log = log_of(np.array([[1, 0, 1, 1] + [0] * 8]))
    got = content.fit_content(train, content.ContentConfig(decay=0.5)).scores(requests_of(log))[0]
    mean = 0.25 * train.vectors[0] + 0.5 * train.vectors[2] + train.vectors[3]
    expected = [v @ mean / (np.linalg.norm(v) * np.linalg.norm(mean)) if v.any() else 0 for v in train.vectors]
    assert got == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ConfigError, match="encoder"):
        content.fit_content(TrainingSet(train.log, None, None, 0.0))


def test_whitened_vectors_have_unit_covariance_before_scaling() -> None:
    rng = np.random.default_rng(0)
    raw = (rng.standard_normal((3000, 4)) @ rng.standard_normal((4, 4)) + 3).astype(np.float32)
    out = content.whitened(np.vstack([raw, np.zeros((1, 4), np.float32)]), floor=1e-9)
    assert not out[-1].any()
    assert np.linalg.norm(out[:-1], axis=1) == pytest.approx(np.ones(3000), abs=1e-5)
    covariance = np.cov(out[:-1].T)
    assert covariance == pytest.approx(np.eye(4) / 4, abs=0.02)


def test_random_scores_do_not_depend_on_the_batch(train: TrainingSet) -> None:
    model = fit_random(train, rng=np.random.default_rng(1))
    requests = requests_of(train.log)
    whole = model.scores(requests)
    assert np.array_equal(whole[5:7], model.scores(requests.take(slice(5, 7))))
    assert not np.array_equal(whole[5], whole[6])
    other = fit_random(train, rng=np.random.default_rng(2)).scores(requests)
    assert not np.array_equal(whole, other)


FITS = [  # every method of this room
    fit_random, user_knn.fit_user_knn, ease.fit_ease, svd.fit_svd, factors.fit_als, factors.fit_bpr,
    content.fit_content,
]  # fmt: skip


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.__name__)
def test_contract(fit) -> None:
    """Finite float32 scores of the right shape for every request, alone as in a batch, the same from the same seed."""
    shop = tiny_shop()
    split = time_split(shop)
    rng = np.random.default_rng(0)
    vectors = content.unit(rng.standard_normal((len(shop.items), 8)).astype(np.float32))
    train = TrainingSet(split.train, shop.items, vectors, split.until_s)
    requests = split.requests.take(slice(0, 20))
    stranger = Requests(requests.log, requests.start[:1], requests.start[:1], requests.now_s[:1])
    model = fit(train, rng=np.random.default_rng(5))
    scores = model.scores(requests)
    assert scores.shape == (20, len(shop.items))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert np.isfinite(model.scores(stranger)).all()
    assert model.scores(requests.take(slice(0, 0))).shape == (0, len(shop.items))
    assert model.scores(requests.take(slice(3, 4))) == pytest.approx(scores[3:4], abs=1e-5)
    again = fit(train, rng=np.random.default_rng(5)).scores(requests)
    assert np.array_equal(again, scores)


def test_missing_library_names_the_line_that_installs_it(train: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'tasteprint\[cf\]'"):
        factors.fit_als(train)
