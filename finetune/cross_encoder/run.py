"""Training a cross-encoder for a shop, in a folder that can be resumed at any time.

Covers judgements, clicks and every other source of pairs that fine-tuning has, the look at held-out pairs that chooses
the best state, and saving it with the weight it gets beside a search. The folder is laid out as `run_folder` says, and
RUN/cross_encoder/ is what `retrieval.cross_encoder` opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from transformers import set_seed

from ...evaluation.harness import Progress
from ...evaluation.metrics import METRICS, look_up
from ...evaluation.rank import mean
from ...evaluation.ranking import top_k
from ...profiling.encoders.encoder import Encoder, EncoderConfig, open_encoder
from ...profiling.tables.shop import Shop
from ...retrieval.second_stage.cross_encoder import Pair
from ..examples import Examples
from ..gather import gathered, share
from ..negatives import Found, find_negatives
from ..prepare import n_steps, prepare
from ..run import complete
from ..run_folder import Curve, Outcome, claim, plan_of
from ..trainer import Look
from ..validation import Held
from .config import CrossConfig
from .material import CrossTrainer, PairMaterial
from .model import CrossModel, open_cross_model, save_cross_model
from .weight import choose_weight

CROSS = "cross_encoder"
"""Folder of the saved cross-encoder in a run."""

_NEAR = 20  # items read beside the linked ones where links have no grades
_PROBES = 16


@dataclass(frozen=True, eq=False)
class HeldPairs:
    """Held-out pairs that are looked at during training.

    Attributes:
        held: the anchors, documents and gains they are of
        anchor, document: rows of each pair, (n_pairs,)
        base: cosines of the base encoder, (n_pairs,)
    """

    held: Held
    anchor: NDArray[np.int64]
    document: NDArray[np.int64]
    base: NDArray[np.float32]

    def pairs(self) -> list[Pair]:
        """Their texts."""
        rows = zip(self.anchor.tolist(), self.document.tolist(), strict=True)
        return [(self.held.anchors[a], self.held.documents[d]) for a, d in rows]

    def measure(self, scores: NDArray[np.float32]) -> dict[str, float]:
        """``ndcg@10`` of each anchor's pairs by these scores (n_pairs,), mean over anchors, and ``score``, the same."""
        table = np.full((len(self.held.anchors), len(self.held.documents)), -np.inf, dtype=np.float32)
        table[self.anchor, self.document] = scores
        found = top_k(table, 10)
        value = mean(METRICS["ndcg"](look_up(found.items, found.valid, self.held.truth), self.held.truth, 10))
        return {"ndcg@10": value, "score": value}


def train_cross_encoder(
    shop: Shop,
    config: CrossConfig,
    out: str | Path,
    *,
    clock: Callable[[], float],
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Train, save the state that was best on held-out pairs; goes on where a try stopped.

    In a launch of several processes all call this; the first one writes.

    Args:
        shop: the tables
        config: every setting
        out: folder of the run; an unfinished run of the same settings and data is resumed
        clock: gives seconds
        cache: folder of a vector cache, None = none
        progress: told what is going on

    Raises:
        ConfigError: ``out`` holds a finished run or one of other settings or data, or the shop lacks what is wanted.
        EncoderError: the base cannot be trained so.
    """
    folder, tell = Path(out), progress or (lambda *_: None)
    state = PartialState(cpu=not torch.cuda.is_available())
    tell("preparing examples", 0, 1)
    prepared = prepare(shop, config)
    steps, encoder = n_steps(len(prepared.train), config), open_encoder(EncoderConfig(name=config.base))
    with state.main_process_first():
        claim(folder, config, plan_of(prepared, config, encoder.stamp, steps), writes=state.is_main_process)
    set_seed(config.train.seed)
    model = open_cross_model(config)
    if torch.cuda.is_available():
        model.to(state.device)
    tell("looking at the base", 0, 1)
    watched = held_pairs(prepared.held, encoder)
    batches = PairMaterial(prepared.train, model, config, negatives=_negatives(prepared.train, config, encoder))
    look = _look(watched, model, config.train.batch_tokens)
    trainer = CrossTrainer(
        model,
        batches,
        config,
        steps=steps,
        out=folder / "checkpoints",
        look=look,
        curve=Curve(folder, tell, batches.steps_per_epoch),
    )
    base = {name: round(value, 6) for name, value in watched.measure(watched.base).items()}

    def save(tuned: Mapping[str, float]) -> str:
        tell("choosing the weight", 0, 1)
        trained: CrossModel = trainer.text_model  # type: ignore[assignment]
        chosen = choose_weight(shop, config, trained.scores, encoder, cache=cache)
        saved = save_cross_model(
            trained,
            folder / CROSS,
            base=encoder.stamp,
            probes=watched.pairs()[:_PROBES],
            data_digest=prepared.data_digest,
            weight=chosen.weight,
            settings=config.model_dump(mode="json"),
            metrics={"base": base, "tuned": dict(tuned), "weight": chosen.to_dict()},
        )
        return saved.digest

    return complete(trainer, look, folder, base, save, clock=clock, state=state)


def held_pairs(held: Held, encoder: Encoder) -> HeldPairs:
    """What is looked at: linked pairs; where these have no grades to put in order, the nearest others beside them."""
    anchor, document = held.truth.request(), held.truth.items.astype(np.int64)
    vectors = encoder.encode(held.anchors, "query")  # (n_anchors, d)
    if held.graded:
        used, at = np.unique(document, return_inverse=True)
        others = encoder.encode([held.documents[row] for row in used.tolist()], "item")
        return HeldPairs(held, anchor, document, np.einsum("nd,nd->n", vectors[anchor], others[at]))
    cosines = vectors @ encoder.encode(held.documents, "item").T  # (n_anchors, n_documents)
    wanted = np.zeros(cosines.shape, dtype=bool)
    wanted[anchor, document] = True
    near = top_k(cosines, min(_NEAR, cosines.shape[1]))
    np.put_along_axis(wanted, near.items.astype(np.int64), True, axis=1)
    rows, columns = np.nonzero(wanted)
    return HeldPairs(held, rows.astype(np.int64), columns.astype(np.int64), cosines[rows, columns])


def _look(watched: HeldPairs, opened: CrossModel, batch_tokens: int) -> Look:
    """Figures of a model on held-out pairs, their tokens made once; processes share the work."""
    tokens = opened.pairs(watched.pairs())

    def look(model: CrossModel) -> dict[str, float]:
        with torch.no_grad():
            own = model.encode_tokens(share(tokens), batch_tokens=batch_tokens).float()
            return watched.measure(gathered(own, len(tokens))[:, 0].cpu().numpy())

    return look  # type: ignore[return-value]


def _negatives(examples: Examples, config: CrossConfig, encoder: Encoder) -> Found | None:
    """Further documents for each anchor; hard ones are found by the base encoder."""
    vectors = None
    if config.negatives.kind == "hard":
        vectors = encoder.encode(examples.anchors, "query"), encoder.encode(examples.documents, "item")
    rng = np.random.default_rng([config.train.seed, 2])
    return find_negatives(examples, config.negatives, vectors=vectors, rng=rng)
