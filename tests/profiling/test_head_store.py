from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.errors import ArtefactError, ConfigError
from tasteprint.profiling.heads.head import TaskHead
from tasteprint.profiling.heads.store import open_heads, save_heads, stamp_of_heads

from .head_samples import linear_head, word_head

CONFIG = EncoderConfig(name="hash:8")
PROBES = ["a lamp", "a red lamp", ""]


def wide_head() -> TaskHead:
    """`linear_head` over eight dimensions, with words."""
    head, words = linear_head(), word_head()
    rng = np.random.default_rng(0)
    layers = ((rng.normal(size=(2, 8)).astype(np.float32), np.ones(2, dtype=np.float32)),)
    means = rng.normal(size=(2, 8)).astype(np.float32)
    network = replace(words.network, centre=np.ones(8, dtype=np.float32), scale=0.25, layers=layers, means=means)
    return replace(head, network=network, words=words.words, out_label="other", spread=(2.0, 3.0), temperature=1.7)


def saved(path: Path) -> Path:
    save_heads(
        path,
        [wide_head(), word_head()],
        encoder=open_encoder(CONFIG),
        config=CONFIG,
        probes=PROBES,
        inputs={"stage": "00ff"},
        about={"seed": 3},
    )
    return path


def test_what_is_opened_is_what_was_saved(tmp_path: Path) -> None:
    found = open_heads(saved(tmp_path / "heads"))
    assert found.about == {"seed": 3}
    assert found.encoder is not None
    assert found.encoder.stamp == HashEncoder(8).stamp == stamp_of_heads(tmp_path / "heads")
    texts = ["good lamp", "bad"]
    vectors = HashEncoder(8).encode(texts, "query")
    for mine, theirs in zip([wide_head(), word_head()], found.heads, strict=True):
        for name in ("task", "kind", "classes", "out_label", "temperature", "out_score", "spread", "abstain_below"):
            assert getattr(mine, name) == getattr(theirs, name), name
        one, two = mine.answer(texts, vectors), theirs.answer(texts, vectors)
        np.testing.assert_array_equal(one.probability, two.probability)
        np.testing.assert_array_equal(one.familiarity, two.familiarity)
    stage, mood = found.answer(texts)[0]
    assert (stage.task, mood.task, mood.label) == ("stage", "mood", "glad")


def test_another_encoder_is_refused_by_both_names(tmp_path: Path) -> None:
    path = saved(tmp_path / "heads")
    with pytest.raises(ArtefactError, match=r"made by encoder .* but expected") as refused:
        open_heads(path, encoder=HashEncoder(16))
    assert HashEncoder(16).stamp.digest in str(refused.value)
    assert HashEncoder(8).stamp.digest in str(refused.value)


def test_an_encoder_that_says_it_is_the_one_and_is_not_is_found_out(tmp_path: Path) -> None:
    class Liar:
        dim, stamp = 8, HashEncoder(8).stamp

        def encode(self, texts: list[str], kind: str = "item") -> np.ndarray:
            return np.roll(HashEncoder(8).encode(texts), 1, axis=1)

    with pytest.raises(ArtefactError, match=r"probe .* must get its recorded vector, but the cosine to it is"):
        open_heads(saved(tmp_path / "heads"), encoder=Liar())


def test_a_program_that_answers_otherwise_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "heads")
    from tasteprint.profiling.heads import head

    monkeypatch.setattr(head, "softmax", lambda logits: np.full(logits.shape, 0.5, dtype=np.float32))
    with pytest.raises(ArtefactError, match="task 'stage' answers its probes otherwise"):
        open_heads(path)


def test_damage_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path / "heads")
    arrays = next(path.glob("v-*/arrays.safetensors"))
    content = bytearray(arrays.read_bytes())
    content[-3] ^= 1
    arrays.write_bytes(bytes(content))
    with pytest.raises(ArtefactError, match=r"arrays\.safetensors"):
        open_heads(path)
    with pytest.raises(ArtefactError, match="nothing was published"):
        open_heads(tmp_path / "nowhere")


def test_heads_of_words_need_no_encoder(tmp_path: Path) -> None:
    save_heads(tmp_path, [word_head()], encoder=None, probes=["good"])
    assert stamp_of_heads(tmp_path) is None
    found = open_heads(tmp_path, encoder=HashEncoder(16))
    assert found.encoder is None
    assert [answer.label for (answer,) in found.answer(["good", "bad", ""])] == ["glad", "sad", None]


def test_heads_that_need_an_encoder_are_not_saved_without(tmp_path: Path) -> None:
    for heads, probes in (([linear_head()], ["a"]), ([], ["a"]), ([word_head()], [])):
        with pytest.raises(ConfigError, match="must not be empty"):
            save_heads(tmp_path, heads, encoder=None, probes=probes)
    assert not list(tmp_path.iterdir())
