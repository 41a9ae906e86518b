"""What several channels have to do with one another: their average is what is heard, and must stand for all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from speakerdb.audio.decoders import Samples

CANCELLED = 0.1
"""Of the power that channels would have together if they had nothing to do with one another. Below, they are opposite,
as where a cable's poles are exchanged: hardly anything is left in their average."""

# Two channels carry different sounds where neither their samples nor their levels go together. One voice in two
# rooms or before two microphones has levels that do (0.87 or more on dev), with other noise on either its samples do
# (0.49 or more); two people's sentences have neither (levels 0.38 for 4 s, −0.3 where they take turns; docs/LOG.md).
APART = 0.2  # least correlation of the samples
UNLIKE = 0.55  # least correlation of the levels
LIVELY_DB = 6.0  # least deviation of a channel's level: noise has less, speech 10 to 20
BALANCED = 0.01  # of the louder channel's power, that the other must have to be heard in the average
LEVEL_S, LEVELS = 0.02, 50  # levels are taken so often, and say nothing in less than a second
FLOOR = 1e-7  # power, −70 dBFS: what is quieter is silence


class Channels:
    """Listens to the channels of one recording."""

    def __init__(self, rate_hz: int) -> None:
        self._step = max(1, round(LEVEL_S * rate_hz))
        self._together = self._apart = 0.0  # energy of the channels' sum, and the sum of their energies
        self._energies: npt.NDArray[np.float64] = np.zeros(2)
        self._levels = 0
        self._sums: npt.NDArray[np.float64] = np.zeros(2)  # of two channels' levels in dB
        self._products: npt.NDArray[np.float64] = np.zeros((2, 2))

    def listen(self, frames: Samples, mono: Samples) -> None:
        """To float32 [frames, channels] and their average [frames]."""
        if not len(frames):
            return
        with np.errstate(over="ignore"):  # channels beyond all sound may cancel one another, too
            self._together += frames.shape[1] ** 2 * float(np.einsum("i,i->", mono, mono))
            self._apart += float(np.einsum("ij,ij->", frames, frames))
            if frames.shape[1] == 2:
                self._compare(np.ascontiguousarray(frames.T))

    def _compare(self, channels: Samples) -> None:
        """Two channels' energies and levels, float32 [2, frames], and how their levels go together."""
        steps = channels.shape[1] // self._step or 1
        pieces = channels[:, : channels.shape[1] // steps * steps].reshape(2, steps, -1)
        energies = np.einsum("csi,csi->cs", pieces, pieces)
        levels = 10.0 * np.log10(energies / np.float64(pieces.shape[2]) + FLOOR)
        self._levels += steps
        self._energies += energies.sum(axis=1, dtype=np.float64)
        self._sums += levels.sum(axis=1)
        self._products += np.einsum("is,js->ij", levels, levels)

    @property
    def warnings(self) -> list[str]:
        """Why their average may not stand for them, a line each."""
        if self._together < CANCELLED * self._apart:
            return ["its channels cancel one another, and their average is what is heard; take one (--channel 1)"]
        if self.different:
            return [
                "its two channels carry different sounds, as a call's two sides do, and their average is what is "
                "heard; take one at a time (--channel 1, --channel 2)"
            ]
        return []

    @property
    def different(self) -> bool:
        """Whether two channels carry different sounds."""
        if self._levels < LEVELS or self._energies.min() < BALANCED * self._energies.max():
            return False
        means = self._sums / self._levels
        covariance = self._products / self._levels - np.outer(means, means)
        deviations = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
        if not deviations.min() >= LIVELY_DB:
            return False
        samples = (self._together - self._apart) / 2.0 / np.sqrt(self._energies.prod())
        return bool(abs(samples) < APART and covariance[0, 1] < UNLIKE * deviations.prod())
