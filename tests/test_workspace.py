"""Workspaces: built once, rebuilt when anything changed, opened as built, and honest about damage and absence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasteprint import building
from tasteprint.building import build_workspace
from tasteprint.choosing import Chosen
from tasteprint.config import load_settings
from tasteprint.profiling.embedding import ready as embed_fidelity
from tasteprint.profiling.encoders.fidelity import FidelityConfig
from tasteprint.profiling.errors import ArtefactError, ConfigError, EncoderError, ShopError, WorkspaceError
from tasteprint.profiling.log import event_log
from tasteprint.profiling.tables.shop import Shop, read_shop, write_shop
from tasteprint.profiling.tables.tiny import tiny_shop
from tasteprint.retrieval import engine as engine_module
from tasteprint.retrieval.engine import make_engine
from tasteprint.retrieval.index import ApproximateIndex
from tasteprint.retrieval.recommender import DEFAULT_WEIGHTS, PERSONAL_PARTS, SEARCH_PARTS
from tasteprint.retrieval.sources.repeats import repeat_share
from tasteprint.workspace import open_workspace
from tests.small_bert import save_small_bert

HASH = load_settings(sets=["encoder.name=hash:64"], environ={}).settings


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds without the search for weights, for tests that are about something else."""
    monkeypatch.setattr(building, "choose_all", lambda *_, **__: Chosen())


def copy(tiny_workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_workspace, tmp_path / "copy"))


def test_what_was_built_and_learned(tiny_workspace: Path) -> None:
    opened = open_workspace(tiny_workspace, verify=True)
    shop = tiny_shop()
    about = opened.about
    assert about["items"] == len(opened.items) == len(shop.items)
    assert about["shoppers"] == shop.events["user_id"].nunique()
    assert about["events"] == len(opened.engine.log) == shop.events["item_id"].notna().sum()
    assert about["weights"] == pytest.approx(dict(opened.engine.recommender.weights), abs=1e-4)
    assert set(about["validation"]) == {"time_split", "search_full"}
    for protocol, found in about["validation"].items():
        assert max(found["single"].values()) - 1e-4 <= found["ndcg@10"] <= 1
        assert set(found["single"]) <= set(PERSONAL_PARTS if protocol == "time_split" else SEARCH_PARTS)
    assert opened.last_s == shop.events["at"].max().timestamp()
    assert opened.shop == (tiny_workspace.parent / "shop").resolve()
    assert opened.settings == HASH


def test_building_again_does_nothing(tiny_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "read_shop", lambda _: pytest.fail("nothing changed: nothing is read"))
    before = (tiny_workspace / "model" / "CURRENT").read_text()
    again = build_workspace(tiny_workspace.parent / "shop", tiny_workspace, HASH)
    assert not again.fresh
    assert again.about == open_workspace(tiny_workspace).about
    assert (tiny_workspace / "model" / "CURRENT").read_text() == before


def test_the_same_inputs_give_the_same_workspace(tiny_workspace: Path, tmp_path: Path) -> None:
    again = build_workspace(tiny_workspace.parent / "shop", tmp_path / "again", HASH)
    assert again.fresh
    first, second = open_workspace(tiny_workspace), open_workspace(again.path)
    user, now_s = str(first.engine.log.user_ids[4]), first.last_s + 1
    for options in ({"user": user}, {"query": "garden"}, {"user": user, "query": "coffee"}):
        one, two = (w.engine.answer(now_s=now_s, **options).to_json() for w in (first, second))
        assert one == two


@pytest.mark.usefixtures("quick")
def test_whatever_changes_is_built_again(tiny_workspace: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(tiny_workspace.parent / "shop", shop)
    path = copy(tiny_workspace, tmp_path)
    assert not build_workspace(shop, path, HASH).fresh  # where the shop lies does not matter
    other = load_settings(sets=["encoder.name=hash:64", "recommender.repeat.shrinkage=9"], environ={}).settings
    assert build_workspace(shop, path, other).fresh
    assert open_workspace(path).settings == other
    assert build_workspace(shop, path, other, seed=1).fresh
    changed = read_shop(shop)
    items = changed.items.assign(price=changed.items["price"] + 1)
    write_shop(replace(changed, items=items), shop, overwrite=True)
    assert build_workspace(shop, path, other, seed=1).fresh
    assert open_workspace(path).items["price"].tolist()[:3] == items["price"].tolist()[:3]
    assert not build_workspace(shop, path, other, seed=1).fresh
    events = changed.events.assign(price=changed.events["price"] * 2)  # as many as before, so shop.json is the same
    write_shop(replace(changed, items=items, events=events), shop, overwrite=True)
    assert build_workspace(shop, path, other, seed=1).fresh


@pytest.mark.usefixtures("quick")
def test_only_new_texts_are_encoded(tiny_workspace: Path, tmp_path: Path) -> None:
    path, shop = copy(tiny_workspace, tmp_path), read_shop(tiny_workspace.parent / "shop")
    title = shop.items["title"].where(shop.items.index != 3, "A wholly new title")
    write_shop(replace(shop, items=shop.items.assign(title=title)), tmp_path / "shop")
    said: list[tuple[str, int, int]] = []
    build_workspace(tmp_path / "shop", path, HASH, say=lambda *words: said.append(words))
    assert ("Embedding items", 1, 1) in said
    assert {words for words, _, _ in said} >= {"Reading the shop", "Fitting the recommender", "Publishing"}


def test_an_opened_workspace_answers_as_the_one_that_was_built(
    tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    fit = building.fit_recommender
    monkeypatch.setattr(
        building, "fit_recommender", lambda *a, **k: (kept.append((a[0], fit(*a, **k))), kept[-1][1])[1]
    )
    path = build_workspace(tiny_workspace.parent / "shop", tmp_path / "again", HASH).path
    opened = open_workspace(path)
    train, model = kept[-1]
    built = make_engine(model, train.items, train.log, users=train.users, intent_model=opened.intent_model)
    for user in (None, str(train.log.user_ids[0]), str(train.log.user_ids[17])):
        for query in (None, "gift for a runner", "green tea under 10"):
            one, two = (e.answer(user=user, query=query, now_s=opened.last_s + 5) for e in (built, opened.engine))
            assert one.to_json() == two.to_json()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"no workspace at .*; build one: tasteprint build SHOP --workspace"):
        open_workspace(tmp_path / "nowhere")
    (tmp_path / "empty" / "model").mkdir(parents=True)
    with pytest.raises((ArtefactError, WorkspaceError), match="build"):
        open_workspace(tmp_path / "empty")


@pytest.mark.parametrize("damage", ["cut", "gone", "changed", "manifest", "pointer"])
def test_damage_is_noticed_and_mended_by_building(damage: str, tiny_workspace: Path, tmp_path: Path) -> None:
    path = copy(tiny_workspace, tmp_path)
    version = next((path / "model").glob("v-*"))
    arrays = version / "arrays.safetensors"
    if damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:-10])
    elif damage == "gone":
        (version / "items.parquet").unlink()
    elif damage == "changed":
        content = bytearray(arrays.read_bytes())
        content[-1] ^= 1
        arrays.write_bytes(bytes(content))
    elif damage == "manifest":
        manifest = version / "manifest.json"
        manifest.write_text(manifest.read_text().replace("hash:64", "hash:32"))
    else:
        (path / "model" / "CURRENT").write_text("nonsense")
    with pytest.raises(ArtefactError, match="again"):
        open_workspace(path, verify=True)


@pytest.mark.usefixtures("quick")
def test_building_mends_a_damaged_workspace(tiny_workspace: Path, tmp_path: Path) -> None:
    path = copy(tiny_workspace, tmp_path)
    arrays = next((path / "model").glob("v-*/arrays.safetensors"))
    arrays.write_bytes(arrays.read_bytes()[:-10])
    assert build_workspace(tiny_workspace.parent / "shop", path, HASH).fresh
    open_workspace(path, verify=True)


@pytest.mark.usefixtures("quick")
def test_a_failed_build_leaves_the_old_one(
    tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy(tiny_workspace, tmp_path)
    monkeypatch.setattr(building, "recommender_state", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        build_workspace(tiny_workspace.parent / "shop", path, HASH, seed=5)
    assert open_workspace(path, verify=True).about == open_workspace(tiny_workspace).about


def build(shop: Shop, tmp_path: Path):
    write_shop(shop, tmp_path / "shop")
    return open_workspace(build_workspace(tmp_path / "shop", tmp_path / "workspace", HASH).path, verify=True)


def test_a_shop_without_events_searches(tmp_path: Path) -> None:
    opened = build(replace(tiny_shop(), events=None), tmp_path)
    assert opened.last_s == 0.0
    assert (opened.about["events"], opened.about["shoppers"]) == (0, 0)
    assert set(opened.engine.recommender.weights) <= set(SEARCH_PARTS)
    answer = opened.engine.search("garden hose", now_s=opened.last_s + 1, k=5)
    assert "Hose" in answer.items[0].title
    assert len(opened.engine.answer(now_s=1.0, k=5).items) == 5


def test_a_shop_with_an_empty_events_table(tmp_path: Path) -> None:
    shop = tiny_shop()
    opened = build(replace(shop, events=shop.events.head(0)), tmp_path)
    assert len(opened.engine.search("garden hose", now_s=1.0, k=5).items) == 5


def test_a_shop_without_judgements_uses_the_usual_search_weights(tmp_path: Path) -> None:
    shop = tiny_shop()
    opened = build(replace(shop, judgements=None, labels=None, users=None), tmp_path)
    weights = opened.engine.recommender.weights
    assert {name: weights[name] for name in SEARCH_PARTS} == {name: DEFAULT_WEIGHTS[name] for name in SEARCH_PARTS}
    assert "Hose" in opened.engine.search("garden hose", now_s=opened.last_s + 1, k=5).items[0].title


def test_items_that_are_nothing_but_titles(tmp_path: Path) -> None:
    shop = tiny_shop()
    bare = ["description", "brand", "category", "price", "created_at", "image_url", "attributes"]
    items = shop.items.assign(**dict.fromkeys(bare))
    opened = build(replace(shop, items=items), tmp_path)
    user = str(opened.engine.log.user_ids[2])
    for options in ({"query": "garden hose"}, {"user": user}, {"user": user, "query": "tea under 10"}):
        answer = opened.engine.answer(now_s=opened.last_s + 1, k=5, **options)
        assert len(answer.items) == 5
        assert np.isfinite([item.score for item in answer.items]).all()


def test_one_item_one_shopper_one_event(tmp_path: Path) -> None:
    shop = tiny_shop()
    events = shop.events[shop.events["kind"] == "purchase"].head(1)
    items = shop.items[shop.items["item_id"] == events["item_id"].iloc[0]]
    one = replace(
        shop,
        items=items.reset_index(drop=True),
        events=events.reset_index(drop=True),
        judgements=None,
        users=None,
        labels=None,
    )
    opened = build(one, tmp_path)
    user = str(events["user_id"].iloc[0])
    answer = opened.engine.recommend(user, "tea", now_s=opened.last_s + 1, k=3)
    assert len(answer.items) == 1
    assert answer.shortage == "3 items were asked for, 1 are left in this catalogue"
    answer = opened.engine.recommend(user, now_s=opened.last_s + 1, k=3)  # nothing is bought twice in this shop
    assert not answer.items
    assert answer.shortage.endswith("0 are left in this catalogue without what was bought before")


def test_empty_queries(tiny_workspace: Path) -> None:
    opened = open_workspace(tiny_workspace)
    popular = opened.engine.answer(now_s=opened.last_s + 1)
    assert opened.engine.search("", now_s=opened.last_s + 1).to_json() == popular.to_json()


def test_shops_that_cannot_be_built(tmp_path: Path) -> None:
    shop = tiny_shop()
    with pytest.raises(ShopError, match=r"no shop\.json"):
        build_workspace(tmp_path / "nowhere", tmp_path / "workspace", HASH)
    write_shop(replace(shop, items=None, events=None, judgements=None), tmp_path / "no-items")
    with pytest.raises(ShopError, match="has no items; a workspace needs a catalogue"):
        build_workspace(tmp_path / "no-items", tmp_path / "workspace", HASH)
    strange = shop.events.assign(item_id="no such item")
    write_shop(replace(shop, events=strange), tmp_path / "strange")
    with pytest.raises(ShopError, match="'no such item' is not in items"):
        build_workspace(tmp_path / "strange", tmp_path / "workspace", HASH)
    settings = load_settings(sets=["encoder.name=no-such-encoder-anywhere"], environ={}).settings
    write_shop(shop, tmp_path / "fine")
    with pytest.raises(EncoderError):
        build_workspace(tmp_path / "fine", tmp_path / "workspace", settings)
    with pytest.raises(WorkspaceError):
        open_workspace(tmp_path / "workspace")


def log_of(rows: list[tuple[str, str, int, str]]):
    shop = tiny_shop()
    base = shop.events.iloc[[0]]
    import pandas as pd

    events = pd.concat([base] * len(rows), ignore_index=True)
    start = pd.Timestamp("2024-01-01")
    events["user_id"] = [user for user, _, _, _ in rows]
    events["item_id"] = [item for _, item, _, _ in rows]
    events["at"] = pd.Series([start + pd.Timedelta(days=day) for _, _, day, _ in rows]).astype("datetime64[us]")
    events["kind"] = [kind for _, _, _, kind in rows]
    events["seq"] = range(len(rows))
    return event_log(events, shop.items["item_id"].tolist())


def test_repeat_share_by_hand() -> None:
    empty = event_log(tiny_shop().events.head(0), tiny_shop().items["item_id"].tolist())
    assert repeat_share(empty) == 1.0
    buys = [("a", "i000", 0, "purchase"), ("a", "i001", 1, "purchase"), ("a", "i000", 2, "purchase")]
    assert repeat_share(log_of([*buys, ("b", "i000", 0, "purchase")])) == pytest.approx(1 / 4)
    # Looking at an item, buying it and reviewing it is having it once.
    once = [("a", "i000", 0, "view"), ("a", "i000", 1, "purchase"), ("a", "i000", 5, "review")]
    assert repeat_share(log_of(once)) == 0.0
    looks = [("a", "i000", 0, "view"), ("a", "i000", 1, "view")]
    assert repeat_share(log_of(looks)) == pytest.approx(1 / 2)


def test_about_is_json(tiny_workspace: Path) -> None:
    assert json.loads(json.dumps(open_workspace(tiny_workspace).about)) == open_workspace(tiny_workspace).about


WORDS = ("green", "tea", "garden", "hose", "running", "shoes", "kettle", "lamp", "wool", "blanket")


def test_a_workspace_in_int8_is_calibrated_once_and_moves_with_its_network(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    lenient = FidelityConfig(min_cosine=0.5, min_overlap=0.1, min_overlap_ties=0.1)  # these weights are noise
    monkeypatch.setitem(embed_fidelity.BARS, "int8", lenient)  # type: ignore[arg-type]
    write_shop(tiny_shop(), tmp_path / "shop")
    name = save_small_bert(tmp_path / "bert", WORDS)
    sets = [f"encoder.name={name}", "encoder.precision=int8", "encoder.runtime=onnx"]
    built = build_workspace(tmp_path / "shop", tmp_path / "work", load_settings(sets=sets, environ={}).settings)
    assert built.about["fidelity"]["cosine_mean"] > 0.5
    opened = open_workspace(tmp_path / "work")
    assert (opened.encoder.stamp.precision, opened.encoder.stamp.runtime) == ("int8", "onnx")
    found = opened.engine.search("green tea", now_s=opened.last_s + 1, k=3).to_json()
    moved = open_workspace((tmp_path / "work").rename(tmp_path / "elsewhere"))
    assert moved.engine.search("green tea", now_s=opened.last_s + 1, k=3).to_json() == found


def test_a_workspace_whose_encoder_is_another_one_by_now_is_refused(tmp_path: Path, quick: None) -> None:
    write_shop(tiny_shop(), tmp_path / "shop")
    name = save_small_bert(tmp_path / "bert", WORDS)
    settings = load_settings(sets=[f"encoder.name={name}"], environ={}).settings
    build_workspace(tmp_path / "shop", tmp_path / "work", settings)
    assert open_workspace(tmp_path / "work").engine.search("tea", now_s=1.0).items
    save_small_bert(tmp_path / "bert", WORDS, seed=1)
    with pytest.raises(ArtefactError, match="weights"):
        open_workspace(tmp_path / "work")


def test_repeated_queries_are_encoded_once(tiny_workspace: Path) -> None:
    opened = open_workspace(tiny_workspace)
    first, second = (opened.engine.search("green tea", now_s=opened.last_s + 1, k=3).to_json() for _ in range(2))
    assert first == second
    assert opened.encoder.count().misses == 1  # type: ignore[attr-defined]
    assert (opened.engine.readings.count().made, opened.engine.readings.count().known) == (1, 1)


@pytest.mark.usefixtures("quick")
def test_tables_are_published_with_a_workspace_and_mapped_on_opening(
    tiny_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = tiny_workspace.parent / "shop"
    monkeypatch.setattr(building, "keep_tables", lambda *_: {})
    older = open_workspace(build_workspace(shop, tmp_path / "older", HASH).path)  # as before tables were published
    monkeypatch.undo()
    monkeypatch.setattr(building, "choose_all", lambda *_, **__: Chosen())
    path = build_workspace(shop, tmp_path / "now", HASH).path
    monkeypatch.setattr(engine_module, "work_out", lambda *_, **__: pytest.fail("they are there"))
    opened = open_workspace(path, worked=lambda _: pytest.fail("they are there"))
    assert opened.about["index"] == {"kind": "int8", "texts": len(opened.engine.texts)}
    mapped = opened.engine.texts
    while isinstance(mapped, np.ndarray) and not isinstance(mapped, np.memmap):
        mapped = mapped.base
    assert isinstance(mapped, np.memmap)
    user = str(older.engine.log.user_ids[2])
    for ask in ({"query": "tea"}, {"user": user, "k": 20}, {"user": user, "query": "lamp"}):
        told = [one.engine.answer(now_s=opened.last_s + 1, **ask).to_json() for one in (opened, older)]
        assert told[0] == told[1]


@pytest.mark.usefixtures("quick")
def test_a_workspace_may_be_served_from_an_index_that_skips_rows(tiny_workspace: Path, tmp_path: Path) -> None:
    sets = ["encoder.name=hash:64", "index.kind=ivf-sq8", "index.lists=4", "index.recall=0.9", "index.queries=20"]
    settings = load_settings(sets=sets, environ={}).settings
    built = build_workspace(tiny_workspace.parent / "shop", tmp_path / "w", settings)
    opened = open_workspace(built.path)
    index, said = opened.engine.index, built.about["index"]
    assert isinstance(index, ApproximateIndex)
    assert (index.kind, index.scanner.most) == ("ivf-sq8", 4)
    assert len(index.efforts.by_blocks) == 3  # words, taste, and both: each found by tuning
    assert set(said["recall"]) == {"meaning", "taste", "mixed"}
    assert said["recall_met"] == (min(said["recall"].values()) >= 0.9)
    assert np.shares_memory(opened.engine.texts, index.vectors)
    exact = open_workspace(tiny_workspace).engine
    found = opened.engine.search("tea", now_s=opened.last_s + 1, k=5, weights={"meaning": 1.0})
    want = exact.search("tea", now_s=opened.last_s + 1, k=5, weights={"meaning": 1.0})
    assert [item.item_id for item in found.items] == [item.item_id for item in want.items]
    other = load_settings(sets=["encoder.name=hash:64", "index.kind=milvus"], environ={}).settings
    with pytest.raises(ConfigError, match=r"index\.kind must be auto or one of"):
        build_workspace(tiny_workspace.parent / "shop", tmp_path / "w", other)
    assert open_workspace(built.path).engine.index.kind == "ivf-sq8"  # what was published stays
