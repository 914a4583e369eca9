"""Events from a Kafka topic into a store: an offset is committed only when the store has acknowledged its events.

What is delivered again, after a crash or while consumers change, is known by its key and stored once. Messages have the
shape of an event of the API; those that break a rule are told by place and passed over. Producing is not covered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..profiling.errors import ExtraMissingError, TasteprintError
from .ingest import Ingested, read_event, told
from .store import ProfileStore, StoredEvent, content_key

_LOG = logging.getLogger("tasteprint.serving")

Refused = Callable[[str, str], None]
"""Called with a message's topic, partition and offset, and what is wrong with it."""


class StreamError(TasteprintError):
    """The broker cannot be used; offsets of what was not stored are not committed."""


class KafkaConfig(BaseModel):
    """Which topic, and how it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brokers: str = Field(min_length=1, description="HOST:PORT of one or more brokers, with commas between")
    topic: str = Field(min_length=1, max_length=249, description="where the events are")
    group: str = Field(default="tasteprint", min_length=1, description="consumers of one group share the partitions")
    batch: int = Field(default=500, ge=1, le=100_000, description="events stored together, at most")
    wait_s: float = Field(default=0.2, gt=0, le=60, description="seconds after which what has come is stored")
    until_end: bool = Field(default=False, description="stop when everything that was there is stored")
    client: dict[str, str] = Field(
        default_factory=dict, description="settings of the client library, such as security.protocol"
    )


def ingest_kafka(
    config: KafkaConfig,
    store: ProfileStore,
    *,
    now_s: Callable[[], float],
    stopping: Callable[[], bool],
    refused: Refused | None = None,
    progress: Callable[[Ingested], None] | None = None,
) -> Ingested:
    """Store the events of a topic as they come.

    Args:
        config: which topic
        store: where to
        now_s: seconds since 1970 UTC, for events of which neither they nor the broker say when
        stopping: whether to stop after what was read is stored
        refused: told of every message passed over
        progress: told after every batch

    Raises:
        StreamError: the broker refuses, or cannot be used at all.
        StoreError: the store cannot be written; nothing of the batch is committed.
        ExtraMissingError: the client library is not installed.
    """
    reader = _Reader(config, _client(), refused, now_s)
    done = Ingested(0, 0, 0, 0)
    try:
        while not stopping():
            batch = reader.take()
            if batch.read:
                appended = store.append(batch.events)
                reader.commit(batch)
                done = Ingested(
                    done.read + batch.read,
                    done.stored + appended.stored,
                    done.repeated + appended.repeated,
                    done.refused + batch.refused,
                )
                if progress is not None:
                    progress(done)
            elif config.until_end and reader.at_end():
                break
    finally:
        reader.close()
    return done


@dataclass
class _Batch:
    """Events of some messages, and where to go on after them."""

    events: list[StoredEvent] = field(default_factory=list)
    after: dict[tuple[str, int], int] = field(default_factory=dict)
    read: int = 0
    refused: int = 0


class _Reader:
    """A consumer and what it has seen of its partitions."""

    def __init__(self, config: KafkaConfig, kafka: Any, refused: Refused | None, now_s: Callable[[], float]) -> None:
        self._config, self._kafka, self._refused, self._now_s = config, kafka, refused, now_s
        self._ended: set[tuple[str, int]] = set()
        try:
            self._consumer = kafka.Consumer(_settings(config), logger=_LOG)
            self._consumer.subscribe([config.topic])
        except (kafka.KafkaException, ValueError, TypeError) as error:
            raise StreamError(
                f"kafka {config.brokers}: the client refuses ({error}); see its settings and the topic"
            ) from error

    def take(self) -> _Batch:
        """What has come, after a moment."""
        batch = _Batch()
        try:
            messages = self._consumer.consume(self._config.batch, timeout=self._config.wait_s)
        except self._kafka.KafkaException as error:
            raise StreamError(f"kafka {self._config.brokers}: cannot read ({error})") from error
        for message in messages:
            self._look_at(message, batch)
        return batch

    def commit(self, batch: _Batch) -> None:
        """Say that these events are stored; where that cannot be said they come again, and are known."""
        places = [self._kafka.TopicPartition(topic, part, offset) for (topic, part), offset in batch.after.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except self._kafka.KafkaException as error:
            _LOG.warning("offsets could not be committed, their events will come again: %s", error)

    def at_end(self) -> bool:
        """Whether every partition of this consumer was read to its end."""
        mine = {(place.topic, place.partition) for place in self._consumer.assignment()}
        return bool(mine) and mine <= self._ended

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _look_at(self, message: Any, batch: _Batch) -> None:
        error = message.error()
        if error is not None:
            if error.code() == self._kafka.KafkaError._PARTITION_EOF:
                self._ended.add((message.topic(), message.partition()))
            elif error.fatal() or not (error.retriable() or error.code() in self._passing()):
                raise StreamError(f"kafka {self._config.brokers}: {error.str()}; see the broker, topic and rights")
            return
        place = (message.topic(), message.partition())
        self._ended.discard(place)
        batch.after[place] = message.offset() + 1
        batch.read += 1
        try:
            batch.events.append(_event(message, self._kafka.TIMESTAMP_NOT_AVAILABLE, self._now_s))
        except ValidationError as wrong:
            batch.refused += 1
            if self._refused is not None:
                self._refused(f"{place[0]} {place[1]} {message.offset()}", told(wrong))

    def _passing(self) -> Sequence[int]:
        """Errors after which the client goes on by itself: a broker that is away, a topic not there yet."""
        errors = self._kafka.KafkaError
        return errors._ALL_BROKERS_DOWN, errors._TRANSPORT, errors.UNKNOWN_TOPIC_OR_PART, errors._MAX_POLL_EXCEEDED


def _event(message: Any, untimed: int, now_s: Callable[[], float]) -> StoredEvent:
    """The event of one message: the same whenever it is delivered."""
    event = read_event(message.value() or b"")
    kind, at_ms = message.timestamp()
    if event.at_us < 0:
        at_us = round(now_s() * 1e6) if kind == untimed else at_ms * 1000
        key = event.key or f"{message.topic()}/{message.partition()}/{message.offset()}/{at_ms}"
        return replace(event, at_us=at_us, key=key)
    return event if event.key else replace(event, key=content_key(event))


def _settings(config: KafkaConfig) -> Mapping[str, Any]:
    """The client's settings; what decides about durability cannot be set from outside."""
    return {
        "auto.offset.reset": "earliest",
        **config.client,
        "bootstrap.servers": config.brokers,
        "group.id": config.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": config.until_end,
    }


def _client() -> Any:
    try:
        import confluent_kafka
    except ImportError as error:
        raise ExtraMissingError(
            f"the Kafka client is not installed ({error}); run: pip install 'tasteprint[kafka]'"
        ) from error
    return confluent_kafka
