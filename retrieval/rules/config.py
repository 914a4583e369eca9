"""What rules there are and how a shop writes them down. What they do to a ranking is in `apply`.

A file of rules is TOML, one ``[[rules]]`` table a rule, ``rule`` naming its kind:

    [[rules]]
    rule = "pin"
    items = ["B0042"]
    queries = ["garden hose"]

    [[rules]]
    rule = "cap"
    by = "brand"
    most = 2
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...profiling.errors import ConfigError
from ...profiling.intent.units import stems
from ..filters import Filters

Text = Annotated[str, Field(min_length=1)]


class _Base(BaseModel):
    """What every rule may say of itself and of when it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", description="what explanations call it; empty = its kind")
    queries: tuple[Text, ...] = Field((), description="queries it holds for, word forms forgiven; empty = always")

    def holds(self, query: str) -> bool:
        """Whether the rule is meant for a request with this query, "" for one without words."""
        return not self.queries or set(stems(query)) in [set(stems(asked)) for asked in self.queries]


class _Chosen(_Base):
    """A rule about named items, or all of a brand, a category or an attribute value."""

    items: tuple[Text, ...] = Field((), description="item ids")
    brand: str | None = Field(None, description="all items of this brand, case ignored")
    category: str | None = Field(None, description="all items of this category, or path that begins so")
    attributes: dict[str, str] = Field(default_factory=dict, description="all items with these attribute values")

    def filters(self) -> Filters | None:
        """The items meant beside ``items``, as a filter; None where none are."""
        if self.brand is None and self.category is None and not self.attributes:
            return None
        return Filters(category=self.category, brand=self.brand, attributes=self.attributes)


class Pin(_Base):
    """Named items stand at the head of the ranking, in the order given."""

    rule: Literal["pin"] = "pin"
    items: tuple[Text, ...] = Field(min_length=1, description="item ids, first one first")
    at: int = Field(1, ge=1, description="rank of the first of them")


class Exclude(_Chosen):
    """Items are never shown."""

    rule: Literal["exclude"] = "exclude"


class Bury(_Chosen):
    """Items come after all others."""

    rule: Literal["bury"] = "bury"


class Cap(_Base):
    """At most so many items of one brand, category or attribute value among the first."""

    rule: Literal["cap"] = "cap"
    by: Text = Field("brand", description="brand, category, root (of the category), or an attribute's name")
    most: int = Field(2, ge=1, description="items of one group")
    among: int = Field(10, ge=1, description="ranks it holds for; items held back come right after them")


class Diversity(_Base):
    """Fewer near-copies: maximal marginal relevance over the items' meaning."""

    rule: Literal["diversity"] = "diversity"
    amount: float = Field(0.3, gt=0, le=1, description="0 = by score alone, 1 = by likeness alone")


class Exposure(_Base):
    """Groups are seen as often as is fair: at every rank each has its share of the ranks so far, rounded down."""

    rule: Literal["exposure"] = "exposure"
    by: Text = Field("brand", description="brand, category, root, or an attribute's name, such as seller")
    fair: Literal["candidates", "equal"] = Field(
        "candidates", description="a group's share: of the candidates, or the same for all groups"
    )
    among: int = Field(10, ge=1, description="ranks it holds for")


Rule = Annotated[Pin | Exclude | Bury | Cap | Diversity | Exposure, Field(discriminator="rule")]

RULES: Mapping[str, type[_Base]] = {
    "exclude": Exclude,
    "bury": Bury,
    "diversity": Diversity,
    "exposure": Exposure,
    "cap": Cap,
    "pin": Pin,
}
"""Kinds of rules by name, in the order in which they act: the later has the last word."""


class RulesConfig(BaseModel):
    """A shop's rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Rule, ...] = Field((), description="each a table with its kind in `rule`")

    def held(self, query: str) -> tuple[_Base, ...]:
        """The rules that hold for a query, in the order in which they act; those of one kind as written."""
        kinds = list(RULES)
        mine = [rule for rule in self.rules if rule.holds(query)]
        return tuple(sorted(mine, key=lambda rule: kinds.index(rule.rule)))


NO_RULES = RulesConfig()


def read_rules(path: str | Path) -> RulesConfig:
    """The rules in a TOML file.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or says what no rule allows.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        return RulesConfig.model_validate(table)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"rules: {path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        kinds = ", ".join(RULES)
        raise ConfigError(f"rules: {where} in {path}: {first['msg']}; kinds of rules are {kinds}") from error
