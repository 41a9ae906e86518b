"""How rooms sound: simulated impulse responses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.audio import Samples

RATE_HZ = 16_000
SIZE_M = ((2.5, 2.5, 2.2), (10.0, 8.0, 4.0))
"""The smallest room and the largest."""
RT60_S = (0.2, 1.0)
DISTANCE_M = (0.3, 5.0)
"""From the mouth to the microphone."""
FROM_WALLS_M = 0.4
REFLECTIONS = 14
"""Order up to which images are followed; the rest of a room's echoes is noise that decays as they do."""
BEFORE_DIRECT = 16
"""Samples of the fractional delay's filter before its peak."""

Floats = npt.NDArray[np.float64]


def impulse_response(rng: np.random.Generator) -> Samples:
    """Of a shoebox of any size and RT60, cut before its strongest sound, which is ±1: float32 [samples].

    Images up to an order (Allen and Berkley, 1979), and from where they thin out on noise that decays by 60 dB in RT60.
    """
    import pyroomacoustics

    while True:
        size, rt60_s = rng.uniform(*SIZE_M), rng.uniform(*RT60_S)
        try:
            absorption, order = pyroomacoustics.inverse_sabine(rt60_s, size)
        except ValueError:  # so large a room is never so dry
            continue
        source, microphone = (rng.uniform(FROM_WALLS_M, size - FROM_WALLS_M) for _ in range(2))
        if not DISTANCE_M[0] < np.linalg.norm(source - microphone) < DISTANCE_M[1]:
            continue
        room = pyroomacoustics.ShoeBox(
            size,
            fs=RATE_HZ,
            materials=pyroomacoustics.Material(absorption),
            max_order=min(order, REFLECTIONS),
            air_absorption=True,
        )
        room.add_source(source)
        room.add_microphone(microphone)
        room.compute_rir()
        images: npt.NDArray[Any] = np.asarray(room.rir[0][0], np.float64)
        images = images[max(0, int(np.abs(images).argmax()) - BEFORE_DIRECT) :]
        echoes = _with_tail(images, round(rt60_s * RATE_HZ), rng)
        found: Samples = (echoes / np.abs(echoes).max()).astype(np.float32)
        return found


def _with_tail(images: Floats, length: int, rng: np.random.Generator) -> Floats:
    """Images, and noise of the level that they end at, faded in over 25 ms."""
    fade, end = RATE_HZ // 40, len(images) - RATE_HZ // 20
    if end <= fade or len(images) >= length:
        return images
    level = np.sqrt(np.square(images[end - fade : end]).mean())
    times = np.arange(length - end)
    tail = level * rng.standard_normal(len(times)) * 10.0 ** (-3.0 * times / length)
    rising = np.clip(times / fade, 0.0, 1.0)
    whole = np.concatenate([images, np.zeros(length - len(images))])
    whole[end:] = whole[end:] * (1.0 - rising) + tail * rising
    return whole
