from dataclasses import replace

import pytest

from tasteprint.profiling.intent.stages import STAGES, StageEvidence, stage_probabilities

PLAIN = StageEvidence(
    n_words=2, n_models=0, n_facets=0, duplicate=0.3, together=1.0, matches=40, concentration=0.7, confidence=0.9
)


def stage(text: str, evidence: StageEvidence = PLAIN, share: float = 0.0) -> str:
    found, _ = stage_probabilities(text, replace(evidence, n_words=len(text.split())), lambda word: share)
    assert sum(found.values()) == pytest.approx(1.0)
    assert set(found) == set(STAGES)
    return max(found, key=lambda s: found[s])


@pytest.mark.parametrize(
    ("text", "want"),
    [
        *[(text, "browse") for text in ("milk", "red running shoes", "usb hub", "kitchen faucet with sprayer")],
        *[(text, "compare") for text in ("iphone vs galaxy", "best coffee grinder", "difference between oled and lcd")],
        *[(text, "explore") for text in ("gift ideas", "something for dad", "presents for a 10 year old")],
        *[
            (text, "get_help")
            for text in ("how do i return my order", "where is my parcel?", "cancel my order", "refund")
        ],
    ],
)
def test_words_decide(text: str, want: str) -> None:
    assert stage(text) == want


def test_the_catalogue_decides() -> None:
    assert stage("brother tn 2110", replace(PLAIN, n_models=1)) == "look_up"
    assert stage("the whole title of one item", replace(PLAIN, duplicate=1.0, matches=1)) == "look_up"
    assert stage("things", replace(PLAIN, concentration=0.0)) == "explore"


def test_a_signal_word_that_is_a_product_word_here_counts_less() -> None:
    assert stage("gift wrap", share=0.0) == "explore"
    assert stage("gift wrap", share=0.05) == "browse"
    assert stage("warranty repair kit", share=0.05) == "browse"


def test_signals_are_named() -> None:
    _, why = stage_probabilities("how do i track my order?", PLAIN, lambda word: 0.0)
    assert any("asks for help" in w for w in why)
    assert "is a question" in why
    _, why = stage_probabilities("lamp", PLAIN, lambda word: 0.0)
    assert why == []
