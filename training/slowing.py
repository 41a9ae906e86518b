"""Short clips are heard slowly: frames between their frames, until they have as many as a short sentence.

A network that hears one frame in four has 25 of a second of sound, fewer than its convolutions reach over; on
one-second words of dev a network that was never trained so errs a sixth less (docs/LOG.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Slowing:
    """How many frames a clip is heard in.

    Attributes: least_frames: where it has fewer, 0 for as it is; slowest: but at no smaller share of its tempo.
    """

    least_frames: int = 0
    slowest: float = 1.0

    def length(self, frames: int) -> int:
        """In how many frames a clip of so many is heard; `training.networks.slowed` has the same in tensors."""
        return max(frames, min(int(frames / self.slowest + 0.5), self.least_frames))


def between(frames: Array, count: int, step: float) -> Array:
    """So many frames, one every `step` of those given: [n, channels] → [count, channels]; the last one stays."""
    places = np.minimum(np.arange(count) * step, len(frames) - 1)
    before = places.astype(np.intp)
    after = np.minimum(before + 1, len(frames) - 1)
    share = (places - before)[:, None].astype(np.float32)
    found: Array = frames[before] * (1 - share) + frames[after] * share
    return found
