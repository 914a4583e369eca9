"""API keys and what each allows: no key is stored, only its sha256.

A keys file is JSON: ``{"keys": [{"name": "shop-front", "sha256": "...", "scopes": ["read"]}]}``. How often a key may
be used is `rates`'s.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..profiling.errors import ConfigError

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""read: ask; write: send events; admin: everything, exports and forgetting too."""

_PREFIX = "tp_"


@dataclass(frozen=True)
class ApiKey:
    """Who calls, and what they may do."""

    name: str
    scopes: frozenset[str]

    def allows(self, scope: Scope) -> bool:
        """Whether this key may do what needs ``scope``.

        >>> ApiKey("a", frozenset({"admin"})).allows("read"), ApiKey("b", frozenset({"write"})).allows("read")
        (True, False)
        """
        return scope in self.scopes or "admin" in self.scopes


ANYBODY = ApiKey("anybody", frozenset(SCOPES))
"""Who calls where no keys are asked for."""


def digest(secret: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_key() -> str:
    """A key nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(32)


def read_keys(path: str | Path) -> dict[str, ApiKey]:
    """Keys of a file by their sha256.

    Raises:
        ConfigError: the file cannot be read, names an unknown scope, or has no key.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))["keys"]
        keys = {str(row["sha256"]): ApiKey(str(row["name"]), frozenset(row["scopes"])) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f'keys file {path} must be JSON {{"keys": [{{"name", "sha256", "scopes"}}]}} ({error}); '
            "make one with: tasteprint serve-key"
        ) from error
    for key in keys.values():
        if unknown := sorted(key.scopes - set(SCOPES)):
            raise ConfigError(f"keys file {path}: scope {unknown[0]!r} is not one of {', '.join(SCOPES)}")
    if not keys:
        raise ConfigError(f"keys file {path} has no keys; make one with: tasteprint serve-key")
    return keys


def add_key(path: str | Path, name: str, scopes: list[str]) -> str:
    """Make a key, add its sha256 to a file that only its owner can read, and return the key.

    Raises:
        ConfigError: an unknown scope, a name that is there already, or a file that is not one of keys.
    """
    from ..profiling.files import write_whole

    path = Path(path)
    for scope in scopes:
        if scope not in SCOPES:
            raise ConfigError(f"scope must be one of {', '.join(SCOPES)}, got {scope!r}")
    keys = read_keys(path) if path.exists() else {}
    if any(key.name == name for key in keys.values()):
        raise ConfigError(f"name {name!r} is in {path} already; take another one, or remove its line first")
    secret = new_key()
    keys[digest(secret)] = ApiKey(name, frozenset(scopes))
    rows: list[dict[str, Any]] = [
        {"name": key.name, "sha256": sha, "scopes": sorted(key.scopes)} for sha, key in keys.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"keys": rows}, indent=1).encode())
    path.chmod(0o600)
    return secret


def caller(keys: Mapping[str, ApiKey] | None, secret: str | None) -> ApiKey | None:
    """Whose key it is; None for nobody's. Without keys, anybody's."""
    if keys is None:
        return ANYBODY
    return None if secret is None else keys.get(digest(secret))
