"""Configuration: one frozen tree of settings, gathered from the code they configure.

Defaults live beside that code; how files, environment and ``--set`` are laid over them is `layers`' work. Order, later
wins: defaults, a TOML file with the differences, environment (``TASTEPRINT_ENCODER__NAME=...``),
``--set encoder.name=...``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from .evaluation.rank_learning import RankLearningConfig
from .profiling.encoders.encoder import EncoderConfig
from .profiling.encoders.query_cache import QueryCacheConfig
from .profiling.intent.intent import IntentConfig
from .profiling.layers import Loaded, flatten, read_layers
from .profiling.shopper.yardsticks import ProfileConfig
from .profiling.templates import TemplateConfig
from .retrieval.index.config import ServedIndexConfig
from .retrieval.recommender import RecommenderConfig
from .retrieval.taste.config import TasteConfig

__all__ = ["ENV_PREFIX", "Loaded", "Settings", "flatten", "load_settings"]

ENV_PREFIX = "TASTEPRINT_"
_NOT_SETTINGS = frozenset(f"{ENV_PREFIX}{name}" for name in ("CONFIG", "SHOPS", "DEMO", "WORKSPACE", "STORE", "KEY"))


class Settings(BaseModel):
    """Every setting of a workspace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderConfig = EncoderConfig()
    template: TemplateConfig = TemplateConfig()
    intent: IntentConfig = IntentConfig()
    profile: ProfileConfig = ProfileConfig()
    recommender: RecommenderConfig = RecommenderConfig()
    taste: TasteConfig = TasteConfig()
    ranking: RankLearningConfig = RankLearningConfig()
    query_cache: QueryCacheConfig = QueryCacheConfig()
    index: ServedIndexConfig = ServedIndexConfig()


def load_settings(
    path: str | Path | None = None, *, sets: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Loaded[Settings]:
    """Settings from a TOML file, the environment and ``KEY=VALUE`` strings.

    Args:
        path: TOML file; None = the one ``TASTEPRINT_CONFIG`` names, if any
        sets: ``encoder.name=hash:64`` and the like; values are read as TOML, bare words as text
        environ: the environment; None = this process's

    Raises:
        ConfigError: the file is unreadable, a key is unknown (the nearest is named), or a value is out of range.
    """
    environ = os.environ if environ is None else environ
    ours = {k: v for k, v in environ.items() if k.startswith(ENV_PREFIX) and k not in _NOT_SETTINGS}
    path = path or environ.get("TASTEPRINT_CONFIG") or None
    return read_layers(Settings, path, sets=sets, environ=ours, hint=" (see: tasteprint config)")
