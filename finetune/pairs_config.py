"""What may be chosen about training pairs: one home for their defaults."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Stage = Literal["train", "valid", "test"]


class CatalogueConfig(BaseModel):
    """Pseudo-queries from the catalogue's own words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_item: int = Field(default=3, ge=1, le=100, description="pseudo-queries made of an item")


class PairsConfig(BaseModel):
    """Which pairs are made of a shop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: Literal["auto"] | tuple[str, ...] = Field(
        default="auto", description="keys of PAIR_SOURCES, or auto: all that the shop has data for"
    )
    split: Stage = Field(default="train", description="judgements used, by their split")
    until: datetime | None = Field(default=None, description="events at or after this time (UTC) are never read")
    catalogue: CatalogueConfig = Field(default=CatalogueConfig(), description="pseudo-queries")

    @field_validator("sources")
    @classmethod
    def _distinct(cls, sources: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if sources != "auto" and len(set(sources)) < len(sources):
            raise ValueError(f"each source may be named once, got {', '.join(sources)}")
        return sources
