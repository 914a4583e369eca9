"""What an engine offers to `transformer.TransformerEncoder`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Runtime(Protocol):
    """A loaded network with its tokenizer.

    Attributes:
        device: ``cpu`` or ``cuda``
        workers: batches that may run at a time, each in a thread of its own
        batch_tokens: tokens in a batch, padding included, at which it is fastest
    """

    device: str
    workers: int
    batch_tokens: int

    def tokens(self, texts: Sequence[str], /) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut to the encoder's length."""
        ...

    def vectors(self, tokens: Sequence[list[int]], /) -> NDArray[np.float32]:
        """Unit vectors of one batch of token ids, (n_batch, dim); safe to call from several threads."""
        ...

    def start_worker(self) -> None:
        """Prepare the calling thread for running one of ``workers`` batches at a time."""
        ...

    def end_workers(self) -> None:
        """Put back in the caller's thread what `start_worker` changed for the whole process."""
        ...
