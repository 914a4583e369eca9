"""``tasteprint index``: which index suits a catalogue, and building it tuned. ``bench index`` times kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption

if TYPE_CHECKING:
    from ..index_task import Task
    from ..retrieval.index.plan import Plan

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", envvar="TASTEPRINT_WORKSPACE", help="Workspace whose item blocks are indexed."),
]
_MatrixOption = Annotated[Path | None, typer.Option("--matrix", help="Item vectors as a .npy file instead.")]
_QueriesOption = Annotated[
    Path | None, typer.Option("--queries", help="Query vectors as a .npy file; default: rows of the matrix.")
]
_WidthsOption = Annotated[
    str | None, typer.Option("--widths", help="Comma-separated widths of the matrix's blocks; default: one block.")
]
_GenerateOption = Annotated[
    int | None, typer.Option("--generate", min=1000, help="Rows to draw from a mixture fitted to those vectors.")
]
_RecallOption = Annotated[float, typer.Option("--recall", help="Recall at 10 wanted, in (0, 1].")]
_LatencyOption = Annotated[float, typer.Option("--latency-ms", help="Median of a single query wanted.")]
_MemoryOption = Annotated[float, typer.Option("--memory-gb", help="For index and item vectors together.")]
_SampleOption = Annotated[int, typer.Option("--sample", min=8, help="Queries of each mix of blocks.")]


@app.callback()
def index() -> None:
    """Plan an index over item vectors, or build one tuned to a recall.

    Examples:

      tasteprint index plan --rows 1000000 --dims 576 --memory-gb 8

      tasteprint index build --matrix items.npy --queries queries.npy --out work/index --json
    """


@app.command("plan")
def plan(
    workspace: _WorkspaceOption = None,
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="Item vectors; default: the workspace's.")] = None,
    dims: Annotated[int | None, typer.Option("--dims", min=1, help="Dimensions; default: the workspace's.")] = None,
    memory_gb: _MemoryOption = 8.0,
    gpu_gb: Annotated[float, typer.Option("--gpu-gb", min=0, help="GPU memory that may be used.")] = 0.0,
    recall: _RecallOption = 0.95,
    latency_ms: _LatencyOption = 1.0,
    on_disk: Annotated[bool, typer.Option("--vectors-on-disk", help="Item vectors stay in their file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Choose a kind of index from rows, dimensions, memory, recall and latency, and say why; nothing is built.

    Bytes are predicted for each kind, resident and at the peak of building. Times are rough: from what one core of this
    machine reads a second. Recall is measured when an index is built.

    Examples:

      tasteprint index plan --rows 1000000 --dims 576 --memory-gb 8

      tasteprint index plan -w workspace/grocery --latency-ms 20 --json
    """
    from ..profiling.errors import ConfigError
    from ..retrieval.index.plan import plan_index

    if rows is None or dims is None:
        if workspace is None:
            raise ConfigError("--rows and --dims say what is to be indexed; give both, or a --workspace")
        from ..workspace import open_workspace

        shape = open_workspace(workspace).engine.texts.shape
        rows, dims = rows or int(shape[0]), dims or int(shape[1])
    found = plan_index(_wishes(rows, dims, memory_gb, gpu_gb, recall, latency_ms, on_disk))
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
    else:
        _show_plan(found)


@app.command("build")
def build(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the index.", show_default=False)],
    workspace: _WorkspaceOption = None,
    matrix: _MatrixOption = None,
    queries: _QueriesOption = None,
    widths: _WidthsOption = None,
    kind: Annotated[str | None, typer.Option("--kind", help="A kind of index; default: as planned.")] = None,
    memory_gb: _MemoryOption = 8.0,
    recall: _RecallOption = 0.95,
    latency_ms: _LatencyOption = 1.0,
    sample: _SampleOption = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses queries and groups.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Build an index, search it just hard enough for the recall, and publish it whole with what was measured.

    Half of the queries choose how hard to search, the other half says what recall that gives, for each mix of blocks.
    The manifest keeps it, and the bytes that were predicted and used.

    Examples:

      tasteprint index build --matrix items.npy --queries queries.npy --out work/index

      tasteprint index build -w workspace/grocery --kind ivf-pq --recall 0.98 --out work/index
    """
    import time

    import numpy as np

    from ..index_build import build_tuned
    from ..retrieval.index import IndexConfig
    from ..retrieval.index.plan import plan_index

    task = _task((workspace, matrix, queries), widths, None, sample, np.random.default_rng(seed))
    n_items, dim = task.vectors.shape
    config = IndexConfig(seed=seed)
    if kind is None:
        kind = plan_index(_wishes(n_items, dim, memory_gb, 0.0, recall, latency_ms, False)).kind
    report = build_tuned(
        task, out, config=config.model_copy(update={"kind": kind}), target=recall, clock=time.perf_counter
    )
    if as_json:
        typer.echo(json.dumps(report))
        return
    said = ", ".join(f"{mix} {found:.3f}" for mix, found in report["measured"]["recall"].items())
    typer.echo(f"{kind} over {n_items:,} rows of {dim} in {out}")
    typer.echo(f"recall at {report['measured']['k']}: {said} (asked for {recall:g})")
    for name in ("resident", "build_peak"):
        was = report["bytes"][name]
        typer.echo(f"{name.replace('_', ' ')}: {was['used'] / 1e6:,.0f} MB, planned {was['planned'] / 1e6:,.0f} MB")


def bench_index_command(
    workspace: _WorkspaceOption = None,
    matrix: _MatrixOption = None,
    queries: _QueriesOption = None,
    widths: _WidthsOption = None,
    generate: _GenerateOption = None,
    kinds: Annotated[str, typer.Option("--kinds", help="Comma-separated kinds of ours.")] = "flat-fp16,ivf-sq8,ivf-pq",
    rivals: Annotated[
        str, typer.Option("--rivals", help="Comma-separated: numpy, faiss-flat, faiss-ivf-sq8, hnswlib, usearch.")
    ] = "numpy,faiss-flat",
    recall: _RecallOption = 0.95,
    sample: _SampleOption = 200,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Timed rounds.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses queries and vectors.")] = 0,
    cpu_time: Annotated[
        bool, typer.Option("--cpu-time", help="Count this process's own work: for a machine that others use.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Time kinds of index beside plain FAISS, hnswlib, usearch and numpy, on the same vectors, all at one recall.

    All run in turn, round by round; ratios are taken inside each round. Filters that leave 50, 10, 1 and 0.1 % of the
    rows are measured for ours, spread evenly and grouped as a category is.

    Examples:

      tasteprint bench index -w workspace/grocery

      tasteprint bench index --matrix items.npy --generate 1000000 --kinds ivf-pq --rivals faiss-flat --cpu-time
    """
    import time

    import numpy as np

    from ..bench.index import bench_index

    task = _task((workspace, matrix, queries), widths, generate, sample, np.random.default_rng(seed))
    clock = time.process_time if cpu_time else time.perf_counter
    found = bench_index(
        task,
        kinds=_names(kinds),
        rivals=_names(rivals),
        rounds=rounds,
        clock=clock,
        pause=lambda: time.sleep(0.05),
        target=recall,
        seed=seed,
        tell=lambda said: typer.echo(said, err=True),
    )
    if as_json:
        typer.echo(json.dumps({"source": task.source, "rows": [row.to_dict() for row in found]}))
        return
    from ..bench.index_table import bench_table

    typer.echo(f"{task.vectors.shape[0]:,} x {task.vectors.shape[1]}: {task.source}\n")
    typer.echo(bench_table(found))


def _task(
    where: tuple[Path | None, Path | None, Path | None], widths: str | None, generate: int | None, sample: int, rng: Any
) -> Task:
    """Vectors and queries from where the options (workspace, matrix, queries) say."""
    from ..index_task import enlarged, matrix_task, workspace_task
    from ..profiling.errors import ConfigError

    workspace, matrix, queries = where
    if matrix is not None:
        if not all(width.strip().isdigit() for width in (widths or "1").split(",")):
            raise ConfigError(f"--widths must be whole numbers with commas, such as 384,192, got {widths!r}")
        blocks = tuple(int(width) for width in widths.split(",")) if widths else ()
        task = matrix_task(matrix, sample, rng=rng, queries=queries, widths=blocks)
    elif workspace is not None:
        from ..workspace import open_workspace

        task = workspace_task(open_workspace(workspace), sample, rng=rng)
    else:
        raise ConfigError("--workspace or --matrix says what is to be indexed; give one")
    return task if generate is None else enlarged(task, generate, rng=rng)


def _wishes(
    rows: int, dims: int, memory_gb: float, gpu_gb: float, recall: float, latency_ms: float, on_disk: bool
) -> Any:
    """What is asked for, with what this machine reads a second."""
    import time

    from pydantic import ValidationError

    from ..index_build import read_rate
    from ..profiling.errors import ConfigError
    from ..retrieval.index.plan import Wishes

    try:
        return Wishes(
            rows=rows, dims=dims, memory_bytes=int(memory_gb * 1e9), gpu_bytes=int(gpu_gb * 1e9), recall=recall,
            latency_ms=latency_ms, vectors_on_disk=on_disk, bytes_per_s=read_rate(time.perf_counter),
        )  # fmt: skip
    except ValidationError as error:
        raise ConfigError(f"index plan: {error.errors()[0]['loc'][0]} {error.errors()[0]['msg']}") from error


def _show_plan(found: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "index", "with vectors", "build peak", "query", "")
    for name, choice in found.choices.items():
        mark = "chosen" if name == found.kind else "; ".join(choice.against)
        sizes = (choice.sizes.resident, choice.resident, choice.sizes.build_peak)
        table.add_row(name, *(f"{size / 1e6:,.0f} MB" for size in sizes), f"{choice.query_ms:.2f} ms", mark)
    Console().print(table)
    typer.echo(f"{found.kind}: {found.why}")


def _names(said: str) -> list[str]:
    return [name.strip() for name in said.split(",") if name.strip()]
