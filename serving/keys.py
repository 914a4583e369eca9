"""API keys and what each allows: no key is stored, only its sha256.

A keys file is JSON: ``{"keys": [{"name": "shop-front", "sha256": "...", "scopes": ["read"]}]}``. It is read again when
it changes. How often a key may be used is `rates`'s.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..profiling.errors import ConfigError

_LOG = logging.getLogger("tasteprint.serving")

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


class KeysFile(Mapping[str, ApiKey]):
    """The keys of a file by their sha256, read again by `refresh` when the file has changed.

    Args:
        path: the file

    Raises:
        ConfigError: as `read_keys`.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._seen = self._state()
        self._keys: Mapping[str, ApiKey] = read_keys(self._path)
        self.failures = 0

    def refresh(self) -> bool:
        """Read the file if it has changed; whether there are other keys now.

        A file that cannot be read is told in the log and counted in ``failures``, once; the keys from before stay.
        """
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        try:
            keys = read_keys(self._path)
        except ConfigError as error:
            self.failures += 1
            _LOG.error("the keys from before stay: %s", error)
            return False
        changed, self._keys = keys != self._keys, keys
        if changed:
            _LOG.info("%d keys are known now", len(keys))
        return changed

    def _state(self) -> tuple[int, int, int] | None:
        """What changes with the file; None where it is not there."""
        try:
            told = self._path.stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_size, told.st_ino

    def __getitem__(self, sha256: str) -> ApiKey:
        return self._keys[sha256]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


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
