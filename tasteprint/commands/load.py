"""``tasteprint load``: a bounded load on a running service, from a workspace's own shoppers and queries."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    import numpy as np

    from ..serving.load import Call, LoadReport
    from ..serving.load_plans import Followed, HighestRate, Soak
    from ..workspace import Workspace


def load(
    workspace: WorkspaceOption,
    url: Annotated[str, typer.Option("--url", help="The running service.")] = "http://127.0.0.1:8000",
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Requests a second.")] = 100.0,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=7200, help="How long.")] = 10.0,
    what: Annotated[
        str,
        typer.Option(
            "--what",
            help="recommend (shopper and query), search, home (shopper alone), events, mix (all of them), or follow: "
            "purchases, each looked for in the shopper's next page.",
        ),
    ] = "recommend",
    highest: Annotated[
        float | None,
        typer.Option("--highest", min=0.1, help="Find the highest rate with p99 within so many ms, from --rate up."),
    ] = None,
    soak: Annotated[
        float | None,
        typer.Option("--soak", min=0, help="Read the service's memory too; it should stay after so many seconds."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Events in a request, with --what events.")] = 100,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Items wanted.")] = 10,
    reasons: Annotated[
        bool, typer.Option("--reasons/--no-reasons", help="Whether pages are asked for with why.")
    ] = True,
    key: Annotated[str | None, typer.Option("--key", envvar="TASTEPRINT_KEY", help="API key.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which shoppers, queries and events.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Put a bounded load on a running service, from the workspace's own shoppers and queries; print percentiles.

    Times count from when a request was due. Exit code 1 where any request failed, but with --highest.

    Examples:

      tasteprint load --workspace work/grocery --rate 100 --seconds 20

      tasteprint load -w work/grocery --what events --batch 100 --rate 30

      tasteprint load -w work/grocery --rate 50 --highest 50 --seconds 15

      tasteprint load -w work/grocery --what mix --rate 50 --seconds 1200 --soak 300
    """
    from ..profiling.errors import ConfigError
    from ..serving.load import drive
    from ..serving.load_plans import follow, highest_rate
    from ..serving.load_plans import soak as run_soak
    from ..workspace import open_workspace

    if (highest is not None) + (soak is not None) + (what == "follow") > 1:
        raise ConfigError("--highest, --soak and --what follow are three plans; give one of them")
    asking = _Asking.of(open_workspace(workspace), k=k, batch=batch, seed=seed, reasons=reasons)
    if what == "follow":
        _tell_followed(follow(url, asking.users, seconds=seconds, key=key, k=k), as_json)
        return
    calls = asking.calls(what)
    if highest is not None:
        found = highest_rate(
            lambda wanted: drive(url, calls, rate=wanted, seconds=seconds, key=key),
            start=rate,
            p99_ms=highest,
            within=0.1,
        )
        _tell_highest(what, found, as_json)
    elif soak is not None:
        told = run_soak(url, calls, rate=rate, seconds=seconds, warm_s=soak, every_s=2.0, key=key)
        _tell_soak(what, told, as_json)
    else:
        _tell(what, drive(url, calls, rate=rate, seconds=seconds, key=key), as_json)


def _tell(what: str, found: LoadReport, as_json: bool) -> None:
    """Percentiles of one load; an error where any request failed."""
    from ..serving.load import LoadError

    if as_json:
        typer.echo(json.dumps({**asdict(found), "failed": found.failed}))
    else:
        typer.echo(_line(what, found))
    if found.failed:
        raise LoadError(f"{found.failed} requests failed, by status: {found.statuses}; see the service's log")


def _tell_highest(what: str, found: HighestRate, as_json: bool) -> None:
    """Every try, and the highest rate that was kept."""
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    for one in found.tries:
        typer.echo(_line(what, one))
    typer.echo(f"{what}: highest rate with p99 within {found.p99_ms:g} ms and no failure: {found.rate:g} requests/s")


def _tell_soak(what: str, found: Soak, as_json: bool) -> None:
    """Memory after warm-up and at the end, and the load's percentiles."""
    if as_json:
        typer.echo(json.dumps({**asdict(found), "growth": found.growth}))
    else:
        warm, end = found.warm_bytes / 2**20, found.end_bytes / 2**20
        typer.echo(f"memory: {warm:.1f} MB after warm-up, {end:.1f} MB at the end: {found.growth:+.1%}")
    if not as_json or found.load.failed:
        _tell(what, found.load, False)


def _tell_followed(found: Followed, as_json: bool) -> None:
    """How often what happened was in the next page."""
    from ..serving.load import LoadError

    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        typer.echo(f"follow: {found.looked:,} purchases, {found.looked - found.missed:,} in the next page")
    if found.missed or found.failed or not found.looked:
        raise LoadError(f"{found.missed} purchases were not in the next page, {found.failed} could not be looked at")


def _line(what: str, found: LoadReport) -> str:
    return (
        f"{what}: {found.rate:.1f} answers/s of {found.wanted_rate:g} due; p50 {found.p50_ms:.1f} ms, "
        f"p90 {found.p90_ms:.1f}, p99 {found.p99_ms:.1f}, max {found.max_ms:.1f}; statuses {found.statuses}"
    )


@dataclass(frozen=True)
class _Asking:
    """Shoppers, queries and items that requests are drawn from.

    Attributes:
        users, queries, items: ids and words, shuffled
        pick: random numbers that choose among them, one a request
        k: items wanted
        batch: events in a request
        mark: in the keys of events, so that a load is never a repetition of an earlier one
        reasons: whether pages are asked for with why
    """

    users: list[str]
    queries: list[str]
    items: list[str]
    pick: list[int]
    k: int
    batch: int
    mark: str
    reasons: bool

    @classmethod
    def of(cls, opened: Workspace, *, k: int, batch: int, seed: int, reasons: bool) -> _Asking:
        """Drawn from a workspace and its shop."""
        import numpy as np

        rng = np.random.default_rng(seed)
        users = [str(user) for user in rng.permutation(opened.engine.log.user_ids)[:2000]] or ["nobody"]
        queries = _queries(opened, rng)
        items = [str(item) for item in rng.permutation(opened.engine.log.item_ids)[:5000]]
        pick = rng.integers(0, 2**31, size=2000).tolist()
        return cls(users, queries, items, pick, k, batch, f"{seed}-{time.time_ns()}", reasons)

    def calls(self, what: str) -> list[Call]:
        """Requests of one kind, or of all in turn.

        Raises:
            ConfigError: an unknown kind.
        """
        from ..profiling.errors import ConfigError

        made = {"recommend": self._recommend, "search": self._search, "home": self._home, "events": self._events}
        if what in made:
            return [made[what](row, pick) for row, pick in enumerate(self.pick[: 300 if what == "events" else None])]
        if what != "mix":
            raise ConfigError(f"--what must be one of {', '.join([*made, 'mix', 'follow'])}, got {what!r}")
        turn = ("recommend", "recommend", "home", "recommend", "search", "recommend", "home", "recommend", "events")
        return [made[turn[row % len(turn)]](row, pick) for row, pick in enumerate(self.pick)]

    def _recommend(self, _: int, pick: int) -> Call:
        from ..serving.load import Call

        return Call("/v1/recommend", {**self._user(pick), **self._query(pick), **self._page()})

    def _search(self, _: int, pick: int) -> Call:
        from ..serving.load import Call

        return Call("/v1/search", {**self._query(pick), **self._page()})

    def _home(self, _: int, pick: int) -> Call:
        from ..serving.load import Call

        return Call("/v1/recommend", {**self._user(pick), **self._page()})

    def _events(self, row: int, pick: int) -> Call:
        from ..serving.load import Call

        events = [
            {
                **{"user_id": self.users[(pick + n) % len(self.users)], "kind": "view"},
                **{"item_id": self.items[(pick + 7 * n) % len(self.items)], "key": f"load-{self.mark}-{row}-{n}"},
            }
            for n in range(self.batch)
        ]
        return Call("/v1/events", {"events": events})

    def _page(self) -> dict[str, object]:
        return {"k": self.k} if self.reasons else {"k": self.k, "explain": False}

    def _user(self, pick: int) -> dict[str, str]:
        return {"user": self.users[pick % len(self.users)]}

    def _query(self, pick: int) -> dict[str, str]:
        return {"query": self.queries[pick % len(self.queries)]}


def _queries(opened: Workspace, rng: np.random.Generator) -> list[str]:
    """The shop's own queries; where it has none, words of its titles."""
    import numpy as np

    from ..profiling.tables.shop import read_shop

    found: list[str] = []
    if (Path(opened.shop) / "shop.json").is_file():
        judgements = read_shop(opened.shop, tables=["judgements"]).judgements
        found = [] if judgements is None else sorted(set(judgements["query"].tolist()))
    if not found:
        found = sorted({" ".join(str(title).split()[:2]) for title in opened.items["title"].tolist()})
    return [str(query)[:500] for query in rng.permutation(np.asarray(found, dtype=object))[:2000]]
