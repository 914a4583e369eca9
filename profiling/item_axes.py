"""How a catalogue's text and columns become the taste and behaviour blocks, kept for items that come later.

Fitted once on a whole catalogue: whitening of its texts and the prices that price levels are quantiles of. Category and
brand axes follow from the names alone. What sells belongs to `blocks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .axes import Whitening, fit_whitening, level_axes, name_axes

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ItemAxes:
    """The axes of a catalogue.

    Attributes:
        whitening: of its text vectors
        category_dim, brand_dim, price_levels: widths of the groups of the behaviour block
        prices: its known prices, ascending, (n_prices,)
    """

    whitening: Whitening
    category_dim: int
    brand_dim: int
    price_levels: int
    prices: NDArray[np.float64]

    def behaviour(self, items: pd.DataFrame, popularity: NDArray[np.floating]) -> Float:
        """Category, brand, price-level and popularity axes; each group has length 1 or 0 but the last, (n, d).

        Args:
            items: in the data contract
            popularity: of each, 0 to 1, (n,)
        """
        price = items["price"].to_numpy(np.float64, na_value=np.nan)
        groups = [
            name_axes(items["category"], self.category_dim),
            name_axes(items["brand"], self.brand_dim),
            level_axes(price, self.price_levels, among=self.prices),
            np.asarray(popularity, dtype=np.float32)[:, None],
        ]
        return np.hstack(groups).astype(np.float32)


def fit_item_axes(
    items: pd.DataFrame, vectors: Float, *, taste_dim: int, category_dim: int, brand_dim: int, price_levels: int
) -> ItemAxes:
    """Learn the axes of a catalogue; ``vectors`` are its text vectors, (n_items, d)."""
    price = items["price"].to_numpy(np.float64, na_value=np.nan)
    known = np.sort(price[np.isfinite(price)])
    return ItemAxes(fit_whitening(vectors, taste_dim), category_dim, brand_dim, price_levels, known)


def item_axes_state(axes: ItemAxes) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Arrays and JSON values that `item_axes_from_state` turns back into the same axes."""
    arrays: dict[str, NDArray[Any]] = {
        "mean": axes.whitening.mean,
        "scale": axes.whitening.scale,
        "prices": axes.prices,
    }
    widths = ("category_dim", "brand_dim", "price_levels")
    return arrays, {name: int(getattr(axes, name)) for name in widths}


def item_axes_from_state(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> ItemAxes:
    """The axes that `item_axes_state` took apart."""
    whitening = Whitening(np.asarray(arrays["mean"]), np.asarray(arrays["scale"]))
    return ItemAxes(
        whitening, meta["category_dim"], meta["brand_dim"], meta["price_levels"], np.asarray(arrays["prices"])
    )
