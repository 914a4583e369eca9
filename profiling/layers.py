"""Settings in layers: defaults of a pydantic model, a TOML file with the differences, the environment, ``KEY=VALUE``.

Later layers win; every value that is not a default remembers where it came from, and an error names the nearest key.
Which settings there are is their owners' to say.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import ConfigError

_Settings = TypeVar("_Settings", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[_Settings]):
    """Effective settings and the source of every value that is not a default.

    Attributes:
        settings: validated
        source: dotted key -> where its value came from; keys that are absent have their default
    """

    settings: _Settings
    source: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(dotted key, value, where it came from) of every setting."""
        for key, value in flatten(self.settings.model_dump(mode="json")):
            yield key, value, self.source.get(key, "default")


def read_layers(
    model: type[_Settings],
    path: str | Path | None = None,
    *,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    hint: str = "",
) -> Loaded[_Settings]:
    """Settings of ``model``, whose every field has a default, from a file, an environment and strings.

    Args:
        model: the tree of settings
        path: TOML file with the differences, None = none
        sets: ``encoder.name=hash:64`` and the like; values are read as TOML, bare words as text
        environ: dotted keys and values, with the name each came from; None = none
        hint: what an error adds on where keys are listed

    Raises:
        ConfigError: the file is unreadable, a key is unknown (the nearest is named), or a value is out of range.
    """
    given: list[tuple[str, Any, str]] = []
    if path is not None:
        given += [(key, value, f"file {path}") for key, value in flatten(_read_toml(Path(path)))]
    for name, text in sorted((environ or {}).items()):
        key = name.partition("_")[2].lower().replace("__", ".")
        given.append((key, _value(text), f"environment {name}"))
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set must be KEY=VALUE such as encoder.name=hash:64, got {text!r}")
        given.append((key.strip(), _value(value.strip()), f"--set {key.strip()}"))
    tree: dict[str, Any] = model().model_dump(mode="json")
    source: dict[str, str] = {}
    known = dict(flatten(tree))
    for key, value, where in given:
        if value == {} and any(name.startswith(f"{key}.") for name in known):
            continue  # a section with nothing in it
        _check_key(key, known, where, hint)
        _put(tree, key.split("."), value)
        source[key] = where
    try:
        return Loaded(model.model_validate(tree), source)
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


def _check_key(key: str, known: Mapping[str, Any], where: str, hint: str) -> None:
    if key in known or any(value == {} and key.startswith(f"{name}.") for name, value in known.items()):
        return
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    raise ConfigError(f"{where}: unknown key {key!r}; the nearest is {nearest[0]!r}{hint}")


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
