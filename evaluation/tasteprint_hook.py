"""Where the pipeline joins the table of methods: fits `tasteprint` for a protocol.

Everything but the hook lies in `retrieval`. The hook may ask ``resources.validation()`` for requests to choose weights
on; it never sees the test stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ..profiling.errors import ConfigError
from ..retrieval.scorer import Scorer, TrainingSet

if TYPE_CHECKING:
    from .methods import Resources


class TasteprintConfig(BaseModel):
    """Options of the pipeline in an evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def fit_tasteprint(train: TrainingSet, config: TasteprintConfig, resources: Resources) -> Scorer:
    """Fit the pipeline.

    Raises:
        ConfigError: the pipeline is not in this version.
    """
    raise ConfigError("tasteprint: the pipeline is not in this version; name other methods (--methods)")
