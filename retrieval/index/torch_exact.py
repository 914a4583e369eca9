"""Every row compared by one matrix product in torch: in half precision on a GPU, in full precision on a processor.

On a large GPU this is what other kinds have to beat: a million rows of 384 numbers are 0.8 GB, read in well under a
millisecond. Imports torch, so nothing here is used unless its kind is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...profiling.errors import ArtefactError
from .types import Found, Mask, Rows, Scores, best_of, check_allowed, check_matrix, check_queries

if TYPE_CHECKING:
    import torch

_SCORES_AT_ONCE = 1 << 28
_HALF_MOST = 65_504.0
_ROUNDING = {"cpu": 2e-6, "cuda": 3 * 2.0**-11}  # relative: of rows, queries and results


@dataclass(frozen=True, eq=False)
class TorchIndex:
    """Item rows as one tensor.

    Attributes:
        kind: a key of `INDEXES`
        rows: (n_items, dim), on its device
        rounding: how far an inner product with a query of length 1 can be from the exact one
    """

    kind: str
    rows: torch.Tensor
    rounding: float

    @property
    def n_items(self) -> int:
        """Rows."""
        return int(self.rows.shape[0])

    @property
    def dim(self) -> int:
        """Width of a row."""
        return int(self.rows.shape[1])

    @property
    def resident_bytes(self) -> int:
        """Bytes of the tensor, on its device."""
        return int(self.rows.numel() * self.rows.element_size())

    def slack(self, query: NDArray[np.float32]) -> float:
        """How far a score of this query can be from the exact one."""
        return self.rounding * float(np.linalg.norm(query))

    def search(self, query: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> tuple[Rows, Scores]:
        """The ``k`` rows with the largest inner product; see `ItemIndex.search`."""
        return self.search_batch(query[None], k, allowed=allowed).one(0)

    def search_batch(self, queries: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> Found:
        """As `search`, for many queries."""
        import torch

        wide = check_queries(queries, self.dim, k)
        check_allowed(allowed, self.n_items)
        step = max(1, _SCORES_AT_ONCE // self.n_items)
        rows, scores = [], []
        with torch.inference_mode():
            banned = None if allowed is None else torch.from_numpy(~allowed).to(self.rows.device)
            for start in range(0, max(len(wide), 1), step):
                asked = torch.from_numpy(wide[start : start + step]).to(self.rows)
                products = asked @ self.rows.T
                if banned is not None:
                    products.masked_fill_(banned, float("-inf"))
                best, place = products.topk(min(k, self.n_items), dim=1)
                rows.append(place.cpu().numpy())
                scores.append(best.float().cpu().numpy())
        found, theirs = np.vstack(rows), np.vstack(scores)
        return best_of(np.where(np.isneginf(theirs), -1, found), theirs, k)


def build_torch(matrix: NDArray[np.float32], *, kind: str, device: str) -> TorchIndex:
    """The rows of ``matrix`` as a tensor on ``cpu`` (fp32) or ``cuda`` (fp16).

    Raises:
        ArtefactError: there is no such device, or the numbers do not fit into it.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ArtefactError(f"{kind}: torch sees no GPU here; name a kind that needs none, such as flat-fp16")
    if device == "cuda":
        check_matrix(matrix, kind=kind, largest=_HALF_MOST)
    kept: Any = torch.float16 if device == "cuda" else torch.float32
    rows = torch.empty(matrix.shape, dtype=kept, device=device)
    longest = 0.0
    for start in range(0, len(matrix), 1 << 16):
        piece = np.ascontiguousarray(matrix[start : start + (1 << 16)], dtype=np.float32)
        rows[start : start + len(piece)] = torch.from_numpy(piece.copy()).to(device=device, dtype=kept)
        longest = max(longest, float(np.linalg.norm(piece, axis=1).max()))
    return TorchIndex(kind, rows, _ROUNDING[device] * longest)
