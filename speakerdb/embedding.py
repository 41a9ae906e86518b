"""Unit vectors: normalise, average, compare. NumPy only.

The distance is Euclidean between unit vectors: 0 (same direction) to 2 (opposite), smaller is nearer;
d² = 2 − 2·cosine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
"""float32 [dimension], unit length."""

Vectors = npt.NDArray[np.float32]
"""float32 [n, dimension], each row of unit length."""


UNIT_TOLERANCE = 1e-3
"""Of the length of a vector that was not made here."""


def is_unit(vectors: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether vectors, real [..., dimension], are of unit length to `UNIT_TOLERANCE`: bool [...]; NaN is not."""
    with np.errstate(invalid="ignore"):  # a signalling NaN, which only a foreign file holds
        lengths = _lengths(np.asarray(vectors, np.float64))
    return np.asarray(np.abs(lengths - 1.0) < UNIT_TOLERANCE)


def _lengths(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of vectors [..., dimension]: [...]. For few vectors `linalg.norm` takes twice as long."""
    lengths: npt.NDArray[np.float64] = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))
    return lengths


def normalize(vectors: npt.ArrayLike) -> Vectors:
    """Scale to unit length along the last axis.

    Args: vectors: real [..., dimension].
    Returns: float32 of the same shape.
    Raises: ValueError for a vector of zero or not finite length, which has no direction.
    """
    values = np.asarray(vectors, dtype=np.float64)
    with np.errstate(over="ignore"):  # a length beyond float64 is infinite, which is refused
        lengths = _lengths(values)[..., None]
    if not (lengths.min(initial=1.0) >= 1e-12 and lengths.max(initial=1.0) < np.inf):
        raise ValueError("a vector of zero or not finite length has no direction")
    units: Vectors = (values / lengths).astype(np.float32)
    return units


def average(vectors: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Vector:
    """The voiceprint of several unit vectors: their (weighted) mean, brought to unit length again.

    Args:
        vectors: real [n, dimension], n ≥ 1; each is normalised first, so a long one counts no more.
        weights: positive [n], 1 each where left out.
    Returns: float32 [dimension], unit length.
    Raises: ValueError without vectors, for weights of another count or not positive, or where the vectors cancel
        out: a mean shorter than 1e-6 is what their rounding to float32 leaves, and has no direction.
    """
    rows = np.asarray(vectors)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError("an average needs at least one vector")
    units = normalize(rows).astype(np.float64)
    factors = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    if factors.shape != (len(rows),) or not np.all(np.isfinite(factors) & (factors > 0.0)):
        raise ValueError("an average needs one positive weight a vector")
    mean = (factors / factors.sum()) @ units
    if np.linalg.norm(mean) < 1e-6:
        raise ValueError("the vectors cancel out: their average has no direction")
    return normalize(mean)


def cosine_to_distance(cosine: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Cosine −1..1 → Euclidean distance 0..2 of unit vectors; beyond-range rounding is clipped."""
    squared: npt.NDArray[np.float64] = 2.0 - 2.0 * np.asarray(cosine, dtype=np.float64)
    return np.sqrt(np.minimum(np.maximum(squared, 0.0), 4.0))


def distance_to_cosine(distance: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Euclidean distance 0..2 of unit vectors → cosine 1..−1."""
    return 1.0 - np.asarray(distance, dtype=np.float64) ** 2 / 2.0


def distances(query: npt.ArrayLike, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Exact distances of one unit vector to many.

    Args: query: [dimension]; vectors: [n, dimension].
    Returns: float64 [n], 0 to 2.
    """
    return paired_distances(vectors, query)


def paired_distances(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Exact distances of unit vectors, row by row.

    Computed from the differences, not from the cosine: near 0 the cosine loses half the digits.

    Args: first, second: [n, dimension], or one of them [dimension] for all rows of the other.
    Returns: float64 [n], 0 to 2.
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.minimum(_lengths(difference), 2.0)
