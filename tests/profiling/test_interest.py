"""Laws of decayed sums: fold = batch, any order, split = whole, forget = recompute, finite for ever."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasteprint.profiling.shopper.interest import (
    Interest,
    advance,
    decay,
    forget,
    from_events,
    mean,
    merge,
    no_interest,
    observe,
)

YEAR = 365 * 86_400.0
times = st.floats(0, 50 * YEAR)
events = st.lists(
    st.tuples(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.floats(-2, 2), times), min_size=1, max_size=12
)
half_lives = st.floats(60.0, 2 * YEAR)


def columns(rows):
    x, w, t = zip(*rows, strict=True)
    return np.asarray(x), np.asarray(w), np.asarray(t)


def same(a: Interest, b: Interest, at_s: float = 60 * YEAR) -> None:
    """Equal to 1e-6 at the later of their times, and later."""
    now = max(a.at_s, b.at_s)
    for when in (now, at_s) if np.isfinite(now) else (at_s,):
        one, two = advance(a, when), advance(b, when)
        np.testing.assert_allclose(one.total, two.total, rtol=1e-6, atol=1e-6)
        assert one.weight == pytest.approx(two.weight, rel=1e-6, abs=1e-6)


def folded(rows, half_life_s):
    state = no_interest(3, half_life_s)
    for x, w, t in rows:
        state = observe(state, x, w, t)
    return state


@given(events, half_lives, st.randoms(use_true_random=False))
def test_fold_equals_batch_in_any_order(rows, half_life_s, random):
    shuffled = random.sample(rows, len(rows))
    same(folded(shuffled, half_life_s), from_events(*columns(rows), half_life_s))


@given(events, half_lives, st.data())
def test_split_equals_whole(rows, half_life_s, data):
    left = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    parts = [[r for r, side in zip(rows, left, strict=True) if side is wanted] for wanted in (True, False)]
    same(merge(folded(parts[0], half_life_s), folded(parts[1], half_life_s)), folded(rows, half_life_s))


@given(events, half_lives, st.data())
def test_forget_equals_never_having_seen(rows, half_life_s, data):
    gone = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    erased = [r for r, out in zip(rows, gone, strict=True) if out]
    kept = [r for r, out in zip(rows, gone, strict=True) if not out]
    if erased:
        same(forget(folded(rows, half_life_s), *columns(erased)), folded(kept, half_life_s))


@given(events, events, events, half_lives)
def test_merge_is_a_commutative_monoid(a, b, c, half_life_s):
    x, y, z = (folded(rows, half_life_s) for rows in (a, b, c))
    same(merge(x, y), merge(y, x))
    same(merge(merge(x, y), z), merge(x, merge(y, z)))
    same(merge(x, no_interest(3, half_life_s)), x)
    same(merge(no_interest(3, half_life_s), x), x)


@given(events, half_lives, times, times)
def test_advancing_twice_is_advancing_once(rows, half_life_s, gap, further):
    state = folded(rows, half_life_s)
    once, twice = state.at_s + gap + further, advance(state, state.at_s + gap)
    same(advance(twice, max(once, twice.at_s)), advance(state, once), at_s=200 * YEAR)


def test_total_is_the_formula():
    state = from_events([[1, 0], [0, 2]], [1.0, -0.5], [0.0, 30.0], half_life_s=10.0)
    assert state.total.tolist() == [1 / 8, -1.0]
    assert state.weight == 1 / 8 - 0.5
    assert state.at_s == 30.0


def test_mean_by_hand():
    state = from_events([[1, 0], [0, 1]], [1.0, 1.0], [0.0, 10.0], half_life_s=10.0)
    np.testing.assert_allclose(mean(state, prior=[1, 1], prior_weight=0.5), [(0.5 + 0.5) / 2, (1 + 0.5) / 2])
    np.testing.assert_allclose(mean(state, prior_weight=0.5, at_s=20.0), [0.25 / 1.25, 0.5 / 1.25])


@settings(max_examples=30)
@given(events, half_lives)
def test_mean_is_the_prior_after_an_age_of_silence(rows, half_life_s):
    prior = np.asarray([0.6, 0.0, 0.8])
    found = mean(folded(rows, half_life_s), prior=prior, at_s=1e9 * YEAR)
    np.testing.assert_allclose(found, prior, atol=1e-12)


def test_negative_evidence_pushes_away_and_stays_finite():
    disliked = from_events([[1, 0]], [-1.0], [0.0], half_life_s=10.0)
    assert mean(disliked)[0] == -1.0
    balanced = observe(disliked, [1, 0], 1.0, 0.0)
    assert mean(balanced).tolist() == [0.0, 0.0]


def test_long_gaps_neither_overflow_nor_warn():
    state = observe(from_events([[1.0]], [1.0], [-1e18], half_life_s=1e-3), [1.0], 1.0, 1e18)
    assert state.total.tolist() == [1.0]
    assert observe(state, [1.0], 1.0, -1e18).total.tolist() == [1.0]


def test_infinite_half_life_never_ages():
    state = from_events([[1.0], [1.0]], [1.0, 1.0], [0.0, 1e12], half_life_s=math.inf)
    assert state.weight == 2.0
    assert advance(merge(no_interest(1, math.inf), state), 1e15).weight == 2.0


def test_mistakes_are_named():
    state = from_events([[1.0]], [1.0], [10.0], half_life_s=5.0)
    with pytest.raises(ValueError, match="late event"):
        advance(state, 9.0)
    with pytest.raises(ValueError, match="half-lives"):
        merge(state, no_interest(1, 6.0))
    with pytest.raises(ValueError, match="dimensions"):
        merge(state, no_interest(2, 5.0))
    with pytest.raises(ValueError, match="prior_weight"):
        mean(state, prior_weight=0.0)
    with pytest.raises(ValueError, match="finite"):
        Interest(np.asarray([np.nan]), 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="half_life_s"):
        no_interest(1, 0.0)
    with pytest.raises(ValueError, match="-inf only"):
        Interest(np.ones(1), 1.0, -math.inf, 1.0)
    assert decay(0.0, 1.0) == 1.0
