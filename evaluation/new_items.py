"""Repeat purchases removed: a split in which only items new to the shopper are ranked and right.

In a shop full of repeats the ``new`` slice says little, because its rankings rightly put repeats first; here rankings
are made anew without them. Whether a shop's items repeat at all is `splits`' question.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .ranking import seen
from .splits import Split


def only_new(split: Split) -> Split:
    """The same split where items of a request's history (of ``seen_kinds``) are neither ranked nor right answers.

    Requests without any other right answer drop out; slices keep what is left of them. Shoppers without history stay.
    """
    asked, had = seen(split.requests, split.seen_kinds)
    n_items = split.train.n_items
    request = split.truth.request()
    new = ~np.isin(request * n_items + split.truth.items, np.unique(asked * n_items + had))
    rows = np.unique(request[new])
    left = split.take(rows)
    note = f"Only items new to the shopper: {len(rows):,} of {len(split.requests):,} requests have such an answer."
    return replace(
        left,
        truth=split.truth.only(new).take(rows),
        slices={name: inside[rows] for name, inside in split.slices.items()},
        target_slices={name: inside[new] for name, inside in split.target_slices.items()},
        exclude_seen=True,
        settings={**split.settings, "only_new": True},
        notes=(*split.notes, note),
    )
