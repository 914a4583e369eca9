"""The page's own files, read once from this package, and the policy that keeps a browser from loading anything else."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from fastapi import APIRouter, Response

from ..problems import Problem

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content-Security-Policy of every file: scripts, styles and data from this server alone, nothing inline, no frames."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_START = "index.html"


def read_pages() -> dict[str, tuple[bytes, str]]:
    """Name -> bytes and media type of every file of the page."""
    found = {}
    for entry in files(__package__ or "").joinpath("static").iterdir():
        dot = entry.name.rfind(".")
        if dot > 0 and entry.name[dot:] in _TYPES:
            found[entry.name] = entry.read_bytes(), _TYPES[entry.name[dot:]]
    return found


def page_routes() -> APIRouter:
    """``/`` and the files it needs; they hold no data, so no key is asked for."""
    router = APIRouter(include_in_schema=False)
    pages = read_pages()

    def answer(name: str) -> Response:
        if name not in pages:
            raise Problem(404, "The console has no such file.")
        content, kind = pages[name]
        return Response(content, media_type=kind, headers=dict(HEADERS))

    @router.get("/")
    async def start() -> Response:
        """The console."""
        return answer(_START)

    @router.get("/console/files/{name}")
    async def file(name: str) -> Response:
        """A script, a style or a picture of the console."""
        return answer(name)

    return router
