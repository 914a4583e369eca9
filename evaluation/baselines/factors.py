"""ALS and BPR matrix factorisation by the ``implicit`` library (extra ``cf``), scored by folding in histories.

Sources: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008 (ALS); Rendle et
al., "BPR: Bayesian personalized ranking from implicit feedback", UAI 2009. A request never needs a user row: ALS
solves for the history, BPR takes the mean of the history's item factors. Both are deterministic by seed; BPR
therefore runs on one thread (its parallel updates race).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ...profiling.errors import ExtraMissingError
from ...profiling.log import Requests
from ...retrieval.scorer import TrainingSet
from ...retrieval.sources.neighbours import popular_tie_break
from .matrices import DECAY, Counts, request_items, user_items


class AlsConfig(BaseModel):
    """Options of ALS."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factors: int = Field(default=64, ge=1, description="length of the factors")
    regularization: float = Field(default=0.05, ge=0, description="L2 penalty on the factors")
    alpha: float = Field(default=10.0, gt=0, description="confidence in something taken")
    iterations: int = Field(default=15, ge=1, description="passes over both sides")
    counts: Counts = Field(default="binary", description="whether buying twice says more than once")
    decay: float = Field(default=1.0, gt=0, le=1, description=DECAY)


class BprConfig(BaseModel):
    """Options of BPR."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factors: int = Field(default=64, ge=1, description="length of the factors")
    learning_rate: float = Field(default=0.05, gt=0, description="step size")
    regularization: float = Field(default=0.01, ge=0, description="L2 penalty on the factors")
    iterations: int = Field(default=60, ge=1, description="passes over the training events")
    decay: float = Field(default=1.0, gt=0, le=1, description=DECAY)


@dataclass(frozen=True, eq=False)
class AlsModel:
    """Item factors and the confidence that folds a history in.

    Attributes:
        item_factors: (n_items, factors)
        gram: their inner products, (factors, factors)
        alpha, regularization, counts, decay: see `AlsConfig`
        tie_break: added to every score, (n_items,)
    """

    item_factors: NDArray[np.float32]
    gram: NDArray[np.float32]
    alpha: float
    regularization: float
    counts: Counts
    decay: float
    tie_break: NDArray[np.float32]

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Inner products with the factors that best explain each history, (n_requests, n_items)."""
        users = self.fold_in(request_items(requests, self.counts, decay=self.decay))
        return np.asarray(users @ self.item_factors.T + self.tie_break, dtype=np.float32)

    def fold_in(self, history: sp.csr_matrix) -> NDArray[np.float32]:
        """User factors of each history by equation 4 of the paper, (n_requests, factors); 0 for an empty one.

        Confidence is ``alpha * value`` where something was taken and 1 elsewhere, as in ``implicit``.
        """
        n, f = history.shape[0], self.gram.shape[0]
        left = np.broadcast_to(self.gram + self.regularization * np.eye(f, dtype=np.float32), (n, f, f)).copy()
        right = np.zeros((n, f, 1), dtype=np.float32)
        for r in range(n):
            taken = slice(history.indptr[r], history.indptr[r + 1])
            factors = self.item_factors[history.indices[taken]]
            confidence = self.alpha * history.data[taken]
            left[r] += (factors * (confidence - 1)[:, None]).T @ factors
            right[r, :, 0] = confidence @ factors
        return np.linalg.solve(left, right)[:, :, 0]


@dataclass(frozen=True, eq=False)
class BprModel:
    """Item factors (n_items, factors) and item biases (n_items,)."""

    item_factors: NDArray[np.float32]
    bias: NDArray[np.float32]
    decay: float

    def scores(self, requests: Requests) -> NDArray[np.float32]:
        """Bias plus the inner product with the mean factor of the history, (n_requests, n_items)."""
        history = request_items(requests, "binary", decay=self.decay)
        total = np.asarray(history.sum(axis=1))  # (n_requests, 1)
        mean = (history @ self.item_factors) / np.where(total > 0, total, 1)
        return np.asarray(mean @ self.item_factors.T + self.bias, dtype=np.float32)


def fit_als(train: TrainingSet, config: AlsConfig | None = None, *, rng: np.random.Generator | None = None) -> AlsModel:
    """Alternate least squares over the training users.

    Raises:
        ExtraMissingError: ``implicit`` is not installed.
    """
    config = config or AlsConfig()
    rng = np.random.default_rng(0) if rng is None else rng
    taken = user_items(train.log, config.counts)
    options = {
        "factors": config.factors,
        "regularization": config.regularization,
        "alpha": config.alpha,
        "iterations": config.iterations,
        "num_threads": 0,
    }
    factors = _fitted("als", "AlternatingLeastSquares", options, taken, rng).item_factors
    gram = factors.T @ factors
    return AlsModel(
        factors, gram, config.alpha, config.regularization, config.counts, config.decay, popular_tie_break(train)
    )


def fit_bpr(train: TrainingSet, config: BprConfig | None = None, *, rng: np.random.Generator | None = None) -> BprModel:
    """Sample pairs of a taken and an untaken item and push them apart.

    Raises:
        ExtraMissingError: ``implicit`` is not installed.
    """
    config = config or BprConfig()
    rng = np.random.default_rng(0) if rng is None else rng
    options = {
        "factors": config.factors,
        "learning_rate": config.learning_rate,
        "regularization": config.regularization,
        "iterations": config.iterations,
        "num_threads": 1,
    }
    fitted = _fitted("bpr", "BayesianPersonalizedRanking", options, user_items(train.log, "binary"), rng)
    factors = np.ascontiguousarray(fitted.item_factors[:, :-1])  # the last column is the bias
    return BprModel(factors, np.ascontiguousarray(fitted.item_factors[:, -1]), config.decay)


def _fitted(module: str, name: str, options: dict[str, Any], taken: sp.csr_matrix, rng: np.random.Generator) -> Any:
    """A model of ``implicit``, fitted; one BLAS thread, because the library warns that more slow it down."""
    from threadpoolctl import threadpool_limits

    library = _implicit(module)
    with threadpool_limits(1, "blas"):
        model = getattr(library, name)(**options, random_state=int(rng.integers(2**31)))
        model.fit(taken, show_progress=False)
    return model


def _implicit(module: str) -> ModuleType:
    """A CPU module of ``implicit``."""
    import importlib

    try:
        return importlib.import_module(f"implicit.cpu.{module}")
    except ImportError as error:
        raise ExtraMissingError(
            "methods als and bpr need the library implicit; run: pip install 'tasteprint[cf]'"
        ) from error
