"""Rules put to a ranking: which items may be shown, in what order, and which rule moved what.

Pure functions over a ranking's rows. Rules act in the order of `config.RULES`; scores are never touched, so what an
explanation says of a score stays true, and what a rule did is told beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..diversity import mmr
from ..filters import ItemFacts, allowed_items
from .config import Bury, Cap, Diversity, Exclude, Exposure, Pin, RulesConfig, _Base, _Chosen
from .spread import capped, fair_order

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Listed:
    """A ranking that rules may change.

    Attributes:
        rows: item rows, best first, (n,)
        scores: their scores, (n,)
        vectors: their unit vectors, (n, d), for diversity
    """

    rows: Ints
    scores: NDArray[np.floating]
    vectors: NDArray[np.floating]

    def take(self, order: Ints) -> Listed:
        """The items at these positions, in this order."""
        return Listed(self.rows[order], self.scores[order], self.vectors[order])


@dataclass(frozen=True)
class Moved:
    """What one rule did to one item.

    Attributes:
        rule: kind of the rule
        name: what the shop calls it
        before, after: ranks, 1 first; ``before`` is None where the item was no candidate
    """

    rule: str
    name: str
    before: int | None
    after: int

    def __str__(self) -> str:
        """In words.

        >>> str(Moved("cap", "two per brand", 3, 11)), str(Moved("pin", "", None, 1))
        ("Moved from 3 to 11 by the rule 'two per brand'.", "Placed at 1 by the rule 'pin'.")
        """
        how = f"Placed at {self.after}" if self.before is None else f"Moved from {self.before} to {self.after}"
        return f"{how} by the rule {(self.name or self.rule)!r}."

    def to_json(self) -> dict[str, str | int | None]:
        """A readable object of plain values."""
        return {"rule": self.rule, "name": self.name, "before": self.before, "after": self.after}


@dataclass(frozen=True, eq=False)
class Ruled:
    """A ranking after the rules.

    Attributes:
        rows: item rows, best first, (n,)
        moved: item row -> what was done to it, in the order it was done
        said: what each rule that held did as a whole, in words
    """

    rows: Ints
    moved: Mapping[int, tuple[Moved, ...]]
    said: tuple[str, ...]


def excluded(rules: RulesConfig, facts: ItemFacts, query: str = "") -> NDArray[np.bool_] | None:
    """Items that the rules leave out of a request, (n_items,); None where none are.

    Raises:
        UnknownIdError: a rule names an item the catalogue does not have.
    """
    masks = [_meant(rule, facts) for rule in rules.held(query) if isinstance(rule, Exclude)]
    return np.any(masks, axis=0) if masks else None


def pinned(rules: RulesConfig, facts: ItemFacts, query: str = "") -> Ints:
    """Rows of the items that the rules pin in a request, in the catalogue's order, (n,); also of removed ones.

    Raises:
        UnknownIdError: a rule names an item the catalogue does not have.
    """
    rows = [facts.any_row(item) for rule in rules.held(query) if isinstance(rule, Pin) for item in rule.items]
    return np.unique(np.array(rows, dtype=np.int64))


def apply_rules(
    rules: RulesConfig,
    listed: Listed,
    facts: ItemFacts,
    *,
    query: str = "",
    allowed: NDArray[np.bool_] | None = None,
    candidates: int | None = None,
) -> Ruled:
    """A ranking after the rules; `Exclude` acts here too, on what is listed.

    Args:
        rules: the shop's
        listed: the ranking, deeper than what is shown, or a cap has nothing to show instead
        facts: of the catalogue
        query: words of the request
        allowed: items that may be shown, (n_items,); a pinned item that may not is not
        candidates: how many of ``listed`` were ranked; those beyond are there only to be pinned. None = all

    Raises:
        UnknownIdError: a rule names an item the catalogue does not have.
    """
    n = len(listed.rows) if candidates is None else candidates
    extra, current = listed.take(np.arange(n, len(listed.rows))), listed.take(np.arange(n))
    moved: dict[int, list[Moved]] = {}
    said: list[str] = []
    for rule in rules.held(query):
        before = {row: place + 1 for place, row in enumerate(current.rows.tolist())}
        if isinstance(rule, Pin):
            current, touched = _pin(rule, current, extra, facts, allowed)
        else:
            order, touched = _ordered(rule, current, facts)
            current = current.take(order)
        after = {row: place + 1 for place, row in enumerate(current.rows.tolist())}
        done = [row for row in touched if before.get(row) != after.get(row)]
        for row in done:
            if row in after:
                moved.setdefault(row, []).append(Moved(_kind(rule), rule.name, before.get(row), after[row]))
        if done:
            said.append(f"{rule.name or _kind(rule)}: {len(done)} item{'s' if len(done) > 1 else ''}")
    return Ruled(current.rows, {row: tuple(notes) for row, notes in moved.items()}, tuple(said))


def group_codes(by: str, rows: Ints, facts: ItemFacts) -> tuple[Ints, tuple[str, ...]]:
    """Group of each of these items, -1 for none, (n,), and the groups' names.

    ``by`` is brand, category, root (the category's first step) or the name of an attribute.
    """
    if by == "brand":
        said = facts.brand[rows].tolist()
    elif by in ("category", "root"):
        said = [path.split(" > ")[0] if by == "root" else path for path in facts.category[rows].tolist()]
    else:
        held: dict[int, str] = {}
        for (name, value), having in facts.with_value.items():
            if name == by.strip().lower():
                held |= dict.fromkeys(rows[np.isin(rows, having)].tolist(), value)
        said = [held.get(row, "") for row in rows.tolist()]
    codes: dict[str, int] = {}
    found = [codes.setdefault(name, len(codes)) if name else -1 for name in said]
    return np.array(found, dtype=np.int64), tuple(codes)


def _ordered(rule: _Base, listed: Listed, facts: ItemFacts) -> tuple[Ints, Sequence[int]]:
    """Positions in the order that a rule wants, and the rows it is about."""
    rows, places = listed.rows, np.arange(len(listed.rows))
    if isinstance(rule, Exclude | Bury):
        meant = _meant(rule, facts)[rows]
        order = places[~meant] if isinstance(rule, Exclude) else np.concatenate([places[~meant], places[meant]])
        return order, rows[meant].tolist()
    if isinstance(rule, Cap):
        groups, _ = group_codes(rule.by, rows, facts)
        order = capped(groups, most=rule.most, among=rule.among)
        fell = np.argsort(order) > places
        return order, rows[fell].tolist()
    if isinstance(rule, Diversity):
        return mmr(listed.scores, listed.vectors, len(rows), diversity=rule.amount), rows.tolist()
    if isinstance(rule, Exposure):
        groups, names = group_codes(rule.by, rows, facts)
        count = np.bincount(groups[groups >= 0], minlength=len(names)).astype(np.float64)
        shares = np.full(len(names), 1.0 / max(len(names), 1)) if rule.fair == "equal" else count / max(len(rows), 1)
        return fair_order(groups, shares, among=rule.among), rows.tolist()
    raise TypeError(f"no way to apply a rule of type {type(rule).__name__}")


def _pin(
    rule: Pin, listed: Listed, extra: Listed, facts: ItemFacts, allowed: NDArray[np.bool_] | None
) -> tuple[Listed, Sequence[int]]:
    """The ranking with the rule's items at their ranks."""
    wanted = list(dict.fromkeys(facts.any_row(item) for item in rule.items))
    wanted = [row for row in wanted if allowed is None or allowed[row]]
    place = {int(row): at for at, row in enumerate(np.concatenate([listed.rows, extra.rows]))}
    wanted = [row for row in wanted if row in place]
    both = Listed(*(np.concatenate([getattr(listed, n), getattr(extra, n)]) for n in ("rows", "scores", "vectors")))
    rest = [at for at in range(len(listed.rows)) if int(listed.rows[at]) not in wanted]
    head = min(rule.at - 1, len(rest))
    order = rest[:head] + [place[row] for row in wanted] + rest[head:]
    return both.take(np.array(order, dtype=np.int64)), wanted


def _meant(rule: _Chosen, facts: ItemFacts) -> NDArray[np.bool_]:
    """Items that a rule is about, (n_items,)."""
    mask = np.zeros(len(facts.price), dtype=bool)
    mask[[facts.any_row(item) for item in rule.items]] = True
    filters = rule.filters()
    if filters is not None:
        inside = allowed_items(filters, facts, np.zeros(0, dtype=np.int64))
        mask |= np.ones(len(mask), dtype=bool) if inside is None else inside
    return mask


def _kind(rule: _Base) -> str:
    return str(getattr(rule, "rule", ""))
