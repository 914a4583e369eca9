"""The examples in the docstrings of the data modules run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = (
    "tables.schema",
    "tables.tiny",
    "tables.violation",
    "importers.amazon_fields",
    "importers.base",
    "importers.complete_journey",
    "importers.k_core",
    "importers.report",
    "importers.table_read",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = import_module(f"tasteprint.profiling.{name}")
    result = doctest.testmod(module, extraglobs={"np": import_module("numpy"), "pd": import_module("pandas")})
    assert result.failed == 0
    assert result.attempted > 0
