"""The transformer encoder: on a tiny random BERT made here, and on the offline MiniLM against sentence-transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasteprint.profiling.encoders.bert import pool
from tasteprint.profiling.encoders.checkpoint import read_checkpoint, weights_digest
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.encoders.schedule import batches
from tasteprint.profiling.encoders.transformer import TransformerEncoder
from tasteprint.profiling.errors import EncoderError

WORDS = ["red", "blue", "lamp", "desk", "sofa", "leather", "shoe", "steel", "faucet", "kitchen", "the", "a", "of", "in"]
TEXTS = [
    "red lamp",
    "",
    "leather sofa in the kitchen",
    "red lamp",
    None,
    "a " * 10_000,
    "😀 lamp 😀",
    "红色 lamp обувь مصباح",
    "steel kitchen faucet of the desk",
    "  ",
    "zzz",
]
BLANK = [1, 4, 9]


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with 2 layers, 16 dimensions, 24 positions, in the sentence-transformers layout."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("tiny-bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=24, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    describe(folder, "mean")
    return folder


def describe(folder: Path, pooling: str, *, modules: tuple[str, ...] = ("Transformer", "Pooling", "Normalize")) -> None:
    """Write the files that say how the checkpoint is used."""
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize", "Dense": "2_Dense"}
    listed = [{"idx": i, "path": paths[m], "type": f"sentence_transformers.models.{m}"} for i, m in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {
        f"pooling_mode_{m}": m.rpartition("_tok")[0] == pooling
        for m in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_tokens")
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes | {"word_embedding_dimension": 16}))


@pytest.fixture
def own_bert(tiny_bert: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "bert"))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_equals_a_plain_loop_over_the_model(own_bert: Path, pooling: str):
    import torch
    from transformers import AutoModel, AutoTokenizer

    describe(own_bert, pooling)
    model, tokenizer = AutoModel.from_pretrained(own_bert).eval(), AutoTokenizer.from_pretrained(own_bert)
    vectors = open_encoder(EncoderConfig(name=str(own_bert))).encode(TEXTS)
    for row, text in enumerate(TEXTS):
        if row in BLANK:
            assert not vectors[row].any()
            continue
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=24)).last_hidden_state[0]
        pooled = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.max(0).values}[pooling].numpy()
        np.testing.assert_allclose(vectors[row], pooled / np.linalg.norm(pooled), atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [64, 100, 4096])
def test_batches_change_nothing(tiny_bert: Path, batch_tokens: int):
    alone = TransformerEncoder(tiny_bert)
    expected = np.concatenate([alone.encode([text]) for text in TEXTS])
    vectors = TransformerEncoder(tiny_bert, batch_tokens=batch_tokens).encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert vectors.dtype == np.float32


def test_duplicates_are_encoded_once(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch):
    encoder = TransformerEncoder(tiny_bert)
    seen: list[int] = []
    vectors_of = encoder._runtime.vectors
    monkeypatch.setattr(encoder._runtime, "vectors", lambda tokens: seen.append(len(tokens)) or vectors_of(tokens))
    vectors = encoder.encode(["red lamp", "sofa", " red lamp ", None] * 50)
    assert sum(seen) == 2
    np.testing.assert_array_equal(vectors[:4], vectors[196:])


def test_a_stream_of_lists_equals_each_list(tiny_bert: Path):
    lists = [TEXTS, [], ["", None], ["red lamp"], TEXTS[::-1]]
    stream = TransformerEncoder(tiny_bert).encode_many(iter(lists))
    for texts, vectors in zip(lists, stream, strict=True):
        np.testing.assert_array_equal(vectors, TransformerEncoder(tiny_bert).encode(texts))


def test_blank_texts_load_nothing(tiny_bert: Path):
    encoder = TransformerEncoder(tiny_bert)
    assert not encoder.encode(["", None]).any()
    assert not encoder.encode([" "], "query").any()
    assert "_runtime" not in vars(encoder)


def test_same_twice(tiny_bert: Path):
    np.testing.assert_array_equal(
        TransformerEncoder(tiny_bert).encode(TEXTS), TransformerEncoder(tiny_bert).encode(TEXTS)
    )


def test_long_text_is_cut(tiny_bert: Path):
    encoder = TransformerEncoder(tiny_bert, max_length=8)
    cut, long, other = encoder.encode([" ".join(WORDS[:6]), " ".join(WORDS[:6] + ["sofa"] * 10_000), "sofa"])
    np.testing.assert_allclose(cut, long, atol=1e-6)
    assert encoder.stamp.max_length == 8
    assert abs(cut @ other) < 0.999
    assert TransformerEncoder(tiny_bert, max_length=4000).stamp.max_length == 24  # never beyond the positions


def test_prompts_go_before_their_kind(own_bert: Path):
    plain = TransformerEncoder(own_bert)
    (own_bert / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "red ", "document": ""}})
    )
    prompted = TransformerEncoder(own_bert)
    np.testing.assert_array_equal(prompted.encode(["lamp"], "query"), plain.encode(["red lamp"], "query"))
    np.testing.assert_array_equal(prompted.encode(["lamp"]), plain.encode(["lamp"]))
    assert prompted.stamp != plain.stamp


def test_wrong_pin_names_both(tiny_bert: Path):
    right = weights_digest(tiny_bert)
    assert open_encoder(EncoderConfig(name=str(tiny_bert), weights_sha256=right)).stamp.weights == right
    with pytest.raises(EncoderError, match=f"{'f' * 64}.*{right}"):
        open_encoder(EncoderConfig(name=str(tiny_bert), weights_sha256="f" * 64))


def test_no_modules_json_means_mean(own_bert: Path):
    (own_bert / "modules.json").unlink()
    assert read_checkpoint(own_bert).pooling == "mean"


def test_what_is_not_covered_is_said(own_bert: Path):
    describe(own_bert, "mean", modules=("Transformer", "Pooling", "Dense"))
    with pytest.raises(EncoderError, match="got Dense"):
        TransformerEncoder(own_bert)
    describe(own_bert, "mean_sqrt")
    with pytest.raises(EncoderError, match="mean, cls, max"):
        TransformerEncoder(own_bert)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_broken_files_are_named(own_bert: Path, name: str):
    (own_bert / name).write_bytes(b"{not")
    with pytest.raises(EncoderError, match="again"):
        TransformerEncoder(own_bert).encode(["lamp"])
    (own_bert / name).unlink()
    with pytest.raises(EncoderError, match=r"missing|copy the weights"):
        TransformerEncoder(own_bert)


def test_missing_weights_are_no_random_numbers(own_bert: Path):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(own_bert / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, own_bert / "model.safetensors", metadata={"format": "pt"})
    for shape in (read_checkpoint(own_bert).shape, None):
        encoder = TransformerEncoder(own_bert)
        encoder.checkpoint = replace(encoder.checkpoint, shape=shape)
        with pytest.raises(EncoderError, match=r"lacks .*encoder\.layer\.1\.output\.dense\.weight"):
            encoder.encode(["lamp"])


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_both_networks_agree(own_bert: Path, pooling: str):
    describe(own_bert, pooling)
    plain, general = TransformerEncoder(own_bert), TransformerEncoder(own_bert)
    general.checkpoint = replace(general.checkpoint, shape=None)
    assert type(plain._runtime).__name__ == "BertNetwork"
    assert type(general._runtime).__name__ == "Network"
    np.testing.assert_allclose(plain.encode(TEXTS), general.encode(TEXTS), atol=1e-5)


def test_a_variation_of_bert_goes_through_transformers(own_bert: Path):
    config = json.loads((own_bert / "config.json").read_text())
    assert read_checkpoint(own_bert).shape
    (own_bert / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert read_checkpoint(own_bert).shape is None


def test_positions_of_roberta_start_after_the_padding(own_bert: Path):
    config = json.loads((own_bert / "config.json").read_text())
    (own_bert / "config.json").write_text(json.dumps(config | {"model_type": "roberta", "pad_token_id": 1}))
    assert read_checkpoint(own_bert).positions == 22


def test_no_gpu_is_said(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EncoderError, match="sees no GPU"):
        TransformerEncoder(tiny_bert, device="cuda").encode(["lamp"])


def test_pool_by_hand():
    import torch

    hidden = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, "mean").tolist() == [[2.0, 2.0]]
    assert pool(hidden, mask, "max").tolist() == [[3.0, 4.0]]
    assert pool(hidden, mask, "cls").tolist() == [[1.0, 4.0]]


def test_batches_hold_every_row_once_within_budget():
    lengths = np.random.default_rng(0).integers(2, 60, 500).tolist()
    made = list(batches(lengths, 128))
    assert sorted(row for batch in made for row in batch) == list(range(500))
    assert all(len(b) == 1 or len(b) * max(lengths[r] for r in b) <= 128 for b in made)


@pytest.mark.pretrained
def test_equals_sentence_transformers(minilm: str):
    from sentence_transformers import SentenceTransformer

    from tasteprint.profiling.encoders.checkpoint import checkpoint_folder

    texts = [*TEXTS, "Stainless steel kitchen faucet, 2-handle, 1.8 gpm", "LED desk lamp with USB-C " * 40]
    full = [row for row, text in enumerate(texts) if row not in BLANK]
    encoder = open_encoder(EncoderConfig(name=minilm, device="cpu"))
    oracle = SentenceTransformer(str(checkpoint_folder(minilm)), device="cpu").encode([texts[row] for row in full])
    vectors = encoder.encode(texts)
    np.testing.assert_allclose(vectors[full], oracle, atol=1e-5)
    assert not vectors[BLANK].any()
    assert encoder.stamp.weights.startswith("53aa5117")
    assert encoder.stamp.max_length == 256


@pytest.mark.pretrained
def test_tokens_equal_those_of_transformers(minilm: str):
    from transformers import AutoTokenizer

    from tasteprint.profiling.encoders.checkpoint import checkpoint_folder

    texts = [text for text in TEXTS if text and text.strip()]
    texts += ["ÉCOLE naïve Straße İstanbul", "a\u200bb \x00 c\ufffd", "don't [MASK] [SEP] <b>1/2' x 3</b>", "ﬁ ½ ℃"]
    oracle = AutoTokenizer.from_pretrained(checkpoint_folder(minilm))
    network = open_encoder(EncoderConfig(name=minilm, device="cpu"))._runtime  # type: ignore[attr-defined]
    assert network.tokens(texts) == oracle(texts, truncation=True, max_length=256)["input_ids"]


@pytest.mark.pretrained
def test_the_query_path_never_imports_transformers(minilm: str):
    code = (
        "import sys\nfrom tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder\n"
        f"open_encoder(EncoderConfig(name={minilm!r})).encode(['red lamp'], 'query')\n"
        "print([name for name in ('transformers', 'sentence_transformers', 'pandas') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
