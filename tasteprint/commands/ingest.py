"""``tasteprint ingest``: events into a live store, from standard input or a Kafka topic."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, WorkspaceOption
from .serve import StoreOption

if TYPE_CHECKING:
    from ..serving.ingest import Ingested
    from ..serving.kafka import KafkaConfig
    from ..serving.store import ProfileStore


def ingest(
    workspace: WorkspaceOption,
    store: StoreOption = None,
    kafka: Annotated[
        str | None, typer.Option("--kafka", help="HOST:PORT of the brokers, to read a topic instead of stdin.")
    ] = None,
    topic: Annotated[str | None, typer.Option("--topic", help="The topic, with --kafka.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="Consumer group. Default: tasteprint.")] = None,
    client: Annotated[
        Path | None,
        typer.Option("--kafka-config", help="File of client settings, NAME=VALUE a line: security, passwords."),
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="With --kafka: stop when everything that was there is stored.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Store events as they come from stdin, one JSON object a line, or from a Kafka topic, each batch durable at once.

    What is sent again is stored once. Offsets are committed when their events are durable. Lines and messages that
    break a rule are told on stderr and left out; the exit code is then 2. Stops at the end of stdin, or when told to.

    Examples:

      tail -F clicks.jsonl | tasteprint ingest --workspace work/grocery

      tasteprint ingest -w work/grocery --store redis://127.0.0.1:6379/0 --json < events.jsonl

      tasteprint ingest -w work/grocery --kafka 127.0.0.1:9092 --topic clicks
    """
    from ..profiling.errors import ConfigError
    from ..serving.ingest import ingest as run
    from ..serving.store import open_store
    from ..serving_setup import published, store_address

    if (kafka is None) != (topic is None):
        raise ConfigError("--kafka and --topic go together; give both, or neither to read stdin")
    said = _kafka_config(kafka, topic, group, client, until_end)
    published(workspace)
    opened = open_store(store_address(workspace, store))
    try:
        if said is not None:
            done = _from_kafka(said, opened)
        else:
            done = run(
                sys.stdin,
                opened,
                now_s=time.time,
                refused=lambda line, says: typer.echo(f"line {line}: {says}", err=True),
            )
    finally:
        opened.close()
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        what = "lines" if said is None else "messages"
        typer.echo(
            f"{done.read:,} {what}: {done.stored:,} stored, {done.repeated:,} repeated, {done.refused:,} refused"
        )
    if done.refused:
        raise typer.Exit(2)


def _kafka_config(
    brokers: str | None, topic: str | None, group: str | None, client: Path | None, until_end: bool
) -> KafkaConfig | None:
    """What the options say of a topic; None where they say nothing."""
    from ..profiling.errors import ConfigError
    from ..serving.kafka import KafkaConfig

    if brokers is None or topic is None:
        return None
    settings = {}
    if client is not None:
        try:
            lines = [line.strip() for line in client.read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise ConfigError(f"--kafka-config {client} cannot be read ({error}); name a file that can") from error
        for number, line in enumerate(lines, start=1):
            name, found, value = line.partition("=")
            if line and not line.startswith("#"):
                if not found:
                    raise ConfigError(f"--kafka-config {client}: line {number} must be NAME=VALUE")
                settings[name.strip()] = value.strip()
    named = {} if group is None else {"group": group}
    return KafkaConfig(brokers=brokers, topic=topic, client=settings, until_end=until_end, **named)


def _from_kafka(config: KafkaConfig, store: ProfileStore) -> Ingested:
    """Store a topic's events until told to stop."""
    import signal
    import threading

    from ..serving.kafka import ingest_kafka

    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return ingest_kafka(
            config,
            store,
            now_s=time.time,
            stopping=stop.is_set,
            refused=lambda place, says: typer.echo(f"message {place}: {says}", err=True),
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
