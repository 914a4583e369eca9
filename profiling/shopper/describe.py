"""A profile in a few sentences that a shopper would understand and could check.

Each sentence is said only where its figure is known and far enough from usual to be worth saying; comparisons are with
what is usual in the shop. English only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .profile import Profile

_LEAST_ORDERS = 3  # with fewer order days nobody has a way of buying


def describe(profile: Profile) -> list[str]:
    """Sentences on rhythm, tastes, way of buying, what is due, habits and opinions; never none."""
    told = [
        _rhythm(profile),
        _tastes(profile),
        _way_of_buying(profile),
        _due(profile),
        _habits(profile),
        _opinions(profile),
    ]
    return [sentence for sentence in told if sentence] or [_nothing_known(profile)]


def listed(names: Sequence[str], *, last: str = "and") -> str:
    """Names as a list in a sentence, semicolons between names that have commas themselves.

    >>> listed(["tea"]), listed(["tea", "jam", "bread"])
    ('tea', 'tea, jam and bread')
    """
    if len(names) < 2:
        return names[0] if names else ""
    comma = "; " if any("," in name or " and " in name for name in names) else ", "
    return f"{comma.join(names[:-1])}{';' if comma == '; ' else ''} {last} {names[-1]}"


def _nothing_known(profile: Profile) -> str:
    """What a newcomer's profile says."""
    if profile.attributes:
        return f"Nothing seen yet; starts from what shoppers with {_attributes(profile)} usually take."
    return "Nothing seen yet; starts from what shoppers usually take."


def _attributes(profile: Profile) -> str:
    """Known attributes in words."""
    return listed([f"{name.replace('_', ' ')} {value}" for name, value in profile.attributes.items()])


def _rhythm(profile: Profile) -> str:
    """How often, how recently, for how much."""
    b = profile.behaviour
    if b is None or not b.orders:
        return _looked(profile)
    days = "day" if b.orders == 1 else "days"
    parts = [f"{profile.verb} on {b.orders:.0f} {days}"]
    if math.isfinite(b.orders_per_month) and b.orders >= 3:
        monthly = f"about {b.orders_per_month:.0f} times a month" if b.orders_per_month >= 1.5 else ""
        monthly = monthly or f"about every {30 / max(b.orders_per_month, 1e-9):.0f} days"
        parts.append(monthly)
    if math.isfinite(b.recency_days):
        parts.append("most recently today" if b.recency_days < 1 else f"most recently {_ago(b.recency_days)}")
    if math.isfinite(b.spend_per_order):
        money = f"{b.spend_per_order:,.2f}" + (f" {profile.currency}" if profile.currency else "")
        parts.append(f"{money} a day on average")
    return ", ".join(parts) + "."


def _looked(profile: Profile) -> str:
    """What is known of somebody who came and has not ordered."""
    if not profile.seen:
        return ""
    times = "once" if profile.seen == 1 else "twice" if profile.seen == 2 else f"{profile.seen:,} times"
    days = (profile.at_s - profile.last_seen_s) / 86_400
    lately = "" if math.isnan(days) else ", most recently today" if days < 1 else f", most recently {_ago(days)}"
    return f"Seen {times}{lately}; no order yet."


def _ago(days: float) -> str:
    """A number of days in words."""
    if days < 2:
        return "yesterday"
    return f"{days:.0f} days ago" if days < 60 else f"{days / 30:.0f} months ago"


def _tastes(profile: Profile) -> str:
    """What they hold, and what is new in it."""
    names = [tag.name for tag in profile.tags[:5]]
    lately = [tag.name for tag in profile.recent_tags[:3] if tag.name not in names]
    if not names:
        return f"Lately into {listed(lately)}." if lately else ""
    sentence = f"Stands out for {listed(names)}"
    return sentence + (f"; lately for {listed(lately)}." if lately else ".")


def _way_of_buying(profile: Profile) -> str:
    """Price level, discounts, novelty, where outside of what is usual in the shop."""
    b = profile.behaviour
    if b is None or b.orders < _LEAST_ORDERS:
        return ""
    words = {
        "price_level": ("picks cheaper items than most", "picks dearer items than most"),
        "discount_sensitivity": ("hardly looks at offers", "waits for offers"),
        "novelty": ("stays with what they know", "likes to try new things"),
    }
    said = []
    for name, (low, high) in words.items():
        value = getattr(b, name)
        if value < profile.norms.get(f"{name}_low", -math.inf):
            said.append(low)
        elif value > profile.norms.get(f"{name}_high", math.inf):
            said.append(high)
    sentence = listed(said)
    return sentence[:1].upper() + sentence[1:] + "." if sentence else ""


def _due(profile: Profile) -> str:
    """What they buy again and again and may need now."""
    due = [c for c in profile.cycles if 0.8 <= c.due <= 2.0][:2]
    if not due:
        return ""
    return "May need again: " + listed([f"{c.title} (every {c.every_days:.0f} days)" for c in due]) + "."


def _habits(profile: Profile) -> str:
    """When and where they come, where that is a habit."""
    h = profile.habits
    if h is None:
        return ""
    when = []
    if h.weekday:
        when.append(f"on {h.weekday}s")
    if h.hour_concentration >= 0.5:
        when.append(f"around {round(h.hour) % 24}:00")
    named = (("place", h.place), ("on", h.device), ("through", h.scene))
    where = ", ".join(f"{what} {name}" for what, name in named if name)
    if when:
        return f"Usually comes {' '.join(when)}{f' ({where})' if where else ''}."
    return f"Usually: {where}." if where else ""


def _opinions(profile: Profile) -> str:
    """What their own reviews praise and complain about."""
    parts = []
    if profile.praised:
        parts.append(f"praises {listed([a.aspect for a in profile.praised[:3]])}")
    if profile.complained:
        worst = profile.complained[0]
        others = listed([a.aspect for a in profile.complained[:3]])
        parts.append(f'complains about {others} ("{worst.quote}")')
    return f"In reviews {listed(parts)}." if parts else ""
