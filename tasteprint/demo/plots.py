"""The demo's plots as small hand-made SVG: interests over time as small multiples, and the map of shoppers.

Text stands in HTML or at fixed sizes, so that it stays legible on a phone. What is drawn comes from `demo.story`.
"""

from __future__ import annotations

from ..evaluation.report_page import GROUPS, INK, LINE, PAPER, esc
from .story import Dot, TasteMap, Timeline

_MAP_HEIGHT = 440


def timeline_plot(told: Timeline, *, colour: str, who: str) -> str:
    """One small area plot an interest, all on one scale."""
    top = max([share for line in told.lines for share in line.share] or [0.0])
    if not told.lines or top <= 0:
        return '<p class="quiet">Too little is known for interests over time.</p>'
    plots = "".join(_area(line.name, line.share, top, colour, who) for line in told.lines)
    ends = f"<span>{esc(month(told.days[0]))}</span><span>{esc(month(told.days[-1]))}</span>"
    return f'<div class="multiples">{plots}<p class="ends quiet">{ends}</p></div>'


def map_plot(told: TasteMap) -> str:
    """Dots for shoppers, coloured by group, with the two marked A and B."""
    dots = "".join(
        f'<circle cx="{_percent(d.x)}" cy="{_percent(1 - d.y)}" r="2.6" fill="{GROUPS[min(d.group, 6)]}" '
        'fill-opacity=".55"/>'
        for d in told.dots
    )
    marks = _mark(told.marked[0], "A") + _mark(told.marked[1], "B")
    label = (
        f"Map of {len(told.dots):,} shoppers by taste. A is at {told.marked[0].x:.0%} from the left and "
        f"{told.marked[0].y:.0%} from the bottom, B at {told.marked[1].x:.0%} and {told.marked[1].y:.0%}."
    )
    svg = (
        f'<svg role="img" aria-label="{esc(label)}" width="100%" height="{_MAP_HEIGHT}" '
        f'xmlns="http://www.w3.org/2000/svg">'
        f'<rect width="100%" height="100%" fill="#fff" stroke="{LINE}" rx="4"/>'
        f'<svg x="3%" y="5%" width="94%" height="90%" overflow="visible">{dots}{marks}</svg></svg>'
    )
    left, right, bottom, up = (esc(end.lower()) for end in told.ends)
    if left:
        above = f'<p class="end">↑ more {up}</p>'
        below = f'<p class="end">↓ more {bottom}</p>'
        below += f'<p class="ends"><span>← more {left}</span><span>more {right} →</span></p>'
        svg = above + svg + below
    legend = "".join(
        f'<li><span class="dot" style="background:{GROUPS[min(k, 6)]}"></span>{esc(name)}</li>'
        for k, name in enumerate(told.groups)
    )
    return f'<div class="map">{svg}<ul class="legend">{legend}</ul></div>'


def month(day: str) -> str:
    """A day as month and year.

    >>> month("2017-03-09")
    'Mar 2017'
    """
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    year, number, _ = day.split("-")
    return f"{names[int(number) - 1]} {year}"


def _area(name: str, shares: tuple[float, ...], top: float, colour: str, who: str) -> str:
    step = 100 / max(len(shares) - 1, 1)
    points = " ".join(f"{step * k:.1f},{40 - 38 * share / top:.1f}" for k, share in enumerate(shares))
    label = f"{who}, {name}: {shares[0]:.0%} of interest at first, {max(shares):.0%} at most, {shares[-1]:.0%} at last"
    return (
        f'<div class="multiple"><p><span>{esc(name)}</span><span class="quiet">now {shares[-1]:.0%}, '
        f"most {max(shares):.0%}</span></p>"
        f'<svg role="img" aria-label="{esc(label)}" width="100%" height="44" viewBox="0 0 100 41" '
        f'preserveAspectRatio="none" xmlns="http://www.w3.org/2000/svg">'
        f'<line x1="0" x2="100" y1="40" y2="40" stroke="{LINE}" vector-effect="non-scaling-stroke"/>'
        f'<polygon points="0,40 {points} 100,40" fill="{colour}" fill-opacity=".14"/>'
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6" '
        f'vector-effect="non-scaling-stroke"/></svg></div>'
    )


def _mark(dot: Dot, letter: str) -> str:
    x, y = _percent(dot.x), _percent(1 - dot.y)
    return (
        f'<circle cx="{x}" cy="{y}" r="12" fill="{INK}" stroke="{PAPER}" stroke-width="2.5"/>'
        f'<text x="{x}" y="{y}" dy="5" text-anchor="middle" font-size="14" font-weight="700" fill="#fff">'
        f"{letter}</text>"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
