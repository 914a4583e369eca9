"""The table of `bench.index`, as Markdown that reads well in a terminal too."""

from __future__ import annotations

from collections.abc import Sequence

from .index import IndexRow


def bench_table(rows: Sequence[IndexRow]) -> str:
    """One line a contender, then one a filter."""
    ran = [row for row in rows if not row.absent]
    mixes = list(ran[0].recall) if ran else []
    against = next((row.name for row in ran if row.ratio == (1.0, 1.0, 1.0)), "first")
    lines = [
        "| index | " + " | ".join(f"recall {mix}" for mix in mixes)
        + f" | queries/s | single ms (p99) | x {against} | build s | MB (plan) | peak MB (plan) | searched |",
        "|" + "---|" * (len(mixes) + 8),
    ]  # fmt: skip
    for row in ran:
        recall = " | ".join(f"{row.recall[mix]:.3f}" for mix in mixes)
        lines.append(
            f"| {row.name} | {recall} | {row.per_s:,.0f} | {row.single_ms[0]:.3f} ({row.single_ms[1]:.3f}) | "
            f"{row.ratio[0]:.2f} ({row.ratio[1]:.2f}-{row.ratio[2]:.2f}) | {row.build_s:.1f} | "
            f"{_mb(row.held)} ({_mb(row.planned)}) | {_mb(row.peak)} ({_mb(row.planned_peak)}) | {row.settings} |"
        )
    lines += [f"\n{row.name}: {row.absent.removeprefix(f'{row.name}: ')}" for row in rows if row.absent]
    filtered = [row for row in ran if row.filtered]
    if filtered:
        ways = list(filtered[0].filtered)
        lines += [
            "",
            "| filter leaves | " + " | ".join(row.name for row in filtered) + " |",
            "|" + "---|" * (len(filtered) + 1),
        ]
        for way in ways:
            cells = []
            for row in filtered:
                one = row.filtered[way]
                cells.append(f"{one.recall:.3f}, {one.slower:.2f}x, {one.violations} wrong, {one.full:.0%} full")
            lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f}" if count else "-"
