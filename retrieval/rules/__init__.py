"""A shop's own rules over a finished ranking: pin, bury, exclude, cap, diversity, fair exposure."""

from .apply import Listed, Moved, Ruled, apply_rules, excluded, pinned
from .config import NO_RULES, RULES, Bury, Cap, Diversity, Exclude, Exposure, Pin, Rule, RulesConfig, read_rules

__all__ = [
    "NO_RULES",
    "RULES",
    "Bury",
    "Cap",
    "Diversity",
    "Exclude",
    "Exposure",
    "Listed",
    "Moved",
    "Pin",
    "Rule",
    "Ruled",
    "RulesConfig",
    "apply_rules",
    "excluded",
    "pinned",
    "read_rules",
]
