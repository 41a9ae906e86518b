"""What recordings pass through besides air: microphones, telephones and codecs. Each keeps their length and place.

What libsndfile encodes and decodes again comes out as it went in, to the sample: it takes MP3's and Opus' own delay off
(measured with libsndfile 1.2.2 on noise, at 8 and 16 kHz).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile
import soxr

from training.rooms.impulse_responses import RATE_HZ, Floats

CURVE_HZ = (30.0, 120.0, 300.0, 800.0, 2000.0, 4500.0, 8000.0)
"""Where a filter's gains are drawn, straight lines between them over the logarithm of the frequency."""
CURVE_DB = 4.0
"""Standard deviation of a gain."""
HIGH_PASS_SHARE, HIGH_PASS_HZ = 0.3, (80.0, 400.0)
LOW_PASS_SHARE, LOW_PASS_HZ = 0.3, (3000.0, 7500.0)
BAND_SHARE, BAND_FROM_HZ, BAND_TO_HZ = 0.5, (150.0, 350.0), (3200.0, 3800.0)
"""Of the telephones: those that let nothing else through."""
TELEPHONE_HZ = 8000
TELEPHONES = {"GSM610": 0.5, "ULAW": 0.25, "ALAW": 0.25}
"""Subtypes of WAV, and their shares."""
CODECS = (("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS"))
NARROW_SHARE = 0.3
"""Of the codecs: those at 8 kHz."""
COMPRESSION = (0.5, 0.999)
"""libsndfile's scale of 0 to 1; above 0.9999 it refuses to set it for MP3."""
PEAK = 0.7
"""What is encoded is brought to it, and back afterwards."""
SILENT = 1e-9
"""Added to a peak, so that silence can be divided by its own."""


def filtered(samples: Floats, rng: np.random.Generator) -> Floats:
    """Through a smooth curve of gains, at times without its lowest or highest part; without delay."""
    hz = np.fft.rfftfreq(len(samples), 1.0 / RATE_HZ)
    curve_db = rng.normal(0.0, CURVE_DB, len(CURVE_HZ))
    gains = 10.0 ** (np.interp(np.log(np.maximum(hz, CURVE_HZ[0])), np.log(CURVE_HZ), curve_db) / 20.0)
    if rng.random() < HIGH_PASS_SHARE:
        gains /= np.sqrt(1.0 + (rng.uniform(*HIGH_PASS_HZ) / np.maximum(hz, 1.0)) ** 4)
    if rng.random() < LOW_PASS_SHARE:
        gains /= np.sqrt(1.0 + (hz / rng.uniform(*LOW_PASS_HZ)) ** 8)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples) * gains, len(samples)))


def within(samples: Floats, from_hz: float, to_hz: float) -> Floats:
    """What lies between two frequencies, cut as steeply as can be; without delay."""
    hz = np.fft.rfftfreq(len(samples), 1.0 / RATE_HZ)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples) * ((hz > from_hz) & (hz < to_hz)), len(samples)))


def by_telephone(samples: Floats, rng: np.random.Generator) -> Floats:
    """GSM 06.10, µ-law or A-law at 8 kHz, half of them without what lies outside a telephone's band."""
    if rng.random() < BAND_SHARE:
        samples = within(samples, rng.uniform(*BAND_FROM_HZ), rng.uniform(*BAND_TO_HZ))
    subtype = str(rng.choice(list(TELEPHONES), p=list(TELEPHONES.values())))
    return encoded(samples, TELEPHONE_HZ, format="WAV", subtype=subtype)


def by_codec(samples: Floats, rng: np.random.Generator) -> Floats:
    """MP3 or Opus, three in ten of them at 8 kHz, in the stronger half of libsndfile's scale of compression."""
    rate_hz = TELEPHONE_HZ if rng.random() < NARROW_SHARE else RATE_HZ
    container, subtype = CODECS[int(rng.integers(len(CODECS)))]
    how = rng.uniform(*COMPRESSION)
    return encoded(samples, rate_hz, format=container, subtype=subtype, compression_level=how)


def encoded(samples: Floats, rate_hz: int, **how: Any) -> Floats:
    """Encoded at a rate and decoded again, as long and as loud as before.

    Args: how: soundfile's format, subtype and compression_level.
    """
    narrow = samples if rate_hz == RATE_HZ else soxr.resample(samples, RATE_HZ, rate_hz)
    scale = PEAK / (np.abs(narrow).max() + SILENT)
    file = io.BytesIO()
    soundfile.write(file, narrow * scale, rate_hz, **how)
    file.seek(0)
    heard = soundfile.read(file, dtype="float64")[0] / scale
    wide = heard if rate_hz == RATE_HZ else soxr.resample(heard, rate_hz, RATE_HZ)
    found = np.zeros(len(samples))
    found[: len(wide)] = wide[: len(samples)]
    return found
