"""Prior: what a new shopper probably likes, from what shoppers with the same known attributes do.

A shopper's mean interest is modelled as global mean + one effect for each attribute value + the shopper's own
deviation: a random-effects model, its effects shrunk by variance components (best linear unbiased prediction, Henderson
1975). Attributes whose values differ no more than shuffled ones are dropped, so attributes without signal leave the
global mean. The deviation gives the prior its weight in events (Buehlmann 1967). Which attributes may be used is the
shop's policy: pass only those columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field


class PriorConfig(BaseModel):
    """When an attribute is believed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shuffles: int = Field(
        default=99, ge=0, description="permutations behind the test of each attribute; 0 believes all"
    )
    level: float = Field(default=0.05, gt=0, lt=1, description="share of shuffles that may beat a believed attribute")
    max_values: int = Field(default=50, ge=2, description="columns with more different values are not segments")
    least_weight: float = Field(default=0.1, gt=0, description="lowest weight of the prior in events")
    most_weight: float = Field(default=100.0, gt=0, description="highest weight of the prior in events")


@dataclass(frozen=True, eq=False)
class PriorModel:
    """Where a shopper starts before their first event.

    Attributes:
        mean: global mean interest, (d,)
        effects: shrunk deviation of each value of each believed attribute, (d,) each
        weight: how many events the prior is worth, for `interest.mean`
        explained: share of the variance between shoppers that each attribute explains by itself, in [0, 1]
    """

    mean: NDArray[np.float64]
    effects: Mapping[str, Mapping[str, NDArray[np.float64]]]
    weight: float
    explained: Mapping[str, float]

    def vector(self, attributes: Mapping[str, object] | None = None) -> NDArray[np.float64]:
        """Prior interest of a shopper with these attributes, (d,); unknown names and values add nothing."""
        prior = self.mean.copy()
        for name, value in (attributes or {}).items():
            effect = self.effects.get(name, {}).get(str(value))
            if effect is not None:
                prior += effect
        return prior


def fit_prior(
    users: pd.DataFrame | None,
    vectors: NDArray[np.floating],
    weights: NDArray[np.floating],
    *,
    spread: NDArray[np.floating] | None = None,
    config: PriorConfig | None = None,
    rng: np.random.Generator,
) -> PriorModel:
    """Learn where new shoppers start.

    Args:
        users: attribute columns, one row for each shopper of ``vectors``; nulls are unknown; None for no attributes
        vectors: mean event vector of each shopper, (n_users, d); not shrunk
        weights: how many events each mean stands for, (n_users,); shoppers of weight 0 do not count
        spread: mean squared distance of each shopper's events to their mean, (n_users,); ``1 - |mean|^2`` if None,
            which is exact for unit event vectors
        config: when an attribute is believed
        rng: shuffles

    Raises:
        ValueError: the rows of the arguments do not match.
    """
    config = config or PriorConfig()
    x, n = np.asarray(vectors, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if len(x) != len(n) or (users is not None and len(users) != len(n)):
        raise ValueError(
            f"users, vectors and weights must have one row a shopper, got {len(n)} weights, {len(x)} vectors"
        )
    seen = np.flatnonzero(n > 0)
    x, n = x[seen], n[seen]
    if not len(n):
        return PriorModel(np.zeros(x.shape[1]), {}, config.least_weight, {})
    within = 1 - (x**2).sum(axis=1) if spread is None else np.asarray(spread, dtype=np.float64)[seen]
    noise = _event_variance(np.maximum(within, 0.0), n)  # summed over the d axes
    trust = n / (n + _strength(x, n, noise, config))  # the same credibility for every shopper's mean
    mean = trust @ x / trust.sum()
    codes, values = _segments(users, seen, config)
    believed = {name: code for name, code in codes.items() if _differs(code, x - mean, trust, config, rng)}
    effects, explained = _effects(believed, x - mean, trust)
    named = {name: dict(zip(values[name], effect, strict=True)) for name, effect in effects.items()}
    left = x - mean - sum((effects[name][code] * (code >= 0)[:, None] for name, code in believed.items()), np.zeros(()))
    return PriorModel(mean, named, _strength(left, n, noise, config, centred=True), explained)


def _event_variance(within: NDArray[np.float64], n: NDArray[np.float64]) -> float:
    """Unbiased variance of one event around its shopper's mean, pooled over shoppers with more than one."""
    many = n > 1
    return float((n * within)[many].sum() / (n - 1)[many].sum()) if many.any() else float(within.mean()) or 1.0


def _strength(
    x: NDArray[np.float64], n: NDArray[np.float64], noise: float, config: PriorConfig, *, centred: bool = False
) -> float:
    """Event variance over the variance between shoppers' true means: how many events the prior is worth."""
    off = x if centred else x - n @ x / n.sum()
    between = float((n * ((off**2).sum(axis=1) - noise / n)).sum() / n.sum())
    return (
        float(np.clip(noise / between, config.least_weight, config.most_weight)) if between > 0 else config.most_weight
    )


def _segments(
    users: pd.DataFrame | None, seen: NDArray[np.int64], config: PriorConfig
) -> tuple[dict[str, NDArray[np.int64]], dict[str, list[str]]]:
    """Value code of each shopper (-1 unknown) and the values, for each column that makes segments."""
    codes, values = {}, {}
    for name in [] if users is None else [c for c in users.columns if c != "user_id"]:
        column = users[name].iloc[seen]  # type: ignore[index]
        code, found = pd.factorize(column.map(str, na_action="ignore"), sort=True)
        if 2 <= len(found) <= config.max_values:
            codes[str(name)], values[str(name)] = code.astype(np.int64), [str(v) for v in found]
    return codes, values


def _between(code: NDArray[np.int64], x: NDArray[np.float64], trust: NDArray[np.float64]) -> float:
    """Weighted sum of squares between segment means, summed over the axes."""
    known = code >= 0
    one_hot = np.zeros((known.sum(), code.max() + 1))
    one_hot[np.arange(known.sum()), code[known]] = trust[known]
    size = one_hot.sum(axis=0)
    sums = one_hot.T @ x[known]
    return float(((sums**2).sum(axis=1)[size > 0] / size[size > 0]).sum())


def _differs(
    code: NDArray[np.int64],
    x: NDArray[np.float64],
    trust: NDArray[np.float64],
    config: PriorConfig,
    rng: np.random.Generator,
) -> bool:
    """Whether segments differ more than shuffled ones (permutation test on the sum of squares between)."""
    found = _between(code, x, trust)
    beaten = sum(_between(rng.permutation(code), x, trust) >= found for _ in range(config.shuffles))
    return (beaten + 1) / (config.shuffles + 1) <= config.level if config.shuffles else True


def _effects(
    codes: Mapping[str, NDArray[np.int64]], x: NDArray[np.float64], trust: NDArray[np.float64]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Shrunk effects of all attributes together, (n_values, d) each, and the variance each explains alone.

    Mixed-model equations ``(Z'WZ + diag(residual / component)) b = Z'Wx``; components by moments, one by one.
    """
    if not codes:
        return {}, {}
    total = float((trust * (x**2).sum(axis=1)).sum() / trust.sum())
    blocks, ridge, explained = [], [], {}
    for name, code in codes.items():
        one_hot = np.zeros((len(code), code.max() + 1))
        known = np.flatnonzero(code >= 0)
        one_hot[known, code[known]] = 1.0
        component, residual = _components(code, x, trust)
        explained[name] = float(np.clip(component / total, 0.0, 1.0)) if total > 0 else 0.0
        blocks.append(one_hot)
        ridge.append(np.full(one_hot.shape[1], residual / max(component, 1e-12 * max(residual, 1e-12))))
    z = np.concatenate(blocks, axis=1)
    left = z.T @ (trust[:, None] * z) + np.diag(np.concatenate(ridge))
    solved = np.linalg.solve(left, z.T @ (trust[:, None] * x))  # (all values, d)
    edges = np.cumsum([block.shape[1] for block in blocks])[:-1]
    return dict(zip(codes, np.split(solved, edges), strict=True)), explained


def _components(code: NDArray[np.int64], x: NDArray[np.float64], trust: NDArray[np.float64]) -> tuple[float, float]:
    """Variance between segments and inside them, summed over axes (Searle 1992, one-way unbalanced moments)."""
    known = code >= 0
    size = np.bincount(code[known], trust[known], minlength=code.max() + 1)
    heads = np.bincount(code[known], minlength=code.max() + 1)
    groups = int((heads > 0).sum())
    all_of_it = float((trust[known] * (x[known] ** 2).sum(axis=1)).sum())
    centre = trust[known] @ x[known] / size.sum()
    between = _between(code, x, trust) - size.sum() * float(centre @ centre)
    spare = max(int(known.sum()) - groups, 1)
    residual = max(all_of_it - _between(code, x, trust), 0.0) / spare
    scale = size.sum() - float((size**2).sum() / size.sum())
    return max((between - (groups - 1) * residual) / scale, 0.0) if scale > 0 else 0.0, residual
