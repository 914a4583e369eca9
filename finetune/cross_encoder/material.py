"""The batches of a cross-encoder's training: pairs of an anchor and an item, drawn by number as `material` draws.

Covers which pairs a batch holds, and the trainer that reads them. Nothing here keeps a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...profiling.adapters.text_model import TextModel
from ..examples import Examples
from ..losses import LossConfig
from ..material import Material
from ..negatives import Found
from ..run_folder import Curve
from ..trainer import Look, TextTrainer
from .config import CrossConfig
from .losses import CrossLossConfig, PairTargets, cross_loss
from .model import CrossModel


class PairMaterial(Material):
    """The batches of a whole training.

    Args:
        examples: what is learned from
        model: whose tokenizer cuts the pairs
        config: batch size, documents an anchor and seed
        negatives: further documents for each anchor and which of them are real; None = none
    """

    def __init__(
        self, examples: Examples, model: CrossModel, config: CrossConfig, *, negatives: Found | None = None
    ) -> None:
        train = config.train
        super().__init__(
            examples,
            ([], []),
            batch_anchors=train.batch_anchors,
            most=train.documents_per_anchor,
            seed=train.seed,
            negatives=negatives,
        )
        self._cut, self._top = model.pairs, float(max(examples.gain.max(initial=0.0), 1e-30))

    def batch(self, step: int) -> dict[str, Tensor]:
        """Batch number ``step``: ``own`` (p,), rows of ``anchor`` and ``document`` (p,), ``gain`` (p,) in [0, 1], and
        ``weight`` (n,).

        Pairs are the links among the batch's documents, and each anchor with its own negatives.
        """
        whole = super().batch(step)
        wanted = whole["judged"].clone()
        if self._negatives is not None:
            wanted |= self._own_negatives(whole) & ~whole["spared"]
        own, place = wanted.nonzero(as_tuple=True)
        return {
            "own": own,
            "anchor": whole["anchor"][own],
            "document": whole["document"][place],
            "gain": (whole["gain"][own, place] / self._top).clamp(0.0, 1.0),
            "weight": whole["weight"],
        }

    def texts(self, batch: Mapping[str, Tensor]) -> list[list[int]]:
        """Token ids of the batch's pairs."""
        anchors, documents = self.examples.anchors, self.examples.documents
        rows = zip(batch["anchor"].tolist(), batch["document"].tolist(), strict=True)
        return self._cut([(anchors[a], documents[d]) for a, d in rows])

    def n_texts(self, batch: Mapping[str, Tensor]) -> int:
        """Pairs in a batch."""
        return len(batch["own"])

    def _own_negatives(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Which documents of a batch are negatives found for each anchor, (n, m)."""
        wanted = np.zeros(tuple(batch["judged"].shape), dtype=bool)
        if self._negatives is not None:
            found, real = (array[batch["anchor"].numpy()] for array in self._negatives)  # (n, n_negatives)
            of, _ = np.nonzero(real)
            wanted[of, np.searchsorted(batch["document"].numpy(), found[real])] = True
        return torch.from_numpy(wanted)


class CrossTrainer(TextTrainer):
    """`TextTrainer` for a cross-encoder: what the model gives are logits, and the loss is of pairs."""

    def __init__(
        self,
        model: CrossModel,
        material: PairMaterial,
        config: CrossConfig,
        *,
        steps: int,
        out: Path,
        look: Look,
        curve: Curve,
    ) -> None:
        self._pair_loss: CrossLossConfig = config.loss
        super().__init__(
            cast(TextModel, model),  # the trainer asks for encode_tokens, adapter and parameters alone
            material,
            loss=LossConfig(),
            config=config.train,
            steps=steps,
            rate=config.learning_rate,
            out=out,
            look=look,
            callbacks=[curve],
        )

    def loss_of(self, vectors: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The loss of the logits (p, 1) of a batch's pairs."""
        targets = PairTargets(own=inputs["own"], gain=inputs["gain"], weight=inputs["weight"])
        return cross_loss(vectors[:, 0], targets, self._pair_loss)
