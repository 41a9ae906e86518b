"""Voices that nobody has: played at another speed, with formants moved beside the pitch.

Another speed moves pitch and formants together, so that all such voices lie on a line through the recorded one. Where
the spectral envelope is moved apart from what it envelops, one has the pitch of a small head and the formants of a
large one: who learns such voices, too, tells unheard ones apart better (docs/LOG.md). The envelope of a frame is what
is left of its spectrum's logarithm without the fine structure (cepstral smoothing: A. Oppenheim, R. Schafer, IEEE
Trans. Audio 16, 1968); the spectrum is multiplied by the moved envelope over its own, and its phases stay.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from speakerdb.audio import Samples

SPEED, FORMANTS, BEND = (0.8, 1.25), (0.86, 1.17), (-0.08, 0.08)
FRAME_S, HOPS = 0.032, 4
"""Of the analysis; a frame is so many hops."""
FINE_FROM_S = 0.0019
"""Of the cepstrum: what comes later is pitch."""
QUIET = 1e-5
"""Added to magnitudes before their logarithm."""
MOST_CHANGE = 4.0
"""Of a spectrum's natural logarithm."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OtherVoice:
    """What is done to a voice.

    Attributes: speed: of what was recorded. formants: factor of the envelope's frequencies, on top of the speed. bend:
        by how much more of it the highest ones are moved, and the lowest less.
    """

    speed: float
    formants: float
    bend: float

    @staticmethod
    def drawn(speaker: str, number: int) -> OtherVoice:
        """The n-th other voice of a speaker: the same for all of its clips."""
        digest = hashlib.sha256(f"{speaker}/{number}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        speed, formants = (float(np.exp(rng.uniform(*map(math.log, range_)))) for range_ in (SPEED, FORMANTS))
        return OtherVoice(speed, formants, float(rng.uniform(*BEND)))

    def of(self, samples: Samples, rate_hz: int) -> Samples:
        """A recording as this voice would have said it: float32 [samples / speed]."""
        played = soxr.resample(np.asarray(samples, np.float64), rate_hz * self.speed, rate_hz)
        return with_formants_moved(played, rate_hz, self.formants, self.bend).astype(np.float32)


def with_formants_moved(samples: Floats, rate_hz: int, factor: float, bend: float = 0.0) -> Floats:
    """The same pitch under an envelope whose frequencies are `factor` times what they were: float64 [samples].

    Args: bend: as `OtherVoice`; a frequency f of the Nyquist frequency moves by factor · (1 + bend · (2 f − 1)).
    """
    hop = round(FRAME_S * rate_hz / HOPS)
    size = hop * HOPS
    window = np.hanning(size + 1)[:-1]
    padded = np.pad(samples, (size, size + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    spectra = np.fft.rfft(frames * window, axis=1)
    envelopes = _envelopes(spectra, round(FINE_FROM_S * rate_hz))
    moved = _moved(envelopes, factor, bend) - envelopes
    changed = np.fft.irfft(spectra * np.exp(np.clip(moved, -MOST_CHANGE, MOST_CHANGE)), size, axis=1) * window
    return _overlapped(changed, window, hop)[size : size + len(samples)]


def _envelopes(spectra: npt.NDArray[np.complex128], fine_from: int) -> Floats:
    """Natural logarithms of magnitudes, smoothed along frequency: [frames, lines]."""
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + QUIET), axis=1)
    cepstra[:, fine_from : -fine_from + 1] = 0.0
    return np.asarray(np.fft.rfft(cepstra, axis=1).real)


def _moved(envelopes: Floats, factor: float, bend: float) -> Floats:
    """Along frequency, in a line between lines; the last one from there on."""
    last = envelopes.shape[1] - 1
    share = np.arange(last + 1) / last
    taken = np.clip(share / (factor * (1.0 + bend * (2.0 * share - 1.0))), 0.0, 1.0) * last
    below = np.minimum(taken.astype(int), last - 1)
    part = taken - below
    return np.asarray(envelopes[:, below] * (1.0 - part) + envelopes[:, below + 1] * part)


def _overlapped(frames: Floats, window: Floats, hop: int) -> Floats:
    """Frames that were windowed twice, added where they lay."""
    added, weight = np.zeros((2, (len(frames) + HOPS) * hop))
    for part in range(HOPS):  # frames of one part do not overlap
        own = frames[part::HOPS]
        place = slice(part * hop, part * hop + own.size)
        added[place] += own.reshape(-1)
        weight[place] += np.tile(np.square(window), len(own))
    return np.asarray(added / np.maximum(weight, 1e-3))
