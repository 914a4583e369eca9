"""What the service does, without HTTP: live histories into the engine, events into the store, and forgetting.

Every method is one request: it takes one version of the workspace and uses it to the end. Who may call, how often and
in which words errors come back is `api`'s.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..profiling.context import Context
from ..profiling.errors import UnknownIdError
from ..profiling.shopper.interest_set import DAY_S
from ..profiling.shopper.profile import iso_time
from ..profiling.shopper.profile_build import build_profile
from ..retrieval.filters import Filters
from ..retrieval.ranking import Answer
from ..retrieval.rules import NO_RULES
from ..retrieval.scores import go_through
from ..retrieval.similar import similar_items
from .config import ServeConfig
from .current import Current, Served
from .gather import Gather
from .histories import LiveHistories, events_table
from .items import n_sold
from .shown_log import ShownLog
from .store import Appended, ProfileStore, Shown, StoredEvent, UserState, content_key
from .warming import Warming

CLOCK_SKEW_S = 86_400.0
"""How far in the future an event may lie: the clocks of shops are not all right."""

_EXPLAINED_AMONG = 100
_LATELY = 5  # answers that are looked through for each query to read ahead
_TOGETHER = 10_000  # events of one transaction, from however many requests


@dataclass(frozen=True)
class Ask:
    """One question, as `retrieval.engine.Engine.answer` understands it.

    Attributes:
        user: shopper's id; an unknown one is a newcomer
        query: words
        k: items wanted
        at_s: time of the request, seconds since 1970 UTC; None = now
        scene, device, place, utc_offset_s: see `profiling.context.Context`
        filters, weights, diversity, specificity, attributes, explain: see the engine
    """

    user: str | None = None
    query: str | None = None
    k: int = 10
    at_s: float | None = None
    scene: str | None = None
    device: str | None = None
    place: str | None = None
    utc_offset_s: float | None = None
    filters: Filters = field(default_factory=Filters)
    weights: Mapping[str, float] | None = None
    diversity: float = 0.0
    specificity: float | None = None
    attributes: Mapping[str, str] | None = None
    explain: bool = True


class Service:
    """Answers over one workspace and one store.

    Args:
        current: what is served
        store: what shoppers did
        config: limits and clock
        clock: seconds since 1970 UTC
        spool: folder where what was shown waits for the store; None = in memory
    """

    def __init__(
        self,
        current: Current,
        store: ProfileStore,
        config: ServeConfig,
        *,
        clock: Callable[[], float],
        spool: Path | None = None,
    ) -> None:
        self.current, self.store, self.config = current, store, config
        self._clock = clock
        self.histories = LiveHistories(store, size=config.histories)
        self.appending: Gather[Sequence[StoredEvent], Appended] = Gather(store.append_all, most=_TOGETHER, size=len)
        self.warming = Warming()
        self.shown = ShownLog(
            store,
            size=config.waiting_shown,
            every_s=config.flush_s,
            keep_s=config.keep_shown_days * DAY_S,
            clock=clock,
            folder=spool,
        )

    def answer(self, ask: Ask) -> dict[str, Any]:
        """Answer a question, and have what it shows written down.

        Raises:
            ConfigError: an option out of range or an unknown part.
            StoreError: the store cannot be read.
        """
        served = self.current.get()
        state, answer, at_s = self._ask(served, ask)
        found = answer.to_json()
        if not ask.explain:
            for item in found["items"]:
                for reason in ("reasons", "sentence", "rules"):
                    item.pop(reason, None)
        answer_id = uuid.uuid4().hex
        asked: dict[str, Any] = {"k": ask.k, "version": served.version, "scene": ask.scene, "device": ask.device}
        if ask.user is not None:
            asked["query"] = ask.query  # nobody's words are not kept: nobody could have them removed
        items = tuple((item.item_id, item.rank, item.propensity) for item in answer.items)
        self.shown.add(Shown(answer_id, ask.user, round(at_s * 1e6), asked, items))
        known = ask.user is not None and self._known(served, ask.user, state)
        return {"answer_id": answer_id, "version": served.version, "at": iso_time(at_s), "known": known, **found}

    def prepare(self, user: str) -> None:
        """Read a shopper's history and go through it, so that the first question need not.

        Raises:
            StoreError: the store cannot be read.
        """
        served = self.current.get()
        _, log = self.histories.of(user, served.catalogue)
        go_through(served.engine, log)

    def read(self, query: str) -> None:
        """Read a query, so that the first question with it need not."""
        self.current.get().engine.read(query)

    def warm(self) -> None:
        """Begin to read what is asked most often of late, and to prepare for the shoppers who did something last."""
        self.warming.start(self._ahead())

    def follow(self) -> None:
        """Let go of what is remembered where a shopper was forgotten, by whichever process.

        Raises:
            StoreError: the store cannot be read.
        """
        if self.histories.follow():
            self.current.get().engine.readings.clear()

    def _ahead(self) -> Iterator[Callable[[], None]]:
        """What to do ahead of questions, the most urgent first."""
        config, engine = self.config, self.current.get().engine
        if config.warm_queries and engine.recommender.encoder is not None:
            asked = Counter(self.store.asked(_LATELY * config.warm_queries)).most_common(config.warm_queries)
            yield from (partial(self.read, query) for query, _ in asked)
        if config.warm:
            yield from (partial(self.prepare, user) for user in self.store.latest(min(config.warm, config.histories)))

    def explain(self, ask: Ask, item_id: str) -> dict[str, Any]:
        """Why an item stands where it does for this question, also where it is far from the first page.

        Raises:
            UnknownIdError: no such item.
        """
        served = self.current.get()
        served.engine.facts.row(item_id)
        open_to_all = replace(ask, filters=Filters(exclude_bought=False), diversity=0.0, explain=True)
        _, answer, at_s = self._ask(served, replace(open_to_all, k=_EXPLAINED_AMONG))
        found = next((item for item in answer.items if item.item_id == item_id), None)
        rank = None if found is None else found.rank
        if found is None:
            others = tuple(other for other in served.catalogue.row_of if other != item_id)
            alone = Filters(exclude_bought=False, exclude=others, ignore_query_price=True)
            free = replace(served, engine=replace(served.engine, rules=NO_RULES))
            _, only, _ = self._ask(free, replace(open_to_all, k=1, filters=alone))
            found = only.items[0]
        said = {name: value for name, value in found.to_json().items() if name not in ("rank", "propensity", "rules")}
        intent = None if answer.intent is None else answer.intent.to_json()
        among = {"rank": rank, "looked_at": len(answer.items)}
        return {"version": served.version, "at": iso_time(at_s), **among, **said, "intent": intent}

    def intent(self, query: str) -> dict[str, Any]:
        """What a query is read as."""
        served = self.current.get()
        vectors = served.encoder.encode(served.intent_model.plain([query]), "query")
        return {"version": served.version, **served.intent_model.infer([query], vectors)[0].to_json()}

    def similar(self, item_id: str, k: int) -> dict[str, Any]:
        """Items whose text means the most nearly the same, best first, with their cosine.

        Raises:
            UnknownIdError: no such item.
        """
        served = self.current.get()
        served.engine.facts.row(item_id)
        found = similar_items(served.engine, item_id, k=k)
        items = [
            {"rank": one.rank, "item_id": one.item_id, "title": one.title, "score": round(one.score, 4)}
            for one in found
        ]
        return {"version": served.version, "item_id": item_id, "items": items}

    def append(self, events: Sequence[StoredEvent]) -> dict[str, Any]:
        """Store events; they are durable, and in every later answer, when this returns.

        An event with ``at_us`` below 0 happens now; one with an empty key gets one from what it says.
        """
        served = self.current.get()
        timed = [e if e.at_us >= 0 else replace(e, at_us=self._now_us(served, e.user_id)) for e in events]
        done = self.appending([e if e.key else replace(e, key=content_key(e)) for e in timed])
        unknown = sorted({e.item_id for e in events if e.item_id and e.item_id not in served.catalogue.row_of})
        return {"stored": done.stored, "repeated": done.repeated, "unknown_items": unknown[:20]}

    def profile(self, user: str, at_s: float | None = None) -> dict[str, Any]:
        """Who a shopper is, in words and numbers.

        Raises:
            UnknownIdError: nothing is known of them.
        """
        served = self.current.get()
        state = self._someone(served, user)
        attributes = {} if state.forgotten else served.engine.attributes.get(user, {})
        measured = served.yardsticks()  # of the built catalogue: items that came since are no part of profiles yet
        events = [e for e in self.store.events(user) if e.item_id is None or e.item_id in measured.row_of]
        now_s = self.now_s(served, state) if at_s is None else at_s
        found = build_profile(user, events_table(events), measured, at_s=now_s, attributes=attributes)
        return {"version": served.version, **found.to_json()}

    def export(self, user: str) -> dict[str, Any]:
        """Everything kept of a shopper, as it is kept.

        Raises:
            UnknownIdError: nothing is kept of them.
        """
        served = self.current.get()
        self.shown.flush()
        state = self._someone(served, user)
        attributes = {} if state.forgotten else dict(served.engine.attributes.get(user, {}))
        return {
            "user_id": user,
            "attributes": attributes,
            "events": [event.to_json() for event in self.store.events(user)],
            "shown": [shown.to_json() for shown in self.store.shown(user)],
        }

    def forget(self, user: str) -> dict[str, Any]:
        """Remove everything of a shopper from the store and from memory; the receipt says what is left to do.

        Forgetting somebody unknown is no error: the receipt says that nothing was there.
        """
        served = self.current.get()
        self.shown.flush()
        removed = self.store.forget(user, at_us=round(self._clock() * 1e6))
        self.histories.drop(user)
        served.engine.readings.clear()  # words of theirs may be among them
        saw = user in served.engine.user_row or user in served.engine.attributes
        return {
            "user_id": user,
            "at": iso_time(self._clock()),
            "removed": {"events": removed.events, "shown": removed.impressions},
            "purged": removed.purged,
            "models": [served.version] if saw else [],
            "remains": _remains(saw, removed.purged),
        }

    def ready(self) -> dict[str, Any]:
        """What is served and kept.

        Raises:
            StoreError: the store cannot be read.
        """
        self.store.ping()
        served = self.current.get()
        n_items = n_sold(served)
        return {"ready": True, "version": served.version, "items": n_items, "encoder": str(served.encoder.stamp)}

    def close(self) -> None:
        """Write what waits, and let go of everything."""
        self.warming.close()
        self.current.close()
        self.shown.close()
        self.store.close()

    def _ask(self, served: Served, ask: Ask) -> tuple[UserState, Answer, float]:
        """The shopper's state, the answer, and when it was asked for."""
        state, history = UserState(0, 0, False), None
        if ask.user is not None:
            state, history = self.histories.of(ask.user, served.catalogue)
        at_s = self.now_s(served, state) if ask.at_s is None else ask.at_s
        known = served.catalogue.row_of
        filters = replace(ask.filters, exclude=tuple(i for i in ask.filters.exclude if i in known))
        answer = served.engine.answer(
            user=ask.user,
            query=ask.query,
            context=Context(at_s, ask.scene, ask.device, ask.place, ask.utc_offset_s),
            history=history,
            attributes={} if state.forgotten and ask.attributes is None else ask.attributes,
            k=ask.k,
            filters=filters,
            weights=ask.weights,
            diversity=ask.diversity,
            specificity=ask.specificity,
            explain=ask.explain,
        )
        return state, answer, at_s

    def _known(self, served: Served, user: str, state: UserState) -> bool:
        return state.version > 0 or (user in served.engine.attributes and not state.forgotten)

    def _someone(self, served: Served, user: str) -> UserState:
        state = self.store.state(user)
        if not self._known(served, user, state):
            raise UnknownIdError(f"user {user!r} has no events and no known attributes here; name another one")
        return state

    def now_s(self, served: Served, state: UserState) -> float:
        """Now, by the wall's clock or the shop's; not before a newest event that another clock dated a bit late."""
        wall = served.wall_clock if self.config.clock == "auto" else self.config.clock == "wall"
        now_s, newest_s = self._clock(), state.newest_us / 1e6
        if not wall:
            return max(served.last_s, newest_s) + 1.0
        return newest_s if now_s < newest_s <= now_s + CLOCK_SKEW_S else now_s

    def _now_us(self, served: Served, user: str) -> int:
        return round(self.now_s(served, self.store.state(user)) * 1e6)


def _remains(saw: bool, purged: bool) -> list[str]:
    """What forgetting in the store does not reach, in words."""
    said = []
    if saw:
        said.append(
            "the served model was learned with this shopper's events: run 'tasteprint forget' on the workspace and the "
            "shop, then build again"
        )
    if not purged:
        said.append("the store's own log may hold old records until it is rewritten, which was asked for")
    return said
