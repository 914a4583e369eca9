"""Plans of a load: the highest rate by bisection, memory that settles, and a purchase that was not looked at."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasteprint.serving.load import Call, LoadError, LoadReport
from tasteprint.serving.load_plans import Followed, follow, highest_rate, memory_of, settled, soak


def report(rate: float, p99_ms: float, *, failed: int = 0, reached: float = 1.0) -> LoadReport:
    return LoadReport(rate, rate * reached, {200: 10, 503: failed}, p99_ms / 2, p99_ms, p99_ms, p99_ms)


@given(st.floats(0.01, 5000.0), st.floats(1.0, 200.0))
def test_the_highest_rate_is_found(limit: float, start: float) -> None:
    found = highest_rate(lambda rate: report(rate, 49.0 if rate <= limit else 51.0), start=start, p99_ms=50, within=0.1)
    assert found.rate <= limit
    assert limit - found.rate <= max(0.1 * limit / 0.9, 0.1 * start) + 1e-9
    assert len(found.tries) < 40
    assert found.rate == 0 or any(one.wanted_rate == found.rate for one in found.tries)


def test_what_counts_as_kept() -> None:
    for bad in ({"failed": 1}, {"reached": 0.9}):
        found = highest_rate(
            lambda rate, bad=bad: report(rate, 5.0, **(bad if rate > 100 else {})), start=80, p99_ms=50, within=0.1
        )
        assert 90 <= found.rate <= 100


def test_memory_that_settles() -> None:
    seconds = [float(n) for n in range(101)]
    warming = [100.0 + 900.0 * min(n / 20, 1.0) for n in range(101)]
    assert settled(seconds, warming, warm_s=20) == (1000.0, 1000.0)
    leaking = [1000.0 + n for n in range(101)]
    assert settled(seconds, leaking, warm_s=20) == (1020.0, 1090.0)
    busy = [1000.0 + 500.0 * (n % 3 > 0) for n in range(101)]  # requests under way take some, and give it back
    assert settled(seconds, busy, warm_s=20) == (1000.0, 1000.0)


class Shop(BaseHTTPRequestHandler):
    """A service whose pages know of purchases, or do not."""

    protocol_version = "HTTP/1.1"
    bought: set[str] = set()  # noqa: RUF012
    forgetful = False

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._say(b"# HELP x\ntasteprint_memory_bytes 5.0e+06\ntasteprint_items 3.0\n")

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/events":
            if not self.forgetful:
                self.bought.update(event["item_id"] for event in said["events"])
            self._say(json.dumps({"stored": len(said["events"])}).encode())
        else:
            items = [f"i{n}" for n in range(10_000) if f"i{n}" not in self.bought][:3]
            self._say(json.dumps({"items": [{"item_id": item} for item in items]}).encode())

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def shop(*, forgetful: bool) -> Iterator[str]:
    handler = type("Handler", (Shop,), {"forgetful": forgetful, "bought": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_purchase_that_is_not_looked_at_is_found() -> None:
    with shop(forgetful=False) as url:
        found = follow(url, ["ann", "ben"], seconds=0.2)
        assert found.looked > 0
        assert found == Followed(found.looked, 0, 0)
    with shop(forgetful=True) as url:
        found = follow(url, ["ann", "ben"], seconds=0.2)
        assert found.looked == found.missed > 0


def test_soaking_reads_memory() -> None:
    with shop(forgetful=False) as url:
        assert memory_of(url, "key") == 5e6
        found = soak(url, [Call("/v1/search", {"query": "tea"})], rate=50, seconds=0.3, warm_s=0.1, every_s=0.05)
    assert found.load.statuses == {200: 15}
    assert set(found.memory_bytes) == {5e6}
    assert found.growth == 0.0
    with pytest.raises(LoadError, match="nothing answers"):
        soak("http://127.0.0.1:1", [Call("/", {"a": 1})], rate=1, seconds=0.1, warm_s=0, every_s=0.1)
