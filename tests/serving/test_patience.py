"""Headers that come one byte at a time are given up; quick, slow and repeated requests are not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tasteprint.serving.patience import patient_protocol

uvicorn = pytest.importorskip("uvicorn")

PATIENCE_S = 0.4
HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await receive()
        await asyncio.sleep(3 * PATIENCE_S if scope["path"] == "/slow" else 0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, http=patient_protocol(PATIENCE_S), lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join()


def closed_after(line: socket.socket, said: bytes) -> float:
    """Seconds until the other side closes, while it is sent byte by byte."""
    began = time.monotonic()
    line.settimeout(0.02)
    for byte in said:
        with contextlib.suppress(OSError):
            line.sendall(bytes([byte]))
        with contextlib.suppress(TimeoutError):
            try:
                if line.recv(100) == b"":
                    return time.monotonic() - began
            except ConnectionError:
                return time.monotonic() - began
    return float("inf")


def test_dribbled_headers_are_given_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        assert PATIENCE_S * 0.8 < closed_after(line, HEAD + b"X: " + b"y" * 1000) < 20 * PATIENCE_S


def test_a_second_request_has_the_same_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        for _ in range(3):
            line.sendall(HEAD + b"\r\n")
            assert line.recv(1000).endswith(b"ok")
            time.sleep(PATIENCE_S * 1.5)  # being idle is another thing
        assert PATIENCE_S * 0.8 < closed_after(line, HEAD + b"X: " + b"y" * 1000) < 20 * PATIENCE_S


def test_silence_is_given_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        assert line.recv(10) == b""


def test_a_slow_answer_is_waited_for(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(HEAD.replace(b"/ ", b"/slow ") + b"\r\n")
        assert line.recv(1000).endswith(b"ok")
