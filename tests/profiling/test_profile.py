"""Profiles: built from the tiny shop and by hand, exported, described; provenance exact, habits by hand."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasteprint.profiling.errors import ShopError
from tasteprint.profiling.shopper.describe import listed
from tasteprint.profiling.shopper.habits import Habits, habits
from tasteprint.profiling.shopper.interest_set import UNTIMED, InterestConfig, interest_set
from tasteprint.profiling.shopper.profile import Profile, iso_time, tidy_number
from tasteprint.profiling.shopper.profile_build import build_profile
from tasteprint.profiling.shopper.provenance import event_shares, item_shares
from tasteprint.profiling.shopper.yardsticks import ProfileConfig, fit_yardsticks
from tasteprint.profiling.tables.tiny import tiny_shop

DAY = 86_400.0


@pytest.fixture(scope="module")
def built():
    """The tiny shop, its yardsticks at the test cut, and every shopper's events."""
    shop, rng = tiny_shop(), np.random.default_rng(0)
    vectors = rng.normal(size=(len(shop.items), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    at_s = pd.Timestamp(shop.meta["protocols"]["time_split"]["test_from"]).timestamp()
    return shop, fit_yardsticks(shop, vectors, until_s=at_s, rng=rng), at_s, dict(list(shop.events.groupby("user_id")))


def test_a_profile_is_json_that_reads_well(built):
    _, yardsticks, at_s, by_user = built
    for user_id, events in by_user.items():
        found = build_profile(user_id, events, yardsticks, at_s=at_s).to_json()
        text = json.dumps(found, allow_nan=False)
        assert found["user_id"] == user_id
        assert re.fullmatch(r"2024-06-01T\d\d:00:00Z", found["at"])
        assert not re.search(r"\d\.\d{7}", text), "numbers are rounded"
        assert found["summary"]
        assert set(found) >= {"tags", "behaviour", "interests", "opinions", "habits", "cycles", "blocks"}
        assert all(sentence.endswith(".") and "nan" not in sentence for sentence in found["summary"])


def test_nothing_after_the_time_of_the_profile_is_seen(built):
    _, yardsticks, at_s, by_user = built
    events = by_user["u011"]
    early = at_s - 60 * DAY
    cut = events[events["at"] < pd.Timestamp(early, unit="s")]
    one = build_profile("u011", events, yardsticks, at_s=early).to_json()
    assert one == build_profile("u011", cut, yardsticks, at_s=early).to_json()
    assert one != build_profile("u011", events, yardsticks, at_s=at_s).to_json()


def test_the_order_of_rows_does_not_matter(built):
    _, yardsticks, at_s, by_user = built
    events = by_user["u013"]
    shuffled = events.sample(frac=1, random_state=0)
    one, two = (build_profile("u013", e, yardsticks, at_s=at_s).to_json(vectors=True) for e in (events, shuffled))
    assert one == two


def test_a_newcomer_starts_from_the_prior(built):
    _, yardsticks, at_s, by_user = built
    nobody = build_profile("new", by_user["u013"].iloc[:0], yardsticks, at_s=at_s, attributes={"age_band": "18-34"})
    np.testing.assert_allclose(nobody.blocks["taste"], yardsticks.prior.vector({"age_band": "18-34"}))
    assert nobody.describe() == ["Nothing seen yet; starts from what shoppers with age band 18-34 usually take."]
    assert nobody.behaviour is None
    assert nobody.tags == ()
    json.dumps(nobody.to_json(), allow_nan=False)


def test_somebody_who_only_looked_is_no_newcomer(built):
    _, yardsticks, at_s, by_user = built
    event = by_user["u013"].iloc[[-1]].assign(kind="view", at=pd.Timestamp(at_s - 3.5 * DAY, unit="s"))
    events = pd.concat([event.assign(seq=n) for n in range(3)], ignore_index=True)
    found = build_profile("u013", events, yardsticks, at_s=at_s)
    assert found.behaviour is None
    assert "Seen 3 times, most recently 4 days ago; no order yet." in found.describe()
    assert (found.to_json()["seen"], found.last_seen_s) == (3, at_s - 3.5 * DAY)


def test_blocks_come_from_outside(built):
    _, yardsticks, at_s, by_user = built
    blocks = {"meaning": np.zeros(3), "taste": np.asarray([3.0, 4.0])}
    found = build_profile("u013", by_user["u013"], yardsticks, at_s=at_s, blocks=blocks).to_json(vectors=True)
    assert found["blocks"]["taste"] == {"dim": 2, "length": 5, "vector": [3, 4]}


def test_interests_are_made_of_what_was_liked(built):
    _, yardsticks, at_s, by_user = built
    found = build_profile("u013", by_user["u013"], yardsticks, at_s=at_s)
    top = found.made_of["long"][0]
    assert "Tea" in top.title  # the tiny shop's u013 buys tea
    assert 0 < top.share <= 1
    told = found.to_json()["interests"]["long"]
    assert sum(told["scenes"].values()) == pytest.approx(told["weight"], abs=0.01)


def test_the_visit_under_way_has_a_horizon_of_its_own(built):
    _, yardsticks, at_s, by_user = built
    item = yardsticks.item_ids[3]
    event = by_user["u013"].iloc[[-1]].assign(item_id=item, kind="view", at=pd.Timestamp(at_s - 1800, unit="s"), seq=0)
    event = event.assign(rating=float("nan"), quantity=1.0, price=float("nan"))
    events = pd.concat([by_user["u013"], event], ignore_index=True)
    before, after = (
        build_profile("u013", e, yardsticks, at_s=at_s).to_json()["interests"] for e in (by_user["u013"], events)
    )
    weight = InterestConfig().kind_weights["view"]
    for horizon, left in (("long", 1.0), ("short", 1.0), ("session", 0.5)):  # half an hour ago
        grown = after[horizon]["weight"] - (before[horizon]["weight"] or 0.0)
        assert grown == pytest.approx(weight * left, abs=2e-3)
    assert after["session"]["half_life_days"] == pytest.approx(1 / 48, abs=1e-4)
    assert after["session"]["made_of"][0]["item_id"] == item
    assert after["session"]["made_of"][0]["share"] == pytest.approx(1.0, abs=1e-3)  # of this visit, all


def test_untimed_kinds_keep_their_own_horizon():
    shop, rng = tiny_shop(), np.random.default_rng(1)
    meta = {**shop.meta, "untimed_kinds": ["own"]}
    shop = type(shop)(**{**{f: getattr(shop, f) for f in ("name", "items", "events", "users")}, "meta": meta})
    vectors = np.eye(len(shop.items))
    yardsticks = fit_yardsticks(shop, vectors, rng=rng)
    owner = shop.events.loc[shop.events["kind"] == "own", "user_id"].iloc[0]
    events = shop.events[shop.events["user_id"] == owner]
    found = build_profile(owner, events, yardsticks, at_s=4e9)
    own = found.interests.whole(UNTIMED).weight
    assert own == pytest.approx(0.5 * (events["kind"] == "own").sum())
    told = found.to_json()["interests"]
    assert told["short"]["weight"] < 1e-6  # decades later
    assert told[UNTIMED]["weight"] == pytest.approx(own)
    assert math.isnan(found.made_of[UNTIMED][0].last_s)


def test_an_unknown_item_is_named(built):
    _, yardsticks, at_s, by_user = built
    strange = by_user["u013"].assign(item_id="nowhere")
    with pytest.raises(ShopError, match="nowhere"):
        build_profile("u013", strange, yardsticks, at_s=at_s)


def test_reviews_are_summed_up(built):
    _, yardsticks, at_s, by_user = built
    found = [build_profile(u, e, yardsticks, at_s=at_s) for u, e in by_user.items()]
    assert any(p.praised for p in found)
    assert any("complains about" in " ".join(p.describe()) for p in found)


def test_shares_are_exact_and_sum_to_one():
    rng = np.random.default_rng(2)
    x, w, t = rng.normal(size=(30, 4)), rng.uniform(-1, 1, 30), rng.uniform(0, 90, 30) * DAY
    shares = event_shares(x, w, t, 10 * DAY)
    assert shares.sum() == pytest.approx(1.0)
    total = interest_set(x, w, t, config=InterestConfig(long_half_life_s=10 * DAY)).whole("long").total
    left = w[3] * 2 ** (-(t.max() - t[3]) / (10 * DAY))
    assert shares[3] == pytest.approx(left * x[3] @ total / (total @ total))
    np.testing.assert_allclose(event_shares(x, w, t, 10 * DAY, now_s=500 * DAY), shares)
    rows = rng.integers(0, 5, 30)
    ids = np.asarray(list("abcde"), dtype=object)
    told = item_shares(shares, rows, t, ids, ids, top=5)
    whole = np.asarray([shares[rows == k].sum() for k in range(5)])
    assert (whole < 0).any()  # something pulls the other way, so the others alone are over 1
    expected = {ids[k]: whole[k] / whole[whole > 0].sum() for k in range(5) if whole[k] > 0}
    assert {s.item_id: s.share for s in told} == pytest.approx(expected)
    assert sum(s.share for s in told) == pytest.approx(1.0)


def test_opposites_that_cancel_have_no_parts():
    assert event_shares(np.ones((2, 3)), np.asarray([1.0, -1.0]), np.zeros(2), 1.0).tolist() == [0.0, 0.0]
    assert event_shares(np.zeros((0, 3)), np.zeros(0), np.zeros(0), 1.0).tolist() == []


def test_habits_by_hand():
    monday = pd.Timestamp("2024-01-01 23:30").timestamp()
    at_s = monday + np.repeat(np.arange(8), 3) * 7 * DAY + np.repeat([0, 3600] * 4, 3)
    found = habits(at_s, place=["York"] * 24, device=["phone", None, None] * 8, utc_offset_s=3600)
    assert found.visits == 8
    assert found.hour == pytest.approx(1.0, abs=0.01)  # half past midnight and half past one, an hour east
    assert found.hour_concentration > 0.95
    assert found.weekday == "Tuesday"
    assert found.weekday_share == 1.0
    assert (found.place, found.device, found.scene) == ("York", "phone", None)


def test_chance_is_no_habit():
    rng = np.random.default_rng(3)
    found = habits(rng.uniform(0, 365, 60) * DAY, place=rng.choice(list("abcdef"), 60).tolist())
    assert found.place is None
    assert found.hour_concentration < 0.3
    assert habits(np.zeros(2)).weekday is None
    assert habits(np.arange(20) * 7 * DAY, calendar=False).weekday is None
    assert math.isnan(habits(np.arange(20) * 7 * DAY, hours=False).hour)


def test_small_helpers():
    assert listed(["a, b", "c"]) == "a, b; and c"
    assert iso_time(float("nan")) is None
    assert tidy_number(1234.56789) == 1234.568
    with pytest.raises(ValueError, match="blocks"):
        Profile(
            "u", 0.0, {"taste": np.asarray([np.nan])}, interest_set(np.ones((1, 2)), [1], [0], config=InterestConfig())
        )
    with pytest.raises(ValueError, match="user_id"):
        Profile("", 0.0, {}, interest_set(np.ones((1, 2)), [1], [0], config=InterestConfig()))


def test_config_is_strict():
    with pytest.raises(ValueError, match="extra"):
        ProfileConfig(colour="red")


@pytest.mark.parametrize(
    ("habits", "said"),
    [
        (
            Habits(visits=9, weekday="Friday", hour=20.6, hour_concentration=0.9, place="north"),
            "Usually comes on Fridays around 21:00 (place north).",
        ),
        (Habits(visits=9, weekday="Friday", weekday_share=0.5), "Usually comes on Fridays."),
        (Habits(visits=9, place="north", scene="mail"), "Usually: place north, through mail."),
    ],
)
def test_habits_in_words(built, habits: Habits, said: str):
    _, yardsticks, at_s, by_user = built
    profile = replace(build_profile("u003", by_user["u003"], yardsticks, at_s=at_s), habits=habits)
    assert [line for line in profile.describe() if "sually" in line] == [said]


def test_no_habit_is_not_told(built):
    _, yardsticks, at_s, by_user = built
    profile = build_profile("u003", by_user["u003"], yardsticks, at_s=at_s)
    assert not any("Usually" in line for line in replace(profile, habits=Habits(visits=2)).describe())
