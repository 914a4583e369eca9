"""Learning curves as plain SVG, and the page of a run. Nothing here computes a result.

Positions are percentages, so a plot fills any width; lines are drawn in a viewBox that stretches without their strokes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.report_page import FIRST, GROUPS, INK, LINE, MUTED, SECOND, esc, facts, page, table
from ..evaluation.report_plots import axis_step

Points = Sequence[tuple[float, float]]

_HEIGHT = 240
_COLOURS = (FIRST, SECOND, *GROUPS)


def line_plot(lines: Mapping[str, Points], *, label: str, x: str) -> str:
    """Lines over a shared axis with their names at the right, as a figure; lines without a point are left out.

    Args:
        lines: name -> (x, y) in ascending x
        label: what is shown; the alternative text
        x: what the horizontal axis is
    """
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    every = [point for points in lines.values() for point in points]
    left, right = min(p[0] for p in every), max(p[0] for p in every)
    marks = round_marks(min(p[1] for p in every), max(p[1] for p in every))
    low, high, width = marks[0], marks[-1], (right - left) or 1.0
    ticks = "".join(_tick(mark, (mark - low) / (high - low)) for mark in marks)
    drawn = []
    for place, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        at = [((px - left) / width * 100, (high - py) / (high - low) * _HEIGHT) for px, py in points]
        path = " ".join(f"{px:.2f},{py:.2f}" for px, py in at)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
            f'vector-effect="non-scaling-stroke"><title>{esc(name)}</title></polyline>'
        )
    said = "; ".join(f"{name} from {points[0][1]:.4f} to {points[-1][1]:.4f}" for name, points in lines.items())
    legend = "".join(
        f'<span style="color:{_COLOURS[n % len(_COLOURS)]};margin-right:1.2em;display:inline-block">&#9644; '
        f'<span style="color:{INK}">{esc(name)}</span></span>'
        for n, name in enumerate(lines)
    )
    return (
        f'<figure><svg role="img" aria-label="{esc(label)}: {esc(said)}" width="100%" height="{_HEIGHT + 28}" '
        f'xmlns="http://www.w3.org/2000/svg">{ticks}<svg x="0" y="0" width="100%" height="{_HEIGHT}" '
        f'viewBox="0 0 100 {_HEIGHT}" preserveAspectRatio="none">{"".join(drawn)}</svg>'
        f'<text x="0" y="{_HEIGHT + 20}" font-size="12" fill="{MUTED}">{left:g}</text>'
        f'<text x="100%" y="{_HEIGHT + 20}" font-size="12" fill="{MUTED}" text-anchor="end">{esc(x)} {right:g}</text>'
        f"</svg><figcaption>{esc(label)}<br>{legend}</figcaption></figure>"
    )


def round_marks(low: float, high: float) -> list[float]:
    """Round numbers at equal distances, the first at or below ``low``, the last at or above ``high``.

    >>> round_marks(0.123, 0.41)
    [0.1, 0.2, 0.3, 0.4, 0.5]
    """
    step, _ = axis_step((high - low) or abs(high) or 1.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * k, 12) for k in range(first, max(last, first + 1) + 1)]


def series(curve: Sequence[Mapping[str, float]], column: str) -> list[tuple[float, float]]:
    """(step, value) of the rows of a curve that have a value in ``column``.

    >>> series([{"step": 1.0, "loss": 2.0}, {"step": 2.0}], "loss")
    [(1.0, 2.0)]
    """
    return [(row["step"], row[column]) for row in curve if column in row]


def curves_page(name: str, curve: Sequence[Mapping[str, float]], outcome: Mapping[str, Any]) -> str:
    """The report of one run as a whole HTML page."""
    base, tuned = outcome["base"], outcome["tuned"]
    looked = {f"{key} (held out)": series(curve, f"eval_{key}") for key in base}
    for key, points in looked.items():
        if points:
            points.insert(0, (0.0, float(base[key.removesuffix(" (held out)")])))
    rows = [[esc(key), f"{base[key]:.4f}", f"{tuned[key]:.4f}", f"{tuned[key] - base[key]:+.4f}"] for key in base]
    share = 100 * outcome["trained"] / max(outcome["parameters"], 1)
    body = "".join(
        [
            f'<header><p class="kicker">Fine-tuning</p><h1>{esc(name)}</h1>',
            '<p class="lead">How the encoder learned, and what it gained on held-out anchors.</p>',
            facts(
                [
                    ("steps", f"{outcome['steps']:,}"),
                    ("best state at step", f"{outcome['best_step']:,}"),
                    ("parameters trained", f"{outcome['trained']:,} ({share:.2f} %)"),
                    ("seconds", f"{outcome['seconds']:,.0f}"),
                    ("adapter", outcome["adapter"][:12]),
                ]
            ),
            "</header><h2>Held-out anchors</h2>",
            table(["figure", "base", "tuned", "difference"], rows, numeric=frozenset({1, 2, 3})),
            line_plot(looked, label="Figures on held-out anchors", x="step"),
            "<h2>Training</h2>",
            line_plot({"loss": series(curve, "loss")}, label="Training loss", x="step"),
            line_plot({"learning rate": series(curve, "learning_rate")}, label="Learning rate", x="step"),
        ]
    )
    return page(f"Fine-tuning: {name}", body)


def _tick(value: float, share: float) -> str:
    """A horizontal line with its value, ``share`` of the height up."""
    y = _HEIGHT * (1 - share)
    return (
        f'<line x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"/>'
        f'<text x="0" y="{y - 4:.1f}" font-size="12" fill="{MUTED}" stroke="#fbfbf9" stroke-width="4" '
        f'paint-order="stroke">{value:.4g}</text>'
    )
