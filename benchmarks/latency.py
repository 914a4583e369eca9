"""Latency of one request in process: a known shopper with a query, after warm-up.

python benchmarks/latency.py WORKSPACE [N]
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
from record import record

from tasteprint.profiling.encoders.encoder import Encoder
from tasteprint.workspace import open_workspace


def main() -> None:
    """Time N requests of different shoppers and queries, and the parts of one."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    bare: list[Encoder] = []

    def keep(encoder: Encoder) -> Encoder:
        bare.append(encoder)
        return encoder

    opened = open_workspace(sys.argv[1], around=keep)
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    rng = np.random.default_rng(0)
    encoder = bare[0]  # without the cache of queries: every query is a new one here
    engine = replace(opened.engine, recommender=replace(opened.engine.recommender, encoder=encoder))
    users = rng.choice(engine.log.user_ids, n).tolist()
    titles = opened.items["title"].sample(3 * n, random_state=0).tolist()  # every ask is of a query of its own
    queries = [" ".join(str(title).lower().split()[:2]) for title in titles]
    asks = {
        "user and query, explained": lambda r: engine.answer(user=users[r], query=queries[r], now_s=opened.last_s + 1),
        "user and query, no reasons": lambda r: engine.answer(
            user=users[r], query=queries[n + r], now_s=opened.last_s + 1, explain=False
        ),
        "user only, explained": lambda r: engine.answer(user=users[r], now_s=opened.last_s + 1),
        "query only, explained": lambda r: engine.answer(query=queries[2 * n + r], now_s=opened.last_s + 1),
        "encode one query": lambda r: encoder.encode([queries[r]], kind="query"),
    }
    for ask in asks.values():
        ask(0)
        ask(1)
    taken: dict[str, list[float]] = {name: [] for name in asks}
    for r in range(n):  # interleaved, so that a slow moment hits all alike
        for name, ask in asks.items():
            start = time.perf_counter()
            ask(r)
            taken[name].append(1e3 * (time.perf_counter() - start))
    lines = ["| request | median ms | p95 ms | p99 ms |", "|---|---|---|---|"]
    for name, times in taken.items():
        median, p95, p99 = np.percentile(times, [50, 95, 99])
        lines.append(f"| {name} | {median:.1f} | {p95:.1f} | {p99:.1f} |")
    about = f"{opened.about['items']:,} items, {opened.about['shoppers']:,} shoppers, {n} requests of each kind"
    record(
        f"Latency in process, {opened.about['shop']}",
        "python benchmarks/latency.py WORKSPACE",
        "\n".join(lines),
        notes=about,
    )


if __name__ == "__main__":
    main()
