"""The load generator against small servers: every request is made and counted, late ones with the time they waited."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import pytest

from tasteprint.serving.load import Call, LoadError, address, drive

Handler = Callable[[BinaryIO, Callable[[bytes], object]], None]
HEAD = "Host: {}\r\nContent-Type: application/json\r\n"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def server(handler: Handler) -> Iterator[str]:
    """A server with a thread for each connection, which it closes when the handler returns; its address."""

    class Connection(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            with suppress(OSError, EOFError):
                handler(self.rfile, self.wfile.write)

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Connection) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_address[1]}"
        finally:
            made.shutdown()
            thread.join()


def asked(read: BinaryIO) -> bytes:
    """One request, its head and body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = read.readline()
        if not line:
            raise EOFError
        head += line
    return head + read.read(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


def test_every_request_is_made_once_in_turn_and_answered() -> None:
    seen: list[bytes] = []

    def handler(read: BinaryIO, write: Callable[[bytes], object]) -> None:
        while True:
            seen.append(asked(read))
            for n in range(0, len(GOOD), 7):  # in small pieces, cut anywhere
                write(GOOD[n : n + 7])

    with server(handler) as url:
        calls = [Call("/a", {"n": 1}), Call("/b", {"n": 2}), Call("/c", {})]
        found = drive(url, calls, rate=300, seconds=0.1, key="secret", connections=4)
    assert found.statuses == {200: 30}
    assert found.failed == 0
    assert sorted(line.split(b" HTTP")[0] for line in seen) == [b"GET /c"] * 10 + [b"POST /a"] * 10 + [b"POST /b"] * 10
    assert all(b"Authorization: Bearer secret" in request for request in seen)


def test_where_a_service_is_and_what_it_is_called() -> None:
    assert address("http://localhost:81", None) == (("localhost", 81), HEAD.format("localhost"))
    assert address("http://[::1]:81", "k") == (("::1", 81), HEAD.format("[::1]") + "Authorization: Bearer k\r\n")


def test_times_count_from_when_a_request_was_due() -> None:
    def handler(read: BinaryIO, write: Callable[[bytes], object]) -> None:
        while True:
            asked(read)
            time.sleep(0.06)
            write(GOOD)

    with server(handler) as url:
        found = drive(url, [Call("/", {"n": 1})], rate=50, seconds=0.2, connections=1)
    waits = [60 * (n + 1) - 20 * n for n in range(10)]  # ms: one line, 60 each, one due every 20
    assert found.statuses == {200: 10}
    assert found.max_ms >= waits[-1] - 2
    assert found.p50_ms >= (waits[4] + waits[5]) / 2 - 2
    assert found.rate == pytest.approx(10 / 0.6, rel=0.3)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), 200),  # a last answer is an answer
        (GOOD.replace(b"200 OK", b"503 Busy").replace(b"\r\n\r\n", b"\r\nconnection:close\r\n\r\n"), 503),
        (GOOD[:-1], 0),  # cut short, then closed
        (GOOD + b"more", 0),  # more than was said
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0),  # where it ends was not said
        (b"nonsense\r\n\r\n", 0),
        (b"", 0),
    ],
)
def test_lines_that_end_are_replaced_and_what_was_not_answered_is_counted(said: bytes, status: int) -> None:
    def handler(read: BinaryIO, write: Callable[[bytes], object]) -> None:
        asked(read)
        write(said)

    with server(handler) as url:
        found = drive(url, [Call("/", {"n": 1})], rate=200, seconds=0.1, connections=3)
    assert found.statuses == {status: 20}
    assert found.failed == (0 if status == 200 else 20)


def test_a_service_that_goes_away_ends_the_load() -> None:
    def handler(read: BinaryIO, _: Callable[[bytes], object]) -> None:
        asked(read)
        over.set()

    over = threading.Event()
    failed: list[LoadError] = []

    def load() -> None:
        try:
            drive(url, [Call("/", {"n": 1})], rate=20, seconds=60, connections=2)
        except LoadError as error:
            failed.append(error)

    with server(handler) as url:
        loading = threading.Thread(target=load)
        loading.start()
        over.wait(10)
    loading.join(20)
    assert not loading.is_alive()
    assert "nothing answers" in str(failed[0])
