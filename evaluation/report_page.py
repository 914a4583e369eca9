"""The look of every HTML report: one self-contained page, calm and readable on paper, desk and phone.

Covers the page's frame, its style sheet and small pieces of HTML. What a report says is `report`'s work. Nothing is
loaded from anywhere: no scripts, no fonts, no images.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

INK, MUTED, LINE, PAPER = "#1d2327", "#59636b", "#dfe3e1", "#fbfbf9"
FIRST, SECOND = "#0f6b5f", "#9c3d6e"
"""Colours of the first and the second thing compared; both have contrast 5:1 and more on `PAPER`."""
GROUPS = ("#3f67b1", "#c2741f", "#6f7f1f", "#7a5bb0", "#2f91a3", "#b5544a", "#aab2af")
"""Colours of groups in a map; the last is for everything else."""

_CSS = f"""
:root {{ color-scheme: light; --ink: {INK}; --muted: {MUTED}; --line: {LINE}; --paper: {PAPER};
 --first: {FIRST}; --second: {SECOND}; --soft: #f1f3f0; }}
* {{ box-sizing: border-box; }}
html {{ -webkit-text-size-adjust: 100%; }}
body {{ margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
 Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }}
main {{ max-width: 1080px; margin: 0 auto; padding: 48px 24px 72px; }}
header {{ border-bottom: 1px solid var(--line); padding-bottom: 24px; }}
h1 {{ font-size: 2rem; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 10px; text-wrap: balance; }}
h2 {{ font-size: 1.3rem; line-height: 1.3; letter-spacing: -.01em; margin: 56px 0 6px; }}
h3 {{ font-size: 1rem; margin: 24px 0 6px; }}
p {{ margin: 8px 0; max-width: 68ch; text-wrap: pretty; }}
.kicker {{ color: var(--first); font-size: .8rem; font-weight: 600; letter-spacing: .06em; text-transform: uppercase;
 margin: 0 0 8px; }}
.lead {{ font-size: 1.1rem; color: var(--muted); }}
.quiet, figcaption, .note {{ color: var(--muted); font-size: .875rem; }}
figure {{ margin: 18px 0; }}
figcaption {{ margin-top: 8px; max-width: 75ch; }}
svg {{ display: block; max-width: 100%; overflow: visible; font-family: inherit; }}
.scroll {{ overflow-x: auto; margin: 16px 0; }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; color: var(--muted); font-size: .875rem; padding-bottom: 6px; }}
th, td {{ padding: 8px 12px 8px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }}
th {{ font-weight: 600; color: var(--muted); font-size: .8rem; }}
tbody th {{ color: var(--ink); font-size: .9rem; }}
.n {{ text-align: right; white-space: nowrap; padding-right: 12px; }}
.best {{ background: #eaf3f0; }}
.badge {{ display: inline-block; background: var(--first); color: #fff; border-radius: 4px; font-size: .7rem;
 font-weight: 600; padding: 1px 7px; margin-left: 6px; vertical-align: 1px; white-space: nowrap; }}
.heat td {{ text-align: right; padding: 7px 10px; border-bottom: 2px solid var(--paper); }}
.heat th:not(:first-child) {{ text-align: right; padding-right: 10px; vertical-align: bottom; }}
.heat tbody th {{ position: sticky; left: 0; background: var(--paper); white-space: nowrap; }}
.facts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 16px 28px;
 margin: 24px 0 0; }}
.facts div {{ min-width: 0; }}
.facts dt {{ color: var(--muted); font-size: .8rem; margin: 0; }}
.facts dd {{ margin: 0; font-weight: 600; overflow-wrap: anywhere; }}
ul {{ padding-left: 1.2em; max-width: 72ch; }}
li {{ margin: 4px 0; }}
details {{ margin: 14px 0; }}
summary {{ cursor: pointer; color: var(--muted); }}
code {{ font-size: .85em; overflow-wrap: anywhere; }}
footer {{ margin-top: 64px; border-top: 1px solid var(--line); padding-top: 16px; }}
@media (max-width: 640px) {{ main {{ padding: 28px 16px 48px; }} h1 {{ font-size: 1.6rem; }} h2 {{ margin-top: 44px; }}
 .facts {{ grid-template-columns: 1fr 1fr; }} }}
@media print {{ body {{ background: #fff; }} main {{ max-width: none; padding: 0; }} }}
"""


def page(title: str, body: str, *, style: str = "", language: str = "en") -> str:
    """A whole HTML document; ``body`` is HTML, ``style`` is added to the style sheet."""
    return (
        f'<!doctype html>\n<html lang="{esc(language)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{esc(title)}</title>\n<style>{_CSS}{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def esc(text: object) -> str:
    """Text made safe for HTML, in elements and in attributes.

    >>> esc('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return html.escape(str(text), quote=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: frozenset[int] = frozenset()) -> str:
    """An HTML table that scrolls sideways where it must; cells are HTML, the first of a row is its header."""
    top = "".join(f'<th scope="col"{_side(c, numeric)}>{cell}</th>' for c, cell in enumerate(head))
    lines = []
    for row in rows:
        rest = "".join(f"<td{_side(c, numeric)}>{cell}</td>" for c, cell in enumerate(row) if c)
        lines.append(f'<tr><th scope="row">{row[0]}</th>{rest}</tr>')
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values as a small grid; values are plain text."""
    inner = "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{inner}</dl>'


def bullets(lines: Sequence[str]) -> str:
    """Plain sentences as a list, or nothing."""
    return "<ul>" + "".join(f"<li>{esc(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _side(column: int, numeric: frozenset[int]) -> str:
    return ' class="n"' if column in numeric else ""
