"""Priors against closed forms and simulated shoppers."""

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.shopper.interest import mean, no_interest
from tasteprint.profiling.shopper.prior import PriorConfig, fit_prior


def simulate(rng, *, n_users=3000, d=4, effect=1.0, own=0.5, noise=2.0):
    """Shoppers in segments: mean 1, segment effect, own deviation, event noise; all per axis."""
    age = rng.integers(0, 4, n_users)
    town = rng.integers(0, 5, n_users)
    effects = rng.normal(0, effect, (4, d))
    events = rng.integers(1, 12, n_users)
    truth = 1 + effects[age] + rng.normal(0, own, (n_users, d))
    x = truth + rng.normal(0, noise, (n_users, d)) / np.sqrt(events)[:, None]
    spread = d * noise**2 * rng.chisquare(np.maximum(d * (events - 1), 1)) / np.maximum(d * events, 1)
    spread = np.where(events > 1, spread, 0.0)
    users = pd.DataFrame(
        {"user_id": [f"u{k}" for k in range(n_users)], "age": age.astype(str), "town": town.astype(str)}
    )
    return users, x, events, spread, effects


def test_effects_and_weight_are_recovered():
    rng = np.random.default_rng(0)
    users, x, events, spread, effects = simulate(rng)
    model = fit_prior(users, x, events, spread=spread, rng=rng)
    assert set(model.effects) == {"age"}
    found = np.asarray([model.vector({"age": str(k)}) for k in range(4)])
    np.testing.assert_allclose(found, 1 + effects, atol=0.15)
    assert model.weight == pytest.approx(2.0**2 / 0.5**2, rel=0.2)
    assert model.explained["age"] > 0.3


def test_one_balanced_attribute_is_the_textbook_shrinkage():
    """Equal weights, one attribute: effect = n tau^2 / (n tau^2 + sigma^2) times the raw deviation (random effects)."""
    rng = np.random.default_rng(1)
    groups, per = 6, 40
    code = np.repeat(np.arange(groups), per)
    x = rng.normal(0, 0.7, (groups, 1))[code] + rng.normal(0, 1, (groups * per, 1))
    config = PriorConfig(shuffles=0)
    model = fit_prior(pd.DataFrame({"g": code}), x, np.ones(len(x)), spread=np.zeros(len(x)), config=config, rng=rng)
    raw = np.asarray([x[code == g].mean() for g in range(groups)]) - x.mean()
    residual = np.asarray([x[code == g].var(ddof=1) for g in range(groups)]).mean()
    tau2 = raw.var(ddof=1) - residual / per
    expected = per * tau2 / (per * tau2 + residual) * raw
    found = [model.vector({"g": g})[0] - model.mean[0] for g in range(groups)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_attributes_without_signal_leave_the_global_mean():
    rng = np.random.default_rng(2)
    users, x, events, spread, _ = simulate(rng, effect=0.0)
    model = fit_prior(users, x, events, spread=spread, config=PriorConfig(level=0.01), rng=rng)
    np.testing.assert_allclose(model.vector({"age": "0", "town": "3"}), model.mean)
    np.testing.assert_allclose(model.mean, 1.0, atol=0.1)


def test_a_prior_beats_the_global_mean_for_new_shoppers_and_the_segment_mean_where_few():
    rng = np.random.default_rng(3)
    users, x, events, spread, effects = simulate(rng, n_users=60, effect=0.6)
    model = fit_prior(users, x, events, spread=spread, config=PriorConfig(shuffles=0), rng=rng)
    truth = 1 + effects
    found = np.asarray([model.vector({"age": str(k)}) for k in range(4)])
    raw = np.asarray([x[users["age"] == str(k)].mean(axis=0) for k in range(4)])
    assert ((found - truth) ** 2).mean() < ((model.mean - truth) ** 2).mean()
    assert ((found - truth) ** 2).mean() < 1.1 * ((raw - truth) ** 2).mean()


def test_correlated_attributes_are_not_counted_twice():
    rng = np.random.default_rng(4)
    users, x, events, spread, effects = simulate(rng)
    users["age_again"] = users["age"]
    model = fit_prior(users[["age", "age_again"]], x, events, spread=spread, rng=rng)
    found = np.asarray([model.vector({"age": str(k), "age_again": str(k)}) for k in range(4)])
    np.testing.assert_allclose(found, 1 + effects, atol=0.15)


def test_unknown_values_nulls_and_no_table_give_the_global_mean():
    rng = np.random.default_rng(5)
    users, x, events, spread, _ = simulate(rng)
    users.loc[:1500, "age"] = None
    model = fit_prior(users, x, events, spread=spread, rng=rng)
    for attributes in (None, {}, {"age": "99"}, {"shoe size": 41}, {"age": None}):
        np.testing.assert_array_equal(model.vector(attributes), model.mean)
    alone = fit_prior(None, x, events, spread=spread, rng=rng)
    assert alone.effects == {}
    np.testing.assert_allclose(alone.mean, model.mean)
    nobody = fit_prior(None, x[:0], events[:0], rng=rng)
    assert (nobody.mean == 0).all()


def test_it_plugs_into_interest():
    rng = np.random.default_rng(6)
    users, x, events, spread, _ = simulate(rng)
    model = fit_prior(users, x, events, spread=spread, rng=rng)
    start = mean(no_interest(4, 10.0), prior=model.vector({"age": "2"}), prior_weight=model.weight)
    np.testing.assert_allclose(start, model.vector({"age": "2"}))


def test_rows_must_match():
    rng = np.random.default_rng(7)
    with pytest.raises(ValueError, match="one row a shopper"):
        fit_prior(None, np.zeros((3, 2)), np.ones(2), rng=rng)


@pytest.mark.data
def test_attributes_help_predict_real_departments(shop_path):
    """Held-out households: what their segments buy is nearer to what they buy than the average is (a little)."""
    path = shop_path("complete_journey")
    users = pd.read_parquet(path / "users.parquet")
    events = pd.read_parquet(path / "events.parquet", columns=["user_id", "item_id"])
    items = pd.read_parquet(path / "items.parquet", columns=["item_id", "category"])
    path_of = items["category"].str.split(" > ").str[:2].str.join(" > ")
    group = pd.factorize(path_of)[0][pd.Index(items["item_id"]).get_indexer(pd.Index(events["item_id"]))]
    user = pd.Index(users["user_id"]).get_indexer(pd.Index(events["user_id"]))
    cell = (user * (group.max() + 1) + group)[(user >= 0) & (group >= 0)]
    counts = np.bincount(cell, minlength=len(users) * (group.max() + 1)).reshape(len(users), -1).astype(float)
    x = np.sqrt(counts / counts.sum(axis=1, keepdims=True))  # unit vectors; no category drowns the others
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        train = rng.random(len(users)) < 0.7
        model = fit_prior(users[train], x[train], np.ones(train.sum()), rng=rng)
        rows = users[~train].drop(columns="user_id").to_dict("records")
        found = np.asarray([model.vector(row) for row in rows])
        gains.append(1 - ((x[~train] - found) ** 2).sum() / ((x[~train] - model.mean) ** 2).sum())
    assert min(gains) > 0.005
    assert np.mean(gains) > 0.007
