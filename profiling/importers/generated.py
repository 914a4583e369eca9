"""A made-up shop to try commands on: small, seeded, every table and every kind of event. Nothing is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..tables.shop import ShopWriter
from ..tables.tiny import tiny_shop
from .base import Importer, ImportRequest
from .report import Ledger


def _run(request: ImportRequest, writer: ShopWriter, ledger: Ledger) -> Mapping[str, Any]:
    shop = tiny_shop()
    for name, table in shop.tables().items():
        ledger.read(name, len(table))
        writer.add(name, table)
    ledger.note("generated: no real shop, for trying commands only")
    request.progress("generated", 1.0)
    return {key: value for key, value in shop.meta.items() if key != "tables"}


IMPORTER = Importer(
    summary="a made-up shop of 42 items and 30 shoppers, to try commands on",
    source="not needed",
    options=frozenset(),
    run=_run,
)
