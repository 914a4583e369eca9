"""Items that come and go: how soon a change is durable and seen, and whether updated and rebuilt answer alike.

python benchmarks/updates.py index WORKSPACE [ROWS] [KIND]  # a live index over vectors drawn like the workspace's own
python benchmarks/updates.py catalogue WORKSPACE [N]        # changes of 100 items in a running engine, none kept

The first takes some 5 GiB of memory and disk at a million rows of 384 dimensions.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from record import record

from tasteprint.bench.vectors import VectorMixture, fit_mixture
from tasteprint.retrieval.catalogue.journal import CatalogueJournal
from tasteprint.retrieval.catalogue.update import apply_items
from tasteprint.retrieval.index import ItemIndex, build_index
from tasteprint.retrieval.index.live_index import LiveConfig, LiveIndex, create_live_index
from tasteprint.workspace import open_workspace

T = TypeVar("T")
Vectors = NDArray[np.float32]

_FITTED = 50_000
_QUERIES = 64


def main() -> None:
    """Run what the first argument names."""
    what = {"index": live_index, "catalogue": catalogue}
    if len(sys.argv) < 3 or sys.argv[1] not in what:
        sys.exit(__doc__)
    what[sys.argv[1]](*sys.argv[2:])


def live_index(workspace: str, rows: str = "1000000", kind: str = "flat-fp16") -> None:
    """One per cent of the rows replaced in one change, then small changes, against an index built anew."""
    n, rng = int(rows), np.random.default_rng(0)
    meaning = open_workspace(workspace).engine.recommender.space.items["meaning"]
    real = np.array(meaning[rng.choice(len(meaning), min(_FITTED, len(meaning)), replace=False)])
    mixture = fit_mixture(real[np.linalg.norm(real, axis=1) > 0], (real.shape[1],), n_clusters=256)
    bench = IndexBench(mixture.draw(n, rng=rng), mixture.draw(_QUERIES, rng=rng), mixture, kind, rng)
    with tempfile.TemporaryDirectory() as folder:
        told = bench.run(Path(folder) / "live")
    lines = ["| what | value |", "|---|---|", *(f"| {name} | {said} |" for name, said in told.items())]
    title = f"Live index, {n:,} x {real.shape[1]}, {kind}"
    record(title, f"python benchmarks/updates.py index WORKSPACE {n} {kind}", "\n".join(lines))


@dataclass
class IndexBench:
    """A live index and what it is measured with."""

    vectors: Vectors
    queries: Vectors
    mixture: VectorMixture
    kind: str
    rng: np.random.Generator

    def run(self, folder: Path) -> dict[str, str]:
        """What was measured, in words."""
        n = len(self.vectors)
        ids, config = [f"item{row}" for row in range(n)], LiveConfig(background=False)
        live, took = timed(
            lambda: create_live_index(folder, ids=ids, vectors=self.vectors, build=self.build, config=config)
        )
        told = {"made and published": f"{took:.1f} s"}
        batch, one = self.speed(live)
        told |= self.replaced(live, ids)
        batch_after, one_after = self.speed(live)
        told["64 queries, k = 100, before and after"] = f"{batch:.1f}, {batch_after:.1f} ms"
        told["one query, k = 10, before and after"] = f"{one:.2f}, {one_after:.2f} ms"
        told["recall@10, updated and built anew"] = self.quality(live)
        times = []
        for _ in range(100):
            some = self.rng.choice(n, 100, replace=False)
            names = [ids[row] for row in some]
            start = time.perf_counter()
            live.upsert(names, self.vectors[some])
            times.append(time.perf_counter() - start)
        middle, longest = 1e3 * np.median(times), 1e3 * max(times)
        told["a change of 100 rows, median and longest of 100"] = f"{middle:.1f}, {longest:.1f} ms"
        live.close()
        live, took = timed(lambda: LiveIndex(folder, build=self.build, config=config))
        told["opened again, checksums and journal read"] = f"{took:.1f} s"
        told["a fresh base made and swapped in"] = f"{timed(live.compact)[1]:.1f} s"
        live.close()
        return told

    def build(self, matrix: Vectors) -> ItemIndex:
        """An index of the kind."""
        return build_index(matrix, kind=self.kind)

    def speed(self, live: LiveIndex) -> tuple[float, float]:
        """Milliseconds of a batch and of one query."""
        return median_ms(lambda: live.search_batch(self.queries, 100)), median_ms(
            lambda: live.search(self.queries[0], 10)
        )

    def replaced(self, live: LiveIndex, ids: list[str]) -> dict[str, str]:
        """One per cent replaced: until it is durable, and until a search has seen it."""
        chosen = self.rng.choice(len(ids), len(ids) // 100, replace=False)
        fresh = self.mixture.draw(len(chosen), rng=self.rng)
        names = [ids[row] for row in chosen]
        start = time.perf_counter()
        live.upsert(names, fresh)
        durable = time.perf_counter() - start
        score = live.search(fresh[0], 1).scores[0]
        seen = time.perf_counter() - start
        if score < fresh[0] @ fresh[0] - 1e-2:
            sys.exit("the change was not seen")
        self.vectors[chosen] = fresh
        name = f"{len(chosen):,} rows replaced in one change"
        return {f"{name}, durable": f"{1e3 * durable:.0f} ms", f"{name}, seen by a search": f"{1e3 * seen:.0f} ms"}

    def quality(self, live: LiveIndex) -> str:
        """Recall of the updated index and of one built from the same vectors."""
        truth = np.argsort(-(self.queries @ self.vectors.T), axis=1, kind="stable")[:, :10]
        updated = [{int(item_id[4:]) for item_id in hits.ids} for hits in live.search_batch(self.queries, 10)]
        rebuilt = [set(rows.tolist()) for rows in self.build(self.vectors).search_batch(self.queries, 10).rows]
        return f"{recall(updated, truth):.4f}, {recall(rebuilt, truth):.4f}"


def catalogue(workspace: str, changes: str = "10") -> None:
    """Changes of 100 items: half of them new, half old ones with another title."""
    opened, rng = open_workspace(workspace, changes=False), np.random.default_rng(0)
    engine, known = opened.engine, opened.items
    spent: dict[str, list[float]] = {"vectors": [], "journal": [], "engine": [], "next answer": [], "all": []}
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        journal = CatalogueJournal(Path(folder) / "changes")
        for turn in range(int(changes) + 1):
            table = known.iloc[rng.choice(len(known), 100, replace=False)].copy()
            table["title"] = table["title"].astype(str) + f" edition {turn}"
            table["item_id"] = [f"new-{turn}-{n}" if n < 50 else i for n, i in enumerate(table["item_id"])]
            start = time.perf_counter()
            change, vectors = timed(lambda table=table: opened.speaker.change(pd.DataFrame(table)))
            _, written = timed(lambda change=change: journal.append(change))
            engine, applied = timed(lambda e=engine, c=change: apply_items(e, c.items, c.vectors))
            title = str(table["title"].iloc[0])
            answer, asked = timed(
                lambda e=engine, t=title: e.search(t, now_s=opened.last_s + 1, weights={"meaning": 1})
            )
            missed += not any(item.item_id.startswith(f"new-{turn}-") for item in answer.items)
            if turn:  # the first loads the encoder
                parts = (vectors, written, applied, asked, time.perf_counter() - start)
                for name, value in zip(spent, parts, strict=True):
                    spent[name].append(1e3 * value)
    lines = ["| part of it | median ms | longest ms |", "|---|---|---|"]
    lines += [f"| {name} | {np.median(times):.0f} | {max(times):.0f} |" for name, times in spent.items()]
    title = f"A change of 100 items in a running engine, {opened.about['shop']}, {len(known):,} items"
    notes = f"{changes} changes; new items missing from the answer to their own title: {missed}."
    record(title, f"python benchmarks/updates.py catalogue WORKSPACE {changes}", "\n".join(lines), notes=notes)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What work returns, and how many seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def median_ms(work: Callable[[], object]) -> float:
    """Median milliseconds of five runs after one to warm up."""
    work()
    return float(1e3 * np.median([timed(work)[1] for _ in range(5)]))


def recall(found: list[set[int]], truth: np.ndarray) -> float:
    """Share of the true rows that were found."""
    return float(np.mean([len(rows & set(best.tolist())) / len(best) for rows, best in zip(found, truth, strict=True)]))


if __name__ == "__main__":
    main()
