"""Behaviour features by hand on a small shop, and by simulation where a prior is estimated."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from tasteprint.profiling.log import Requests, event_log
from tasteprint.profiling.shopper.affinity import fit_affinity, group_by, group_by_category
from tasteprint.profiling.shopper.behaviour import behaviour, features, fit_shop_norms
from tasteprint.profiling.shopper.orders import BehaviourConfig, novelty_counts, order_counts

DAY = 86_400.0
ITEMS = pd.DataFrame(
    {
        "item_id": list("abcdef"),
        "category": ["Food > Milk"] * 3 + ["Food > Tea"] * 2 + [None],
        "brand": ["Own", "Own", "Big", "Big", None, "Own"],
        "price": [1.0, 2.0, 3.0, 5.0, 10.0, np.nan],
    }
)


def table(rows) -> pd.DataFrame:
    """Events from (user, day, item, quantity, price)."""
    frame = pd.DataFrame(rows, columns=["user_id", "day", "item_id", "quantity", "price"])
    frame["at"] = pd.to_datetime("2024-01-01") + pd.to_timedelta(frame["day"], unit="D")
    return frame.assign(kind="purchase", seq=np.arange(len(frame))).drop(columns="day")


EVENTS = table(
    [
        ("u", 0, "a", 1, 1.0),
        ("u", 0, "b", 2, 4.0),
        ("u", 10, "a", 1, 0.5),
        ("u", 10, "d", 1, 5.0),
        ("u", 30, "a", 1, 1.0),
        ("u", 31, "a", -1, -1.0),
        ("v", 5, "e", 1, 10.0),
        ("w", 7, "f", 1, None),
    ]
)


def all_of(log, now_day=60.0) -> Requests:
    now_s = pd.Timestamp("2024-01-01").timestamp() + now_day * DAY
    return Requests(log, log.user_start[:-1], log.user_start[1:], np.full(log.n_users, now_s))


@pytest.fixture(scope="module")
def shop():
    log = event_log(EVENTS, ITEMS["item_id"].tolist())
    return log, fit_shop_norms(log, ITEMS)


def test_recency_frequency_spend_by_hand(shop):
    log, norms = shop
    found = behaviour(all_of(log), norms)
    assert found.orders.tolist() == [3, 1, 1]
    assert found.lines.tolist() == [5, 1, 1]
    np.testing.assert_allclose(found.spend, [11.5, 10.0, np.nan])
    np.testing.assert_allclose(found.spend_per_order, [11.5 / 3, 10.0, np.nan])
    np.testing.assert_allclose(found.recency_s / DAY, [30, 55, 53])
    np.testing.assert_allclose(found.orders_per_month, [2 / 2, 0.0, 0.0])


def test_novelty_counts_lines_after_the_first_day(shop):
    log, _ = shop
    new, later = novelty_counts(all_of(log), BehaviourConfig())
    assert new.tolist() == [1, 0, 0]
    assert later.tolist() == [3, 0, 0]


def test_novelty_counts_an_item_once_a_day():
    twice = pd.concat([EVENTS, table([("u", 40, "e", 1, 10.0), ("u", 40, "e", 2, 20.0)])], ignore_index=True)
    log = event_log(twice.assign(seq=np.arange(len(twice))), ITEMS["item_id"].tolist())
    new, later = novelty_counts(all_of(log), BehaviourConfig())
    assert (new[0], later[0]) == (2, 4)


def test_unknown_is_nan_and_an_empty_history_is_all_unknown(shop):
    log, norms = shop
    nobody = Requests(log, np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.asarray([1.7e9]))
    found = behaviour(nobody, norms)
    assert found.orders.tolist() == [0]
    for name in ("spend", "spend_per_order", "recency_s", "orders_per_month", "price_level", "novelty", "mainstream"):
        assert np.isnan(getattr(found, name)).all(), name
    assert np.isnan(found.discount_sensitivity).all()
    assert found.category_affinity.count_nonzero() == 0
    assert np.isnan(behaviour(all_of(log), norms).price_level[2])


def test_discounts_follow_price_or_the_shops_column(shop):
    log, norms = shop
    by_price = behaviour(all_of(log), norms).discount_sensitivity
    assert by_price[0] > by_price[1]
    off = np.zeros(len(log))
    off[-2] = 5.0
    told = behaviour(all_of(log), fit_shop_norms(log, ITEMS, discount=off), discount=off).discount_sensitivity
    assert told[1] > told[0]


def test_category_affinity_is_the_shrunk_log_ratio(shop):
    log, norms = shop
    found = behaviour(all_of(log), norms)
    names = norms.category.groups.names.tolist()
    assert names == ["Food > Milk", "Food > Tea"]
    k = norms.category.strength
    ratios = [(4 + k) / (5 * 4 / 6 + k), (1 + k) / (5 * 2 / 6 + k)]
    np.testing.assert_allclose(found.category_affinity.toarray()[0], np.log(ratios))
    assert found.category_affinity[[2]].count_nonzero() == 0


def test_brand_affinity_is_relative_to_the_category():
    """Taking the only brand of a category says nothing; choosing the rarer brand does."""
    items = pd.DataFrame({"category": ["x", "y", "y"], "brand": ["Mono", "Big", "Small"]})
    history = np.asarray([[9, 0, 0], [0, 1, 8], [5, 9, 1], [5, 9, 1]], dtype=float)
    brand = group_by(items["brand"])
    model = fit_affinity(sparse.csr_array(history), brand, within=group_by(items["category"]))
    found = pd.DataFrame(model.affinity(sparse.csr_array(history)).toarray(), columns=brand.names)
    assert found["Mono"].abs().max() < 1e-12
    assert found["Small"][1] > 0 > found["Big"][1]


def test_affinity_strength_grows_where_shoppers_are_alike():
    rng = np.random.default_rng(0)
    groups = group_by(pd.Series(list("abcde")))
    alike = sparse.csr_array(rng.poisson(4.0, (400, 5)).astype(float))
    picky = sparse.csr_array(rng.poisson(4.0 * rng.gamma(0.5, 2.0, (400, 5))).astype(float))
    assert fit_affinity(alike, groups).strength > 10 * fit_affinity(picky, groups).strength


def test_categories_are_cut_at_depth():
    found = group_by_category(pd.Series(["A > B > C", "A > D", "A", None]), depth=1)
    assert found.names.tolist() == ["A"]
    assert found.code.tolist() == [0, 0, 0, -1]


def test_features_have_names(shop):
    log, norms = shop
    found = features(behaviour(all_of(log), norms), 0, norms)
    assert found.orders == 3
    assert found.recency_days == pytest.approx(30)
    assert found.categories[0][0] == "Food > Milk"
    assert all(value > 0 for _, value in found.categories + found.brands)


def test_a_prefix_of_a_history_gives_the_features_of_that_day(shop):
    """A request in the middle equals the same shop cut there: nothing later leaks in."""
    log, norms = shop
    early = Requests(log, log.user_start[:1], log.user_start[:1] + 3, np.asarray([log.at_s[2]]))
    cut = log.select(np.arange(len(log)) < 3)
    alone = Requests(cut, cut.user_start[:1], cut.user_start[1:2], np.asarray([log.at_s[2]]))
    one, two = behaviour(early, norms), behaviour(alone, norms)
    for name in one.__dataclass_fields__:
        a, b = getattr(one, name), getattr(two, name)
        np.testing.assert_allclose(*((a, b) if isinstance(a, np.ndarray) else (a.toarray(), b.toarray())))
    assert order_counts(early, norms.config).sum() == 3
