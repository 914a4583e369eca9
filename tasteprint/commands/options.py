"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

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
