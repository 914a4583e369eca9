"""Remembered rows: whose text is written again, and that a memo that cannot be believed changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasteprint.profiling.embedding import rows as embed_rows
from tasteprint.profiling.embedding.embeddings import load_embeddings
from tasteprint.profiling.embedding.keys import SortedKeys, distinct_keys, text_keys
from tasteprint.profiling.embedding.memo import open_memo, row_hashes, save_memo
from tasteprint.profiling.embedding.plan import EmbedConfig
from tasteprint.profiling.embedding.run import embed_shop
from tasteprint.profiling.encoders.hashing import HashEncoder
from tasteprint.profiling.tables.schema import conform
from tasteprint.profiling.tables.shop import Shop, write_shop
from tasteprint.profiling.templates import TemplateConfig, item_texts

SIZES = EmbedConfig(chunk_texts=16, shard_items=100, batch_items=30)


def items_of(n: int = 120, **changed: str) -> pd.DataFrame:
    """Items with every column a template reads; ``changed`` titles by item id."""
    ids = [f"i{row}" for row in range(n)]
    return conform(
        "items",
        pd.DataFrame(
            {
                "item_id": ids,
                "title": [changed.get(item, f"lamp {row % 50}") for row, item in enumerate(ids)],
                "brand": ["Lumo", None] * (n // 2),
                "attributes": ['{"colour": "red"}', None, "", "{}"] * (n // 4),
            }
        ),
    )


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each batch had written."""
    rows: list[int] = []

    def counted(frame: pd.DataFrame, template: TemplateConfig) -> list[str]:
        rows.append(len(frame))
        return item_texts(frame, template)

    monkeypatch.setattr(embed_rows, "item_texts", counted)
    return rows


def embedded(items: pd.DataFrame, folder: Path, template: TemplateConfig | None = None) -> None:
    """Embed a shop of these items and compare with encoding them directly."""
    write_shop(Shop("s", items=items), folder / "shop", overwrite=True)
    embed_shop(folder / "shop", folder / "out", HashEncoder(dim=16), template, config=SIZES)
    expected = HashEncoder(dim=16).encode(item_texts(items, template))
    np.testing.assert_array_equal(load_embeddings(folder / "out").vectors, expected)


def test_only_changed_rows_are_written(tmp_path: Path, written: list[int]):
    embedded(items_of(), tmp_path)
    assert sum(written) == 120
    written.clear()
    changed = items_of(124, i3="sofa", i70="desk").sample(frac=1, random_state=0)
    embedded(changed, tmp_path)
    assert sum(written) <= 2 + 4
    written.clear()
    embedded(changed, tmp_path, TemplateConfig(fields=("title",)))
    assert sum(written) == 124


def test_price_alone_is_no_change(tmp_path: Path, written: list[int]):
    embedded(items_of(), tmp_path)
    written.clear()
    embedded(items_of().assign(price=2.5), tmp_path)
    assert sum(written) == 0


@pytest.mark.parametrize("trouble", ["cache gone", "cache damaged", "cut", "flipped", "another program"])
def test_a_memo_that_cannot_be_believed(
    tmp_path: Path, written: list[int], trouble: str, monkeypatch: pytest.MonkeyPatch
):
    embedded(items_of(), tmp_path)
    written.clear()
    memo = tmp_path / "out" / "rows.safetensors"
    raw = bytearray(memo.read_bytes())
    if trouble == "cache gone":
        shutil.rmtree(tmp_path / "out" / "cache")
    elif trouble == "cache damaged":
        file = sorted((tmp_path / "out" / "cache").rglob("*.safetensors"))[0]
        file.write_bytes(file.read_bytes()[:-1])
    elif trouble == "cut":
        memo.write_bytes(raw[:-16])
    elif trouble == "flipped":
        raw[-1] ^= 1
        memo.write_bytes(raw)
    else:
        (tmp_path / "templates.py").write_text("other")
        monkeypatch.setattr("tasteprint.profiling.embedding.memo.templates.__file__", str(tmp_path / "templates.py"))
    embedded(items_of(i3="sofa"), tmp_path)
    assert sum(written) >= 120


def test_what_is_saved_is_found(tmp_path: Path):
    batch = pa.RecordBatch.from_pandas(items_of(), preserve_index=False)
    hashes, keys = row_hashes(batch, TemplateConfig()), text_keys(item_texts(items_of()), "item")
    save_memo(tmp_path, TemplateConfig(), hashes, keys)
    known, found = open_memo(tmp_path, TemplateConfig()).find(hashes)
    assert known.all()
    np.testing.assert_array_equal(found, keys)
    assert not len(open_memo(tmp_path, TemplateConfig(fields=("title",))).keys)


def test_rows_that_join_alike_differ():
    """Moving a word from one column to the next, null against empty, and the joining sign itself."""
    batch = pa.RecordBatch.from_pydict(
        {"title": ["a\0b", "a", "a", "a", "a\0"], "brand": ["c", "b\0c", None, "", None]}
    )
    assert len(np.unique(row_hashes(batch, TemplateConfig()), axis=0)) == 5


def test_keys_against_a_dictionary():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 6, (500, 2)).astype(np.uint64)  # many equal halves
    found = distinct_keys(keys)
    rows = [tuple(key) for key in keys.tolist()]
    assert [tuple(key) for key in found.keys.tolist()] == sorted(set(rows))
    assert found.first.tolist() == [rows.index(key) for key in sorted(set(rows))]
    np.testing.assert_array_equal(found.keys[found.place], keys)
    wanted = rng.integers(0, 8, (300, 2)).astype(np.uint64)
    at = {key: n for n, key in enumerate(sorted(set(rows)))}
    assert SortedKeys(found.keys).find(wanted).tolist() == [at.get(tuple(key), -1) for key in wanted.tolist()]
    assert SortedKeys(found.keys[:0]).find(wanted).tolist() == [-1] * 300
