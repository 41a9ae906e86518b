"""What befalls a crop: a room, noise, a filter, a telephone, a codec, clipping, another level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr

from training.rooms.channels import by_codec, by_telephone, filtered
from training.rooms.impulse_responses import BEFORE_DIRECT, RATE_HZ, Floats
from training.rooms.sounds import Sounds
from training.speech.mixtures import coloured, convolved, hum, looped, tones

LEVEL_DB, LEVEL_ALONE_DB = (-35.0, 10.0), (-20.0, 6.0)
"""Gains, the second where nothing else befalls a crop."""
KINDS = {"recorded": 0.5, "coloured": 0.15, "machines": 0.07, "voice": 0.14, "voices": 0.14}
"""Of noise, and their shares."""
LEAST_SNR_DB = {"recorded": 0.0, "coloured": 0.0, "machines": 0.0, "voice": 8.0, "voices": 3.0}
MOST_SNR_DB = 25.0
VOICES = (3, 6)
"""At a time, where there are several."""
CHANGED_SPEED_SHARE, NOISE_SPEED = 0.6, (0.7, 1.4)
"""Of recorded noise: there are few of each kind."""
CLIPPED_ABOVE = (0.9, 0.995)
"""Quantiles of the samples' absolute values."""
LEAST_PEAK = 1e-6
"""Added to where a sound is clipped, for silent ones."""
SILENT = 1e-7
"""Root mean square that a silent sound is taken to have."""


@dataclass(frozen=True)
class Shares:
    """How many of the crops befalls what.

    Attributes: filtered, room, noise, level: each by itself. telephone, codec, clipping: at most one of these.
    """

    filtered: float
    room: float
    noise: float
    telephone: float
    codec: float
    clipping: float
    level: float


class Worsening:
    """Draws what befalls crops."""

    def __init__(self, sounds: Sounds, shares: Shares) -> None:
        self._sounds, self._shares = sounds, shares

    def worsened(self, samples: Floats, rng: np.random.Generator) -> Floats:
        """A crop, and what was said before it, after all that befalls it: float64 [samples], in the same place."""
        shares = self._shares
        if rng.random() < shares.filtered:
            samples = filtered(samples, rng)
        if rng.random() < shares.room:
            samples = in_room(samples, self._sounds.rooms[int(rng.integers(len(self._sounds.rooms)))])
        if rng.random() < shares.noise:
            samples = self._with_noise(samples, rng)
        channel = rng.random()
        if channel < shares.telephone:
            samples = by_telephone(samples, rng)
        elif channel < shares.telephone + shares.codec:
            samples = by_codec(samples, rng)
        elif channel < shares.telephone + shares.codec + shares.clipping:
            samples = _clipped(samples, rng)
        return samples * gain(LEVEL_DB, rng) if rng.random() < shares.level else samples

    def _with_noise(self, samples: Floats, rng: np.random.Generator) -> Floats:
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        noise = self._noise(kind, len(samples), rng)
        snr_db = rng.uniform(LEAST_SNR_DB[kind], MOST_SNR_DB)
        return np.asarray(samples + noise * _level(samples) / _level(noise) / 10.0 ** (snr_db / 20.0))

    def _noise(self, kind: str, size: int, rng: np.random.Generator) -> Floats:
        if kind == "recorded":
            noise = self._sounds.noises[int(rng.integers(len(self._sounds.noises)))]
            if rng.random() < CHANGED_SPEED_SHARE:
                noise = soxr.resample(noise, RATE_HZ * rng.uniform(*NOISE_SPEED), RATE_HZ, quality="QQ")
            return np.asarray(looped(noise, size, rng))
        if kind == "coloured":
            return coloured(size, rng)
        if kind == "machines":
            return hum(size, rng) if rng.random() < 0.5 else tones(size, rng)
        number = 1 if kind == "voice" else int(rng.integers(VOICES[0], VOICES[1] + 1))
        clips = self._sounds.clips
        voices = [looped(clips[int(rng.integers(len(clips)))], size, rng) for _ in range(number)]
        return np.asarray(np.sum([voice / _level(voice) for voice in voices], axis=0))


def in_room(samples: Floats, echoes: Floats) -> Floats:
    """Heard in a room, as loud as before; the direct sound stays where it was."""
    heard = convolved(np.pad(samples, (0, BEFORE_DIRECT)), echoes)[BEFORE_DIRECT:]
    return np.asarray(heard * _level(samples) / _level(heard))


def gain(range_db: tuple[float, float], rng: np.random.Generator) -> float:
    """A factor, its decibels drawn evenly."""
    return float(10.0 ** (rng.uniform(*range_db) / 20.0))


def _clipped(samples: Floats, rng: np.random.Generator) -> Floats:
    most = np.quantile(np.abs(samples), rng.uniform(*CLIPPED_ABOVE)) + LEAST_PEAK
    return np.clip(samples, -most, most)


def _level(samples: Floats) -> float:
    return float(np.sqrt(np.square(samples).mean() + SILENT**2))
