"""Sparse matrices as plain arrays for artefacts, and back without a copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..profiling.errors import ArtefactError


def csr_arrays(matrix: sp.csr_matrix) -> dict[str, NDArray[Any]]:
    """The arrays of a matrix by name: ``data``, ``indices``, ``indptr`` and ``shape``."""
    return {
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": np.array(matrix.shape, dtype=np.int64),
    }


def csr_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> sp.csr_matrix:
    """A matrix over these very arrays, mapped or not: nothing is copied or looked through.

    Raises:
        ArtefactError: they do not fit together.
    """
    rows, columns = (int(n) for n in arrays["shape"])
    matrix = sp.csr_matrix((rows, columns), dtype=arrays["data"].dtype)
    matrix.data, matrix.indices, matrix.indptr = arrays["data"], arrays["indices"], arrays["indptr"]
    filled = int(matrix.indptr[-1]) if len(matrix.indptr) == rows + 1 else -1
    if not filled == len(matrix.data) == len(matrix.indices):
        raise ArtefactError("a sparse matrix has parts that do not fit together; build the workspace again")
    return matrix
