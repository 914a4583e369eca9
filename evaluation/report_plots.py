"""Plots of the evaluation report as small hand-made SVG and tables: bars with intervals, a heat table of slices.

Positions are percentages and sizes of text are pixels, so a plot fills any width and its labels stay legible
on a phone.
Nothing here computes a result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .report_page import FIRST, INK, LINE, MUTED, esc

_ROW = 46  # pixels: a line of text, a bar, air


@dataclass(frozen=True)
class Bar:
    """One bar: its name, value >= 0, 95 % interval (NaN where unknown), and whether it is the one to look at."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    strong: bool = False


def bar_plot(bars: Sequence[Bar], *, label: str) -> str:
    """Horizontal bars from zero with their intervals; ``label`` says what is shown and is the alternative text."""
    ends = [b.high if math.isfinite(b.high) else b.value for b in bars]
    step, top = axis_step(max([*ends, 1e-9]))
    height = _ROW * len(bars) + 26
    ticks = [step * k for k in range(round(top / step) + 1)]
    parts = [_tick(tick, top, height - 26) for tick in ticks]
    parts += [_bar(bar, top, _ROW * k) for k, bar in enumerate(bars)]
    said = "; ".join(f"{b.name} {b.value:.4f}" for b in bars)
    return (
        f'<svg role="img" aria-label="{esc(label)}: {esc(said)}" width="100%" height="{height}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def axis_step(highest: float) -> tuple[float, float]:
    """A round distance between ticks and a round end of the axis above ``highest`` > 0.

    >>> axis_step(0.137)
    (0.05, 0.15)
    """
    rough = highest / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)
    return round(step, 12), round(math.ceil(highest / step - 1e-9) * step, 12)


def heat_table(rows: Mapping[str, Mapping[str, float]], columns: Sequence[tuple[str, str]], *, caption: str) -> str:
    """A table whose cells are darker the nearer they are to the best of their column.

    Args:
        rows: method to slice to value; absent or NaN stays empty
        columns: slice and its heading
        caption: what is shown
    """
    best = {key: max([_number(row.get(key)) for row in rows.values()], default=0.0) for key, _ in columns}
    head = "".join(f'<th scope="col">{esc(text)}</th>' for _, text in columns)
    lines = []
    for name, row in rows.items():
        cells = "".join(_heat(row.get(key), best[key]) for key, _ in columns)
        lines.append(f'<tr><th scope="row">{esc(name)}</th>{cells}</tr>')
    return (
        f'<p class="quiet">{esc(caption)}</p><div class="scroll"><table class="heat">'
        f'<thead><tr><th scope="col">method</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _tick(value: float, top: float, height: int) -> str:
    at = 100 * value / top
    anchor = "start" if at == 0 else "end" if at > 99 else "middle"
    return (
        f'<line x1="{at:.2f}%" x2="{at:.2f}%" y1="4" y2="{height}" stroke="{LINE}"/>'
        f'<text x="{at:.2f}%" y="{height + 18}" text-anchor="{anchor}" font-size="12" fill="{MUTED}">{value:g}</text>'
    )


def _bar(bar: Bar, top: float, y: int) -> str:
    fill, weight = (FIRST, 650) if bar.strong else ("#b4beba", 400)
    width = 100 * max(bar.value, 0.0) / top
    text = (
        f'<text x="0" y="{y + 16}" font-size="14" font-weight="{weight}" fill="{INK}" stroke="#fbfbf9" '
        f'stroke-width="4" paint-order="stroke">{esc(bar.name)} <tspan fill="{MUTED}">{bar.value:.4f}</tspan></text>'
    )
    rect = f'<rect x="0" y="{y + 23}" width="{width:.2f}%" height="14" rx="2" fill="{fill}"/>'
    if not (_known(bar.low) and _known(bar.high)):
        return rect + text
    low, high = (100 * max(x, 0.0) / top for x in (bar.low, bar.high))
    ends = "".join(
        f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="{y + 26}" y2="{y + 34}" stroke="{INK}" stroke-width="1.5"/>'
        for x in (low, high)
    )
    line = f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="{y + 30}" y2="{y + 30}" stroke="{INK}" stroke-width="1.5"/>'
    return rect + line + ends + text


def _heat(value: float | None, best: float) -> str:
    if value is None or not _known(value):
        return "<td></td>"
    share = max(value, 0.0) / best if best > 0 else 0.0
    bold = ";font-weight:650" if share >= 1.0 else ""
    return f'<td style="background:rgba(15,107,95,{0.32 * share**2:.3f}){bold}">{value:.4f}</td>'


def _number(value: float | None) -> float:
    """The value, 0 where it is not known."""
    return value if value is not None and math.isfinite(value) else 0.0


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
