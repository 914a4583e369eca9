"""One request worked out: which parts count how much, which items are best, and why.

The text blocks are one fused vector and one FAISS search; the other parts are scores of the whole catalogue; the
threshold algorithm of Fagin, Lotem and Naor ("Optimal aggregation algorithms for middleware", PODS 2001) says when the
best of both lists is proven to be the best of the whole catalogue. Who asks and what may be shown is `engine`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiling.blocks import PART_BLOCK
from ..profiling.intent.types import Intent
from ..profiling.log import Requests
from .explanation import Told, raw_part, reasons_of, sentence
from .fusion import reciprocal_rank
from .largest import largest, spans
from .lexical import LexicalModel
from .past import Past
from .ranking import Recommendation
from .recommender import PARTS, SEARCH_PARTS
from .scores import Events, Plain, Scores, Summed, scores_of, weighted_sum
from .second_stage.beside import NOTHING, Beside, read_beside
from .second_stage.reorder import Reordered, reorder
from .second_stage.stage import SecondStage
from .understanding import PART
from .weighing import (
    REST_BLOCKS,
    TEXT_BLOCKS,
    block_scale,
    by_part,
    explicit_weights,
    fused_vector,
    hopeful,
    rest_bounds,
    rest_scores,
    scaled_scores,
    widened,
)

if TYPE_CHECKING:
    from .engine import Engine

_FIRST = 256  # candidates taken from either list at first, at least
_DEEPER = 4  # times as many as items are wanted; and again, where that proves nothing


@dataclass(frozen=True, eq=False)
class View:
    """One request with its parts worked out.

    Attributes:
        past: the shopper's history, gone through
        vectors: shopper side of the block parts by name
        sources: raw scores of the other parts
        factor: weight times scale of each part; empty where ranks are fused
        shares: what each part adds where ranks are fused, each (n_items,); else empty
        query_vector: text blocks, weighted, side by side: what FAISS is asked, (dim,)
        rest_vector: the other blocks, weighted, side by side, (dim of the rest,)
        others: everything that is no block and not ``late``, weighted and added, (n_items,)
        weights: weight of each part, before its scale
        stage: orders the best of the sum anew; None = nothing does
        beside: parts without a weight that ``stage`` reads
        late: sources that are scored at candidates alone at first, as REST_BLOCKS are
    """

    engine: Engine
    requests: Requests
    past: Past
    vectors: Mapping[str, NDArray[np.float32]]
    sources: Mapping[str, Scores]
    factor: Mapping[str, float]
    shares: Mapping[str, NDArray[np.float32]]
    intent: Intent | None
    query_vector: NDArray[np.float32]
    rest_vector: NDArray[np.float32]
    others: NDArray[np.float32]
    weights: Mapping[str, float]
    stage: SecondStage | None = None
    beside: Beside = NOTHING
    late: Mapping[str, Summed] = field(default_factory=dict)

    @staticmethod
    def make(
        engine: Engine,
        requests: Requests,
        weights: Mapping[str, float] | None,
        read: tuple[Intent | None, NDArray[np.float32] | None],
        specificity: float | None,
        *,
        boosts: NDArray[np.float32] | None = None,
    ) -> View:
        """Weigh and score the parts of one request.

        Args:
            engine: of the shop
            requests: the one request
            weights: instead of the chosen ones
            read: what the query means, and its vector
            specificity: instead of the intent's
            boosts: what the query's brand, category and price add to each item, (n_items,)
        """
        recommender, (intent, query) = engine.recommender, read
        vague = 1.0 if intent is None else intent.specificity
        specific = vague if specificity is None else specificity
        chosen = (
            recommender.request_weights(
                has_text=bool(requests.texts),
                specificity=specific,
                newcomer=bool(requests.stop[0] == requests.start[0]),
            )
            if weights is None
            else explicit_weights(weights, recommender.sources)
        )
        if weights is None:
            moved = recommender.gate_factors(requests)
            chosen = {name: w * float(moved[name][0]) if name in moved else w for name, w in chosen.items()}
        asked = bool(requests.texts)
        known = asked or bool(requests.stop[0] > requests.start[0])
        stage = recommender.stage_for(asked=asked) if weights is None and known else None
        read_too = () if stage is None else recommender.read_beside(asked=asked)
        needed = {*(name for name, weight in chosen.items() if weight), *read_too}
        past = engine.past_of(requests)
        interests = past.interests(recommender.space, float(requests.now_s[0]))
        sides = {name: rows[0] for name, rows in recommender.space.sides(requests, interests, needed).items()}
        sides |= {} if query is None else {"meaning": query[0]}
        vectors = {name: vector for name, vector in sides.items() if chosen.get(name)}
        sources = {n: scores_of(s, n, past, requests) for n, s in recommender.sources.items() if chosen.get(n)}
        if recommender.fusion == "reciprocal_rank" and weights is None:
            return _ranked(engine, requests, past, vectors, sources, chosen, intent)
        factor = {}
        for name, vector in vectors.items():
            factor[name] = chosen[name] * (block_scale(engine, name, vector, asked) if weights is None else 1.0)
        dims = recommender.space.dims
        for name, scores in sources.items():
            factor[name] = chosen[name] * (scores.scale(name, asked=asked) if weights is None else 1.0)
        late = {n: one for n, one in sources.items() if asked and weights is None and isinstance(one, Summed)}
        early = [(scores, factor[name]) for name, scores in sources.items() if name not in late]
        others = weighted_sum(early, engine.log.n_items)
        if boosts is not None:
            sources, chosen, factor = {**sources, PART: Plain(boosts)}, {**chosen, PART: 1.0}, {**factor, PART: 1.0}
            others += boosts
        fused, rest = (fused_vector(dims, vectors, factor, blocks=blocks) for blocks in (TEXT_BLOCKS, REST_BLOCKS))
        beside = NOTHING if stage is None else read_beside(engine, requests, sides)
        sums = (fused, rest, others)
        return View(engine, requests, past, vectors, sources, factor, {}, intent, *sums, chosen, stage, beside, late)

    def fused(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Final scores of these items, (n_rows,)."""
        text, of_row = np.unique(self.engine.text_of[rows], return_inverse=True)
        dense = (self.engine.texts[text] @ self.query_vector)[of_row]
        return dense + self._late(rows) + self.others[rows]

    def _late(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Scores by what is worked out at candidates alone at first, (n_rows,); of every item if ``rows`` is None."""
        out = rest_scores(self.engine.recommender.space.items, self.rest_vector, rows)
        for name, source in self.late.items():
            out += (source.whole if rows is None else source[rows]) * np.float32(self.factor[name])
        return out

    def _late_bounds(self) -> tuple[float, float]:
        """What every item's score by that lies between."""
        ends = [rest_bounds(self.rest_vector, self.engine.rest_range)]
        ends += [widened(*(self.factor[name] * end for end in source.range())) for name, source in self.late.items()]
        return sum(low for low, _ in ends), sum(high for _, high in ends)

    def best(self, k: int, allowed: NDArray[np.bool_] | None) -> tuple[NDArray[np.int64], bool]:
        """Rows of the ``k`` best allowed items, best first, and whether that order is proven.

        What counts for little (`_late`) is scored at the candidates alone at first, as it is known between which bounds
        it lies; of every item, where that proves too little.
        """
        may = len(self.others) if allowed is None else int(allowed.sum())
        k = min(k, may)
        if k == 0:
            return np.zeros(0, dtype=np.int64), True
        slack, within = self.engine.index.slack(self.query_vector), self._late_bounds()
        others = self.others if allowed is None else np.where(allowed, self.others, -np.inf)
        n, asked = max(_FIRST, _DEEPER * k), 0
        while n < may / 4:
            if asked != n:
                (dense, near), asked = self._dense(n, allowed), n
            top = largest(others, n)
            edge, least_other = float(near[-1]) if len(near) else 0.0, float(others[top].min())
            spread = float(others[top].max()) - least_other + (float(near[0]) - edge if len(near) else 0.0)
            if not any(within) or (slack is not None and within[1] < spread):
                rows = hopeful(k, (dense, near), top, others, within, slack)
                fused = self.fused(rows)
                order = np.lexsort((rows, -fused))[:k]
                if slack is None:  # the index may have missed some: the best of what both lists gave, unproven
                    return rows[order], False
                if fused[order[-1]] > edge + least_other + within[1] + slack:  # strictly: ties go to the smaller row
                    return rows[order], True
            if any(within):
                others, within = others + self._late(), (0.0, 0.0)
            else:
                n *= _DEEPER
        rows = np.arange(len(self.others)) if allowed is None else np.flatnonzero(allowed)
        everything = (self.engine.texts @ self.query_vector)[self.engine.text_of[rows]] + self.others[rows]
        everything += self._late()[rows]
        return rows[np.lexsort((rows, -everything))[:k]], True

    def read_as(self) -> tuple[str, ...]:
        """What unknown words of the query were read as, in words."""
        source = self.engine.recommender.sources.get("bm25")
        if not isinstance(source, LexicalModel) or "bm25" not in self.sources:
            return ()
        return tuple(
            f"No item says {word!r}; read as {other!r}." for word, other in source.slips(self.requests.texts[0])
        )

    def reordered(
        self, k: int, allowed: NDArray[np.bool_] | None, *, also: NDArray[np.int64] | None = None
    ) -> Reordered | None:
        """The best allowed items, at least ``k`` where there are so many, ordered by the second stage; None without.

        Those ``also`` named (n,) are among them.
        """
        if self.stage is None:
            return None
        rows, proven = self.best(max(k, self.stage.depth), allowed)
        rows = rows if also is None else np.concatenate([rows, np.setdiff1d(also, rows)])
        items, held = self.engine.recommender.space.items, self._held()
        scale = {name: self.factor[name] / self.weights[name] for name in PARTS if name in held}
        scaled = {name: scaled_scores(items, name, held[name], scale[name], rows) for name in scale}
        asked = bool(self.requests.texts)
        aside = [name for name in scaled if asked and name not in SEARCH_PARTS]
        personal = {name: scaled[name].astype(np.float64) * self.weights[name] for name in aside}
        more = self.beside
        scaled |= {name: scaled_scores(items, name, one, more.scale[name], rows) for name, one in more.held().items()}
        parts = {name: scaled[name] for name in PARTS if name in scaled}
        if PART in self.sources:
            personal[PART] = self.sources[PART][rows].astype(np.float64)
        vectors = self.engine.recommender.text_rows
        anew = reorder(
            self.stage, self.requests, rows, parts=parts, fused=self.fused(rows), personal=personal, vectors=vectors
        )
        return replace(anew, proven=proven)

    def _dense(self, n: int, allowed: NDArray[np.bool_] | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Items of the ``n`` nearest texts, nearest first, and their scores as the index has them, (n_rows,) each."""
        if not self.query_vector.any():
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        engine = self.engine
        some = None if allowed is None else np.bincount(engine.text_of[allowed], minlength=len(engine.texts)) > 0
        found, scores = engine.index.search(self.query_vector, n, allowed=some)
        first, last = engine.first_of[found], engine.first_of[found + 1]
        rows, near = engine.items_of[spans(first, last)], np.repeat(scores, last - first)
        may = slice(None) if allowed is None else allowed[rows]
        return rows[may], near[may]

    def recommendations(
        self, rows: NDArray[np.int64], *, explain: bool, anew: Reordered | None = None
    ) -> tuple[Recommendation, ...]:
        """The items at ``rows``, in this order, with reasons: those of the second stage where it ordered them."""
        engine, ids = self.engine, self.engine.log.item_ids
        history = Told(self.past, float(self.requests.now_s[0]), engine.recommender.space, rows)
        amounts, events = self._parts(history) if explain else ({}, {})
        if anew is not None:
            anew = anew.take(anew.positions(rows))
            amounts, events = self._told_anew(anew, history, amounts, events) if explain else ({}, {})
        told = reasons_of(amounts, events, ids) if amounts and len(rows) else [()] * len(rows)
        plain = [] if explain else (self.fused(rows) if anew is None else anew.scores).tolist()
        query = self.requests.texts[0] if self.requests.texts else ""
        out = []
        for place, (item_id, reasons) in enumerate(zip(ids[rows].tolist(), told, strict=True)):
            said = sentence(item_id, reasons, engine.titles, query) if explain else ""
            score = float(sum(r.amount for r in reasons)) if explain else plain[place]
            out.append(Recommendation(item_id, engine.titles[item_id], score, place + 1, reasons, said))
        return tuple(out)

    def _told_anew(
        self,
        anew: Reordered,
        history: Told,
        amounts: Mapping[str, NDArray[np.float64]],
        events: Mapping[str, Events],
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, Events]]:
        """What the second stage's reasons add; a part's past events share its amount as they share its own score."""
        told, shared = by_part(anew.amounts(), amounts), {}
        wholes, events = {name: amounts[name] for name in events}, dict(events)
        for name in (part for part in self.beside.held() if part in told):
            raw, found = raw_part(self.engine.recommender, history, name, self.beside.held()[name])
            if found is not None:
                wholes[name], events[name] = raw[name], found
        for name, whole in wholes.items():
            if name not in told:
                continue
            amount = told[name]
            share = np.divide(amount, whole, out=np.zeros_like(amount), where=(whole > 0) & (amount > 0))
            shared[name] = (events[name][0], events[name][1] * share)
        _, event = self.requests.events(1)
        if "pairs" in told and len(event):
            last = self.requests.log.item[event].astype(np.int64)
            shared["pairs"] = (last, told["pairs"][None, :])
        return told, shared

    def _parts(self, history: Told) -> tuple[dict[str, NDArray[np.float64]], dict[str, Events]]:
        """What each part adds to each row's score, and each past event inside the parts that are sums over events."""
        amounts: dict[str, NDArray[np.float64]] = {}
        events: dict[str, Events] = {}
        rows, held = history.rows, self._held()
        for name in (part for part in (*PARTS, PART) if part in held):
            raw, found = raw_part(self.engine.recommender, history, name, held[name])
            factor = self._row_factor(name, raw, rows) if self.shares else self.factor[name]
            for told, part in raw.items():
                amounts[told] = amounts.get(told, 0.0) + part * factor
            if found is not None:
                events[name] = (found[0], found[1] * factor)
        return amounts, events

    def _held(self) -> dict[str, NDArray[np.float32] | Scores]:
        """Vector or raw scores of each part by name."""
        return {**self.vectors, **self.sources}

    def _row_factor(
        self, name: str, raw: Mapping[str, NDArray[np.float64]], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What a part's raw score of each row is multiplied by where ranks are fused: it differs by row, (n_rows,)."""
        share, whole = self.shares[name][rows].astype(np.float64), sum(raw.values(), np.zeros(len(rows)))
        return np.divide(share, whole, out=np.zeros(len(rows)), where=share > 0)


def _ranked(
    engine: Engine,
    requests: Requests,
    past: Past,
    vectors: Mapping[str, NDArray[np.float32]],
    sources: Mapping[str, Scores],
    weights: Mapping[str, float],
    intent: Intent | None,
) -> View:
    """The view of a request whose parts are fused by rank: every part is scored whole, and nothing is left to FAISS."""
    space = engine.recommender.space
    blocks = {name: space.items[PART_BLOCK[name]] @ vector for name, vector in vectors.items()}
    scored = {**blocks, **{name: source.whole for name, source in sources.items()}}
    shares = {name: np.float32(weights[name]) * reciprocal_rank(part[None])[0] for name, part in scored.items()}
    others = np.zeros(engine.log.n_items, dtype=np.float32)
    for share in shares.values():
        others += share
    none, no_rest = (np.zeros(width, dtype=np.float32) for width in (engine.texts.shape[1], engine.rest_range.shape[1]))
    return View(engine, requests, past, vectors, sources, {}, shares, intent, none, no_rest, others, weights)
