"""Rules over a ranking: hand-made orders, invariants under any ranking, and the file a shop writes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasteprint.profiling.errors import ConfigError, UnknownIdError
from tasteprint.retrieval.filters import Filters, allowed_items, item_facts, merged_values
from tasteprint.retrieval.rules import RULES, Listed, RulesConfig, apply_rules, excluded, pinned, read_rules
from tasteprint.retrieval.rules.apply import group_codes
from tasteprint.retrieval.rules.spread import capped, fair_order

NOTHING = np.zeros(0, dtype=np.int64)


@pytest.fixture
def facts(make_items):
    return item_facts(
        make_items(
            list("abcdefgh"),
            brand=["X", "X", "x", "Y", "Y", "Z", None, None],
            category=["home > lamp", "home > desk", "home", "garden", "garden > hose", "homely", None, None],
            attributes=['{"seller": "s1", "colour": ["Red", "blue"]}', '{"seller": "s2"}', None, '{"seller": "s1"}']
            + [None] * 3
            + ['{"watts": 40, "usb": true}'],
        )
    )


def _listed(n: int, order: list[int] | None = None, seed: int = 0) -> Listed:
    rows = np.array(range(n) if order is None else order, dtype=np.int64)
    vectors = np.random.default_rng(seed).standard_normal((len(rows), 3))
    return Listed(rows, np.linspace(1, 0, len(rows)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _rules(*tables):
    return RulesConfig.model_validate({"rules": tables})


def _after(facts, *tables, **more):
    return apply_rules(_rules(*tables), _listed(8), facts, **more)


def test_a_pinned_item_stands_where_the_rule_says_and_the_rest_keep_their_order(facts):
    ruled = _after(facts, {"rule": "pin", "items": ["i00005", "i00002"], "at": 2, "name": "season"})
    assert ruled.rows.tolist() == [0, 5, 2, 1, 3, 4, 6, 7]
    assert [str(m) for m in ruled.moved[5]] == ["Moved from 6 to 2 by the rule 'season'."]
    assert set(ruled.moved) == {5}  # i00002 stood third before
    assert ruled.said == ("season: 1 item",)


def test_a_pinned_item_that_was_no_candidate_comes_in(facts):
    rules = _rules({"rule": "pin", "items": ["i00007"]})
    assert pinned(rules, facts).tolist() == [7]
    ruled = apply_rules(rules, _listed(4, [2, 0, 1, 7]), facts, candidates=3)
    assert ruled.rows.tolist() == [7, 2, 0, 1]
    assert str(ruled.moved[7][0]) == "Placed at 1 by the rule 'pin'."
    without = apply_rules(_rules(), _listed(4, [2, 0, 1, 7]), facts, candidates=3)
    assert without.rows.tolist() == [2, 0, 1]


def test_a_pinned_item_that_may_not_be_shown_is_not(facts):
    allowed = np.ones(8, dtype=bool)
    allowed[5] = False
    rows = np.flatnonzero(allowed)
    rules = _rules({"rule": "pin", "items": ["i00005", "i00006"]})
    ruled = apply_rules(rules, _listed(7, rows.tolist()), facts, allowed=allowed)
    assert ruled.rows.tolist()[:2] == [6, 0]
    assert 5 not in ruled.rows


def test_pinning_beyond_the_end_puts_it_last(facts):
    ruled = _after(facts, {"rule": "pin", "items": ["i00000"], "at": 99})
    assert ruled.rows.tolist() == [1, 2, 3, 4, 5, 6, 7, 0]


@pytest.mark.parametrize(
    ("what", "rows"),
    [
        ({"items": ["i00003"]}, {3}),
        ({"brand": "x"}, {0, 1, 2}),
        ({"category": "home"}, {0, 1, 2}),
        ({"category": "garden", "items": ["i00007"]}, {3, 4, 7}),
        ({"attributes": {"Seller": "S1"}}, {0, 3}),
        ({"attributes": {"colour": "blue"}}, {0}),
        ({"attributes": {"watts": "40"}}, {7}),
        ({"brand": "x", "category": "home > desk"}, {1}),
        ({"brand": "nobody"}, set()),
        ({}, set()),
    ],
)
def test_exclude_and_bury_mean_the_same_items(facts, what, rows):
    left = [row for row in range(8) if row not in rows]
    assert _after(facts, {"rule": "exclude", **what}).rows.tolist() == left
    assert _after(facts, {"rule": "bury", **what}).rows.tolist() == left + sorted(rows)
    mask = excluded(_rules({"rule": "exclude", **what}), facts)
    assert set(np.flatnonzero(mask)) == rows


def test_no_rule_leaves_everything_as_it_is(facts):
    assert excluded(_rules(), facts) is None
    ruled = _after(facts)
    assert ruled.rows.tolist() == list(range(8))
    assert not ruled.moved
    assert ruled.said == ()


def test_a_cap_tells_what_it_held_back(facts):
    ruled = _after(facts, {"rule": "cap", "most": 1, "among": 4})
    assert ruled.rows.tolist() == [0, 3, 5, 6, 1, 2, 4, 7]
    assert set(ruled.moved) == {1, 2, 4}
    assert (ruled.moved[1][0].before, ruled.moved[1][0].after) == (2, 5)


def test_rules_act_in_the_order_of_the_table_whatever_the_file_says(facts):
    tables = [{"rule": "pin", "items": ["i00002"]}, {"rule": "bury", "brand": "x"}]
    for order in (tables, tables[::-1]):
        ruled = _after(facts, *order)
        assert ruled.rows.tolist() == [2, 3, 4, 5, 6, 7, 0, 1]
        assert [m.rule for m in ruled.moved[2]] == ["bury", "pin"]


def test_a_rule_holds_for_its_queries_only(facts):
    table = {"rule": "bury", "brand": "x", "queries": ["Garden hoses"]}
    assert _after(facts, table, query="hose garden").rows[0] == 3
    for query in ("garden hose reel", "", "lamp"):
        assert _after(facts, table, query=query).rows[0] == 0


def test_diversity_is_maximal_marginal_relevance(facts):
    listed = Listed(np.arange(3), np.array([3.0, 2.9, 1.0]), np.array([[1, 0], [1, 0], [0, 1.0]]))
    ruled = apply_rules(_rules({"rule": "diversity", "amount": 0.5}), listed, facts)
    assert ruled.rows.tolist() == [0, 2, 1]
    assert set(ruled.moved) == {1, 2}


def test_groups_by_brand_category_root_and_attribute(facts):
    rows = np.array([0, 3, 2, 6])
    assert group_codes("brand", rows, facts) == (pytest.approx([0, 1, 0, -1]), ("x", "y"))
    assert group_codes("root", rows, facts)[0].tolist() == [0, 1, 0, -1]
    assert group_codes("category", rows, facts)[0].tolist() == [0, 1, 2, -1]
    assert group_codes("seller", rows, facts)[0].tolist() == [0, 0, -1, -1]


@settings(max_examples=200, deadline=None)
@given(
    groups=st.lists(st.integers(-1, 3), max_size=20),
    most=st.integers(1, 4),
    among=st.integers(1, 12),
)
def test_a_cap_holds_wherever_it_can(groups, most, among):
    groups = np.array(groups, dtype=np.int64)
    order = capped(groups, most=most, among=among)
    assert sorted(order.tolist()) == list(range(len(groups)))
    possible = sum(min((groups == g).sum(), most) for g in range(4)) + (groups == -1).sum()
    first = groups[order[: min(among, possible)]]
    assert all((first == g).sum() <= most for g in range(4))
    for g in range(-1, 4):  # inside a group nothing changes its order
        mine = [at for at in order.tolist() if groups[at] == g]
        assert mine == sorted(mine)


@settings(max_examples=200, deadline=None)
@given(groups=st.lists(st.integers(0, 3), min_size=1, max_size=16), seed=st.integers(0, 99))
def test_every_group_has_its_share_of_every_beginning(groups, seed):
    groups = np.array(groups, dtype=np.int64)
    shares = np.random.default_rng(seed).dirichlet(np.ones(4))
    order = fair_order(groups, shares, among=len(groups))
    assert sorted(order.tolist()) == list(range(len(groups)))
    own = np.bincount(groups, minlength=4) / len(groups)
    fair = fair_order(groups, own, among=len(groups))
    for m in range(1, len(groups) + 1):
        count = np.bincount(groups[fair[:m]], minlength=4)
        short = np.maximum(np.floor(own * m + 1e-9) - count, 0).sum()
        assert short <= 2  # several shares may come due at one rank; they are made good at the next
    assert (np.bincount(groups[fair], minlength=4) == np.bincount(groups, minlength=4)).all()


def test_two_equal_groups_take_turns():
    order = fair_order(np.array([0, 0, 0, 1, 1, 1]), np.array([0.5, 0.5]), among=6)
    assert np.bincount(np.array([0, 0, 0, 1, 1, 1])[order[:2]]).tolist() == [1, 1]
    assert np.bincount(np.array([0, 0, 0, 1, 1, 1])[order[:4]]).tolist() == [2, 2]


def test_unknown_items_are_named(facts):
    with pytest.raises(UnknownIdError, match="nope"):
        _after(facts, {"rule": "pin", "items": ["nope"]})
    with pytest.raises(UnknownIdError, match="nope"):
        excluded(_rules({"rule": "exclude", "items": ["nope"]}), facts)


def test_every_kind_can_be_written_in_a_file(tmp_path, facts):
    text = "".join(f'[[rules]]\nrule = "{kind}"\nname = "r {kind}"\n' for kind in RULES if kind != "pin")
    path = tmp_path / "rules.toml"
    path.write_text(text + '[[rules]]\nrule = "pin"\nitems = ["i00001"]\n')
    rules = read_rules(path)
    assert [rule.rule for rule in rules.held("")] == list(RULES)
    assert apply_rules(rules, _listed(8), facts).rows[0] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rules]]\nrule = "promote"\n', "kinds of rules are exclude, bury"),
        ('[[rules]]\nrule = "cap"\nmost = 0\n', "most"),
        ('[[rules]]\nrule = "pin"\n', "items"),
        ("rules = 3\n", "rules"),
        ("[[rules\n", "cannot be read"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, said):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_rules(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_rules(tmp_path / "absent.toml")


def test_filters_by_attribute(facts):
    def rows(**attributes: str) -> list[int]:
        mask = allowed_items(Filters(attributes=attributes), facts, NOTHING)
        return np.flatnonzero(mask).tolist()

    assert rows(colour="RED") == [0]
    assert rows(usb="true") == [7]
    assert rows(seller="s1", colour="red") == [0]
    assert rows(seller="s9") == []
    assert "attributes={'colour': 'red'}" in Filters(attributes={"colour": "red"}).describe()


def test_attribute_values_follow_items_that_come_and_change():
    old = {("c", "red"): np.array([0, 2]), ("c", "blue"): np.array([1])}
    given = {("c", "blue"): np.array([0, 1]), ("c", "green"): np.array([1])}
    merged = merged_values(old, given, np.array([2, 3]))
    assert {pair: rows.tolist() for pair, rows in merged.items()} == {
        ("c", "red"): [0],
        ("c", "blue"): [1, 2, 3],
        ("c", "green"): [3],
    }
    assert ("c", "blue") not in merged_values(old, {}, np.array([1]))
