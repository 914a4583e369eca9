"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..retrieval.filters import Filters

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="TASTEPRINT_WORKSPACE", help="Workspace built by 'tasteprint build'."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of words.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file with settings that differ from the defaults.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, KEY=VALUE, such as encoder.name=hash:64. Repeatable.")
]
RulesOption = Annotated[Path | None, typer.Option("--rules", help="TOML file of rules: pin, bury, cap and so on.")]
AtOption = Annotated[
    str | None, typer.Option("--at", help="Time of the request, ISO 8601 UTC; default: just after the newest event.")
]
KOption = Annotated[int, typer.Option("--k", "-k", min=1, help="Items wanted.")]
CategoryOption = Annotated[str | None, typer.Option("--category", help="Only this category path or what is below it.")]
BrandOption = Annotated[str | None, typer.Option("--brand", help="Only this brand.")]
LowOption = Annotated[float | None, typer.Option("--price-min", help="Only items at this price or more.")]
HighOption = Annotated[float | None, typer.Option("--price-max", help="Only items at this price or less.")]


def moment(at: str | None, otherwise_s: float) -> float:
    """Seconds since 1970 UTC of an ISO 8601 time; ``otherwise_s`` without one.

    Raises:
        ConfigError: not a time.
    """
    from ..profiling.errors import ConfigError

    if at is None:
        return otherwise_s
    try:
        time = datetime.fromisoformat(at)
    except ValueError as error:
        raise ConfigError(f"--at must be an ISO 8601 time such as 2017-12-01T18:00, got {at!r}") from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def named(rule: str, given: list[str] | None) -> dict[str, str]:
    """What a repeatable NAME=VALUE option says, the last one of a name counting.

    Raises:
        ConfigError: one has no name or no ``=``; ``rule`` says what it must be.
    """
    from ..profiling.errors import ConfigError

    said = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{rule}, got {text!r}")
        said[name.strip()] = value.strip()
    return said


def weights_of(given: list[str] | None) -> dict[str, float] | None:
    """What ``--weight`` says; None where it is not given.

    Raises:
        ConfigError: one is not PART=NUMBER.
    """
    from ..profiling.errors import ConfigError

    rule = "--weight must be PART=NUMBER such as meaning=1"
    weights = {}
    for name, number in named(rule, given).items():
        try:
            weights[name] = float(number)
        except ValueError as error:
            raise ConfigError(f"{rule}, got {name}={number}") from error
    return weights or None


def attributes_of(given: list[str] | None) -> dict[str, str] | None:
    """What ``--attribute`` says; None where it is not given.

    Raises:
        ConfigError: one is not NAME=VALUE.
    """
    return named("--attribute must be NAME=VALUE such as age=25-34", given) or None


def filters_of(category: str | None, brand: str | None, low: float | None, high: float | None) -> Filters:
    """The conditions of ``--category``, ``--brand``, ``--price-min`` and ``--price-max``."""
    from ..retrieval.filters import Filters

    return Filters(category=category, brand=brand, price_min=low, price_max=high)
