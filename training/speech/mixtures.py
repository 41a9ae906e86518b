"""Recordings to learn from: clips and pauses in a row, in a room, with noise, hum, tones or music under them, and some
of them by telephone or cut steeply."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from training.rooms.channels import by_telephone, within
from training.speech.teacher import Clip

FRAMES = 256
"""Of a mixture, 8.2 s."""

SNR_DB = (-3.0, 25.0)
NOISE_SHARE, CLEAN_SHARE = 0.3, 0.2
"""Mixtures in which nobody speaks, and those with nothing but a faint floor under the speech."""
SHORT_SHARE, SHORT_FRAMES, BETWEEN_FRAMES = 0.2, 40, (24, 64)
"""Mixtures of recordings of a second, with nothing at all between them, which is what lies around a recording: a
fifth of those in which somebody speaks, and of the others."""
ROOM_SHARE, RT60_S = 0.3, (0.1, 0.6)
SPEED = (0.7, 1.4)
"""Of recorded noise: there are few of each kind."""
TELEPHONE_SHARE, BAND_SHARE = 0.08, 0.12
"""Of all mixtures, whether anybody speaks in them or not, at most one of these."""
LOWEST_HZ, HIGHEST_HZ = (100.0, 450.0), (2500.0, 7500.0)
"""Between which a band is cut steeply, half of them on the lower side alone."""
LEVEL_DBFS = (-45.0, -12.0)
"""Of the speech, or of the noise where nobody speaks."""


Laid = tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], npt.NDArray[np.bool_]]
"""Samples [FRAMES · 512], speech [FRAMES], and the frames that were recorded."""


@dataclass
class Mixtures:
    """Draws recordings of `FRAMES` frames and the probability of speech in each frame."""

    clips: list[Clip]
    noises: list[Samples]
    rng: np.random.Generator

    @functools.cached_property
    def _shorts(self) -> list[Clip]:
        return [clip for clip in self.clips if len(clip[1]) <= SHORT_FRAMES] or self.clips

    def draw(self) -> tuple[Samples, npt.NDArray[np.float32]]:
        """Samples [FRAMES · 512] and speech [FRAMES]."""
        size = FRAMES * FRAME_SAMPLES
        short = self.rng.random() < SHORT_SHARE
        spoken, speech, recorded = self._short() if short else self._spoken()
        if self.rng.random() < NOISE_SHARE:
            found, speech = self._background(size), np.zeros(FRAMES, np.float32)
        else:
            found = _room(spoken, self.rng) if self.rng.random() < ROOM_SHARE else spoken
            if self.rng.random() > CLEAN_SHARE:
                voice = _power(found[np.repeat(speech > 0.5, FRAME_SAMPLES)])
                noise = self._background(size)
                snr_db = self.rng.uniform(*SNR_DB)
                found = found + noise * np.sqrt(voice / (_power(noise) * 10.0 ** (snr_db / 10.0)))
        found = _through_a_channel(found, self.rng)
        level = 10.0 ** (self.rng.uniform(*LEVEL_DBFS) / 10.0)
        found = found * np.sqrt(level / _power(found))
        floor = 10.0 ** (self.rng.uniform(-100.0, -60.0) / 20.0)
        found = found + floor * _faint(self.rng)
        found = np.where(np.repeat(recorded, FRAME_SAMPLES), np.clip(found, -1.0, 1.0), 0.0)
        return found.astype(np.float32), speech

    def _spoken(self) -> Laid:
        """Clips and pauses in one recording."""
        samples, speech, filled = np.zeros(FRAMES * FRAME_SAMPLES), np.zeros(FRAMES, np.float32), 0
        while filled < FRAMES:
            filled += int(self.rng.integers(0, 40)) if self.rng.random() < 0.6 else 0
            filled += self._lay(self.clips[self.rng.integers(len(self.clips))], filled, samples, speech)
        return samples, speech, np.ones(FRAMES, np.bool_)

    def _short(self) -> Laid:
        """Short clips, each a recording."""
        samples, speech, filled = np.zeros(FRAMES * FRAME_SAMPLES), np.zeros(FRAMES, np.float32), 0
        recorded = np.zeros(FRAMES, np.bool_)
        while filled < FRAMES:
            begun = filled
            filled += self._lay(self._shorts[self.rng.integers(len(self._shorts))], filled, samples, speech)
            recorded[begun:filled] = True
            filled += int(self.rng.integers(*BETWEEN_FRAMES))
        return samples, speech, recorded

    def _lay(self, clip: Clip, at: int, samples: npt.NDArray[np.float64], speech: npt.NDArray[np.float32]) -> int:
        """A clip, or a part of it from anywhere, from a frame on; returns its frames."""
        heard, found = clip
        start = int(self.rng.integers(0, max(1, len(found) - FRAMES)))
        count = max(0, min(len(found) - start, FRAMES - at))
        part = heard[start * FRAME_SAMPLES : (start + count) * FRAME_SAMPLES]
        gain = 10.0 ** (self.rng.uniform(-6.0, 6.0) / 20.0) / (np.abs(part).max(initial=0.0) + 1e-6)
        samples[at * FRAME_SAMPLES : (at + count) * FRAME_SAMPLES] = part * gain
        speech[at : at + count] = found[start : start + count]
        return count

    def _background(self, size: int) -> npt.NDArray[np.float64]:
        """Recorded noise in most cases, else something that machines and instruments make."""
        kind = self.rng.random()
        if kind < 0.6:
            noise = self.noises[self.rng.integers(len(self.noises))]
            noise = soxr.resample(noise, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * self.rng.uniform(*SPEED), quality="QQ")
            return looped(noise, size, self.rng).astype(np.float64) + 1e-7 * _faint(self.rng)
        if kind < 0.75:
            return coloured(size, self.rng)
        if kind < 0.85:
            return hum(size, self.rng)
        return tones(size, self.rng)


def coloured(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise whose power falls as f^−a, a between 0 and 2, swelling and falling at times."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum /= np.maximum(np.arange(len(spectrum)), 30.0) ** (rng.uniform(0.0, 2.0) / 2.0)
    found = np.fft.irfft(spectrum, size)
    if rng.random() < 0.3:
        found = found * (1.1 + np.sin(2 * np.pi * rng.uniform(0.2, 6.0) * _seconds(size)))
    return found


def hum(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Mains and motors: harmonics of one steady tone."""
    base = rng.choice([50.0, 60.0, 100.0, 120.0, rng.uniform(40.0, 300.0)])
    orders = np.arange(1, rng.integers(2, 20))
    weights = rng.uniform(0.0, 1.0, len(orders)) / orders ** rng.uniform(0.3, 1.5)
    phases = rng.uniform(0.0, 2 * np.pi, len(orders))
    return _harmonics(weights * np.exp(1j * phases), base, size) + 1e-3 * rng.standard_normal(size)


def tones(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Beeps and tunes: notes of some harmonics that begin at once and fade, one to four at a time."""
    found = 1e-3 * rng.standard_normal(size)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, SAMPLE_RATE_HZ // 2))
        fade_s, base = rng.choice([0.05, 0.3, 1.0, 5.0]), rng.uniform(80.0, 1500.0)
        orders = np.arange(1, rng.integers(2, 10))
        weights = rng.uniform(0.2, 1.0, len(orders)) / orders ** rng.uniform(0.5, 2.0)
        while at < size:
            length = min(size - at, int(rng.uniform(0.08, 1.2) * SAMPLE_RATE_HZ))
            seconds = _seconds(length)
            pitch = base * 2.0 ** (rng.integers(-12, 13) / 12.0)
            wave = _harmonics(weights, pitch, length)
            found[at : at + length] += wave * np.exp(-seconds / fade_s) * np.minimum(1.0, seconds / 0.005)
            at += length + int(rng.choice([0.0, rng.uniform(0.0, 0.8)]) * SAMPLE_RATE_HZ)
    return np.asarray(found)


def _harmonics(weights: npt.NDArray[Any], hz: float, size: int) -> npt.NDArray[np.float64]:
    """Sines at `hz` and its multiples, a complex weight each: one exponential, of which the others are powers."""
    turn = np.exp(2j * np.pi * hz * _seconds(size))
    found = np.zeros(size, np.complex128)
    for weight in weights[::-1]:
        found += weight
        found *= turn
    return found.imag


def _room(samples: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The sound and its echoes: white noise that decays by 60 dB in RT60, 3 to 10 dB under the direct sound."""
    rt60_s = rng.uniform(*RT60_S)
    length = int(rt60_s * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail *= 10.0 ** (-rng.uniform(3.0, 10.0) / 20.0) / np.sqrt(np.square(tail).sum())
    tail[0] += 1.0
    return convolved(samples, tail)


def _through_a_channel(samples: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise goes through what the voice goes through: who hears a band alone must not take it for a voice."""
    channel = rng.random()
    if channel < TELEPHONE_SHARE:
        return by_telephone(samples, rng)
    if channel < TELEPHONE_SHARE + BAND_SHARE:
        highest_hz = rng.uniform(*HIGHEST_HZ) if rng.random() < 0.5 else SAMPLE_RATE_HZ / 2.0
        return within(samples, rng.uniform(*LOWEST_HZ), highest_hz)
    return samples


def convolved(samples: npt.NDArray[Any], echoes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Samples heard through an impulse response, as long as they were."""
    size = 1 << (len(samples) + len(echoes) - 1).bit_length()
    return np.asarray(np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echoes, size), size)[: len(samples)])


def looped(sound: npt.NDArray[Any], size: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """So many samples of a sound from anywhere in it, again and again."""
    return np.resize(np.roll(sound, -int(rng.integers(0, len(sound)))), size)


def _faint(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """White noise of power 1, as long as a mixture, cut from one that is drawn once: it is but a floor, and drawing it
    took a fifth of the time."""
    at = int(rng.integers(FRAMES * FRAME_SAMPLES))
    return _white()[at : at + FRAMES * FRAME_SAMPLES]


@functools.cache
def _white() -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal(2 * FRAMES * FRAME_SAMPLES)


def _power(samples: npt.NDArray[np.float64]) -> float:
    return float(np.square(samples).mean()) + 1e-12 if len(samples) else 1e-4


def _seconds(size: int) -> npt.NDArray[np.float64]:
    return np.arange(size) / SAMPLE_RATE_HZ
