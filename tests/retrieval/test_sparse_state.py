"""Sparse matrices as arrays."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tasteprint.profiling.errors import ArtefactError
from tasteprint.retrieval.sparse_state import csr_arrays, csr_from_arrays


def test_a_matrix_comes_back_over_the_very_arrays() -> None:
    matrix = sp.random(40, 30, 0.2, format="csr", dtype=np.float32, random_state=0)
    arrays = csr_arrays(matrix)
    again = csr_from_arrays(arrays)
    assert (again != matrix).nnz == 0
    assert all(np.shares_memory(getattr(again, name), arrays[name]) for name in ("data", "indices", "indptr"))


@pytest.mark.parametrize("name", ["data", "indices", "indptr"])
def test_parts_that_do_not_fit_together_are_refused(name: str) -> None:
    arrays = csr_arrays(sp.eye(5, format="csr"))
    with pytest.raises(ArtefactError, match="do not fit together"):
        csr_from_arrays(arrays | {name: arrays[name][:-1]})
