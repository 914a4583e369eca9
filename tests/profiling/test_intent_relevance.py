import numpy as np
import pytest

from tasteprint.profiling.intent.relevance import FEATURES, SENTENCES, fit_relevance, made_up_queries, shuffled, slip


def planted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    about = rng.random(400) < 0.3
    features = rng.normal(size=(400, len(FEATURES))).astype(np.float32)
    features[:, :4] += about[:, None] * np.asarray([0.5, 1.0, 0.2, 0.8])
    return features, about


def test_equals_scikit_learn_where_no_weight_wants_to_be_negative() -> None:
    from sklearn.linear_model import LogisticRegression

    features, about = planted(0)
    features = features[:, :4]
    ours = fit_relevance(features, about, ridge=0.02)
    x = (features - ours.mean) / ours.scale
    theirs = LogisticRegression(C=1 / (0.02 * len(x)), class_weight="balanced", tol=1e-8).fit(x, about)
    assert (theirs.coef_ > 0).all()
    assert ours.weights == pytest.approx(theirs.coef_[0], abs=1e-3)
    assert ours.bias == pytest.approx(theirs.intercept_[0], abs=1e-3)
    assert ours.probability(features) == pytest.approx(theirs.predict_proba(x)[:, 1], abs=1e-3)


def test_no_weight_is_negative_even_where_the_data_says_so() -> None:
    features, about = planted(1)
    features[:, 5] -= 2.0 * about
    model = fit_relevance(features, about)
    assert (model.weights >= 0).all()
    assert model.weights[5] == 0.0
    assert model.weights[1] > 0.1


def test_the_prior_shifts_the_log_odds() -> None:
    features, about = planted(2)
    even, likely = fit_relevance(features, about), fit_relevance(features, about, prior=0.8)
    assert likely.bias - even.bias == pytest.approx(np.log(4))
    assert likely.weights == pytest.approx(even.weights)


def test_probabilities_rise_with_every_feature() -> None:
    model = fit_relevance(*planted(2))
    low = np.zeros((1, len(FEATURES)), np.float32)
    for column in range(len(FEATURES)):
        high = low.copy()
        high[0, column] += 1
        assert model.probability(high)[0] >= model.probability(low)[0]


def test_made_up_queries_are_pieces_of_their_titles() -> None:
    titles = [f"red desk lamp number {i} with shade" for i in range(50)] + ["", "  ", "--"]
    rows, texts = made_up_queries(titles, 100, rng=np.random.default_rng(0))
    assert len(rows) == len(texts) == 50
    share = [np.mean([w in titles[r].split() for w in t.split()]) for r, t in zip(rows.tolist(), texts, strict=True)]
    assert np.mean(np.asarray(share) == 1.0) > 0.7
    assert len({len(t.split()) for t in texts}) > 3
    again = made_up_queries(titles, 100, rng=np.random.default_rng(0))
    assert (again[0].tolist(), again[1]) == (rows.tolist(), texts)


def test_slips_and_shuffles_keep_what_they_should() -> None:
    rng = np.random.default_rng(0)
    assert slip("usb", rng=rng) == "usb"
    assert all(abs(len(slip("lantern", rng=rng)) - 7) <= 1 for _ in range(20))
    mixed = shuffled("garden hose", rng=rng)
    assert [sorted(w) for w in mixed.split()] == [sorted(w) for w in ("garden", "hose")]


def test_sentences_are_distinct_lower_case_and_many() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) >= 50
    assert all(s == s.lower() and len(s.split()) >= 4 for s in SENTENCES)
