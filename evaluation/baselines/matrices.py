"""What users and requests took, as sparse matrices: the one input of every collaborative baseline.

Only events with positive weight count: a low rating or a return is no sign of wanting more of the same.
The models here add a popularity of at most 1e-6 (`tie_break`), as item-kNN does: it orders what nothing else orders,
above all for a request without history.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...profiling.log import EventLog, Requests
from ...retrieval.histories import steps_ago

Counts = Literal["binary", "log"]
"""How often counts: ``binary`` once or more is 1; ``log`` is log2(1 + times), so once is 1 too."""

WHOLE_HISTORY = 1 << 40
"""As ``last`` of `steps_ago`: no event is too old."""

DECAY = "weight of a history event for each step of age; 1 = the method as published"


def user_items(log: EventLog, counts: Counts) -> sp.csr_matrix:
    """What each user of a log took, (n_users, n_items) float32 CSR."""
    liked = log.weight > 0
    return _counted(log.user()[liked], log.item[liked], (log.n_users, log.n_items), counts)


def request_items(requests: Requests, counts: Counts, *, decay: float = 1.0) -> sp.csr_matrix:
    """What the history of each request holds, (n_requests, n_items) float32 CSR.

    With ``decay`` below 1 an event counts ``decay ** age``, its age in steps of the history; events at one time are
    one step. ``binary`` then keeps the newest event of an item, ``log`` the sum.
    """
    request, event, age = steps_ago(requests, "together", last=WHOLE_HISTORY)
    liked = requests.log.weight[event] > 0
    request, item, age = request[liked], requests.log.item[event[liked]], age[liked]
    shape = (len(requests), requests.log.n_items)
    if counts == "log":
        return _counted(request, item, shape, counts, weight=decay**age)
    key = request * shape[1] + item
    order = np.lexsort((age, key))
    newest = order[np.r_[True, np.diff(key[order]) != 0]] if len(order) else order
    return sp.csr_matrix(((decay ** age[newest]).astype(np.float32), (request[newest], item[newest])), shape=shape)


def unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The matrix with each row divided by its Euclidean length; an empty row stays empty."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return (sp.diags(scale) @ matrix).tocsr().astype(np.float32)


def _counted(
    row: NDArray[np.integer],
    column: NDArray[np.integer],
    shape: tuple[int, int],
    counts: Counts,
    *,
    weight: NDArray[np.floating] | None = None,
) -> sp.csr_matrix:
    """Total weight (1 each by default) of each (row, column) pair, counted as ``counts`` says."""
    values = np.ones(len(row)) if weight is None else weight
    matrix = sp.csr_matrix((values.astype(np.float32), (row, column)), shape=shape)
    matrix.data = np.ones_like(matrix.data) if counts == "binary" else np.log2(1.0 + matrix.data)
    return matrix
