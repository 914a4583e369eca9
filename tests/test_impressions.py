"""What shoppers were shown and chose, from a profile store: which answers teach, whose a choice is, what is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tasteprint.building import build_workspace
from tasteprint.cli import app
from tasteprint.config import Settings, load_settings
from tasteprint.impressions import DAY_S, read_impressions
from tasteprint.profiling.errors import ConfigError, ShopError
from tasteprint.profiling.tables.shop import read_shop, write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.serving.histories import Catalogue
from tasteprint.serving.store import ProfileStore, Shown, StoredEvent, open_store
from tasteprint.trained_choice import read_choice
from tasteprint.training import train_workspace_ranker
from tasteprint.workspace import open_workspace

SETS = ["encoder.name=hash:32", "ranking.few=1", "ranking.margin=0", "ranking.default=false"]
ITEMS = [f"i{row}" for row in range(6)]
CATALOGUE = Catalogue(np.array(ITEMS, dtype=object), {item: row for row, item in enumerate(ITEMS)})


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    opened = open_store(str(tmp_path / "store.sqlite"))
    yield opened
    opened.close()


def event(user: str, at_s: float, item: str, kind: str = "purchase", **said) -> StoredEvent:
    return StoredEvent(user, f"{user}{at_s}{item}", round(at_s * 1e6), 0, kind, item, **said)


def page(name: str, user: str | None, at_s: float, items: list[str], **asked) -> Shown:
    shown = tuple((item, rank, 1.0) for rank, item in enumerate(items, start=1))
    return Shown(name, user, round(at_s * 1e6), asked, shown)


def test_a_choice_belongs_to_the_newest_answer_that_showed_it(store: ProfileStore) -> None:
    store.append(
        [
            event("ann", 50, "i5"),
            event("ann", 150, "i1", "view"),
            event("ann", 250, "i1"),
            event("ann", 260, "i4"),  # on no page
            event("ann", 200 + DAY_S + 1, "i2"),  # too late for any page
            event("ben", 120, "i0", quantity=-1.0),  # given back: nothing chosen
        ]
    )
    store.log_shown(
        [
            page("p1", "ann", 100, ["i0", "i1", "gone"]),
            page("p2", "ann", 200, ["i2", "i1", "i3"]),
            page("p3", "ben", 100, ["i0", "i1"]),
            page("p4", None, 100, ["i0", "i1"]),
            page("p5", "ann", 240, ["i1"]),  # has it, but nothing was passed by there
            page("p6", "ann", 90, ["i1", "i0"], query="lamp"),  # in words: not asked for here
        ]
    )
    found = read_impressions(store, CATALOGUE, asked=False)
    assert found is not None
    assert [float(at) for at in found.requests.now_s] == [100.0]  # p5 took what p2 showed too, and teaches nothing
    assert found.item.tolist() == [0, 1]
    assert found.chosen[0] == 0
    assert 0 < found.chosen[1] < 1  # a look
    assert (found.requests.stop - found.requests.start).tolist() == [1]  # what was before the page


def test_pages_of_several_shoppers_lie_in_one_log(store: ProfileStore) -> None:
    for user in ("ann", "ben"):
        store.append([event(user, 10, "i4"), event(user, 20, "i5"), event(user, 130, "i2")])
        store.log_shown([page(f"p{user}", user, 100, ["i3", "i2"], query="red lamp", device="phone")])
    store.log_shown([page("nothing", "ann", 500, ["i0", "i1"], query="lamp")])
    assert read_impressions(store, CATALOGUE, asked=False) is None
    found = read_impressions(store, CATALOGUE, asked=True, attributes={"ben": {"age": "25-34"}})
    assert found is not None
    log = found.requests.log
    assert found.requests.texts == ("red lamp", "red lamp")
    assert found.requests.attributes == ({}, {"age": "25-34"})
    assert list(found.requests.where.device) == ["phone", "phone"]
    assert found.cluster.tolist() == [0, 1]
    assert found.request.tolist() == [0, 0, 1, 1]
    assert found.item.tolist() == [2, 3, 2, 3]
    assert found.chosen.tolist() == [1.0, 0.0, 1.0, 0.0]
    for r, user in enumerate(("ann", "ben")):
        assert log.user_ids[r] == user
        assert log.item[found.requests.start[r] : found.requests.stop[r]].tolist() == [4, 5]
    some = found.take(slice(1, 2))
    assert (some.request.tolist(), some.item.tolist(), some.cluster.tolist()) == ([0, 0], [2, 3], [1])


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(sets=SETS, environ={}).settings


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("impressions") / "shop"
    write_shop(tiny_shop(), folder)
    return folder


def cheap_choosers(shop: Path, address: Path) -> str:
    """A store whose shoppers were shown five items each time and always took the cheapest."""
    tables = read_shop(shop)
    priced = tables.items.dropna(subset=["price"])
    rng = np.random.default_rng(0)
    start_s = tables.events["at"].max().timestamp() + 100
    store = open_store(str(address))
    for n, user in enumerate(sorted(tables.events["user_id"].unique())):
        for visit in range(4):
            at_s = start_s + 2 * DAY_S * visit + n
            some = priced.iloc[rng.permutation(len(priced))[:5]]
            store.log_shown([page(f"{user}{visit}", user, at_s, some["item_id"].tolist())])
            store.append([event(user, at_s + 60, some.loc[some["price"].idxmin(), "item_id"])])
    store.close()
    return str(address)


def test_a_ranker_learns_what_was_chosen_of_what_was_shown(shop: Path, settings: Settings, tmp_path: Path) -> None:
    address = cheap_choosers(shop, tmp_path / "store.sqlite")
    about = train_workspace_ranker(shop, tmp_path / "workspace", settings, impressions=address)
    said = about["protocols"]["time_split"]
    assert set(about["protocols"]) == {"time_split"}  # nobody was answered in words
    assert said["ranker_answers"] == "impressions"
    assert said["ranker"] != "none"
    assert said[f"ranker_{said['ranker']}"] > said["ranker_first_stage"] + 0.05
    opened = open_workspace(build_workspace(shop, tmp_path / "workspace", settings).path)
    assert opened.engine.recommender.second is not None
    kept = read_choice(tmp_path / "workspace", stamp=None)
    assert kept.rankers["time_split"].regime == "impressions"


def test_what_cannot_be_learned_from_is_said(shop: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ShopError, match="has no answers to learn from"):
        train_workspace_ranker(shop, tmp_path / "workspace", settings, impressions=str(tmp_path / "empty.sqlite"))
    wrong = load_settings(sets=[*SETS, "ranking.regime=impressions"], environ={}).settings
    with pytest.raises(ConfigError, match="--impressions STORE"):
        build_workspace(shop, tmp_path / "workspace", wrong)


def test_the_command(shop: Path, tmp_path: Path) -> None:
    address = cheap_choosers(shop, tmp_path / "store.sqlite")
    sets = [part for value in SETS for part in ("--set", value)]
    arguments = ["train", "ranker", str(shop), "-w", str(tmp_path / "workspace"), "--impressions", address, *sets]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    assert "ranker_answers impressions" in said.stdout
