"""Tables that were kept are the tables that were worked out, and answer the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tasteprint.retrieval.engine import make_engine
from tasteprint.retrieval.worked import covariance, open_worked, save_worked, work_out
from tasteprint.workspace import Workspace, open_workspace


@pytest.fixture(scope="module")
def opened(tiny_workspace: Path) -> Workspace:
    return open_workspace(tiny_workspace)


@pytest.mark.parametrize("kind", ["int8", "flat"])
def test_what_is_kept_is_what_was_worked_out(opened: Workspace, tmp_path: Path, kind: str) -> None:
    model = opened.engine.recommender
    made = work_out(model.space, opened.items, kind=kind)
    save_worked(made, tmp_path / "kept", version="v1")
    kept = open_worked(tmp_path / "kept", version="v1", kind=kind)
    assert kept is not None
    for name in ("texts", "text_of", "items_of", "first_of", "rest_range", "in_stock"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(made, name))
    assert list(kept.with_value) == list(made.with_value)
    for pair, rows in made.with_value.items():
        np.testing.assert_array_equal(kept.with_value[pair], rows)
    for name, moment in made.moments.items():
        np.testing.assert_array_equal(kept.moments[name], moment)
    engine = make_engine(model, opened.items, opened.engine.log, intent_model=opened.intent_model, worked=kept)
    anew = make_engine(model, opened.items, opened.engine.log, intent_model=opened.intent_model, kind=kind)
    for ask in ({"query": "tea"}, {"user": str(anew.log.user_ids[0])}, {"user": None, "k": 30}):
        found = [one.answer(now_s=opened.last_s + 1, **ask).to_json() for one in (engine, anew)]  # type: ignore[arg-type]
        assert found[0] == found[1]


def test_what_is_damaged_or_half_there_is_not_taken(opened: Workspace, tmp_path: Path) -> None:
    made = work_out(opened.engine.recommender.space, opened.items)
    save_worked(made, tmp_path / "kept", version="v1")
    shutil.copytree(tmp_path / "kept", tmp_path / "half")
    save_worked(made, tmp_path / "kept", version="v2")
    assert open_worked(tmp_path / "kept", version="v1") is None
    assert open_worked(tmp_path / "kept", version="v2") is not None
    shutil.rmtree(tmp_path / "half" / "index")
    shutil.copytree(tmp_path / "kept" / "index", tmp_path / "half" / "index")  # a crash between the two
    assert open_worked(tmp_path / "half", version="v1") is None
    assert open_worked(tmp_path / "nowhere", version="v1") is None


def test_covariance_is_numpy_s(opened: Workspace) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(covariance(rows), np.cov(rows.T, bias=True), atol=1e-12)
