"""The batches of a training, each drawn by its own number from examples, tokens, negatives and seeds.

Nothing here keeps a state, which is what makes a resumed training the same as one that was never stopped. What is done
with a batch is `trainer`'s work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .examples import Examples, batch_of

Teacher = Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray[np.float32]]
"""(anchor rows (n,), document rows (m,)) -> scores of a better model, (n, m)."""


class Material(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The batches of a whole training, each drawn by its own number: no state, so that resuming is exact.

    Args:
        examples: what is learned from
        tokens: token ids of the anchors and of the documents
        batch_anchors: anchors in a batch
        most: linked documents of an anchor in a batch
        seed: draws the order of each pass, and the documents
        negatives: further documents for each anchor, (n_anchors, n_negatives), and which of them are real; None = none
        log_q: log probability that a document is in a batch, (n_documents,); None = not corrected for
        teacher: scores of a better model for (anchor rows, document rows), (n, m); None = there is none
    """

    def __init__(
        self,
        examples: Examples,
        tokens: tuple[Sequence[list[int]], Sequence[list[int]]],
        *,
        batch_anchors: int,
        most: int,
        seed: int,
        negatives: tuple[NDArray[np.int32], NDArray[np.bool_]] | None = None,
        log_q: NDArray[np.float32] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.examples, self.tokens = examples, tokens
        self._n, self._most, self._seed = min(batch_anchors, len(examples)), most, seed
        self._negatives, self._log_q, self._teacher = negatives, log_q, teacher

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass; anchors left over wait for the next one."""
        return max(1, len(self.examples) // self._n)

    def __len__(self) -> int:
        return self.steps_per_epoch * 10**6  # how long to train is the trainer's to say

    def batch(self, step: int) -> dict[str, Tensor]:
        """Batch number ``step`` of the training: rows of anchors and documents, and `losses.Targets` as tensors."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self.examples))
        rows = order[place * self._n : (place + 1) * self._n].astype(np.int32)
        extra = None
        if self._negatives is not None:
            found, real = self._negatives
            extra = found[rows][real[rows]]
        rng = np.random.default_rng([self._seed, epoch, place + 1])
        batch = batch_of(self.examples, rows, most=self._most, negatives=extra, rng=rng)
        arrays = {
            "anchor": batch.anchor.astype(np.int64),
            "document": batch.document.astype(np.int64),
            "gain": batch.gain,
            "judged": batch.judged,
            "spared": batch.spared,
            "weight": batch.weight,
        }
        if self._log_q is not None:
            arrays["document_log_q"] = self._log_q[batch.document]
        if self._teacher is not None:
            arrays["teacher"] = self._teacher(batch.anchor, batch.document)
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def texts(self, batch: Mapping[str, Tensor]) -> list[list[int]]:
        """Token ids of the batch's anchors, then of its documents."""
        anchors, documents = self.tokens
        return [anchors[row] for row in batch["anchor"].tolist()] + [
            documents[row] for row in batch["document"].tolist()
        ]

    def n_texts(self, batch: Mapping[str, Tensor]) -> int:
        """How many `texts` gives."""
        return len(batch["anchor"]) + len(batch["document"])

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        return self.batch(step)
