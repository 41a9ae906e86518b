"""Make crops sound as users' recordings do, in the log-mel domain, where it costs next to nothing.

Powers add where sounds add (the cross terms vanish on average), a room smears power over the following frames, and
a telephone leaves a band of bins. Everything takes and returns float32 [batch, frames, bins] of natural-log energies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speakerdb.features.filter_bank import LOG_FLOOR, FilterBank
from training.recipe_values import Count, Decibel, Positive, Share

Batch = npt.NDArray[np.float32]
DB_TO_NEPER = np.log(10.0) / 10.0


@dataclass(frozen=True)
class Augmentation:
    """How often each change is made to a crop, and how strong it may be (drawn uniformly)."""

    noise_share: Share = 0.4
    noise_snr_db: tuple[Decibel, Decibel] = (0.0, 20.0)
    babble_share: Share = 0.15
    babble_snr_db: tuple[Decibel, Decibel] = (8.0, 20.0)
    floor_share: Share = 0.3
    floor_below_peak_db: tuple[Decibel, Decibel] = (30.0, 60.0)
    room_share: Share = 0.3
    room_rt60_s: tuple[Positive, Positive] = (0.15, 0.7)
    telephone_share: Share = 0.1
    mask_share: Share = 0.5
    mask_bins: Count = 8
    mask_frames: Count = 12


def augment(batch: Batch, noise: Batch, how: Augmentation, rng: np.random.Generator) -> Batch:
    """Room, then noise, babble or a noise floor, then telephone band and masks, each on a random share of crops.

    Args: batch: crops; noise: as many crops of noise, same shape.
    """
    result = batch.copy()
    chosen = _draw(len(batch), how.room_share, rng)
    result[chosen] = reverberate(result[chosen], rng.uniform(*how.room_rt60_s, size=len(chosen)))
    chosen = _draw(len(batch), how.noise_share, rng)
    result[chosen] = add_noise(result[chosen], noise[chosen], rng.uniform(*how.noise_snr_db, size=len(chosen)))
    chosen = _draw(len(batch), how.babble_share, rng)
    others = np.roll(batch, 1, axis=0)[chosen]
    result[chosen] = add_noise(result[chosen], others, rng.uniform(*how.babble_snr_db, size=len(chosen)))
    chosen = _draw(len(batch), how.floor_share, rng)
    below = rng.uniform(*how.floor_below_peak_db, size=len(chosen)) * DB_TO_NEPER
    level = result[chosen].max(axis=(1, 2)) - below
    jitter = rng.gumbel(scale=1.0, size=result[chosen].shape).astype(np.float32)  # ln of noise power varies so
    result[chosen] = np.logaddexp(result[chosen], level[:, None, None].astype(np.float32) - jitter)
    chosen = _draw(len(batch), how.telephone_share, rng)
    result[chosen] = telephone(result[chosen])
    for row in _draw(len(batch), how.mask_share, rng):
        _mask(result[row], how, rng)
    return result


def add_noise(speech: Batch, noise: Batch, snr_db: npt.NDArray[np.float64]) -> Batch:
    """Add noise at the given signal-to-noise ratios, powers averaged over the crop and summed over bins."""

    def power(crops: Batch) -> npt.NDArray[np.float32]:
        return np.log(np.exp(crops).sum(axis=2).mean(axis=1) + LOG_FLOOR)

    gain = power(speech) - power(noise) - (snr_db * DB_TO_NEPER).astype(np.float32)
    return np.logaddexp(speech, noise + gain[:, None, None])


def reverberate(crops: Batch, rt60_s: npt.NDArray[np.float64], frame_s: float = 0.01, taps: int = 30) -> Batch:
    """Smear power over the next `taps` frames with the exponential decay of a room of that RT60 (−60 dB)."""
    decay = np.exp(-60.0 * DB_TO_NEPER * frame_s / rt60_s)[:, None, None].astype(np.float32)
    power = np.exp(crops)
    total, factor = power.copy(), 0.5 * decay  # the direct sound is 3 dB above the first reflections
    for tap in range(1, taps + 1):
        total[:, tap:] += factor * power[:, :-tap]
        factor = factor * decay
    return np.log(total + LOG_FLOOR)


def telephone(crops: Batch, low_hz: float = 300.0, high_hz: float = 3400.0, depth_db: float = 45.0) -> Batch:
    """Attenuate the bins outside a telephone's band."""
    bank = FilterBank()
    mels = np.linspace(*(1127.0 * np.log1p(np.array([bank.low_hz, bank.high_hz]) / 700.0)), bank.bins + 2)[1:-1]
    centres_hz = 700.0 * np.expm1(mels / 1127.0)
    outside = (centres_hz < low_hz) | (centres_hz > high_hz)
    return crops - (outside * depth_db * DB_TO_NEPER).astype(np.float32)


def _draw(count: int, share: float, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    return np.flatnonzero(rng.random(count) < share)


def _mask(crop: npt.NDArray[np.float32], how: Augmentation, rng: np.random.Generator) -> None:
    mean = crop.mean()
    width = rng.integers(1, how.mask_bins + 1)
    start = rng.integers(0, crop.shape[1] - width + 1)
    crop[:, start : start + width] = mean
    width = rng.integers(1, how.mask_frames + 1)
    start = rng.integers(0, max(1, len(crop) - width + 1))
    crop[start : start + width] = mean
