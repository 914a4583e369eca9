"""What may be chosen about training pairs: one home for their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..profiling.log import KIND_WEIGHTS

Stage = Literal["train", "valid", "test"]
QueryKind = Literal["type", "brand_type", "value_type", "brand", "model", "words", "title"]


class CatalogueConfig(BaseModel):
    """Pseudo-queries from the catalogue's own words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_item: int = Field(default=4, ge=1, le=100, description="pseudo-queries drawn for an item")
    most: int = Field(default=200_000, ge=1, description="draws at most; larger catalogues are sampled evenly")
    shares: Mapping[QueryKind, float] = Field(
        default={
            "type": 0.5,
            "brand_type": 0.15,
            "value_type": 0.17,
            "brand": 0.02,
            "model": 0.04,
            "words": 0.1,
            "title": 0.02,
        },
        description="how often each kind is drawn, relative to the others an item allows",
    )
    temper: float = Field(default=0.7, ge=0, le=1, description="a query drawn n times becomes n to this power anchors")
    positives: int = Field(default=6, ge=1, le=1000, description="items linked to an anchor at most")
    mentions: int = Field(default=2, ge=0, le=1000, description="items linked that only mention the query, at most")
    mention_gain: float = Field(default=0.2, ge=0, le=1, description="gain of an item that only mentions the query")
    misses: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="items linked as irrelevant that lack just one word, at most",
    )
    least_items: int = Field(default=3, ge=1, description="items that must share a product name or value")
    slips: float = Field(default=0.05, ge=0, le=1, description="share of pseudo-queries with a slip of the finger")

    @field_validator("shares")
    @classmethod
    def _some(cls, shares: Mapping[QueryKind, float]) -> Mapping[QueryKind, float]:
        if any(share < 0 for share in shares.values()) or not sum(shares.values()) > 0:
            raise ValueError(f"must be >= 0 and not all 0, got {dict(shares)}")
        return shares


class PairsConfig(BaseModel):
    """Which pairs are made of a shop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: Literal["auto"] | tuple[str, ...] = Field(
        default="auto", description="keys of PAIR_SOURCES, or auto: the most direct that the shop has, see pairs.DIRECT"
    )
    split: Stage = Field(default="train", description="judgements used, by their split")
    until: datetime | None = Field(default=None, description="events at or after this time (UTC) are never read")
    pseudo: str | None = Field(default=None, description="table of 'tasteprint label pseudo'; null = no pseudo-labels")
    most_anchors: int = Field(default=100_000, ge=1, description="anchors of one source at most, drawn evenly")
    catalogue: CatalogueConfig = Field(default=CatalogueConfig(), description="pseudo-queries")
    kind_weights: Mapping[str, float] = Field(
        default=KIND_WEIGHTS, description="what one event of each kind says for its item"
    )
    positives: int = Field(
        default=32, ge=1, le=10_000, description="items linked to a query or item at most, best first"
    )
    propensity: float = Field(
        default=1.0, ge=0, le=3, description="a rank is examined with chance 1 / rank to this power; 0 = no correction"
    )
    propensity_clip: float = Field(default=10.0, ge=1, description="inverse chances above this count as this")
    window_s: float = Field(
        default=86_400.0, gt=0, description="without sessions: events of a user this near are together, in seconds"
    )
    least_together: int = Field(default=2, ge=1, description="baskets two items, or clicks two queries, must share")
    popularity_power: float = Field(
        default=0.5, ge=0, le=1, description="shared counts are divided by popularity to this power; 1 = cosine"
    )
    most_reviews: int = Field(default=50_000, ge=1, description="reviews used at most, drawn evenly")
    max_review_words: int = Field(default=64, ge=4, le=10_000, description="words kept of a review")

    @field_validator("sources")
    @classmethod
    def _distinct(cls, sources: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if sources != "auto" and len(set(sources)) < len(sources):
            raise ValueError(f"each source may be named once, got {', '.join(sources)}")
        return sources
