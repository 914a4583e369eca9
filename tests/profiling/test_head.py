from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn.feature_extraction.text import TfidfVectorizer

from tasteprint.profiling.errors import ConfigError
from tasteprint.profiling.heads.head import Network, forward
from tasteprint.profiling.heads.scores import (
    OUT_SCORES,
    Seen,
    familiarity,
    log_sum_exp,
    softmax,
    spread_of,
    usable_scores,
)
from tasteprint.profiling.heads.words import fit_words_of, terms_of, words_of

from .head_samples import ROOT_HALF, linear_head, word_head

TEXTS = ["red wine, red glass", "White wine!", "a glass of red wine", "很好用 iPad", "很好 酒"]


def test_word_features_are_those_of_scikit_learn() -> None:
    theirs = TfidfVectorizer(tokenizer=words_of, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    expected = theirs.fit_transform(TEXTS)
    mine = fit_words_of(TEXTS)
    order = [mine.terms.index(term) for term in theirs.get_feature_names_out()]
    assert sorted(order) == list(range(len(mine.terms)))
    asked = [*TEXTS, "nothing known", ""]
    dense = mine.rows(asked).times(np.eye(len(mine.terms), dtype=np.float32))
    np.testing.assert_allclose(dense[:, order], theirs.transform(asked).toarray(), atol=1e-6)
    assert expected.shape == (5, len(mine.terms))


def test_the_vocabulary_keeps_the_most_frequent_terms() -> None:
    assert fit_words_of(TEXTS, at_most=1).terms == ("wine",)
    assert terms_of("好用") == ["好", "用", "好 用"]


@given(st.lists(st.integers(0, 4), max_size=7))
def test_taken_rows_are_the_rows(rows: list[int]) -> None:
    features = fit_words_of(TEXTS, at_least=1)
    eye = np.eye(len(features.terms), dtype=np.float32)
    whole = features.rows(TEXTS)
    np.testing.assert_array_equal(whole.take(np.array(rows, dtype=np.int64)).times(eye), whole.times(eye)[rows])


def test_odds_are_those_of_scipy() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (20, 5)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits), special.softmax(logits, axis=1), atol=1e-6)
    np.testing.assert_allclose(log_sum_exp(logits), special.logsumexp(logits, axis=1), rtol=1e-5)


def test_scores_by_hand() -> None:
    seen = Seen(
        logits=np.log(np.array([[1, 3], [2, 2]], dtype=np.float32)),
        outside=np.log(np.array([2, 8], dtype=np.float32)),
        vectors=np.array([[0.6, 0.8], [0, 0]], dtype=np.float32),
        means=np.eye(2, dtype=np.float32),
        spread=(2.0, 0.5),
    )
    expected = {
        "confidence": [3 / 4, 1 / 2],
        "max_logit": [np.log(3), np.log(2)],
        "energy": [np.log(4), np.log(4)],
        "likeness": [0.8, 0.0],
        "outside": [np.log(4 / 2), np.log(4 / 8)],
        "sum": [np.log(2) / 2 + 1.6, np.log(1 / 2) / 2],
    }
    assert set(expected) == set(OUT_SCORES)
    for name, values in expected.items():
        np.testing.assert_allclose(OUT_SCORES[name].score(seen), values, atol=1e-6, err_msg=name)
    assert usable_scores(seen) == tuple(OUT_SCORES)
    assert usable_scores(Seen(seen.logits)) == ("confidence", "max_logit", "energy")
    assert spread_of(seen) == pytest.approx((np.log(4) / 2, 0.4))


@pytest.mark.parametrize("name", OUT_SCORES)
def test_every_score_says_what_it_is(name: str) -> None:
    assert OUT_SCORES[name].about
    assert OUT_SCORES[name].source


@given(st.lists(st.integers(0, 6), min_size=2, max_size=12), st.integers(1, 99))
def test_familiarity_turns_away_no_more_in_scope_sentences_than_promised(scores: list[int], percent: int) -> None:
    """Of exchangeable scores each is equally likely the new one: count over all choices, ties included."""
    turned_away = 0
    for new, score in enumerate(scores):
        others = np.sort(np.array(scores[:new] + scores[new + 1 :], dtype=np.float32))
        turned_away += bool(familiarity(np.array([score], dtype=np.float32), others)[0] < percent / 100)
    assert turned_away / len(scores) <= percent / 100


def test_a_linear_head_by_hand() -> None:
    vectors = np.array([[1, 0], [ROOT_HALF, ROOT_HALF], [-1, 0]], dtype=np.float32)
    answers = linear_head().answer(["a", "b", "c"], vectors)
    odds = np.exp(2.0)
    assert answers.probability[0] == pytest.approx([odds / (odds + 1), 1 / (odds + 1)])
    assert answers.probability[1] == pytest.approx([0.5, 0.5])
    # likeness 1, .71 and 0 against 0.8, 0.9, 1.0: (1 + how many are not above) / 4
    assert answers.familiarity.tolist() == [1.0, 0.25, 0.25]
    assert answers.answered.tolist() == [True, False, False]
    first, second, _ = answers.each()
    assert (first.label, first.probability) == ("browse", pytest.approx(odds / (odds + 1)))
    assert second.label is None
    assert dict(second.likely) == pytest.approx({"browse": 0.5, "compare": 0.5})


def test_temperature_moves_confidence_and_never_the_class() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    texts = ["text"] * 50
    plain = linear_head().answer(texts, vectors)
    hot = replace(linear_head(), temperature=4.0).answer(texts, vectors)
    np.testing.assert_array_equal(plain.best, hot.best)
    np.testing.assert_array_equal(plain.familiarity, hot.familiarity)
    assert (hot.confidence < plain.confidence).all()
    np.testing.assert_allclose(
        np.log(hot.probability[:, 0] / hot.probability[:, 1]) * 4,
        np.log(plain.probability[:, 0] / plain.probability[:, 1]),
        atol=1e-4,
    )


def test_blank_texts_are_never_answered() -> None:
    always = replace(word_head(), abstain_below=0.0)
    answers = always.answer(["good", " ", ""])
    assert answers.answered.tolist() == [True, False, False]
    assert answers.familiarity.tolist()[1:] == [0.0, 0.0]
    assert [answer.label for answer in always.answer(["bad", "x"]).each()] == ["sad", "glad"]
    assert not list(always.answer([]).each())


def test_vectors_of_another_shape_are_refused() -> None:
    for vectors in (None, np.zeros((1, 3), dtype=np.float32), np.zeros((2, 2), dtype=np.float32)):
        with pytest.raises(ConfigError, match=r"vectors must be \(1, 2\)"):
            linear_head().answer(["text"], vectors)


def test_hidden_layers_and_words_add_up() -> None:
    words = fit_words_of(["good", "good"])
    network = Network(
        centre=np.array([1, 0], dtype=np.float32),
        scale=2.0,
        layers=(
            (np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32), np.array([0, -1, 0], dtype=np.float32)),
            (np.array([[1, 2, 3]], dtype=np.float32), np.array([10], dtype=np.float32)),
        ),
        word_weights=np.array([[100]], dtype=np.float32),
        word_bias=np.array([1000], dtype=np.float32),
        means=None,
    )
    # (5, 8) becomes (2, 4), hidden (2, 3, -2) of which ReLU keeps (2, 3, 0), so 2 + 6 + 10; the word adds 100 + 1000
    assert forward(network, words, ["good"], np.array([[5, 8]], dtype=np.float32)).tolist() == [[1118.0]]
    assert forward(network, words, ["new"], np.array([[5, 8]], dtype=np.float32)).tolist() == [[1018.0]]
    bare = replace(network, layers=(), word_weights=None)
    with pytest.raises(ConfigError, match="train it again"):
        forward(bare, None, ["good"], None)
