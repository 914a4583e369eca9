"""Known attributes of shoppers, such as an age band, as plain text by shopper."""

from __future__ import annotations

import pandas as pd


def attributes_of(users: pd.DataFrame | None) -> dict[str, dict[str, str]]:
    """What the ``users`` table says of each shopper, as text; unknown attributes are left out, no table is no shopper.

    >>> attributes_of(pd.DataFrame({"user_id": ["a", "b"], "age": ["20-29", None], "kids": [None, None]}))
    {'a': {'age': '20-29'}, 'b': {}}
    """
    if users is None:
        return {}
    rows = users.drop(columns="user_id").to_dict("records")
    known = [{str(k): str(v) for k, v in row.items() if not pd.isna(v) and v != ""} for row in rows]
    return dict(zip(users["user_id"].astype(str), known, strict=True))
