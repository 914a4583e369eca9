"""Candidate sources by hand, by loops and by other libraries, and one contract for all of them."""

from __future__ import annotations

import copy
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.sparse as sp

from tasteprint.profiling.log import Requests
from tasteprint.retrieval.histories import interaction_matrix
from tasteprint.retrieval.lexical import (
    Bm25Config,
    TextNeighboursConfig,
    fit_bm25,
    fit_text_neighbours,
    index_words,
    texts_of,
    words,
)
from tasteprint.retrieval.recommender import SOURCES, RecommenderConfig
from tasteprint.retrieval.scorer import TrainingSet
from tasteprint.retrieval.sources.neighbours import ItemKnnConfig, cosine_neighbours, fit_item_knn
from tasteprint.retrieval.sources.popularity import RecentPopularConfig, fit_popular, fit_recent_popular
from tasteprint.retrieval.sources.repeats import (
    RepeatConfig,
    choose_repeat,
    fit_own_most_bought,
    fit_repeat,
    repeat_rates,
    trends,
)
from tasteprint.retrieval.sources.transitions import TransitionsConfig, fit_transitions, transition_counts
from tasteprint.retrieval.state import source_from_state, source_state

_TABLES = ("where", "said")
"""Fields of a log that are no arrays."""

DAY_S = 86_400.0


@pytest.fixture
def train(make_log, make_items):
    """Three shoppers, four items; item 3 was only ever shown."""
    rows = [
        ("a", 0, 0),
        ("a", 1, 0),
        ("a", 0, 10),
        ("b", 0, 0),
        ("b", 2, 5),
        ("c", 1, 10, {"kind": "view"}),
        ("c", 3, 10, {"kind": "impression"}),
        ("c", 3, 11, {"kind": "impression"}),
    ]
    log = make_log(rows, 4)
    items = make_items(["red wine", "white wine", "garden hose", "red hose"])
    return TrainingSet(log, items, None, float(log.at_s.min()) + 10 * DAY_S)


def test_popularity_by_hand(train, make_requests) -> None:
    assert fit_popular(train).item_score.tolist() == [3, 2, 1, 0]
    assert fit_popular(train).scores(make_requests(train.log)).tolist() == [[3, 2, 1, 0]] * 3


def test_recent_popularity_by_hand(train) -> None:
    found = fit_recent_popular(train, RecentPopularConfig(half_life_days=5)).item_score
    np.testing.assert_allclose(found, [1 / 4 + 1 + 1 / 4, 1 / 4 + 1, 1 / 2, 0], rtol=1e-6)


def test_own_counts_by_hand(train, make_requests) -> None:
    found = fit_own_most_bought(train).scores(make_requests(train.log))
    tie_break = 0.5 * np.array([3, 2, 1, 0]) / 4
    np.testing.assert_allclose(found, np.array([[2, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0]]) + tie_break, rtol=1e-6)


def test_repeat_rates_by_hand(train) -> None:
    # Liked contacts: item 0 thrice by two shoppers, item 1 twice by two, item 2 once. Repeats: 1 of 6.
    overall, shrinkage = 1 / 6, 2.0
    rates = [(3 - 2 + 2 / 6) / 5, (0 + 2 / 6) / 4, (0 + 2 / 6) / 3, (2 / 6) / 2]
    np.testing.assert_allclose(repeat_rates(train.log, shrinkage=shrinkage), np.array(rates) / overall, rtol=1e-6)


def test_trends_by_hand(train) -> None:
    # Liked sales at days 0, 0, 10 / 0, 10 / 5 / none; the training time ends at day 10; each is halved every 5 days.
    recent, ever = np.array([1 / 4 + 1 / 4 + 1, 1 / 4 + 1, 1 / 2, 0]), np.array([3, 2, 1, 0])
    overall = recent.sum() / ever.sum()
    found = trends(train, half_life_days=5, prior=2.0)
    np.testing.assert_allclose(found, (recent + 2 * overall) / (ever + 2) / overall, rtol=1e-6)


def test_a_factor_is_rate_and_trend_each_to_its_power(train) -> None:
    config = RepeatConfig(rate_power=0.5, trend_power=2.0, trend_half_life_days=5)
    expected = repeat_rates(train.log, shrinkage=5.0) ** 0.5 * trends(train, half_life_days=5) ** 2
    np.testing.assert_allclose(fit_repeat(train, config).item_factor, expected, rtol=1e-6)
    nobody_agrees = replace(train, shared_clock=False)
    without = fit_repeat(nobody_agrees, config).item_factor
    np.testing.assert_allclose(without, repeat_rates(train.log, shrinkage=5.0) ** 0.5, rtol=1e-6)


@pytest.mark.parametrize("clock", [True, False])
def test_choosing_looks_at_every_value_once_and_keeps_the_best(train, clock: bool) -> None:
    wanted = fit_repeat(train, RepeatConfig(half_life_days=30, rate_power=1.0, trend_power=0.5 * clock))
    seen = []

    def near(model) -> float:
        seen.append((model.half_life_s, model.item_factor.tobytes()))
        factor = float(np.abs(np.log(model.item_factor) - np.log(wanted.item_factor)).sum())
        return -abs(np.log(model.half_life_s / wanted.half_life_s)) - factor

    found = choose_repeat(replace(train, shared_clock=clock), near)
    assert (found.half_life_days, found.rate_power) == (30.0, 1.0)
    assert found.trend_power == (0.5 if clock else RepeatConfig().trend_power)
    assert len(seen) == len(set(seen))
    assert choose_repeat(train, lambda model: 0.0) == RepeatConfig()


def test_repeat_scores_by_hand(train) -> None:
    model = fit_repeat(train, RepeatConfig(half_life_days=10))
    log = train.log
    now = np.array([log.at_s.min() + 10 * DAY_S])
    requests = Requests(log, log.user_start[:1], log.user_start[1:2], now)
    np.testing.assert_allclose(model.scores(requests)[0], model.item_factor * [0.5 + 1.0, 0.5, 0, 0], rtol=1e-6)


def test_what_was_disliked_is_not_offered_as_a_repeat(make_log, make_items, make_requests) -> None:
    log = make_log([("a", 0, 0, {"kind": "review", "rating": 1.0}), ("a", 1, 0), ("a", 1, 1)], 3)
    train = TrainingSet(log, make_items(["x", "y", "z"]), None, 2e9)
    assert fit_repeat(train).scores(make_requests(log))[0].astype(bool).tolist() == [False, True, False]
    assert fit_own_most_bought(train).scores(make_requests(log))[0].round().tolist() == [0.0, 2.0, 0.0]


def test_nothing_ever_repeats(make_log, make_items) -> None:
    log = make_log([("a", 0, 0), ("b", 1, 0)], 2)
    model = fit_repeat(TrainingSet(log, make_items(["x", "y"]), None, 2e9), RepeatConfig(shrinkage=0))
    assert model.item_factor.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
def test_cosine_neighbours_equal_a_double_loop(random_shop, block: int, shrinkage: float) -> None:
    log = random_shop(n_items=30).log
    matrix = interaction_matrix(log, log.user().astype(np.int64), log.n_users)
    dense = matrix.toarray().astype(np.float64)
    expected = np.zeros((30, 30))
    for i in range(30):
        for j in range(30):
            both = float(dense[:, i] @ dense[:, j])
            if i != j and both:
                expected[i, j] = both / (math.sqrt(dense[:, i].sum() * dense[:, j].sum()) + shrinkage)
    found = cosine_neighbours(matrix, k=30, shrinkage=shrinkage, block=block)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-6)
    few = cosine_neighbours(matrix, k=3, shrinkage=shrinkage, block=block).toarray()
    assert (np.count_nonzero(few, axis=1) == np.minimum(3, np.count_nonzero(expected, axis=1))).all()
    np.testing.assert_allclose(np.sort(few, axis=1)[:, -3:], np.sort(expected, axis=1)[:, -3:], atol=1e-6)


def test_item_knn_scores_by_hand(make_log, make_items) -> None:
    rows = [("a", 0, 0), ("a", 1, 1), ("b", 0, 0), ("b", 1, 1), ("c", 1, 0), ("c", 2, 1)]
    log = make_log(rows, 3)
    config = ItemKnnConfig(decay=0.5)
    model = fit_item_knn(TrainingSet(log, make_items(["x", "y", "z"]), None, 2e9), config)
    requests = Requests(log, log.user_start[:1], log.user_start[1:2], np.array([2e9]))
    c01, c12 = 2 / math.sqrt(2 * 3), 1 / math.sqrt(3 * 1)
    np.testing.assert_allclose(model.scores(requests)[0], [c01, 0.5 * c01, c12], atol=2e-6)


def loop_counts(log, window, pair_decay, backward, same_step, ties):
    """Every pair of steps, every pair of items in them."""
    counts = np.zeros((log.n_items, log.n_items))
    for user in range(log.n_users):
        events = range(log.user_start[user], log.user_start[user + 1])
        steps: list[tuple[object, set[int]]] = []
        for e in events:
            key = log.at_s[e] if ties == "together" else e
            if not steps or steps[-1][0] != key:
                steps.append((key, set()))
            if log.weight[e] > 0:
                steps[-1][1].add(int(log.item[e]))
        for s, (_, first) in enumerate(steps):
            for t in range(s, min(s + window, len(steps) - 1) + 1):
                for i in first:
                    for j in steps[t][1]:
                        if s == t and ties == "together":
                            counts[i, j] += same_step
                        elif s < t:
                            counts[i, j] += pair_decay ** (t - s - 1)
                            counts[j, i] += backward * pair_decay ** (t - s - 1)
    np.fill_diagonal(counts, 0)
    return counts


@pytest.mark.parametrize("ties", ["together", "sequence"])
@pytest.mark.parametrize(("window", "backward", "same_step"), [(1, 0.0, 1.0), (3, 0.5, 0.25), (100, 1.0, 0.0)])
def test_transition_counts_equal_a_double_loop(random_shop, ties, window, backward, same_step) -> None:
    log = random_shop(n_items=25, n_users=6, n_events=120).log
    options = {"window": window, "pair_decay": 0.8, "backward": backward, "same_step": same_step, "ties": ties}
    found = transition_counts(log, **options)
    np.testing.assert_allclose(found.toarray(), loop_counts(log, **options), rtol=1e-5, atol=1e-6)
    assert (found.data > 0).all()


def test_transitions_are_normalised_by_hand(make_log, make_items) -> None:
    log = make_log([("a", 0, 0), ("a", 1, 1), ("b", 0, 0), ("b", 2, 1)], 3)
    config = TransitionsConfig(backward=0.0, source_power=1.0, target_power=0.5, smoothing=2.0)
    model = fit_transitions(TrainingSet(log, make_items(["x", "y", "z"]), None, 2e9), config)
    follows = 1 / (2 + 2) / math.sqrt(1 + 2)  # count / smoothed popularity of the source / root of the target's
    np.testing.assert_allclose(model.weights.toarray(), [[0, follows, follows], [0, 0, 0], [0, 0, 0]], rtol=1e-6)


def test_words_and_texts(make_items) -> None:
    assert words("Crème BRÛLÉE 3/4-in, 2×4") == ["crème", "brûlée", "3", "4", "in", "2", "4"]
    items = make_items(["A", "B"], brand=["x", None])
    assert texts_of(items, ("title", "brand")) == ["A x", "B "]
    assert texts_of(items, ("no such column",)) == ["", ""]


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4)])
def test_bm25_equals_the_library_query_by_query(random_shop, make_requests, k1: float, b: float) -> None:
    import bm25s

    train = random_shop()
    model = fit_bm25(train, Bm25Config(k1=k1, b=b, fields=("title",)))
    corpus = [words(title) for title in train.items["title"]]
    library = bm25s.BM25(method="lucene", k1=k1, b=b)
    library.index(corpus, show_progress=False)
    for query in ("word1 word5", "word3 word3 word0", "word7"):
        expected = library.get_scores(words(query))
        np.testing.assert_allclose(model.match([query]).toarray()[0], expected, rtol=1e-5, atol=1e-6)


def test_bm25_by_hand() -> None:
    model = index_words(["red wine", "red red hose pipe", "hose"], k1=1.0, b=0.5)
    # Lucene: idf = ln(1 + (N - df + .5) / (df + .5)); tf part = tf / (tf + k1 (1 - b + b length / mean length))
    idf, mean = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5)), 7 / 3
    expected = [idf * tf / (tf + 0.5 + 0.5 * n / mean) for tf, n in ((1, 2), (2, 4), (0, 1))]
    np.testing.assert_allclose(model.match(["red"]).toarray()[0], expected, rtol=1e-5)


def test_bm25_of_nothing() -> None:
    model = index_words(["red wine", ""])
    assert model.match(["", "unheard", "RED!"]).toarray().astype(bool).tolist() == [[0, 0], [0, 0], [1, 0]]
    assert index_words(["", "  "]).match(["red", ""]).toarray().tolist() == [[0, 0], [0, 0]]


def test_text_neighbours_equal_sklearn_cosine(make_log, make_items) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    titles = ["red wine", "white wine dry", "garden hose", "red garden hose hose", "dry dry white"]
    train = TrainingSet(make_log([("a", 0, 0)], 5), make_items(titles), None, 2e9)
    found = fit_text_neighbours(train, TextNeighboursConfig(fields=("title",))).weights.toarray()
    expected = cosine_similarity(TfidfVectorizer(sublinear_tf=True).fit_transform(titles))
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_text_neighbours_leave_common_words_out(make_log, make_items) -> None:
    titles = [f"socks number{n // 2}" for n in range(60)]
    train = TrainingSet(make_log([("a", 0, 0)], 60), make_items(titles), None, 2e9)
    found = fit_text_neighbours(train).weights
    pairs = {tuple(sorted(pair)) for pair in zip(*found.nonzero(), strict=True)}
    assert pairs == {(n, n + 1) for n in range(0, 60, 2)}


def test_text_neighbours_without_words(make_log, make_items, make_requests) -> None:
    log = make_log([("a", 0, 0)], 2)
    model = fit_text_neighbours(TrainingSet(log, make_items(["", "!"]), None, 2e9))
    assert model.weights.nnz == 0
    assert model.scores(make_requests(log)).shape == (1, 2)


# The contract of every source.


@pytest.fixture(scope="module")
def fitted(random_shop):
    train = random_shop()
    return train, {name: fit(train, RecommenderConfig()) for name, fit in SOURCES.items()}


def requests_of(train, make_requests):
    texts = [f"word{n} word{n + 3}" if n % 3 else "" for n in range(train.log.n_users)]
    return make_requests(train.log, texts)


@pytest.mark.parametrize("name", SOURCES)
def test_scores_have_the_shape_and_type_of_the_contract(name, fitted, make_requests) -> None:
    train, sources = fitted
    scores = sources[name].scores(requests_of(train, make_requests))
    assert scores.shape == (train.log.n_users, train.log.n_items)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scores.std() > 0


@pytest.mark.parametrize("name", SOURCES)
def test_a_batch_is_its_requests_one_by_one(name, fitted, make_requests) -> None:
    train, sources = fitted
    requests = requests_of(train, make_requests)
    whole = sources[name].scores(requests)
    for row in range(len(requests)):
        alone = sources[name].scores(requests.take(np.array([row])))
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SOURCES)
def test_fitting_twice_gives_the_same_and_touches_nothing(name, random_shop, fitted, make_requests) -> None:
    train, sources = fitted
    before = [copy.deepcopy(getattr(train.log, f.name)) for f in fields(train.log) if f.name not in _TABLES]
    again = SOURCES[name](train, RecommenderConfig())
    requests = requests_of(train, make_requests)
    np.testing.assert_array_equal(again.scores(requests), sources[name].scores(requests))
    for old, f in zip(before, (f for f in fields(train.log) if f.name not in _TABLES), strict=True):
        np.testing.assert_array_equal(old, getattr(train.log, f.name))


@pytest.mark.parametrize("name", SOURCES)
def test_nobody_known_still_works(name, fitted) -> None:
    train, sources = fitted
    zero = np.array([0, 0])
    scores = sources[name].scores(Requests(train.log, zero, zero, np.array([2e9, 2e9]), ("", "word1")))
    assert scores.shape == (2, train.log.n_items)
    assert np.isfinite(scores).all()
    assert len(sources[name].scores(Requests(train.log, zero[:0], zero[:0], np.zeros(0)))) == 0


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_to_learn_from_still_works(name, fitted, make_requests) -> None:
    train, _ = fitted
    empty = train.log.select(np.zeros(len(train.log), dtype=bool))
    source = SOURCES[name](TrainingSet(empty, train.items, None, 2e9), RecommenderConfig())
    scores = source.scores(make_requests(train.log, ["word1"] * train.log.n_users))
    assert scores.shape == (train.log.n_users, train.log.n_items)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", SOURCES)
def test_state_round_trip_scores_the_same(name, fitted, make_requests) -> None:
    train, sources = fitted
    arrays, meta = source_state(sources[name])
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    frozen = {key: np.array(array) for key, array in arrays.items()}
    for array in frozen.values():
        array.flags.writeable = False  # artefacts are mapped read-only
    again = source_from_state(frozen, meta)
    requests = requests_of(train, make_requests)
    np.testing.assert_array_equal(again.scores(requests), sources[name].scores(requests))


@pytest.mark.parametrize("name", SOURCES)
def test_future_events_of_the_log_are_not_read(name, fitted) -> None:
    """Scores of a history prefix do not change when the events behind it do."""
    train, sources = fitted
    log = train.log
    user = int(np.argmax(np.diff(log.user_start)))
    start, stop = log.user_start[user], log.user_start[user] + 3
    requests = Requests(log, np.array([start]), np.array([stop]), np.array([log.at_s[stop - 1] + 1]), ("word2",))
    kept = np.zeros(len(log), dtype=bool)
    kept[start:stop] = True
    short = log.select(kept)
    alone = Requests(short, np.array([0]), np.array([3]), requests.now_s, requests.texts)
    np.testing.assert_array_equal(sources[name].scores(requests), sources[name].scores(alone))


def test_neighbour_matrices_never_point_at_themselves(fitted) -> None:
    _, sources = fitted
    for name in ("transitions", "text_neighbours"):
        weights = sources[name].weights
        assert isinstance(weights, sp.csr_matrix)
        assert not weights.diagonal().any()
