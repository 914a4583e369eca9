"""A frontier as a table, a plot and a page: quality against speed, size as the area of a disc.

Everything is written by hand as Markdown, SVG and HTML, in the look of the evaluation report. Nothing here measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ...evaluation.report_page import FIRST, INK, LINE, MUTED, bullets, esc, page, table
from ...evaluation.results import markdown_table
from .frontier import QUALITY, FrontierRow

_WIDTH, _HEIGHT, _LEFT, _BELOW, _TOP = 720, 420, 64, 44, 28
_LARGEST = 16.0  # pixels, radius
_MB = 1e6

HEADS = ("encoder", "parameters", "MB", "times faster", "texts/s", "cosine", "top-10", "NDCG@10", "Recall@100", "best")


def cells(row: FrontierRow) -> tuple[str, ...]:
    """One row in words, as `HEADS`; a dash where there is no figure."""
    near, faster, one = row.fidelity, row.faster, row.candidate
    return (
        one.name,
        f"{one.parameters / _MB:.1f} M",
        f"{one.bytes / _MB:.1f}",
        f"{faster.median:.2f} ({faster.low:.2f}-{faster.high:.2f})",
        f"{row.texts_per_s:,.0f}",
        f"{near.cosine_mean:.4f}" if near else "-",
        f"{near.overlap:.3f}" if near else "-",
        *(_quality(row, key) for key in QUALITY),
        "yes" if row.best else "",
    )


def markdown(rows: Sequence[FrontierRow]) -> str:
    """The table in Markdown, its notes below it."""
    made = "\n".join(f"- {row.candidate.name}: {row.candidate.made}" for row in rows)
    return f"{markdown_table(HEADS, [cells(row) for row in rows])}\n\n{made}\n"


def scatter(rows: Sequence[FrontierRow]) -> str:
    """The plot as SVG: times faster than the base to the right (each step a doubling), quality upwards."""
    worth = [row.worth() for row in rows]
    speed = [math.log2(max(row.faster.median, 1e-3)) for row in rows]
    left, right = math.floor(min(speed)), max(math.ceil(max(speed)), math.floor(min(speed)) + 1)
    step = _step(max(worth) - min(worth))
    low, high = math.floor(min(worth) / step) * step, math.ceil(max(worth) / step + 1e-9) * step

    def x(value: float) -> float:
        return _LEFT + (value - left) / (right - left) * (_WIDTH - _LEFT - 40)

    def y(value: float) -> float:
        return _HEIGHT - _BELOW - (value - low) / max(high - low, 1e-9) * (_HEIGHT - _BELOW - _TOP)

    grid = [
        _across(y(low + k * step), f"{low + k * step:.{_digits(step)}f}") for k in range(round((high - low) / step) + 1)
    ]
    grid += [_upright(x(power), f"{2.0**power:g}x") for power in range(left, right + 1)]
    on = sorted((s, w) for s, w, row in zip(speed, worth, rows, strict=True) if row.best)
    line = " ".join(f"{x(s):.1f},{y(w):.1f}" for s, w in on)
    largest = max(row.candidate.bytes for row in rows)
    radii = [max(3.0, _LARGEST * math.sqrt(row.candidate.bytes / max(largest, 1))) for row in rows]
    heights = apart([y(w) for w in worth], 14.0, _HEIGHT - _BELOW - 4)
    discs = [_disc(x(s), y(w), r, row) for s, w, r, row in zip(speed, worth, radii, rows, strict=True)]
    discs += [
        _name(x(s), y(w), r, at, row) for s, w, r, at, row in zip(speed, worth, radii, heights, rows, strict=True)
    ]
    said = "; ".join(
        f"{r.candidate.name} {w:.3f}, {r.faster.median:.2f} times" for r, w in zip(rows, worth, strict=True)
    )
    return (
        f'<svg role="img" aria-label="{esc(axis(rows))} against speed: {esc(said)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="100%" font-family="system-ui, sans-serif" xmlns="http://www.w3.org/2000/svg">{"".join(grid)}'
        f'<text x="0" y="14" font-size="13" fill="{MUTED}">{esc(axis(rows))}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end" font-size="13" fill="{MUTED}">times faster than '
        f'the base</text><polyline points="{line}" fill="none" stroke="{FIRST}" '
        f'stroke-width="1.5" stroke-dasharray="5 4"/>'
        f"{''.join(discs)}</svg>"
    )


def apart(heights: Sequence[float], gap: float, lowest: float) -> list[float]:
    """Heights moved by a pass down and one up so that no two are nearer than ``gap``, in their order.

    >>> apart([10.0, 11.0, 50.0], 5.0, 52.0)
    [10.0, 15.0, 50.0]
    >>> apart([50.0, 51.0], 5.0, 52.0)
    [47.0, 52.0]
    """
    order = sorted(range(len(heights)), key=lambda row: heights[row])
    placed = list(heights)
    for before, row in pairwise(order):
        placed[row] = max(placed[row], placed[before] + gap)
    limit = lowest
    for row in reversed(order):
        placed[row] = min(placed[row], limit)
        limit = placed[row] - gap
    return placed


def axis(rows: Sequence[FrontierRow]) -> str:
    """What stands for quality."""
    return "Recall@100, validation queries" if rows[0].quality else "share of the base's ten nearest neighbours kept"


def frontier_html(shop: str, rows: Sequence[FrontierRow], notes: Sequence[str], skipped: Mapping[str, str]) -> str:
    """The whole page."""
    body = [
        [f"<strong>{esc(c)}</strong>" if row.best and not n else esc(c) for n, c in enumerate(cells(row))]
        for row in rows
    ]
    left_out = [f"Not made: {kind}: {why}" for kind, why in skipped.items()]
    return page(
        f"Smaller encoders: {shop}",
        f'<header><p class="kicker">Smaller and cheaper</p><h1>{esc(shop)}: quality, size, speed</h1>'
        '<p class="lead">Each disc is an encoder, its area its size; the dashed line joins those that no other beats '
        "in quality, speed and size at once.</p></header>"
        f"<figure>{scatter(rows)}</figure>{table(HEADS, body, numeric=frozenset(range(1, len(HEADS) - 1)))}"
        f"<h2>How each was made</h2>{bullets([f'{r.candidate.name}: {r.candidate.made}' for r in rows])}"
        f"<h2>How it was measured</h2>{bullets([*notes, *left_out])}",
    )


def _quality(row: FrontierRow, key: str) -> str:
    """A mean, and what it gains or loses with its interval."""
    if key not in row.quality:
        return "-"
    lost = row.lost[key]
    if not lost.difference:
        return f"{row.quality[key]:.4f}"
    return f"{row.quality[key]:.4f} ({lost.difference:+.4f}, {lost.low:+.3f} to {lost.high:+.3f})"


def _step(span: float) -> float:
    """A round distance between lines for about five of them."""
    rough = max(span, 1e-3) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)


def _digits(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))


def _across(y: float, text: str) -> str:
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" font-size="12" fill="{MUTED}">{text}</text>'
    )


def _upright(x: float, text: str) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BELOW}" stroke="{LINE}"/>'
        f'<text x="{x:.1f}" y="{_HEIGHT - _BELOW + 16}" text-anchor="middle" font-size="12" fill="{MUTED}">'
        f"{text}</text>"
    )


def _disc(x: float, y: float, radius: float, row: FrontierRow) -> str:
    fill = FIRST if row.best else "#b4beba"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" fill-opacity="0.55" stroke="{fill}"/>'


def _name(x: float, y: float, radius: float, at: float, row: FrontierRow) -> str:
    """A disc's name beside it, at height ``at``, with a line to it where that is not its own."""
    left = x > _WIDTH - 150
    end = x - radius - 12 if left else x + radius + 12
    line = f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{at:.1f}" stroke="{MUTED}" stroke-width="0.7"/>'
    return line * (abs(at - y) > 3) + (
        f'<text x="{end + (-3 if left else 3):.1f}" y="{at + 4:.1f}" text-anchor="{"end" if left else "start"}" '
        f'font-size="12" font-weight="{650 if row.best else 400}" fill="{INK}" stroke="#fbfbf9" stroke-width="3" '
        f'paint-order="stroke">{esc(row.candidate.name)}</text>'
    )
