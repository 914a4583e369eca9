"""Settings of the HTTP service: limits, clocks and how long anything may take."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Clock = Literal["auto", "wall", "shop"]


class ServeConfig(BaseModel):
    """What a caller may ask for, and how the service behaves under load."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = Field(default=1, ge=1, le=64, description="processes that answer under the one port")
    threads: int = Field(default=1, ge=1, le=64, description="questions worked on at the same time, by each worker")
    errands: int = Field(default=4, ge=1, le=64, description="profiles, exports and console pages made, the same")
    writers: int = Field(default=8, ge=1, le=64, description="requests with events written at the same time, the same")
    waiting: int = Field(default=64, ge=0, le=10_000, description="requests that may wait for each; more get 503")
    timeout_s: float = Field(default=5.0, gt=0, le=600, description="seconds a request may take, waiting included")
    head_timeout_s: float = Field(default=5.0, gt=0, le=600, description="seconds a request's head may take to arrive")
    body_timeout_s: float = Field(default=5.0, gt=0, le=600, description="seconds a request's body may take to arrive")
    shutdown_s: float = Field(default=10.0, ge=0, le=600, description="seconds running requests get when stopped")
    hosts: tuple[str, ...] = Field(
        default=(), description="names it may be called by without keys, beside localhost and loopback addresses"
    )
    max_body_bytes: int = Field(default=1 << 20, ge=1024, le=1 << 28, description="longest body taken")
    max_k: int = Field(default=100, ge=1, le=1000, description="most items of an answer")
    max_events: int = Field(default=1000, ge=1, le=100_000, description="most events of a batch")
    together: int = Field(default=16, ge=1, le=1024, description="queries embedded in one go, where many come at once")
    max_query: int = Field(default=512, ge=1, le=10_000, description="longest query, characters")
    rate: float = Field(default=500.0, gt=0, description="requests a second of one key, on average")
    burst: int = Field(default=1000, ge=1, description="requests of one key that may come at once")
    poll_s: float = Field(default=2.0, gt=0, description="seconds between looks for a newly published version")
    flush_s: float = Field(default=0.5, gt=0, description="seconds after which what was shown is written")
    waiting_shown: int = Field(default=10_000, ge=1, description="answers that may wait to be written; more are lost")
    keep_shown_days: float = Field(default=90.0, gt=0, description="days that what was shown is kept")
    histories: int = Field(default=10_000, ge=1, description="shoppers whose history is kept in memory")
    warm: int = Field(
        default=2_000, ge=0, description="of them, those with the newest events: read ahead after a start"
    )
    warm_queries: int = Field(
        default=1_000, ge=0, le=4096, description="queries asked most often of late, read ahead after a start"
    )
    rules: Path | None = Field(default=None, description="TOML file of rules over every page: pin, bury, cap and so on")
    clock: Clock = Field(
        default="auto",
        description="what now is where a request does not say: wall, shop (just after the newest event), "
        "or auto: wall unless the shop's times are relative",
    )
