"""The static encoder: against hand figures, closed forms, scikit-learn and model2vec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tasteprint.profiling.encoders.distil import (
    DistilConfig,
    distil_static,
    fit_rows,
    frequent_pairs,
    principal_axes,
    sif_weights,
    token_vectors,
    zipf,
)
from tasteprint.profiling.encoders.encoder import Encoder, EncoderConfig, HashEncoder, open_encoder
from tasteprint.profiling.encoders.static import (
    StaticTable,
    features,
    open_static,
    open_tokenizer,
    token_ids,
    write_static,
)
from tasteprint.profiling.errors import EncoderError

WORDS = ("red", "blue", "lamp", "desk", "sofa", "leather", "shoe", "steel", "faucet", "kitchen", "the", "of", "in")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
VOCABULARY = {word: at for at, word in enumerate([*SPECIAL, *WORDS, "##s", "[unused1]"])}


def write_tokenizer(file: Path) -> Path:
    """A WordPiece tokenizer of a few words, with special tokens around each text."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(file))
    return file


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "tokenizer.json")


def sentences(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(2, 7))) for _ in range(n)]


def table(dim: int = 3, pairs: NDArray[np.int32] | None = None, dtype: type = np.float32) -> StaticTable:
    rng = np.random.default_rng(1)
    pairs = np.empty((0, 2), dtype=np.int32) if pairs is None else pairs
    return StaticTable(
        rng.normal(size=(len(VOCABULARY), dim)).astype(dtype), pairs, rng.normal(size=(len(pairs), dim)).astype(dtype)
    )


def test_a_text_is_the_mean_of_its_tokens_and_pairs(tokenizer_file: Path, tmp_path: Path) -> None:
    v = VOCABULARY
    pairs = np.array([[v["red"], v["lamp"]]], dtype=np.int32)
    made = table(pairs=pairs)
    write_static(made, open_tokenizer(tokenizer_file, 512), tmp_path / "static", about={})
    encoder = open_static(tmp_path / "static")
    assert isinstance(encoder, Encoder)
    vectors = encoder.encode(["Red lamps", "lamp red", "", None, "xyz", "xyz red", "  lamp red "], "query")
    token, pair = made.tokens, made.pair_vectors
    expected = [
        token[v["red"]] + token[v["lamp"]] + token[v["##s"]] + pair[0],  # the length is divided out again
        token[v["lamp"]] + token[v["red"]],
        np.zeros(3),
        np.zeros(3),
        token[v["[UNK]"]],  # nothing else is known of it
        token[v["red"]],
    ]
    for row, wanted in enumerate(expected):
        np.testing.assert_allclose(vectors[row], wanted / max(np.linalg.norm(wanted), 1e-9), atol=1e-6)
    assert vectors[6].tobytes() == vectors[1].tobytes()
    assert vectors.dtype == np.float32
    assert encoder.encode([]).shape == (0, 3)


def test_pairs_do_not_reach_over_the_end_of_a_text() -> None:
    pairs = np.array([[1, 2], [2, 1]], dtype=np.int32)
    made = features([[1], [], [2, 1], [0, 1]], 3, pairs).toarray()
    assert made[:, 3:].tolist() == [[0, 0], [0, 0], [0, 0.5], [0, 0]]
    assert features([], 3, pairs).shape == (0, 5)


def test_a_vector_does_not_depend_on_the_texts_around_it(tokenizer_file: Path, tmp_path: Path) -> None:
    write_static(table(), open_tokenizer(tokenizer_file, 512), tmp_path / "static", about={})
    encoder = open_static(tmp_path / "static")
    texts = sentences(50)
    together = encoder.encode(texts)
    assert all(encoder.encode([text]).tobytes() == together[row].tobytes() for row, text in enumerate(texts))


def test_long_texts_are_cut(tokenizer_file: Path, tmp_path: Path) -> None:
    write_static(table(), open_tokenizer(tokenizer_file, 512), tmp_path / "static", about={"max_length": 4})
    encoder = open_static(tmp_path / "static")
    assert encoder.stamp.max_length == 4
    both = encoder.encode(["red lamp desk sofa shoe", "red lamp desk sofa"])
    assert both[0].tobytes() == both[1].tobytes()


def test_sif_and_zipf_by_hand() -> None:
    np.testing.assert_allclose(zipf(3), np.array([1 / 2, 1 / 3, 1 / 4]) * 12 / 13)
    np.testing.assert_allclose(sif_weights(np.array([0.0, 1e-3, 3e-3]), 1e-3), [1, 0.5, 0.25])


def test_pairs_are_counted_once_a_text_and_the_rarest_go_first() -> None:
    ids = [[1, 2, 1, 2], [1, 2], [2, 3], [2, 3], [2, 3], [4, 5]]
    assert frequent_pairs(ids, 2, 10).tolist() == [[1, 2], [2, 3]]  # 2, 1 stands in one text only
    assert frequent_pairs(ids, 2, 1).tolist() == [[2, 3]]
    assert (
        frequent_pairs(ids, 0, 9).shape == frequent_pairs(ids, 9, 0).shape == frequent_pairs([], 1, 1).shape == (0, 2)
    )


def test_principal_axes_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(0).normal(size=(80, 6)) * np.array([5, 4, 3, 2, 1, 0.5])
    rows -= rows.mean(axis=0)
    mine, theirs = principal_axes(rows, 3), PCA(3).fit(rows).components_
    np.testing.assert_allclose(np.abs(np.sum(mine * theirs, axis=1)), 1, atol=1e-5)


def test_fit_is_ridge_regression() -> None:
    """Closed form: with the start at zero it is plain ridge; with a start, ridge on what the start leaves."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x = rng.random((40, 7)).astype(np.float32)
    y = rng.normal(size=(40, 3)).astype(np.float32)
    zero = np.zeros((7, 3), dtype=np.float32)
    theirs = Ridge(alpha=0.5, fit_intercept=False).fit(x, y).coef_.T
    np.testing.assert_allclose(fit_rows(csr_matrix(x), y, zero, ridge=0.5), theirs, atol=2e-3)
    start = rng.normal(size=(7, 3)).astype(np.float32)
    guess = x @ start
    scaled = start * (guess * y).sum() / (guess * guess).sum()
    theirs = scaled + Ridge(alpha=0.5, fit_intercept=False).fit(x, y - x @ scaled).coef_.T
    np.testing.assert_allclose(fit_rows(csr_matrix(x), y, start, ridge=0.5), theirs, atol=2e-3)
    np.testing.assert_allclose(fit_rows(csr_matrix(x), y, start, ridge=1e9), scaled, atol=1e-4)


def test_fitting_brings_it_nearer_to_the_base(tokenizer_file: Path, tmp_path: Path) -> None:
    """The hash encoder adds words and pairs of words up, so a table of both can become it."""
    base, texts = HashEncoder(dim=32), sentences(600)
    vectors = base.encode(texts)
    made = {
        name: distil_static(
            base,
            tokenizer_file,
            tmp_path / name,
            texts=texts,
            vectors=vectors,
            config=DistilConfig(ridge=0.01, iterations=100, pair_count=count),
            rng=np.random.default_rng(0),
        )
        for name, count in (("words", 0), ("pairs", 2))
    }
    plain = distil_static(base, tokenizer_file, tmp_path / "plain")
    assert (plain.fidelity, plain.n_texts, plain.n_pairs) == (None, 0, 0)
    cosines = {}
    fresh = sentences(200, seed=9)
    for name in ("plain", "words", "pairs"):
        cosines[name] = float((open_static(tmp_path / name).encode(fresh) * base.encode(fresh)).sum(axis=1).mean())
    assert cosines["plain"] + 0.02 < cosines["words"] < cosines["pairs"] - 0.02
    assert cosines["pairs"] > 0.98
    said = made["pairs"].fidelity
    assert said is not None
    assert said.n_texts == 60
    assert made["pairs"].n_texts == 540
    assert said.cosine_mean == pytest.approx(cosines["pairs"], abs=0.02)
    assert json.loads((tmp_path / "pairs" / "config.json").read_text())["fidelity"] == said.to_dict()
    json.dumps(made["pairs"].to_dict())


def test_fewer_dimensions(tokenizer_file: Path, tmp_path: Path) -> None:
    base, texts = HashEncoder(dim=32), sentences(200)
    for name, options in (
        ("plain", {}),
        ("fit", {"texts": texts, "vectors": base.encode(texts), "rng": np.random.default_rng(0)}),
    ):
        made = distil_static(base, tokenizer_file, tmp_path / name, config=DistilConfig(dim=5), **options)  # type: ignore[arg-type]
        encoder = open_static(tmp_path / name)
        assert made.dim == encoder.dim == 5
        np.testing.assert_allclose(np.linalg.norm(encoder.encode(texts), axis=1), 1, atol=1e-5)


def test_special_and_unused_tokens_are_not_encoded(tokenizer_file: Path) -> None:
    vectors = token_vectors(HashEncoder(dim=16), open_tokenizer(tokenizer_file, 512))
    v = VOCABULARY
    assert not vectors[[v["[PAD]"], v["[CLS]"], v["[SEP]"], v["[unused1]"]]].any()
    np.testing.assert_array_equal(
        vectors[[v["lamp"], v["##s"], v["[UNK]"]]], HashEncoder(dim=16).encode(["lamp", "s", "[UNK]"])
    )


def test_same_seed_same_bytes_and_other_texts_another_stamp(tokenizer_file: Path, tmp_path: Path) -> None:
    base, texts = HashEncoder(dim=16), sentences(100)
    vectors = base.encode(texts)
    made = [
        distil_static(
            base,
            tokenizer_file,
            tmp_path / str(run),
            texts=texts[:n],
            vectors=vectors[:n],
            rng=np.random.default_rng(0),
        )
        for run, n in enumerate((100, 100, 90))
    ]
    assert made[0].weights == made[1].weights != made[2].weights
    stamps = [open_static(tmp_path / str(run)).stamp for run in range(3)]
    assert stamps[0].digest == stamps[1].digest != stamps[2].digest
    assert stamps[0].weights == made[0].weights
    assert stamps[0].precision == "static"


def test_lower_casing_is_kept_with_the_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    cased = Tokenizer.from_file(str(write_tokenizer(tmp_path / "cased.json")))
    cased.normalizer = None
    cased.save(str(tmp_path / "cased.json"))
    distil_static(HashEncoder(dim=16), tmp_path / "cased.json", tmp_path / "lower", lower=True)
    encoder = open_static(tmp_path / "lower")
    assert encoder.encode(["RED"]).tobytes() == encoder.encode(["red"]).tobytes()


def test_mistakes(tokenizer_file: Path, tmp_path: Path) -> None:
    base = HashEncoder(dim=16)
    with pytest.raises(EncoderError, match="at most the base's 16, got 17"):
        distil_static(base, tokenizer_file, tmp_path / "new", config=DistilConfig(dim=17))
    with pytest.raises(EncoderError, match=r"10 or more.*got 3"):
        distil_static(base, tokenizer_file, tmp_path / "new", texts=["a", "b", "c"], vectors=base.encode(["a"] * 3))
    with pytest.raises(EncoderError, match="exists; name a new folder"):
        distil_static(base, tokenizer_file, tmp_path)
    with pytest.raises(EncoderError, match=r"nowhere\.json cannot be read"):
        distil_static(base, tmp_path / "nowhere.json", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_it_opens_by_name(tokenizer_file: Path, tmp_path: Path) -> None:
    digest = write_static(table(), open_tokenizer(tokenizer_file, 512), tmp_path / "static", about={})
    name = f"static:{tmp_path / 'static'}"
    encoder = open_encoder(EncoderConfig(name=name))
    assert (encoder.stamp.name, encoder.stamp.weights) == (name, digest)
    with pytest.raises(EncoderError, match=f"pinned to {'0' * 64}"):
        open_encoder(EncoderConfig(name=name, weights_sha256="0" * 64))


def test_damage_is_named(tokenizer_file: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"config\.json cannot be read.*tasteprint distil"):
        open_static(tmp_path)
    folder = tmp_path / "static"
    digest = write_static(table(), open_tokenizer(tokenizer_file, 512), folder, about={})
    assert open_static(folder, weights_sha256=digest).stamp.weights == digest
    with pytest.raises(EncoderError, match=f"{'0' * 64}.*{digest}"):
        open_static(folder, weights_sha256="0" * 64)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderError, match="got model_type 'bert'"):
        open_static(folder)
    (folder / "config.json").write_text('{"model_type": "model2vec"}')
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-8])
    with pytest.raises(EncoderError, match="cannot be read"):
        open_static(folder)
    from safetensors.numpy import save_file

    save_file({"embeddings": np.ones((3, 2), dtype=np.float32)}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match=r"19 tokens.*vectors of 3"):
        open_static(folder)
    save_file({"embeddings": np.ones((3, 2)), "mapping": np.ones(3)}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match="holds embeddings, mapping"):
        open_static(folder)


def test_model2vec_reads_ours_and_we_read_theirs(tokenizer_file: Path, tmp_path: Path) -> None:
    model2vec = pytest.importorskip("model2vec")
    texts = [*sentences(40), "xyz red", "lamps"]
    write_static(table(dim=8), open_tokenizer(tokenizer_file, 512), tmp_path / "ours", about={})
    theirs = model2vec.StaticModel.from_pretrained(tmp_path / "ours")
    np.testing.assert_allclose(open_static(tmp_path / "ours").encode(texts), theirs.encode(texts), atol=1e-6)
    theirs.save_pretrained(tmp_path / "theirs")
    np.testing.assert_allclose(open_static(tmp_path / "theirs").encode(texts), theirs.encode(texts), atol=1e-6)
    pairs = np.array([[4, 6]], dtype=np.int32)
    write_static(table(pairs=pairs), open_tokenizer(tokenizer_file, 512), tmp_path / "pairs", about={})
    with pytest.raises(Exception, match="embeddings"):  # it must not leave the pairs out without a word
        model2vec.StaticModel.from_pretrained(tmp_path / "pairs")


def test_tokens_of_other_tokenizers() -> None:
    """Byte-level BPE has no unknown token, and its pieces carry the space before them."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import decoders as token_decoders
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE({"r": 0, "e": 1, "d": 2, "\u0120": 3, "\u0120r": 4}, [("\u0120", "r")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = token_decoders.ByteLevel()
    assert token_ids(tokenizer, ["red"], None) == [[4, 1, 2]]
    vectors = token_vectors(HashEncoder(dim=16), tokenizer)
    np.testing.assert_array_equal(vectors[4], vectors[0])  # "Gr" is read as "r"
    assert not vectors[3].any()  # a space alone is no text
