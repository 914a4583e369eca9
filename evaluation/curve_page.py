"""Curves of quality as a page, plots, a table and CSV. Positions are percentages, so a plot fills any width.

Nothing here computes a result. The horizontal axis has the points of a curve at equal distances, in their order: they
are kinds ("daily") as often as numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from .curves import CURVE_MEANINGS, Point
from .report_page import FIRST, GROUPS, INK, LINE, MUTED, SECOND, bullets, esc, facts, page
from .report_page import table as html_table
from .report_plots import axis_step
from .results import markdown_table

_HEIGHT = 260
_COLOURS = (FIRST, SECOND, *GROUPS)


def curve_frame(points: Sequence[Point]) -> pd.DataFrame:
    """One row a point."""
    return pd.DataFrame([point.to_dict() for point in points], columns=list(Point.__dataclass_fields__))


def curve_table(points: Sequence[Point]) -> str:
    """One Markdown table a curve: points down, methods across, with 95 % intervals and stars where a test is clear."""
    parts = []
    for kind, told in CURVE_MEANINGS.items():
        mine = [point for point in points if point.curve == kind]
        if mine:
            head, rows = _cells(mine, told)
            parts.append(f"## {kind}: {told}\n\n{markdown_table(head, rows)}")
    return "\n\n".join(parts) + "\n"


def curves_html(shop: str, metric: str, points: Sequence[Point], notes: Sequence[str]) -> str:
    """The whole page."""
    body = [
        '<header><p class="kicker">Curves</p>',
        f"<h1>{esc(shop)}</h1>",
        f'<p class="lead">{esc(metric)} against how much is known, with 95 % intervals clustered by shopper.</p>',
        facts([("curves", ", ".join(dict.fromkeys(point.curve for point in points))), ("metric", metric)]),
        "</header>",
    ]
    for kind, told in CURVE_MEANINGS.items():
        mine = [point for point in points if point.curve == kind]
        if mine:
            head, rows = _cells(mine, told)
            body += [
                f"<h2>{esc(kind.capitalize())}</h2>",
                category_plot(mine, label=f"{metric}, {told}"),
                html_table([esc(text) for text in head], [[esc(cell) for cell in row] for row in rows]),
            ]
    return page(f"Curves: {shop}", "".join(body) + "<h2>Notes</h2>" + bullets(notes))


def category_plot(points: Sequence[Point], *, label: str) -> str:
    """Lines of one curve with intervals as bars; ``label`` says what is shown and is the alternative text."""
    places = {at: n for n, at in enumerate(dict.fromkeys(point.at for point in points))}
    methods = list(dict.fromkeys(point.method for point in points))
    step, top = axis_step(max([p.high if math.isfinite(p.high) else p.value for p in points] + [1e-9]))
    parts = [_mark(step * k, top) for k in range(round(top / step) + 1)]
    parts += [_name(at, _x(n, len(places))) for at, n in places.items()]
    for number, method in enumerate(methods):
        mine = {places[point.at]: point for point in points if point.method == method}
        parts.append(_line(mine, len(places), top, _COLOURS[number % len(_COLOURS)], (number - len(methods) / 2) * 0.5))
    legend = "".join(
        f'<span style="color:{_COLOURS[n % len(_COLOURS)]};margin-right:1.2em;display:inline-block">&#9679; '
        f'<span style="color:{INK}">{esc(method)}</span></span>'
        for n, method in enumerate(methods)
    )
    said = "; ".join(f"{p.method} {p.at}: {p.value:.4f}" for p in points)
    return (
        f'<figure><svg role="img" aria-label="{esc(label)}: {esc(said)}" width="100%" height="{_HEIGHT + 30}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
        f"<figcaption>{esc(label)}<br>{legend}</figcaption></figure>"
    )


def _line(points: Mapping[int, Point], n: int, top: float, colour: str, aside: float) -> str:
    """One method: joined dots with their intervals, ``aside`` per cent to the right so that bars do not overlap."""
    parts, order = [], sorted(points)
    at = {k: (_x(k, n) + aside, _y(points[k].value, top)) for k in order}
    for a, b in pairwise(order):
        (x1, y1), (x2, y2) = at[a], at[b]
        parts.append(f'<line x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}" stroke="{colour}"/>')
    for k in order:
        x, y = at[k]
        if math.isfinite(points[k].low):
            low, high = _y(points[k].low, top), _y(points[k].high, top)
            parts.append(f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x:.2f}%" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
    return f'<g stroke-width="2" fill="none">{"".join(parts)}</g>'


def _mark(value: float, top: float) -> str:
    y = _y(value, top)
    return (
        f'<line x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"/>'
        f'<text x="0" y="{y - 4:.1f}" font-size="12" fill="{MUTED}">{value:.4g}</text>'
    )


def _name(text: str, x: float) -> str:
    return (
        f'<text x="{x:.2f}%" y="{_HEIGHT + 22}" font-size="12" fill="{MUTED}" text-anchor="middle">{esc(text)}</text>'
    )


def _x(place: int, n: int) -> float:
    """Per cent of the width of the ``place``-th of ``n`` points."""
    return 8 + 86 * place / max(n - 1, 1)


def _y(value: float, top: float) -> float:
    """Pixels from above; nothing is drawn below 0."""
    return 16 + (_HEIGHT - 16) * (1 - max(value, 0.0) / top)


def _cells(points: Sequence[Point], told: str) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of one curve's table."""
    methods = list(dict.fromkeys(point.method for point in points))
    found = {(point.at, point.method): point for point in points}
    rows = []
    for at in dict.fromkeys(point.at for point in points):
        row = [found[at, method] for method in methods]
        rows.append([at, f"{row[0].n:,}", *(_cell(point) for point in row)])
    return [told, "requests", *methods], rows


def _cell(point: Point) -> str:
    """Value and interval; a star where it differs from what it is compared with beyond chance."""
    star = "*" if point.p < 0.05 else ""
    return f"{point.value:.4f} ({point.low:.4f} to {point.high:.4f}){star}"
