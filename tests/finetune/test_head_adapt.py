from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tasteprint.finetune.heads.adapt import HeadAdaptConfig, Sentences, adapt_encoder, proxy_loss, train_adapter
from tasteprint.finetune.heads.config import HeadConfig
from tasteprint.finetune.heads.data import HeadTask, Labelled
from tasteprint.finetune.heads.run import measure_heads, train_heads
from tasteprint.profiling.adapters.kinds import AdapterConfig
from tasteprint.profiling.adapters.saved import open_adapter
from tasteprint.profiling.adapters.text_model import open_text_model
from tasteprint.profiling.encoders.encoder import EncoderConfig, open_encoder
from tasteprint.profiling.errors import ArtefactError, ConfigError, EncoderError
from tasteprint.profiling.heads.store import open_heads
from tasteprint.profiling.tables.tiny import tiny_shop

from ..small_bert import save_small_bert

WORDS = ("red", "green", "blue", "lamp", "chair", "for", "the", "old", "house", "now", "please", "soon")
LORA = AdapterConfig(rank=2)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_small_bert(tmp_path_factory.mktemp("bert") / "model", WORDS))


def labelled(n: int, seed: int, labels: tuple[str, ...]) -> Labelled:
    rng = np.random.default_rng(seed)
    said = rng.choice(labels, n)
    return Labelled(tuple(f"{label} {' '.join(rng.choice(WORDS[4:], 3))}" for label in said), said.astype(object))


def tasks() -> list[HeadTask]:
    colours, goods = ("blue", "green", "red"), ("chair", "lamp")
    return [
        HeadTask("colour", labelled(48, 0, colours), labelled(30, 1, colours), True, colours, None),
        HeadTask("good", labelled(24, 2, goods), labelled(30, 3, goods), True, goods, None),
    ]


def test_the_loss_by_hand_over_two_tasks(bert: str) -> None:
    model = open_text_model(bert, LORA, dropout=0.0)
    texts = ["red lamp", "green chair", "old house"]
    sentences = Sentences(model.tokens(texts), np.array([0, 1, 0]), np.array([1, 0, 0]))
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(2, model.dim)).astype(np.float32), rng.normal(size=(3, model.dim)).astype(np.float32)]
    proxies = torch.nn.ParameterList(torch.nn.Parameter(torch.from_numpy(r)) for r in rows)
    loss = proxy_loss(model, sentences, proxies, np.array([2, 1, 0]), 7.0)
    vectors = open_encoder(EncoderConfig(name=bert)).encode(texts)
    total = 0.0
    for vector, task, row in zip(vectors, sentences.task, sentences.row, strict=True):
        logits = 7.0 * (rows[task] / np.linalg.norm(rows[task], axis=1, keepdims=True)) @ vector
        total += np.log(np.exp(logits).sum()) - logits[row]
    assert float(loss.detach()) == pytest.approx(total / 3, rel=1e-4)
    loss.backward()
    assert proxies[0].grad is not None
    assert any(p.grad is not None and bool(p.grad.any()) for p in model.parameters() if p.requires_grad)


def test_training_lowers_the_loss_and_the_same_seed_repeats_it(bert: str) -> None:
    config = HeadAdaptConfig(adapter=LORA, epochs=6, batch=16, lr=1e-2, proxy_lr=1e-2)
    task = tasks()[0]

    def losses(seed: int) -> list[float]:
        model = open_text_model(bert, LORA, seed=0)
        sentences = Sentences(model.tokens(task.train.texts), np.zeros(48, dtype=int), task.rows(task.train))
        start = np.eye(3, model.dim, dtype=np.float32)
        return train_adapter(model, sentences, [start], config, seed=seed)

    one = losses(0)
    assert one[-1] < 0.7 * one[0]
    assert losses(0) == one
    assert losses(1) != one


def test_an_adapted_encoder_tells_classes_apart_better_and_is_verified(bert: str, tmp_path: Path) -> None:
    config = HeadAdaptConfig(adapter=LORA, epochs=8, batch=16, lr=1e-2)
    adapted = adapt_encoder(tasks(), EncoderConfig(name=bert), tmp_path / "adapter", config)
    found = open_adapter(tmp_path / "adapter")
    assert found.about["settings"]["trained"] == "heads"
    assert len(found.about["metrics"]["loss_by_epoch"]) == 8
    task = tasks()[0]
    apart = []
    for one in (EncoderConfig(name=bert), adapted):
        vectors, rows = open_encoder(one).encode(task.held_out.texts, "query"), task.rows(task.held_out)
        same = rows[:, None] == rows[None, :]
        cosine = vectors @ vectors.T
        apart.append(cosine[same].mean() - cosine[~same].mean())
    assert apart[1] > apart[0] + 0.1
    with pytest.raises(ConfigError, match="adapter must be null"):
        adapt_encoder(tasks(), adapted, tmp_path / "second", config)
    with pytest.raises(EncoderError):
        adapt_encoder(tasks(), EncoderConfig(name="hash:16"), tmp_path / "third", config)


def test_heads_on_an_adapter_carry_it_with_them(bert: str, tmp_path: Path) -> None:
    shop = tiny_shop()
    quick = HeadConfig(kind="linear", hidden=8, epochs=(2,), min_steps=20)
    run = train_heads(
        shop, tmp_path / "here", tasks=["category"], encoder=EncoderConfig(name=bert), adapter=LORA, config=quick,
        adapt={"epochs": 2, "lr": 1e-2},
    )  # fmt: skip
    assert run.to_dict()["adapter"] == "lora"
    moved = (tmp_path / "here").rename(tmp_path / "moved")
    heads = open_heads(moved)
    assert heads.encoder is not None
    assert heads.encoder.stamp.adapter
    with pytest.raises(ArtefactError, match="adapter"):
        open_heads(moved, encoder=open_encoder(EncoderConfig(name=bert)))
    results = measure_heads(shop, {"heads": moved}, baselines=["majority"])
    assert set(results.runs["heads"].per_slice) == {"category"}


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValidationError, match="epochs"):
        HeadAdaptConfig(epochs=0)
