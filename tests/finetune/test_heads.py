from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from tasteprint.evaluation.calibration import auroc
from tasteprint.evaluation.label_methods import Predicted
from tasteprint.evaluation.labels import LabelTask, evaluate_labels, label_metrics
from tasteprint.finetune.heads.calibrate import choose_score, fit_temperature, log_loss, out_scores
from tasteprint.finetune.heads.config import HEADS, HeadConfig
from tasteprint.finetune.heads.data import HeadTask, Labelled, classes_of, head_tasks, hold_out
from tasteprint.finetune.heads.heads import at_least, class_means, fit_head
from tasteprint.finetune.heads.report import MEASURES, as_method, predicted, rows_of
from tasteprint.finetune.heads.train import Inputs, train_network
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.errors import ConfigError, ShopError
from tasteprint.profiling.heads.head import Answers, forward
from tasteprint.profiling.heads.scores import Seen
from tasteprint.profiling.heads.words import fit_words_of
from tasteprint.profiling.tables.shop import Shop
from tasteprint.profiling.tables.tiny import tiny_shop

QUICK = HeadConfig(hidden=16, epochs=(2,), min_steps=60, batch=16, lr=1e-2, word_lr=0.1)
ENCODE = HashEncoder(32).encode
RNG = np.random.default_rng
TINY = tiny_shop()


def sentences(n: int, *, seed: int = 0, outside: int = 0) -> Labelled:
    """Sentences whose label is their first word, said with other words; the last ones belong to no class."""
    rng = RNG(seed)
    labels = rng.choice(["red", "green", "blue"], n).tolist()
    texts = [f"{label} {' '.join(rng.choice(list('abcdefgh'), 3))}" for label in labels]
    odd = [f"{' '.join(rng.choice(list('uvwxyz'), 4))}" for _ in range(outside)]
    return Labelled((*texts, *odd), np.array([*labels, *["other"] * outside], dtype=object))


def task(*, own_valid: bool = True, outside: int = 0) -> HeadTask:
    train, held = sentences(90, outside=outside), sentences(60, seed=1, outside=outside)
    return HeadTask("colour", train, held, own_valid, ("blue", "green", "red"), "other" if outside else None)


# ---- calibration


@given(st.floats(0.1, 8.0), st.integers(0, 20))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_temperature_that_made_the_labels_is_found(factor: float, seed: int) -> None:
    """Labels drawn from softmax(z), logits given as factor x z: the least log loss is near ``factor``."""
    rng = RNG(seed)
    z = rng.normal(0, 2, (4000, 4))
    odds = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows = (odds.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1).clip(0, 3)
    assert fit_temperature((factor * z).astype(np.float32), rows) == pytest.approx(factor, rel=0.12)


def test_no_other_temperature_has_less_log_loss() -> None:
    rng = RNG(0)
    logits, rows = rng.normal(0, 3, (200, 3)).astype(np.float32), rng.integers(0, 3, 200)
    best = fit_temperature(logits, rows)
    for other in np.geomspace(0.05, 40, 60):
        assert log_loss(logits, rows, best) <= log_loss(logits, rows, other) + 1e-6
    odds = np.exp(logits.astype(float))
    assert log_loss(logits, rows) == pytest.approx(
        sklearn_log_loss(rows, odds / odds.sum(axis=1, keepdims=True), labels=[0, 1, 2])
    )
    assert fit_temperature(logits[:0], rows[:0]) == 1.0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_auroc_is_that_of_scikit_learn(inside: list[int], outside: list[int]) -> None:
    truth = [1] * len(inside) + [0] * len(outside)
    mine = auroc(np.array(inside, float), np.array(outside, float))
    assert mine == pytest.approx(roc_auc_score(truth, inside + outside))


def test_auroc_without_one_side_is_unknown() -> None:
    assert np.isnan(auroc(np.ones(2), np.zeros(0)))


def test_the_score_is_chosen_by_held_out_sentences_or_by_hand() -> None:
    logits = np.array([[5, 0], [4, 4], [1, 0]], dtype=np.float32)
    areas = out_scores(Seen(logits), np.array([False, False, True]))
    # confidence puts (4, 4) below (1, 0); the two others put both above it
    assert areas == {"confidence": 0.5, "max_logit": 1.0, "energy": 1.0}
    assert choose_score(areas, "auto") == "max_logit"
    assert choose_score(areas, "confidence") == "confidence"
    assert choose_score({"confidence": np.nan, "energy": np.nan}, "auto") == "energy"
    with pytest.raises(ConfigError, match="among confidence, max_logit, energy, got 'likeness'"):
        choose_score(areas, "likeness")


# ---- data


def test_each_class_gives_its_share_and_keeps_one() -> None:
    labels = np.array(["a"] * 20 + ["b"] * 10 + ["c"] * 2 + ["d"], dtype=object)
    out = hold_out(labels, 0.1, rng=RNG(0))
    assert {label: int(out[labels == label].sum()) for label in "abcd"} == {"a": 2, "b": 1, "c": 1, "d": 0}


def shop(rows: list[tuple[str, str, str, str | None]]) -> Shop:
    labels = pd.DataFrame(rows, columns=["text", "label", "task", "split"]).astype("str")
    labels["split"] = [row[3] for row in rows]
    return replace(TINY, labels=labels)


def test_tasks_keep_the_shops_splits_and_never_see_test() -> None:
    rows = [(f"text {n}", "ab"[n % 2], "letter", ["train", "valid", "test"][n % 3]) for n in range(60)]
    (found,) = head_tasks(shop(rows), share=0.2, rng=RNG(0))
    assert found.own_valid
    assert set(found.train.texts) == {f"text {n}" for n in range(0, 60, 3)}
    assert set(found.held_out.texts) == {f"text {n}" for n in range(1, 60, 3)}
    assert found.classes == ("a", "b")
    assert found.out_label is None


def test_without_a_valid_split_a_part_of_train_is_held_out() -> None:
    rows = [(f"text {n}", "ab"[n % 2], "letter", None if n % 4 else "test") for n in range(80)]
    (found,) = head_tasks(shop(rows), share=0.25, rng=RNG(0))
    assert not found.own_valid
    assert len(found.held_out.texts) == 15
    assert not set(found.held_out.texts) & set(found.train.texts)
    assert not {f"text {n}" for n in range(0, 80, 4)} & {*found.held_out.texts, *found.train.texts}
    (again,) = head_tasks(shop(rows), share=0.25, rng=RNG(0))
    assert found.digest == again.digest
    assert found.digest != head_tasks(shop(rows), share=0.25, rng=RNG(1))[0].digest


def test_held_out_texts_that_are_trained_on_do_not_calibrate() -> None:
    rows = [(f"text {n % 30}", "ab"[n % 2], "letter", "train" if n < 30 else "valid") for n in range(40)]
    (found,) = head_tasks(shop([*rows, ("new", "a", "letter", "valid")]), share=0.2, rng=RNG(0))
    assert found.held_out.texts == ("new",)
    (none_left,) = head_tasks(shop(rows), share=0.2, rng=RNG(0))
    assert not none_left.own_valid
    assert len(none_left.held_out.texts) == 6
    empty = replace(none_left, held_out=Labelled((), np.array([], dtype=object)))
    with pytest.raises(ShopError, match="task 'letter' must have held-out sentences"):
        fit_head(empty, QUICK, encode=None)


def test_sets_are_tasks_of_their_own_and_can_be_asked_for() -> None:
    rows = [(f"{s} {n}", f"{s}/{'xy'[n % 2]}", "intent", "train") for s in ("one", "two") for n in range(20)]
    rows += [(f"mood {n}", "gs"[n % 2], "mood", "train") for n in range(20)]
    names = lambda *only: [t.name for t in head_tasks(shop(rows), only, share=0.2, rng=RNG(0))]  # noqa: E731
    assert names() == ["intent:one", "intent:two", "mood"]
    assert names("intent") == ["intent:one", "intent:two"]
    assert names("intent:two", "mood") == ["intent:two", "mood"]
    with pytest.raises(ConfigError, match="task: must be among intent:one, intent:two, mood, got colour"):
        names("colour")


def test_rare_classes_and_the_out_of_scope_label_are_not_learned() -> None:
    train = Labelled(tuple("abcdef"), np.array(["x", "x", "y", "y", "rare", "other"], dtype=object))
    assert classes_of(train, "other") == ("x", "y")
    with pytest.raises(ShopError, match="two classes"):
        head_tasks(shop([("a", "x", "t", "train"), ("b", "x", "t", "train")]), share=0.2, rng=RNG(0))


# ---- training


def test_a_linear_head_reaches_the_loss_of_scikit_learn() -> None:
    rng = RNG(0)
    rows = rng.integers(0, 3, 600)
    vectors = (rng.normal(0, 1.0, (3, 8))[rows] + rng.normal(0, 1.5, (600, 8))).astype(np.float32)
    config = HeadConfig(dropout=0.0, weight_decay=0.0, batch=600, lr=0.1)
    network = train_network(Inputs(vectors, None), rows, 3, config, hidden=0, epochs=250, seed=0)
    theirs = LogisticRegression(C=1e6, max_iter=1000).fit(vectors, rows).predict_proba(vectors)
    mine = log_loss(forward(network, None, ["x"] * 600, vectors), rows)
    assert mine == pytest.approx(sklearn_log_loss(rows, theirs), abs=2e-3)


def test_saved_weights_compute_what_the_trained_module_did(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasteprint.finetune.heads import train as head_train

    kept = []
    real = head_train._network
    monkeypatch.setattr(head_train, "_network", lambda module, *rest: kept.append(module) or real(module, *rest))
    part = sentences(40)
    words = fit_words_of(part.texts)
    vectors = ENCODE(part.texts)
    rows = np.unique(part.labels.astype(str), return_inverse=True)[1]
    inputs = Inputs(vectors, words.rows(part.texts), len(words.terms))
    network = train_network(inputs, rows, 3, QUICK, hidden=16, epochs=3, seed=0)
    centred = torch.from_numpy((vectors - network.centre) / np.float32(network.scale))
    with torch.no_grad():
        expected = kept[0].eval()(centred, words.rows(part.texts)).numpy()
    np.testing.assert_allclose(forward(network, words, part.texts, vectors), expected, atol=1e-5)
    assert len(network.layers) == 2


@pytest.mark.parametrize("kind", HEADS)
def test_every_kind_learns_and_the_same_seed_gives_the_same_head(kind: str) -> None:
    config = QUICK.model_copy(update={"kind": kind})
    encode = ENCODE if HEADS[kind].vectors else None
    before = torch.random.get_rng_state()
    one = fit_head(task(), config, encode=encode, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    two = fit_head(task(), config, encode=encode, seed=3)
    other = fit_head(task(), config, encode=encode, seed=4)
    assert one.head.kind == kind
    assert one.held_out["accuracy_forced"] > 0.8
    texts = task().held_out.texts
    vectors = None if encode is None else encode(texts)
    logits = [fitted.head.see(texts, vectors).logits for fitted in (one, two, other)]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])
    assert HEADS[kind].about
    assert HEADS[kind].source


def test_auto_keeps_the_kind_of_least_loss_and_tries_it_longer() -> None:
    config = QUICK.model_copy(update={"epochs": (12, 20), "batch": 8})
    fitted = fit_head(task(), config, encode=ENCODE)
    assert len(fitted.losses) == len(HEADS) + 1
    first = {name: loss for name, loss in fitted.losses.items() if "12" in name}
    best = min(first, key=lambda name: first[name]).partition(",")[0]
    assert fitted.head.kind == best
    assert f"{best}, 20 epochs" in fitted.losses
    assert set(fit_head(task(), QUICK, encode=None).losses) == {"words, 10 epochs"}
    with pytest.raises(ConfigError, match="without an encoder must be auto or among words, got 'mlp'"):
        fit_head(task(), HeadConfig(kind="mlp"), encode=None)


def test_short_data_gets_more_epochs() -> None:
    assert at_least(20, 12_800, HeadConfig()) == 20
    assert at_least(2, 10, HeadConfig(min_steps=300)) == 300


def test_what_was_held_out_of_train_is_learned_in_the_end() -> None:
    """A word that only held-out sentences say moves the final head if, and only if, they are the shop's train."""
    held = sentences(60, seed=1)
    held = Labelled(tuple(f"{text} zebra zebra" if label == "red" else text
                          for text, label in zip(held.texts, held.labels, strict=True)), held.labels)  # fmt: skip
    for own_valid in (True, False):
        fitted = fit_head(replace(task(own_valid=own_valid), held_out=held), QUICK, encode=None)
        assert fitted.head.words is not None
        assert ("zebra" in fitted.head.words.terms) is not own_valid
        assert fitted.head.temperature != 1.0


def test_out_of_scope_examples_are_a_class_and_heads_abstain_from_their_like() -> None:
    config = QUICK.model_copy(update={"kind": "words", "outside_from": 20, "abstain": 0.05})
    fitted = fit_head(task(outside=30), config, encode=None)
    head = fitted.head
    assert head.network.word_weights is not None
    assert head.network.word_weights.shape[1] == 4
    assert head.classes == ("blue", "green", "red")
    assert fitted.areas["outside"] > 0.9
    assert fitted.held_out["out_of_scope_auroc"] == pytest.approx(fitted.areas[head.out_score])
    answers = head.answer(["red a b", "u v w x y"])
    assert answers.answered.tolist() == [True, False]
    seen = head.see(["u v w x y"], None)
    assert seen.outside is not None
    assert seen.outside[0] > seen.logits[0].max() + 0.5
    few = fit_head(task(outside=10), config, encode=None).head
    assert few.network.word_weights is not None
    assert few.network.word_weights.shape[1] == 3


def test_class_means_by_hand() -> None:
    vectors = np.array([[3, 0], [0, 4], [9, 9]], dtype=np.float32)
    np.testing.assert_allclose(class_means(vectors, np.array([0, 0, 2]), 2), [[0.6, 0.8], [0, 0]], atol=1e-6)


# ---- measuring


def test_measures_by_hand_and_by_scikit_learn() -> None:
    truth = np.array(["a", "a", "b", "other", "other"], dtype=object)
    asked = LabelTask("t", (), truth[:0], ("x",) * 5, truth, truth == "other", "other")
    answers = Answers(
        "t", ("a", "b"),
        np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.5, 0.5]], dtype=np.float32),
        np.array([3, 2, 1, 1, 0], dtype=np.float32), np.array([0.9, 0.5, 0.01, 0.5, 0.01]),
        np.array([True, True, False, True, False]),
    )  # fmt: skip
    said = predicted(answers, "other")
    assert said.label.tolist() == ["a", "b", "other", "a", "other"]
    found = label_metrics(said, asked)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["accuracy_forced"] == pytest.approx(2 / 3)
    assert found["out_of_scope_recall"] == 0.5
    assert found["out_of_scope_auroc"] == pytest.approx((2 + 2 + 1.5) / 6)
    # confidence .9 right, .8 wrong, .6 right: each in a bin of its own
    assert found["ece"] == pytest.approx((0.1 + 0.8 + 0.4) / 3, abs=1e-6)
    assert found["macro_f1"] == pytest.approx(
        f1_score(["a", "a", "b"], ["a", "b", "other"], average="macro", labels=["a", "b"])
    )
    assert predicted(answers, None).label.tolist() == ["a", "b", "b", "a", "a"]
    plain = Predicted(said.label, said.confidence)
    assert "accuracy_forced" not in label_metrics(plain, asked)
    assert [list(row) for row in rows_of({"t": found})] == [["task", "n", *MEASURES]]


def test_heads_stand_beside_the_baselines() -> None:
    here = TINY
    tasks = head_tasks(here, ["category"], share=0.2, rng=RNG(0))
    head = fit_head(tasks[0], QUICK, encode=ENCODE).head
    beside = {"head": as_method([head], ENCODE)}
    results = evaluate_labels(here, ["majority"], encode=ENCODE, beside=beside, only=["category"])
    assert set(results.runs) == {"majority", "head"}
    assert results.runs["head"].metrics["accuracy"] > results.runs["majority"].metrics["accuracy"]
    with pytest.raises(ConfigError, match="beside: names must not be among"):
        evaluate_labels(here, ["majority"], beside={"tfidf": as_method([head], ENCODE)})
    with pytest.raises(ConfigError, match="there must be one for task 'intent'"):
        evaluate_labels(here, ["majority"], beside=beside)
    with pytest.raises(ConfigError, match="only: must be among category, intent, sentiment, got colour"):
        evaluate_labels(here, ["majority"], only=["colour"])
