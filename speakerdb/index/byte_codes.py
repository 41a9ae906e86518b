"""Unit vectors as bytes, so that an index compares whole numbers and reads a quarter of the memory.

Every vector is turned by one rotation, then each of its numbers is rounded to one of 256 steps. An encoder's numbers
are of very different spread; turned, they have the same, 1/√dimension, and steps that hold six of it on either side
are half as wide as those that the widest would want. What lies beyond is cut off, which no recording's vector did.
Squared distances of codes are those of the vectors, but for the rounding, and for a factor.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vectors
from speakerdb.product import product

Codes = npt.NDArray[np.float32]
"""float32 [n, dimension] of whole numbers 0 to 255, as FAISS takes bytes."""

STEPS = 255
DEVIATIONS = 6.0


def codes(vectors: Vectors) -> Codes:
    """Of unit vectors, float32 [n, dimension]."""
    dimension = vectors.shape[1]
    steps: Codes = product(np.ascontiguousarray(vectors, np.float32), turn(dimension))
    steps += reach(dimension)
    steps *= STEPS / (2.0 * reach(dimension))
    return np.clip(np.rint(steps, out=steps), 0, STEPS, out=steps)


def cosines(squared: npt.NDArray[np.float32], dimension: int) -> npt.NDArray[np.float32]:
    """Of vectors whose codes have these squared distances: c = 1 − d²/2."""
    step = 2.0 * reach(dimension) / STEPS
    return 1.0 - squared * np.float32(step**2 / 2.0)


def reach(dimension: int) -> float:
    """The largest number that has a code of its own."""
    return min(1.0, DEVIATIONS / float(np.sqrt(dimension)))


@cache
def turn(dimension: int) -> npt.NDArray[np.float32]:
    """Signs by chance, then the orthonormal cosine transform (DCT-II): every number becomes part of all others.

    The same wherever it is computed, since stored codes are of it: float32 [dimension, dimension].
    """
    signs = np.where(np.random.PCG64(0).random_raw(dimension) & 1, 1.0, -1.0)  # a stream that NumPy keeps
    at = np.arange(dimension)
    waves = np.sqrt(2.0 / dimension) * np.cos(np.pi / dimension * np.outer(at + 0.5, at))
    waves[:, 0] /= np.sqrt(2.0)
    turned: npt.NDArray[np.float32] = np.ascontiguousarray(signs[:, None] * waves, np.float32)
    return turned
