"""The gate by hand: facts of small histories, factors, and what it must never change."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasteprint.profiling.log import Requests
from tasteprint.retrieval.gate import FACTS, GROUPS, Gate, facts, gate_from_state, gate_scales, gate_state
from tasteprint.retrieval.recommender import PERSONAL_PARTS, SEARCH_PARTS

DAY_S = 86_400.0
FLAT = dict.fromkeys(FACTS, 0.0), dict.fromkeys(FACTS, 1.0)


@pytest.fixture
def requests(make_log) -> Requests:
    """A shopper with four events at three times, one repeated item and a bad review; and one without history."""
    rows = [("a", 0, 0), ("a", 1, 0), ("a", 0, 2), ("a", 2, 3, {"kind": "review", "rating": 1.0}), ("b", 1, 0)]
    log = make_log(rows, 3)
    now = np.array([log.at_s[0] + 6 * DAY_S] * 2)
    return Requests(log, np.array([0, 4]), np.array([4, 4]), now)


def test_facts_by_hand(requests: Requests) -> None:
    found = facts(requests)
    assert tuple(found) == tuple(FACTS)
    assert found["length"].tolist() == pytest.approx([np.log(5), 0])
    assert found["recency"].tolist() == pytest.approx([np.log(4), 0])
    assert found["visits"].tolist() == pytest.approx([np.log(4), 0])
    assert found["repeats"].tolist() == pytest.approx([1 / 3, 0])  # three liked events, two distinct items


def test_factors_by_hand(requests: Requests) -> None:
    gate = Gate({"own": {"length": 0.5, "repeats": -0.3}}, *FLAT)
    found = gate.factors(requests)
    assert set(found) == {"own", "repeat"}
    expected = np.exp(0.5 * np.log(5) - 0.3 / 3)
    np.testing.assert_allclose(found["repeat"], [expected, 1.0], rtol=1e-6)


def test_nobodys_weights_leave_what_was_seen(requests: Requests) -> None:
    gate = Gate({"taste": {"length": 1.0}}, dict.fromkeys(FACTS, -100.0), dict.fromkeys(FACTS, 1.0))
    assert gate.factors(requests)["taste_long"].tolist() == pytest.approx([np.exp(2.0), 1.0])


def test_without_slopes_nothing_moves(requests: Requests) -> None:
    assert Gate({}, *FLAT).factors(requests) == {}


def test_a_request_alone_is_as_in_a_batch(random_shop, make_requests) -> None:
    requests = make_requests(random_shop().log)
    found = facts(requests)
    centre, spread = gate_scales(found, requests.stop > requests.start)
    gate = Gate({group: dict.fromkeys(FACTS, 0.3) for group in GROUPS}, centre, spread)
    whole = gate.factors(requests)
    for row in range(len(requests)):
        alone = gate.factors(requests.take(np.array([row])))
        for name, factor in whole.items():
            assert alone[name][0] == pytest.approx(factor[row], rel=1e-6)


def test_scales_of_nobody_are_harmless() -> None:
    centre, spread = gate_scales({"length": np.zeros(3)}, np.zeros(3, dtype=bool))
    assert (centre, spread) == ({"length": 0.0}, {"length": 1.0})
    assert gate_scales({"length": np.ones(3)}, np.ones(3, dtype=bool))[1] == {"length": 1.0}


def test_state_there_and_back(requests: Requests) -> None:
    gate = Gate({"own": {"length": 0.3}}, dict.fromkeys(FACTS, 0.5), dict.fromkeys(FACTS, 2.0))
    back = gate_from_state(json.loads(json.dumps(gate_state(gate))))
    assert back is not None
    np.testing.assert_array_equal(back.factors(requests)["own"], gate.factors(requests)["own"])
    assert gate_from_state(gate_state(None)) is None


def test_groups_are_personal_parts_each_once() -> None:
    parts = [part for group in GROUPS.values() for part in group]
    assert len(parts) == len(set(parts))
    assert set(parts) <= set(PERSONAL_PARTS)
    assert not set(parts) & set(SEARCH_PARTS)
