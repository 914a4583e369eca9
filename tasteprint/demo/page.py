"""The demo's HTML page: the story for people who were not there. One file, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.report import method_section, notes, verdict
from ..evaluation.report_page import FIRST, SECOND, bullets, esc, facts, page
from .plots import map_plot, month, timeline_plot
from .story import Question, Row, Shopper, Story, WarmStep

_STYLE = """
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 24px; margin: 20px 0; }
.trio { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 28px; margin: 20px 0; }
.quad { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 24px; margin: 20px 0; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 18px 20px; min-width: 0; }
.card h3, .column h3 { margin: 0 0 6px; }
.a { border-top: 3px solid var(--first); } .b { border-top: 3px solid var(--second); }
.plain { border-top: 3px solid #aab2af; }
.a h3 { color: var(--first); } .b h3 { color: var(--second); }
.column { padding-top: 10px; min-width: 0; }
.chips { list-style: none; display: flex; flex-wrap: wrap; gap: 6px; padding: 0; margin: 12px 0 0; }
.chips li { background: var(--soft); border-radius: 4px; padding: 2px 9px; font-size: .85rem; margin: 0; }
.list { list-style: none; padding: 0; margin: 12px 0 0; }
.list > li { display: grid; grid-template-columns: 1.6em minmax(0, 1fr); padding: 9px 0; margin: 0;
 border-top: 1px solid var(--line); font-size: .92rem; line-height: 1.4; }
.rank { color: var(--muted); font-variant-numeric: tabular-nums; }
.list b { font-weight: 600; overflow-wrap: anywhere; }
.list .quiet { display: block; font-size: .82rem; line-height: 1.4; }
.move { font-size: .78rem; font-weight: 600; white-space: nowrap; color: var(--muted); }
.up { color: var(--first); } .b .up { color: var(--second); }
.taken { font-size: .78rem; font-weight: 600; color: var(--first); white-space: nowrap; }
.multiples { margin: 14px 0 0; }
.multiple p { display: flex; justify-content: space-between; gap: 12px; font-size: .9rem; margin: 10px 0 2px;
 max-width: none; }
.multiple p span:last-child { white-space: nowrap; }
.ends { display: flex; justify-content: space-between; gap: 16px; font-size: .82rem; max-width: none; margin: 4px 0; }
.ends span:last-child { text-align: right; }
.map .ends, .map .end { color: var(--muted); font-size: .82rem; }
.end { text-align: center; max-width: none; margin: 4px 0; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 12px 0 0;
 max-width: none; font-size: .85rem; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px; }
.seen { font-size: .82rem; color: var(--muted); margin: 0; padding-left: 1.1em; }
.seen li { margin: 1px 0; }
@media (max-width: 860px) { .pair, .trio { grid-template-columns: minmax(0, 1fr); }
 .quad { grid-template-columns: 1fr 1fr; } }
@media (max-width: 560px) { .quad { grid-template-columns: minmax(0, 1fr); } }
"""


def story_html(story: Story) -> str:
    """The whole page."""
    query = story.question.text
    parts = [
        _header(story),
        "<h2>Two shoppers</h2>",
        "<p>Chosen by the machine: long histories, and tastes as far apart as they come in this shop.</p>",
        f'<div class="pair">{_who(story.pair[0], "A")}{_who(story.pair[1], "B")}</div>',
        f"<h2>What they get for “{esc(query)}”</h2>{_answers(story)}",
        f"<h2>Their interests over time</h2>{_timelines(story)}",
        f"<h2>Where they stand among everybody</h2>{_map(story)}",
        f"<h2>A new shopper warms up</h2>{_warming(story)}",
        _evaluation(story),
        _footer(story),
    ]
    return page(f"Tasteprint: {query}, for two", "\n".join(part for part in parts if part), style=_STYLE)


def _header(story: Story) -> str:
    said = (
        f"Both ask for “{story.question.text}”. Tasteprint reads what it may mean here, weighs it against what each of "
        "them has done before, and says why."
    )
    known = [
        ("Shop", story.shop.replace("_", " ")),
        ("Items", f"{story.items:,}"),
        ("Shoppers", f"{story.shoppers:,}"),
        ("Events", f"{story.events:,}"),
        ("From", f"{month(story.first_day)} to {month(story.last_day)}"),
        ("Encoder", story.encoder),
    ]
    return (
        '<header><p class="kicker">Tasteprint demo</p><h1>One query, two shoppers, two answers</h1>'
        f'<p class="lead">{esc(said)}</p>{facts(known)}</header>'
    )


def _who(shopper: Shopper, letter: str) -> str:
    chips = "".join(f"<li>{esc(tag)}</li>" for tag in shopper.tags)
    told = "".join(f"<p>{esc(line)}</p>" for line in shopper.summary)
    return (
        f'<section class="card {letter.lower()}"><h3>Shopper {letter}</h3>'
        f'<p class="quiet">{esc(shopper.user_id)}, {shopper.events:,} events</p>{told}'
        f'<ul class="chips" aria-label="Interest tags">{chips}</ul></section>'
    )


def _answers(story: Story) -> str:
    question = story.question
    read = f"<p>Read as: {esc(question.reading)}</p>" if question.reading else ""
    columns = [
        f'<section class="column plain"><h3>Plain search</h3><p class="quiet">by meaning alone, for nobody</p>'
        f"{_list(question.plain, question, moved=False)}</section>"
    ]
    for shopper, letter in zip(story.pair, "AB", strict=True):
        columns.append(
            f'<section class="column {letter.lower()}"><h3>Shopper {letter}</h3>'
            f'<p class="quiet">the same query, with their profile</p>{_list(shopper.results, question, moved=True)}'
            "</section>"
        )
    legend = (
        "Arrows tell how far an item moved from its place in plain search. The percentages are each reason’s share of "
        "what speaks for the item; they are the addends of its score, not a guess afterwards. Lists show the best "
        "item of each name. Nobody judged personal searches here to learn weights from, so taste and behaviour have "
        "the demo’s own weights."
    )
    return f'{read}<div class="trio">{"".join(columns)}</div><p class="note">{legend}</p>'


def _list(rows: Sequence[Row], question: Question, *, moved: bool) -> str:
    lines = []
    for row in rows:
        note = f'<span class="quiet">{esc(row.note)}</span>' if row.note else ""
        why = f'<span class="quiet">{esc(row.reason)}</span>' if moved and row.reason else ""
        move = f" {_move(row)}" if moved else ""
        lines.append(
            f'<li><span class="rank">{row.rank}</span><div><b>{esc(row.title)}</b>{move}{note}{why}</div></li>'
        )
    return f'<ol class="list">{"".join(lines)}</ol>' if lines else '<p class="quiet">Nothing found.</p>'


def _move(row: Row) -> str:
    """How far an item came from its place in plain search, as an arrow and a number."""
    if row.plain_rank is None:
        return '<span class="move up" title="far down in plain search">▲ from far below</span>'
    by = row.plain_rank - row.rank
    if by == 0:
        return '<span class="move" title="same place as in plain search">= same place</span>'
    arrow, kind = ("▲", "up") if by > 0 else ("▼", "down")
    return f'<span class="move {kind}">{arrow} {abs(by)}, from {row.plain_rank}</span>'


def _timelines(story: Story) -> str:
    days = story.pair[0].timeline.half_life_days
    cards = "".join(
        f'<section class="card {letter.lower()}"><h3>Shopper {letter}</h3>'
        f"{timeline_plot(shopper.timeline, colour=colour, who=f'Shopper {letter}')}</section>"
        for shopper, letter, colour in zip(story.pair, "AB", (FIRST, SECOND), strict=True)
    )
    said = (
        f"Share of a shopper’s interest that carries each tag. What they did counts half after {days:.0f} days, so a "
        "curve rises when they come back to something and fades when they leave it. Heights are on one scale for each "
        "shopper."
    )
    return f'<p>{said}</p><div class="pair">{cards}</div>'


def _map(story: Story) -> str:
    told = story.taste_map
    said = (
        f"Every dot is a shopper; near ones have like tastes. The two directions in which the {told.shoppers:,} "
        f"shoppers differ most hold {told.explained:.0%} of the differences in taste; the rest needs more dimensions "
        "than paper has. Colours tell which part of the shop sets a shopper apart."
    )
    return f"<p>{said}</p><figure>{map_plot(told)}</figure>"


def _warming(story: Story) -> str:
    said = (
        f"A real shopper with {story.newcomer_events:,} events in all, met again from the start: what they would have "
        "been shown after their first few, without what they had already. Ticked: they took that later."
    )
    caution = (
        "What is popular and what follows what was counted over the whole log, this shopper’s own part of it included; "
        "the measured comparison below is the honest one."
    )
    columns = "".join(_step(step) for step in story.warming)
    return f'<p>{said}</p><div class="quad">{columns}</div><p class="note">{caution}</p>'


def _step(step: WarmStep) -> str:
    head = "Nothing seen yet" if not step.seen else f"After {step.seen} event" + ("s" if step.seen > 1 else "")
    seen = "".join(f"<li>{esc(title)}</li>" for title in step.latest[-4:])
    more = f"<li>and {len(step.latest) - 4} more</li>" if len(step.latest) > 4 else ""
    latest = f'<p class="quiet">Just took:</p><ul class="seen">{seen}{more}</ul>' if step.latest else ""
    lines = []
    for k, item in enumerate(step.items, start=1):
        taken = ' <span class="taken">✓ took it later</span>' if item.taken_later else ""
        lines.append(
            f'<li><span class="rank">{k}</span><div><b>{esc(item.title)}</b>{taken}'
            f'<span class="quiet">{esc(item.reason)}</span></div></li>'
        )
    return f'<section class="column plain"><h3>{head}</h3>{latest}<ol class="list">{"".join(lines)}</ol></section>'


def _evaluation(story: Story) -> str:
    if story.results is None:
        return "<h2>Measured</h2><p>This shop has too few events to hold some back and measure.</p>"
    results = story.results
    training = ", validation events included" if results.get("validation_in_training") else ""
    kept = "left out" if results.get("seen_items_excluded") else "kept"
    protocol = str(results["protocol"])
    said = (
        "Everything after a date is predicted, each basket from all that its shopper did before it. "
        if protocol == "time_split"
        else "The last event of each shopper is predicted from the ones before. "
    )
    said += (
        f"Methods learned from {results['n_training_events']:,} earlier events{training}, and ranked all "
        f"{results['n_items']:,} items; items a shopper had before are {kept}."
    )
    return (
        f'<h2>Is it better, and is that luck?</h2><p class="lead">{esc(verdict(results))}</p><p>{esc(said)}</p>'
        f"{method_section(results, story.intervals)}{bullets(notes(results))}"
    )


def _footer(story: Story) -> str:
    spent = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in story.seconds.items())
    versions = (story.results or {}).get("versions") or {}
    said = [f"Time of the first run: {spent}." if spent else "", " · ".join(f"{n} {v}" for n, v in versions.items())]
    return '<footer class="quiet">' + "".join(f"<p>{esc(line)}</p>" for line in said if line) + "</footer>"
