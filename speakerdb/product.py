"""The product of two matrices on this thread alone.

OpenBLAS gives a product of some size to threads of its own, and those go on spinning for tens of milliseconds on the
cores that onnxruntime needs next: on two cores a clip of three seconds took 12 ms instead of 6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LARGEST_VECTOR, LARGEST = 9_000, 262_000
"""Multiplications that OpenBLAS 0.3 does itself: below 9,216 for a vector and a matrix, 262,144 for two matrices."""

LANES = 16
"""Columns that it does at once with AVX-512: 21 voices beside a cohort took a sixth longer by 62 than by 64."""


def product(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`rows @ columns`, in pieces. Args: float32 [n, k] and [k, m]. Returns: float32 [n, m]."""
    found = np.empty((len(rows), columns.shape[1]), np.float32)
    wide = max(1, LARGEST_VECTOR // len(columns))
    high = max(1, LARGEST // (wide * len(columns)))
    if 1 < len(rows) < high:  # no row is left over, which would be a vector
        high = len(rows)
        wide = max(1, LARGEST // (high * len(columns)) // LANES * LANES)
    for top in range(0, len(rows), high):
        for left in range(0, columns.shape[1], wide):
            np.matmul(
                rows[top : top + high],
                columns[:, left : left + wide],
                out=found[top : top + high, left : left + wide],
            )
    return found
