"""A product of matrices in pieces beside NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest

from speakerdb.product import product


@pytest.mark.parametrize(
    ("rows", "inner", "columns"),
    [(0, 192, 1000), (1, 192, 1000), (2, 192, 1000), (21, 192, 1000), (57, 192, 100), (640, 257, 40), (3, 20_000, 2)],
)
def test_a_product_in_pieces_is_the_product(rows, inner, columns):
    rng = np.random.default_rng(rows)
    first = rng.standard_normal((rows, inner), np.float32)
    second = rng.standard_normal((inner, columns), np.float32)
    expected = first.astype(np.float64) @ second.astype(np.float64)
    assert product(first, second) == pytest.approx(expected, abs=1e-3)
