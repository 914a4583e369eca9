"""From a shop and a configuration to what a training needs: examples, held-out anchors, tokens and negatives.

Everything random is drawn from the configuration's seed, the held-out side from a seed of its own, so that runs with
different seeds are measured on the same anchors. Training itself is `trainer`'s work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..profiling.adapters.text_model import TextModel
from ..profiling.encoders.encoder import EncoderConfig, open_encoder
from ..profiling.errors import ConfigError
from ..profiling.tables.shop import Shop
from ..profiling.templates import TemplateConfig, item_texts
from ..profiling.texts import TextKind
from ..retrieval.second_stage.cross_encoder import is_cross_encoder, open_cross_encoder
from .cross_encoder.teacher import cross_teacher
from .examples import Examples
from .gather import encode_shared
from .leaks import check_leaks
from .losses import asks_teacher
from .material import Material, Teacher
from .negatives import Found, find_negatives, log_frequency
from .pairs import PAIR_SOURCES, shop_examples
from .pairs_config import PairsConfig
from .splits import split_groups
from .train_config import FinetuneConfig, TrainConfig, ValidationConfig
from .validation import Held, held_out

_HELD_SEED = 20_100  # of the held-out side: the same whatever the run's seed


class WhatToLearn(Protocol):
    """The settings that say what a training of any kind learns from."""

    @property
    def pairs(self) -> PairsConfig:
        """Which pairs."""
        ...

    @property
    def template(self) -> TemplateConfig:
        """How an item becomes a text."""
        ...

    @property
    def train(self) -> TrainConfig:
        """Seed, passes and batch size."""
        ...

    @property
    def validation(self) -> ValidationConfig:
        """What is held out."""
        ...


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a training needs of a shop.

    Attributes:
        train: what is learned from
        held: what is looked at
        data_digest: sha256 of the examples, 64 hex digits
        judged: whether the held-out side are validation judgements
    """

    train: Examples
    held: Held
    data_digest: str
    judged: bool


def prepare(shop: Shop, config: WhatToLearn) -> Prepared:
    """Examples of a shop, cut into a side to learn from and a held-out side, and checked for leaks.

    Held out are the shop's validation judgements where it has some, else a share of the anchors, near duplicates
    together.

    Raises:
        ConfigError, ShopError: the shop lacks what the configuration wants, or too little is left.
        LeakError: something held out would be learned from.
    """
    rng = np.random.default_rng([config.train.seed, 1])
    fixed = np.random.default_rng(_HELD_SEED)
    texts = item_texts(shop.table("items"), config.template)
    judged = config.pairs.model_copy(update={"split": "valid", "sources": ("judged",)})
    train = shop_examples(shop, config.pairs, template=config.template, rng=rng)
    is_judged = PAIR_SOURCES["judged"].has(shop, judged)
    if is_judged:
        kept, held = train, shop_examples(shop, judged, template=config.template, rng=fixed)
    else:
        kept, held = split_groups(train, config.validation.share, rng=fixed)
    if not len(kept):
        raise ConfigError("pairs: nothing is left to learn from; name other sources or a smaller validation.share")
    check_leaks(kept, shop, until=config.pairs.until, held=held)
    found = held_out(held, texts, config.validation, rng=fixed)
    return Prepared(kept, found, examples_digest(kept), is_judged)


def material(prepared: Prepared, model: TextModel, config: FinetuneConfig) -> Material:
    """The batches of a training, texts cut to tokens and negatives found.

    Mined negatives are found with the model as it is before training.
    """
    examples = prepared.train
    tokens = tokens_of(model, examples)
    rng = np.random.default_rng([config.train.seed, 2])
    vectors = None
    if config.negatives.kind == "hard":
        model.eval()
        first, second = (encode_shared(model, some, batch_tokens=config.train.batch_tokens) for some in tokens)
        vectors = (first, second)
        model.train()
    negatives = find_negatives(examples, config.negatives, vectors=vectors, rng=rng)
    return Material(
        examples,
        tokens,
        batch_anchors=config.train.batch_anchors,
        most=config.train.documents_per_anchor,
        seed=config.train.seed,
        negatives=negatives,
        log_q=log_frequency(examples) if config.negatives.log_q else None,
        teacher=_teacher(examples, config, negatives),
    )


def _teacher(examples: Examples, config: FinetuneConfig, negatives: Found | None) -> Teacher | None:
    """Scores of a cross-encoder, or cosines of another encoder whose vectors are made once; None where the loss does
    not ask for them."""
    if not asks_teacher(config.loss):
        return None
    if config.teacher is not None and is_cross_encoder(config.teacher):
        return cross_teacher(examples, open_cross_encoder(config.teacher).scores, negatives)
    encoder = open_encoder(EncoderConfig(name=config.teacher or config.base))
    anchors, documents = encoder.encode(examples.anchors, "query"), encoder.encode(examples.documents, "item")
    return lambda some, others: anchors[some] @ documents[others].T


def tokens_of(model: TextModel, examples: Examples) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of the anchors and of the documents, behind the checkpoint's prompt for what each is."""
    anchors = [PAIR_SOURCES[str(source)].anchor for source in examples.source]
    documents: list[TextKind] = ["item"] * len(examples.documents)
    for anchor, document in zip(examples.anchor.tolist(), examples.document.tolist(), strict=True):
        documents[document] = PAIR_SOURCES[str(examples.source[anchor])].document
    return tokens_as(model, examples.anchors, anchors), tokens_as(model, examples.documents, documents)


def tokens_as(model: TextModel, texts: Sequence[str], kinds: Sequence[TextKind]) -> list[list[int]]:
    """Token ids of texts, each behind the checkpoint's prompt for its kind."""
    found: list[list[int]] = [[]] * len(texts)
    for kind in dict.fromkeys(kinds):
        rows = [row for row, one in enumerate(kinds) if one == kind]
        for row, ids in zip(rows, model.tokens([texts[row] for row in rows], kind), strict=True):
            found[row] = ids
    return found


def n_steps(n_anchors: int, config: WhatToLearn) -> int:
    """Optimiser steps of a training on so many anchors; what does not fill a batch waits for the next pass.

    >>> n_steps(100, FinetuneConfig.model_validate({"train": {"epochs": 3, "batch_anchors": 40}}))
    6
    """
    steps = max(1, round(config.train.epochs * max(1, n_anchors // config.train.batch_anchors)))
    return min(steps, config.train.max_steps or steps)


def examples_digest(examples: Examples) -> str:
    """sha256 of everything a training learns from, 64 hex digits."""
    digest = hashlib.sha256()
    for texts in (examples.anchors, examples.documents):
        for text in texts:
            raw = text.encode()
            digest.update(len(raw).to_bytes(8, "little") + raw)
    for array in (examples.anchor, examples.document, examples.gain, examples.weight):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
