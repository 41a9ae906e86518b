"""An encoder whose vectors are known beforehand, for tests of all that is behind it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from speakerdb import Encoder
from speakerdb.embedding import normalize
from speakerdb.encoder.bundle import Bundle
from speakerdb.encoder.parallel import in_order
from speakerdb.encoder.utterance import Utterance
from speakerdb.speech import Quality

DIMENSION = 192
QUALITY = Quality(3.0, 2.5, 30.0, 0.0, -3.0, 7000.0)


class KnownVoices(Encoder):
    """The shipped encoder's card with vectors that are known beforehand: sources are names of voices.

    It is not calibrated: recordings of one of its speakers are as far apart as those of two.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(replace(bundle, card=replace(bundle.card, calibration=None)))

    def probe(self, source, rate_hz=None, progress=None, keep_audio=False, other_voices=True) -> Utterance:
        vector = voice(source)
        return Utterance(source, hashlib.sha256(vector.tobytes()).hexdigest(), vector, QUALITY)

    enrollment = probe

    def enrollments(self, sources, rate_hz=None, keep_audio=False, least_speech_s=None, other_voices=True):
        return in_order(lambda source, go_on: self.probe(source), sources)


def voice(name: str) -> np.ndarray:
    """A unit vector that the name alone decides."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return normalize(np.random.default_rng(seed).normal(size=DIMENSION))
