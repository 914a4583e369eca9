"""The engine: one shopper's question answered fast, filtered, diversified and explained.

Same parts and weights as `recommender`, arranged for one request; the scoring itself is in `view`. Loading and
saving is `workspace`'s work, serving over HTTP the serving room's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ..profiling.context import Context, contexts_of
from ..profiling.errors import ConfigError, UnknownIdError
from ..profiling.intent.intent import IntentModel
from ..profiling.intent.types import Intent
from ..profiling.log import EventLog, Requests
from ..profiling.shopper.attributes import attributes_of
from .filters import Filters, ItemFacts, allowed_items, item_facts
from .index import ItemIndex
from .one_shopper import no_history, one_user, request_context
from .page import make_page
from .past import Past, Pasts
from .ranking import Answer
from .readings import KEPT, Readings
from .recommender import Recommender
from .rules import NO_RULES, RulesConfig, excluded
from .second_stage.stage import TAKEN
from .understanding import understand
from .view import View
from .worked import INDEX, Worked, work_out


@dataclass(frozen=True, eq=False)
class Engine:
    """Everything a request needs, in memory.

    Attributes:
        recommender: parts and weights
        index: over the text blocks (`TEXT_BLOCKS`) of each distinct text
        texts: those blocks side by side, (n_texts, dim) float32
        text_of: row in ``texts`` of each item, (n_items,)
        items_of: items by text: those of text ``t`` are ``items_of[first_of[t]:first_of[t + 1]]``, (n_items,)
        first_of: see ``items_of``, (n_texts + 1,)
        rest_range: smallest and largest number of each dimension of the other blocks, (2, dim of the rest)
        moments: covariance of each block over the catalogue, for the standard deviation of its scores, (d_b, d_b)
        facts: columns that filters read
        titles: item id -> title
        attributes: known attributes by user id, also of shoppers without events
        log: histories of the known shoppers
        user_row: user id -> row in ``log``
        blas: holds numpy's threads to one during a request, whose products are too small for more: threads that wait
            for the next product spin on the cores the encoder needs
        intent_model: reads queries; None = every query is taken as wholly specific
        rules: what the shop wants shown, and how
        readings: what queries were read as
    """

    recommender: Recommender
    index: ItemIndex
    texts: NDArray[np.float32]
    text_of: NDArray[np.int64]
    items_of: NDArray[np.int64]
    first_of: NDArray[np.int64]
    rest_range: NDArray[np.float32]
    moments: Mapping[str, NDArray[np.float64]]
    facts: ItemFacts
    titles: Mapping[str, str]
    attributes: Mapping[str, Mapping[str, str]]
    log: EventLog
    user_row: Mapping[str, int]
    blas: ThreadpoolController
    intent_model: IntentModel | None = None
    rules: RulesConfig = NO_RULES
    readings: Readings = field(default_factory=Readings)

    def search(
        self,
        query: str,
        user: str | None = None,
        context: Context | None = None,
        *,
        now_s: float | None = None,
        attributes: Mapping[str, str] | None = None,
        k: int = 10,
        filters: Filters | None = None,
        weights: Mapping[str, float] | None = None,
        diversity: float = 0.0,
        specificity: float | None = None,
        explain: bool = True,
        rules: RulesConfig | None = None,
    ) -> Answer:
        """Items for a query, personal where a user is given; arguments as in `answer`."""
        return self.answer(
            user=user,
            query=query,
            context=context,
            now_s=now_s,
            attributes=attributes,
            k=k,
            filters=filters,
            weights=weights,
            diversity=diversity,
            specificity=specificity,
            explain=explain,
            rules=rules,
        )

    def recommend(
        self,
        user: str,
        query: str | None = None,
        context: Context | None = None,
        *,
        now_s: float | None = None,
        attributes: Mapping[str, str] | None = None,
        k: int = 10,
        filters: Filters | None = None,
        weights: Mapping[str, float] | None = None,
        diversity: float = 0.0,
        specificity: float | None = None,
        explain: bool = True,
        rules: RulesConfig | None = None,
    ) -> Answer:
        """Items for a shopper, with or without a query; arguments as in `answer`."""
        return self.answer(
            user=user,
            query=query,
            context=context,
            now_s=now_s,
            attributes=attributes,
            k=k,
            filters=filters,
            weights=weights,
            diversity=diversity,
            specificity=specificity,
            explain=explain,
            rules=rules,
        )

    def answer(
        self,
        *,
        user: str | None = None,
        query: str | None = None,
        context: Context | None = None,
        now_s: float | None = None,
        history: EventLog | None = None,
        attributes: Mapping[str, str] | None = None,
        k: int = 10,
        filters: Filters | None = None,
        weights: Mapping[str, float] | None = None,
        diversity: float = 0.0,
        specificity: float | None = None,
        explain: bool = True,
        rules: RulesConfig | None = None,
    ) -> Answer:
        """Answer one request.

        Args:
            user: a known shopper's id; None for nobody
            query: what is asked for in words
            context: when, where and on what the request is made
            now_s: time of the request, seconds since 1970 UTC, where there is no ``context``
            history: events to use instead of the stored ones, a log of one user over this catalogue
            attributes: known attributes to use instead of the stored ones, such as ``{"age": "25-34"}``
            k: items wanted, >= 1
            filters: hard conditions
            weights: weights of parts or blocks instead of the chosen ones, applied to plain inner products:
                ``{"meaning": 1.0}`` is plain semantic search exactly
            diversity: 0 = by score alone, up to 1
            specificity: overrides what the intent model reads, in [0, 1]
            explain: whether to work out reasons
            rules: instead of the engine's own

        Raises:
            UnknownIdError: no such user, and no history given.
            ConfigError: an option out of range, an unknown part, or a query without an encoder.
        """
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        at = request_context(context, now_s)
        for name, value in (("diversity", diversity), ("specificity", specificity)):
            if value is not None and not 0.0 <= value <= 1.0:
                raise ConfigError(f"{name} must lie in [0, 1], got {value}")
        with self.blas.limit(limits=1, user_api="blas"):
            requests = self._requests(user, history, query, at, attributes)
            intent, vector = self._intent(query, requests)
            asked = understand(None if weights else intent, self.facts, filters, currency=self.currency)
            view = View.make(self, requests, weights, (intent, vector), specificity, boosts=asked.boosts)
            bought = self._left_out(filters, requests)
            allowed, ruling = allowed_items(asked.filters, self.facts, bought), self.rules if rules is None else rules
            never = excluded(ruling, self.facts, query or "")
            if never is not None:
                allowed = ~never if allowed is None else allowed & ~never
            page = make_page(view, k, allowed, diversity=diversity, rules=ruling, query=query or "")
            said = (*view.read_as(), *asked.said, *page.said)
            short = self._shortage(len(page.rows), k, asked.filters, allowed, len(bought))
            return Answer(page.recommendations(explain=explain), intent, short, page.exact, said)

    def read(self, query: str) -> None:
        """Read a query, so that the first question with it need not."""
        with self.blas.limit(limits=1, user_api="blas"):
            self._intent(query, self._requests(None, None, query, Context(0.0), None))

    def past_of(self, requests: Requests) -> Past:
        """The history of one request gone through; of a history that is asked about again, what was found then."""
        return self._pasts.of(requests, lambda: Past.of(self.recommender, requests))

    @cached_property
    def _nobody(self) -> EventLog:
        return no_history(self.log)

    @cached_property
    def _pasts(self) -> Pasts:
        return Pasts()

    @property
    def currency(self) -> str | None:
        """The shop's money, three letters, where the intent model was told."""
        return None if self.intent_model is None else self.intent_model.facets.config.currency

    def history_of(self, user: str) -> EventLog:
        """The stored events of one shopper, as a log of one user.

        Raises:
            UnknownIdError: no such user.
        """
        if user not in self.user_row:
            if user in self.attributes:  # known, and did nothing yet
                return self._nobody
            raise UnknownIdError(
                f"user_id {user!r} has no events and no known attributes here ({self.log.n_users} shoppers "
                "have events); name one of them, or give the attributes of a new one"
            )
        row = self.user_row[user]
        return one_user(self.log, row)

    def _requests(
        self,
        user: str | None,
        history: EventLog | None,
        query: str | None,
        context: Context,
        attributes: Mapping[str, str] | None,
    ) -> Requests:
        log = history
        if log is None:
            new = user is None or (user not in self.user_row and attributes is not None)
            log = self._nobody if new else self.history_of(str(user))
        if log.n_items != self.log.n_items:
            raise ConfigError(f"history must be over this catalogue of {self.log.n_items} items, got {log.n_items}")
        if log.n_users > 1:
            raise ConfigError(f"history must be of one shopper, got {log.n_users}; cut it with one_user")
        stop = int(np.searchsorted(log.at_s, context.at_s, side="right"))  # what lies in the future is not known yet
        texts = (self._words_of(query),) if query is not None and query.strip() else ()
        if texts and self.recommender.encoder is None:
            raise ConfigError("query: this engine has no encoder; rebuild the workspace with one")
        known = self.attributes.get(user or "", {}) if attributes is None else attributes
        now_s = np.array([context.at_s], dtype=np.float64)
        return Requests(log, np.array([0]), np.array([stop]), now_s, texts, contexts_of(context), (known,))

    @cached_property
    def _words_of(self) -> Callable[[str], str]:
        """The query without its price words ("lamp under 50" means a lamp), unless nothing else is said; kept."""

        @lru_cache(maxsize=KEPT)
        def words_of(query: str) -> str:
            plain = query if self.intent_model is None else self.intent_model.plain([query])[0]
            return plain if plain.strip() else query

        return words_of

    def _intent(self, query: str | None, requests: Requests) -> tuple[Intent | None, NDArray[np.float32] | None]:
        encoder, model = self.recommender.encoder, self.intent_model
        if not requests.texts or encoder is None:
            return None, None
        if model is None:
            return None, encoder.encode(requests.texts, kind="query")
        asked = str(query)
        intent = self.readings.of(
            asked, (model, encoder), lambda: model.infer([asked], encoder.encode(requests.texts, kind="query"))[0]
        )
        return intent, intent.vector[None, :]

    def _left_out(self, filters: Filters | None, requests: Requests) -> NDArray[np.integer]:
        wanted = None if filters is None else filters.exclude_bought
        leave_out = self.recommender.exclude_seen and not requests.texts if wanted is None else wanted
        if not leave_out:
            return np.zeros(0, dtype=np.int64)
        past = slice(0, int(requests.stop[0]))
        return requests.log.item[past][np.isin(requests.log.kind[past], TAKEN)]

    def _shortage(
        self, found: int, k: int, filters: Filters | None, allowed: NDArray[np.bool_] | None, n_bought: int
    ) -> str:
        if found >= k:
            return ""
        left = self.log.n_items if allowed is None else int(allowed.sum())
        said = filters.describe() if filters else ""
        where = f" by {said}" if said else " in this catalogue"
        hidden = " without what was bought before" if n_bought else ""
        return f"{k} items were asked for, {left} are left{where}{hidden}"


def make_engine(
    recommender: Recommender,
    items: pd.DataFrame,
    log: EventLog,
    *,
    users: pd.DataFrame | None = None,
    intent_model: IntentModel | None = None,
    kind: str = INDEX,
    worked: Worked | None = None,
) -> Engine:
    """Index the item blocks and get everything ready for requests; ``worked`` is what `worked.work_out` would give."""
    if worked is None:
        worked = work_out(recommender.space, items, kind=kind)
    return Engine(
        recommender=recommender,
        index=worked.index,
        texts=worked.texts,
        text_of=worked.text_of,
        items_of=worked.items_of,
        first_of=worked.first_of,
        rest_range=worked.rest_range,
        moments=worked.moments,
        facts=item_facts(items, in_stock=worked.in_stock, with_value=worked.with_value),
        titles=dict(zip(items["item_id"].tolist(), items["title"].tolist(), strict=True)),
        attributes=attributes_of(users),
        log=log,
        user_row={str(user): row for row, user in enumerate(log.user_ids)},
        blas=ThreadpoolController(),
        intent_model=intent_model,
    )
