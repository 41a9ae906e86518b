"""A recording's sound as a gallery keeps it where its user asks for that: mono, at its own rate, compressed.

FLAC of 24 bits holds what was 16 or 24 bits exactly, and all else to −140 dB. Samples beyond full scale, which FLAC
cannot hold, are kept as float WAV.
"""

from __future__ import annotations

import io

import numpy as np

from speakerdb import settings
from speakerdb.audio import Samples
from speakerdb.errors import InputError, printable

FULL_SCALE = 1 << 23

KEPT_BEGIN = b"fLaC", b"RIFF"
"""How the files begin: what another program put in an archive is not given to decoders that a gallery never needs."""

FLAC_RATE_HZ = 65_535
"""Rates up to here are any whole number in FLAC, and multiples of ten above."""


class KeptAudio:
    """Takes a recording's pieces as they are decoded, and packs them at the end.

    Args: name: of the recording, for the error. rate_hz: of the pieces.
    """

    def __init__(self, name: str, rate_hz: int) -> None:
        self._name, self._rate_hz = name, rate_hz
        self._pieces: list[Samples] = []
        self._samples = 0

    def add(self, piece: Samples) -> None:
        """The next samples. Raises: InputError once they are more than is ever kept of a recording."""
        self._samples += len(piece)
        if self._samples > settings.MAX_KEPT_S * self._rate_hz:
            raise InputError(
                f"{printable(self._name)}: longer than {settings.MAX_KEPT_S:g} s, the most that is kept; "
                "enroll a shorter part of it, or without --keep-audio"
            )
        self._pieces.append(piece)

    def packed(self) -> bytes:
        """All samples as one file, which `speakerdb.audio` reads."""
        import soundfile

        samples = np.concatenate([np.zeros(0, np.float32), *self._pieces])
        scaled = np.round(samples.astype(np.float64) * FULL_SCALE)
        file = io.BytesIO()
        loud = np.any(scaled > FULL_SCALE - 1) or np.any(scaled < -FULL_SCALE)
        if loud or (self._rate_hz > FLAC_RATE_HZ and self._rate_hz % 10):  # which FLAC cannot hold
            soundfile.write(file, samples, self._rate_hz, format="WAV", subtype="FLOAT")
        else:  # shifted by hand: libsndfile would scale floats by one less, and 16 bits would not stay what they are
            soundfile.write(file, scaled.astype(np.int32) << 8, self._rate_hz, format="FLAC", subtype="PCM_24")
        return file.getvalue()
