"""Configuration: one frozen tree of settings, where each value came from, and errors that name the nearest key.

Defaults live beside the code they configure; this module only gathers them. Order, later wins: defaults, a TOML file
with the differences, environment (``TASTEPRINT_ENCODER__NAME=...``), ``--set encoder.name=...``.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .profiling.encoder import EncoderConfig
from .profiling.errors import ConfigError
from .profiling.intent import IntentConfig
from .profiling.query_cache import QueryCacheConfig
from .profiling.templates import TemplateConfig
from .profiling.yardsticks import ProfileConfig
from .retrieval.recommender import RecommenderConfig

ENV_PREFIX = "TASTEPRINT_"
_NOT_SETTINGS = frozenset({"TASTEPRINT_CONFIG", "TASTEPRINT_SHOPS", "TASTEPRINT_DEMO", "TASTEPRINT_WORKSPACE"})


class Settings(BaseModel):
    """Every setting of a workspace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderConfig = EncoderConfig()
    template: TemplateConfig = TemplateConfig()
    intent: IntentConfig = IntentConfig()
    profile: ProfileConfig = ProfileConfig()
    recommender: RecommenderConfig = RecommenderConfig()
    query_cache: QueryCacheConfig = QueryCacheConfig()


@dataclass(frozen=True)
class Loaded:
    """Effective settings and the source of every value that is not a default.

    Attributes:
        settings: validated
        source: dotted key -> where its value came from; keys that are absent have their default
    """

    settings: Settings
    source: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(dotted key, value, where it came from) of every setting."""
        for key, value in flatten(self.settings.model_dump(mode="json")):
            yield key, value, self.source.get(key, "default")


def load_settings(
    path: str | Path | None = None, *, sets: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Loaded:
    """Settings from a TOML file, the environment and ``KEY=VALUE`` strings.

    Args:
        path: TOML file; None = the one ``TASTEPRINT_CONFIG`` names, if any
        sets: ``encoder.name=hash:64`` and the like; values are read as TOML, bare words as text
        environ: the environment; None = this process's

    Raises:
        ConfigError: the file is unreadable, a key is unknown (the nearest is named), or a value is out of range.
    """
    environ = os.environ if environ is None else environ
    path = path or environ.get("TASTEPRINT_CONFIG") or None
    given: list[tuple[str, Any, str]] = []
    if path is not None:
        given += [(key, value, f"file {path}") for key, value in flatten(_read_toml(Path(path)))]
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and name not in _NOT_SETTINGS:
            key = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
            given.append((key, _value(environ[name]), f"environment {name}"))
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set must be KEY=VALUE such as encoder.name=hash:64, got {text!r}")
        given.append((key.strip(), _value(value.strip()), f"--set {key.strip()}"))
    tree: dict[str, Any] = Settings().model_dump(mode="json")
    source: dict[str, str] = {}
    known = dict(flatten(tree))
    for key, value, where in given:
        if value == {} and any(name.startswith(f"{key}.") for name in known):
            continue  # a section with nothing in it
        _check_key(key, known, where)
        _put(tree, key.split("."), value)
        source[key] = where
    try:
        return Loaded(Settings.model_validate(tree), source)
    except ValidationError as error:
        raise ConfigError(_explain(error, source)) from error


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping with dotted keys.

    >>> list(flatten({"a": {"b": 1}, "c": [2]}))
    [('a.b', 1), ('c', [2])]
    """
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration file {path} cannot be read ({error.strerror}); check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} is not TOML: {error}") from error


def _value(text: str) -> Any:
    """A TOML value, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_key(key: str, known: Mapping[str, Any], where: str) -> None:
    if key in known or any(value == {} and key.startswith(f"{name}.") for name, value in known.items()):
        return
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    raise ConfigError(f"{where}: unknown key {key!r}; the nearest is {nearest[0]!r} (see: tasteprint config)")


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
    tree[path[-1]] = value


def _explain(error: ValidationError, source: Mapping[str, str]) -> str:
    said = []
    for one in error.errors():
        key = ".".join(str(step) for step in one["loc"])
        where = source.get(key, "settings")
        said.append(f"{where}: {key}: {one['msg']}, got {json.dumps(one['input'], default=str)}")
    return "; ".join(said)
