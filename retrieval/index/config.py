"""What can be chosen about an index, and its only defaults."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

AUTO = "auto"
"""Kind of index that leaves the choice to the program."""


class IndexConfig(BaseModel):
    """Structure of an index; how hard it searches is tuned afterwards, see `tune`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field("flat-fp16", description="a kind of index")
    lists: int | None = Field(None, ge=1, description="groups of an IVF kind; none: 2 to 4 x the root of the rows")
    train_rows: int = Field(40, ge=1, description="rows a group that k-means sees")
    code_dims: int = Field(2, ge=1, description="dimensions that share a 4-bit code of ivf-pq")
    links: int = Field(24, ge=2, description="neighbours a row of hnsw")
    build_effort: int = Field(80, ge=8, description="candidates a row while hnsw is built")
    effort: int | None = Field(None, ge=1, description="lists or candidates looked at; none: a guess until tuned")
    refine: int | None = Field(None, ge=0, description="candidates rescored exactly, per row wanted; none: by kind")
    sketch: bool | None = Field(None, description="keep signs, for filters that few rows pass; none: in a large index")
    threads: int | None = Field(None, ge=1, description="threads of a search; none: one a core")
    seed: int = Field(0, ge=0, description="of k-means")
    address: str = Field("", description="milvus: URI of a cluster, or a file of milvus-lite")
    collection: str = Field("tasteprint", pattern=r"^[A-Za-z_]\w*$", description="milvus: name of the collection")


class ServedIndexConfig(IndexConfig):
    """The index that a workspace serves from: its kind, or when rows may be skipped and how much that may miss."""

    kind: str = Field(AUTO, description="a kind of index; auto: exact while that is quick, else ivf-pq")
    most_ms: float = Field(
        10.0, gt=0, description="auto: predicted time of an exact search on one core above which rows are skipped"
    )
    recall: float = Field(0.95, gt=0, le=1, description="of kinds that skip rows: recall at 10 that is tuned to")
    queries: int = Field(200, ge=8, description="of kinds that skip rows: queries of each mix of blocks to tune on")
