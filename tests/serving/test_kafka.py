"""Events from Kafka, against the client library's own test cluster: stored once, committed only when stored."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tasteprint.profiling.errors import ConfigError, ExtraMissingError
from tasteprint.serving.ingest import Ingested
from tasteprint.serving.kafka import KafkaConfig, StreamError, ingest_kafka
from tasteprint.serving.store import Appended, ProfileStore, StoredEvent, StoreError, open_store

kafka = pytest.importorskip("confluent_kafka")

QUICK = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500", "fetch.wait.max.ms": "50"}


class Cluster:
    """A broker inside the client library, for as long as this producer lives."""

    def __init__(self) -> None:
        self.producer = kafka.Producer(
            {"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0, "linger.ms": 0}
        )
        (broker,) = self.producer.list_topics(timeout=10).brokers.values()
        self.brokers = f"{broker.host}:{broker.port}"

    def send(self, topic: str, values: Sequence[bytes | None], *, partition: int = 0) -> None:
        for value in values:
            self.producer.produce(topic, value=value, partition=partition, timestamp=1_700_000_000_000)
        assert self.producer.flush(10) == 0

    def committed(self, topic: str, group: str = "tasteprint") -> dict[int, int]:
        """Offset of each partition to go on from."""
        reader = kafka.Consumer({"bootstrap.servers": self.brokers, "group.id": group, "log_level": 0})
        places = reader.committed([kafka.TopicPartition(topic, part) for part in range(4)], timeout=10)
        reader.close()
        return {place.partition: place.offset for place in places if place.offset >= 0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.producer.flush(1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    made = open_store(str(tmp_path / "store.sqlite"))
    yield made
    made.close()


def said(user: str, n: int, **more: Any) -> bytes:
    return json.dumps({"user_id": user, "kind": "view", "item_id": f"i{n:03d}", **more}).encode()


def run(cluster: Cluster, topic: str, store: Any, **more: Any) -> Ingested:
    config = KafkaConfig(brokers=cluster.brokers, topic=topic, until_end=True, client=QUICK, **more)
    end = time.monotonic() + 60
    return ingest_kafka(config, store, now_s=lambda: 5.0, stopping=lambda: time.monotonic() > end)


class Failing:
    """A store that fails at one append."""

    def __init__(self, store: ProfileStore, at: int) -> None:
        self.store, self.left = store, at

    def append(self, events: Sequence[StoredEvent]) -> Appended:
        self.left -= 1
        if self.left == 0:
            raise StoreError("the disk is full")
        return self.store.append(events)


def test_a_topic_is_stored_once_and_committed(cluster: Cluster, store: ProfileStore) -> None:
    at = "2024-06-01T10:00:00Z"
    cluster.send("clicks", [said("ann", 1, at=at), said("ann", 1, at=at), said("ann", 2, key="k2"), b"no json", None])
    cluster.send("clicks", [said("ben", n) for n in (3, 3)], partition=1)
    cluster.send("clicks", [b'{"user_id": "\xff"}'], partition=2)
    told: list[tuple[str, str]] = []
    config = KafkaConfig(brokers=cluster.brokers, topic="clicks", until_end=True, client=QUICK)
    end = time.monotonic() + 60
    done = ingest_kafka(
        config, store, now_s=lambda: 5.0, stopping=lambda: time.monotonic() > end,
        refused=lambda place, says: told.append((place, says)),
    )  # fmt: skip
    assert done == Ingested(read=8, stored=4, repeated=1, refused=3)
    assert sorted(place for place, _ in told) == ["clicks 0 3", "clicks 0 4", "clicks 2 0"]
    assert not any("no json" in says for _, says in told)
    assert cluster.committed("clicks") == {0: 5, 1: 2, 2: 1}
    ann, ben = store.events("ann"), store.events("ben")
    assert [event.at_us for event in ann] == [1717236000_000000, 1_700_000_000_000_000][::-1]
    assert ann[0].key == "k2"
    assert [event.key for event in ben] == ["clicks/1/0/1700000000000", "clicks/1/1/1700000000000"]

    again = run(cluster, "clicks", store, group="another")  # everything is delivered again
    assert (again.read, again.stored, again.repeated) == (8, 0, 5)
    assert store.events("ben") == ben


def test_what_is_not_stored_is_not_committed(cluster: Cluster, store: ProfileStore) -> None:
    cluster.send("orders", [said("ann", n, key=f"k{n}") for n in range(20)])
    with pytest.raises(StoreError, match="full"):
        run(cluster, "orders", Failing(store, 2), batch=5)
    first = len(store.events("ann"))
    assert 1 <= first <= 5
    assert cluster.committed("orders") == {0: first}
    done = run(cluster, "orders", store, batch=5)
    assert (done.read, done.stored, done.repeated) == (20 - first, 20 - first, 0)
    assert len(store.events("ann")) == 20


def test_where_there_is_no_broker(store: ProfileStore) -> None:
    config = KafkaConfig(brokers="127.0.0.1:1", topic="clicks", client={"log_level": "0"})
    end = time.monotonic() + 1
    done = ingest_kafka(config, store, now_s=lambda: 5.0, stopping=lambda: time.monotonic() > end)
    assert done == Ingested(0, 0, 0, 0)  # it goes on trying until told to stop
    wrong = KafkaConfig(brokers="127.0.0.1:1", topic="clicks", client={"no.such.setting": "1"})
    with pytest.raises(StreamError, match=r"no\.such\.setting"):
        ingest_kafka(wrong, store, now_s=lambda: 5.0, stopping=lambda: False)


def test_the_missing_client_is_said(store: ProfileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ExtraMissingError, match=r"tasteprint\[kafka\]"):
        ingest_kafka(KafkaConfig(brokers="b", topic="t"), store, now_s=lambda: 0.0, stopping=lambda: True)


INGEST = "import typer; from tasteprint.commands.ingest import ingest; typer.run(ingest)"


@pytest.mark.slow
def test_killed_while_it_reads(cluster: Cluster, tiny_workspace: Path, tmp_path: Path) -> None:
    count = 4000
    cluster.send("busy", [said(f"u{n % 7}", n % 40, key=f"k{n}") for n in range(count)])
    path, settings = tmp_path / "store.sqlite", tmp_path / "client"
    settings.write_text("# quick\n" + "".join(f"{name}={value}\n" for name, value in QUICK.items()))
    words = [sys.executable, "-c", INGEST, "-w", str(tiny_workspace), "--store", str(path), "--kafka", cluster.brokers]
    words += ["--topic", "busy", "--kafka-config", str(settings)]
    store = open_store(str(path))
    for wanted in (1, 1500):
        with subprocess.Popen(words) as reader:
            end = time.monotonic() + 120
            while store.count().events < wanted:
                assert time.monotonic() < end
                time.sleep(0.005)
            reader.send_signal(signal.SIGKILL)
        committed = sum(cluster.committed("busy").values())
        assert committed <= store.count().events
    done = subprocess.run([*words, "--until-end", "--json"], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert store.count().events == count
    assert json.loads(done.stdout)["refused"] == 0
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as reader:
        cluster.send("busy", [said("late", 1, key="late")])
        end = time.monotonic() + 120
        while store.count().events == count:
            assert time.monotonic() < end
            time.sleep(0.01)
        reader.send_signal(signal.SIGTERM)
        assert reader.wait(60) == 0
    store.close()


def test_options_that_go_together(tmp_path: Path) -> None:
    from tasteprint.commands.ingest import ingest

    with pytest.raises(ConfigError, match="go together"):
        ingest(tmp_path, kafka="127.0.0.1:9092")
    (tmp_path / "client").write_text("no equals sign\n")
    with pytest.raises(ConfigError, match="line 1"):
        ingest(tmp_path, kafka="127.0.0.1:9092", topic="t", client=tmp_path / "client")
