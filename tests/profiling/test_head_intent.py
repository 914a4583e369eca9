from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import EncoderConfig
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.errors import ArtefactError
from tasteprint.profiling.heads.head import HeadAnswer
from tasteprint.profiling.heads.intent import all_paths, applied, open_heads_for
from tasteprint.profiling.heads.store import save_heads
from tasteprint.profiling.intent.intent import CategoryShare, Intent, IntentModel, fit_intent, intent_from_state
from tasteprint.profiling.tables.tiny import tiny_shop

from .head_samples import linear_head, word_head

ITEMS = tiny_shop().items
ENCODER = HashEncoder(64)
MODEL = fit_intent(ITEMS, ENCODER.encode(ITEMS["title"].tolist()), rng=np.random.default_rng(0), encoder=ENCODER)
PATHS = frozenset({"food", "food > milk", "food > tea", "toys"})
PLAIN = Intent("milk", np.zeros(2), categories=(CategoryShare("toys", 0.3),), confidence=0.4, signals=("seen",))


def answer(task: str, likely: dict[str, float], *, abstains: bool = False) -> HeadAnswer:
    best = max(likely, key=lambda label: likely[label])
    return HeadAnswer(task, None if abstains else best, likely[best], 0.01 if abstains else 0.6, tuple(likely.items()))


def ask(text: str, model: IntentModel) -> Intent:
    return model.infer([text], ENCODER.encode(model.plain([text]), "query"))[0]


def test_a_category_head_replaces_categories_and_makes_the_query_known() -> None:
    said = answer("category", {"food > milk": 0.6, "food > tea": 0.3, "nowhere": 0.1})
    found = applied(PLAIN, [said], PATHS, top=1)
    assert found.categories == (CategoryShare("food > milk", 0.6),)
    assert [(level.path, pytest.approx(level.probability)) for level in found.levels] == [
        ("food", 0.9), ("food > milk", 0.6),
    ]  # fmt: skip
    assert (found.known, found.confidence) == (True, 0.6)
    assert found.signals == ("seen", "head category: 'food > milk' (60%)")
    assert PLAIN.answers == ()


def test_a_head_that_abstains_changes_nothing_but_says_so() -> None:
    for task, label in (("category", "food"), ("stage", "compare")):
        said = answer(task, {label: 0.9}, abstains=True)
        found = applied(PLAIN, [said], PATHS, top=5)
        assert vars(replace(found, answers=(), signals=PLAIN.signals)) == vars(PLAIN)
        assert "does not know, 99% of known sentences look more familiar" in found.signals[-1]
        assert found.to_json()["answers"][0]["label"] is None
    assert applied(PLAIN, [], PATHS, top=5) is PLAIN
    assert "answers" not in PLAIN.to_json()


def test_labels_the_catalogue_does_not_have_are_shown_and_not_used() -> None:
    for said in (answer("category", {"nowhere": 0.9}), answer("stage", {"compare": 0.6, "glad": 0.4})):
        found = applied(PLAIN, [said], PATHS, top=5)
        assert (found.categories, found.stages, found.known) == (PLAIN.categories, PLAIN.stages, False)
        assert found.answers == (said,)


def test_a_stage_head_replaces_the_stages() -> None:
    found = applied(PLAIN, [answer("stage", {"compare": 0.75, "get_help": 0.25})], PATHS, top=5)
    assert found.stage == "compare"
    assert dict(found.stages) == {"look_up": 0, "browse": 0, "explore": 0, "compare": 0.75, "get_help": 0.25}
    assert found.override(stage="explore").stage == "explore"


def test_free_classes_change_nothing_and_later_heads_decide() -> None:
    mood, first, second = (
        answer("mood", {"glad": 0.9}), answer("category", {"toys": 0.9}), answer("category", {"food": 0.8}),
    )  # fmt: skip
    found = applied(PLAIN, [mood, first, second], PATHS, top=5)
    assert found.categories == (CategoryShare("food", 0.8),)
    assert found.answers == (mood, first, second)
    assert applied(PLAIN, [mood], PATHS, top=5).categories == PLAIN.categories


def test_paths_above_a_category_count() -> None:
    assert all_paths(["a > b > c", "a"]) == {"a", "a > b", "a > b > c"}


def test_a_model_answers_with_its_heads(tmp_path: Path) -> None:
    kept = str(ITEMS["category"].dropna().iloc[0])
    rows = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    of_plane = linear_head("category", (kept, "elsewhere"))
    head = replace(
        of_plane,
        network=replace(
            of_plane.network, centre=np.zeros(64, np.float32), means=rows,
            layers=((rows, np.array([50, 0], np.float32)),),
        ),
        abstain_below=0.0,
    )  # fmt: skip
    config = EncoderConfig(name="hash:64")
    save_heads(tmp_path / "own", [head, word_head()], encoder=ENCODER, config=config, probes=["a lamp"])
    model = MODEL.with_heads(ENCODER, [tmp_path / "own"])
    found = ask("good things", model)
    assert found.categories[0].path == kept
    assert found.known
    assert [(a.task, a.label) for a in found.answers] == [("category", kept), ("mood", "glad")]
    assert ask(" ", model).answers == ()
    assert ask("good things", MODEL).answers == ()
    assert model.heads[0].encoder is ENCODER
    arrays, meta = model.to_state()
    assert intent_from_state(arrays, meta).heads == ()
    assert intent_from_state(arrays, meta).with_heads(ENCODER).heads == ()


def test_heads_of_another_encoder_bring_their_own(tmp_path: Path) -> None:
    head = linear_head("mood")
    rows = np.ones((2, 8), np.float32)
    network = replace(
        head.network, centre=np.zeros(8, np.float32), means=rows, layers=((rows, np.zeros(2, np.float32)),)
    )
    small = EncoderConfig(name="hash:8")
    save_heads(tmp_path, [replace(head, network=network)], encoder=HashEncoder(8), config=small, probes=["a"])
    (found,) = open_heads_for([tmp_path], ENCODER)
    assert found.encoder is not None
    assert found.encoder.dim == 8
    assert ask("a lamp", MODEL.with_heads(ENCODER, [tmp_path])).answers[0].task == "mood"
    with pytest.raises(ArtefactError, match="nothing was published"):
        MODEL.with_heads(ENCODER, [tmp_path / "nowhere"])
