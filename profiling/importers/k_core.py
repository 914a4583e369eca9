"""The k-core of an event log: what is left when users and items with few events are dropped until none is left to drop.

Note what it does to evaluation: an item with few training events must then have later ones, so rarity in training
predicts the future. Report results without a core where the source allows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError


def k_core_mask(user: NDArray[np.integer[Any]], item: NDArray[np.integer[Any]], *, k: int) -> NDArray[np.bool_]:
    """Events of the k-core, (n_events,): the largest set in which every user and item has ``k`` events or more.

    Args:
        user: user row of each event, 0 or more, (n_events,)
        item: item row of each event, 0 or more, (n_events,)
        k: least number of events; 0 and 1 keep everything

    Raises:
        ConfigError: ``k`` is negative.

    >>> k_core_mask(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1]), k=2).tolist()
    [True, True, True, True, False]
    """
    if k < 0:
        raise ConfigError(f"k_core: expected 0 or more, got {k}")
    kept = np.arange(len(user))
    while k > 1 and len(kept):
        enough = (np.bincount(user[kept])[user[kept]] >= k) & (np.bincount(item[kept])[item[kept]] >= k)
        if enough.all():
            break
        kept = kept[enough]
    mask = np.zeros(len(user), dtype=bool)
    mask[kept] = True
    return mask
