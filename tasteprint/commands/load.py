"""``tasteprint load``: a bounded load on a running service, from a workspace's own shoppers and queries."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    import numpy as np

    from ..serving.load import Call
    from ..workspace import Workspace


def load(
    workspace: WorkspaceOption,
    url: Annotated[str, typer.Option("--url", help="The running service.")] = "http://127.0.0.1:8000",
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Requests a second.")] = 100.0,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=3600, help="How long.")] = 10.0,
    what: Annotated[
        str, typer.Option("--what", help="recommend (shopper and query), search, home (shopper alone) or events.")
    ] = "recommend",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Events in a request, with --what events.")] = 100,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Items wanted.")] = 10,
    key: Annotated[str | None, typer.Option("--key", envvar="TASTEPRINT_KEY", help="API key.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which shoppers, queries and events.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Put a bounded load on a running service, from the workspace's own shoppers and queries; print percentiles.

    Times count from when a request was due. Exit code 1 where any request failed.

    Examples:

      tasteprint load --workspace work/grocery --rate 100 --seconds 20

      tasteprint load -w work/grocery --what events --batch 100 --rate 30
    """
    from ..serving.load import LoadError, drive
    from ..workspace import open_workspace

    calls = _calls(open_workspace(workspace), what, k=k, batch=batch, seed=seed)
    found = drive(url, calls, rate=rate, seconds=seconds, key=key)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "failed": found.failed}))
    else:
        typer.echo(
            f"{what}: {found.rate:.1f} answers/s of {found.wanted_rate:g} due; p50 {found.p50_ms:.1f} ms, "
            f"p90 {found.p90_ms:.1f}, p99 {found.p99_ms:.1f}, max {found.max_ms:.1f}; statuses {found.statuses}"
        )
    if found.failed:
        raise LoadError(f"{found.failed} requests failed, by status: {found.statuses}; see the service's log")


def _calls(opened: Workspace, what: str, *, k: int, batch: int, seed: int) -> list[Call]:
    """Requests to make, drawn from the workspace's shoppers and the shop's queries."""
    import numpy as np

    from ..profiling.errors import ConfigError
    from ..serving.load import Call

    rng = np.random.default_rng(seed)
    users = [str(user) for user in rng.permutation(opened.engine.log.user_ids)[:2000]] or ["nobody"]
    queries = _queries(opened, rng)
    items = [str(item) for item in rng.permutation(opened.engine.log.item_ids)[:5000]]
    pick = rng.integers(0, 2**31, size=2000).tolist()
    if what == "events":
        mark = f"{seed}-{time.time_ns()}"  # a load is never a repetition of an earlier one
        sent = [
            [
                {"user_id": users[(p + n) % len(users)], "kind": "view", "item_id": items[(p + 7 * n) % len(items)]}
                | {"key": f"load-{mark}-{row}-{n}"}
                for n in range(batch)
            ]
            for row, p in enumerate(pick[:300])
        ]
        return [Call("/v1/events", {"events": events}) for events in sent]
    made = {
        "recommend": lambda p: Call(
            "/v1/recommend", {"user": users[p % len(users)], "query": queries[p % len(queries)], "k": k}
        ),
        "search": lambda p: Call("/v1/search", {"query": queries[p % len(queries)], "k": k}),
        "home": lambda p: Call("/v1/recommend", {"user": users[p % len(users)], "k": k}),
    }
    if what not in made:
        raise ConfigError(f"--what must be one of {', '.join([*made, 'events'])}, got {what!r}")
    return [made[what](p) for p in pick]


def _queries(opened: Workspace, rng: np.random.Generator) -> list[str]:
    """The shop's own queries; where it has none, words of its titles."""
    import numpy as np

    from ..profiling.shop import read_shop

    found: list[str] = []
    if (Path(opened.shop) / "shop.json").is_file():
        judgements = read_shop(opened.shop, tables=["judgements"]).judgements
        found = [] if judgements is None else sorted(set(judgements["query"].tolist()))
    if not found:
        found = sorted({" ".join(str(title).split()[:2]) for title in opened.items["title"].tolist()})
    return [str(query)[:500] for query in rng.permutation(np.asarray(found, dtype=object))[:2000]]
