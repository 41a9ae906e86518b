"""Where one voice gives way to another within a recording.

Windows of two seconds, one a second, are embedded; at every second the windows just before are held to those just
after. Where two voices are likelier than one, a voice changes. Four seconds on either side: a short interruption and a
conversation that goes to and fro are found as well as two recordings that were joined (docs/thresholds.md).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from speakerdb import settings
from speakerdb.audio import Samples
from speakerdb.calibration import Basis, Calibration, Cohort, normalised, unnormalised
from speakerdb.embedding import Vector, Vectors, average
from speakerdb.encoder.runtime import Runtime
from speakerdb.speech import SpeechMask
from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ

Numbers: TypeAlias = npt.NDArray[np.float64]
"""float64 [places]."""

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
WINDOW_FRAMES, STEP_FRAMES = 64, 32
"""Two seconds and one, in frames of 32 ms."""
LEAST_SPEECH_FRAMES = 25
"""Of a window that is held to others."""
APART = 2
"""Windows around a change that tell of the same one."""
SIDE_WINDOWS = 3
"""On either side: they overlap by half, so that they hold four seconds."""


class VoiceWatch:
    """Listens beside the encoder, block by block; `changes_s` at the recording's end."""

    def __init__(self, runtime: Runtime, calibration: Calibration, cohort: Cohort | None) -> None:
        self._runtime, self._calibration, self._cohort = runtime, calibration, cohort
        self._frame = runtime.card.rate_hz * FRAME_SAMPLES // SAMPLE_RATE_HZ
        self._samples, self._speech = np.zeros(0, np.float32), np.zeros(0, np.bool_)
        self._at = 0
        self._starts: list[int] = []  # of each window, in frames
        self._spoken: list[int] = []
        self._waiting: dict[int, Samples] = {}  # by the window's place among these
        self._vectors: dict[int, Vector] = {}

    def listen(self, samples: Samples, speech: SpeechMask) -> None:
        """The recording's next block at the encoder's rate, with its speech."""
        self._samples = np.concatenate([self._samples, samples])
        self._speech = np.concatenate([self._speech, speech])
        while len(self._speech) >= WINDOW_FRAMES:
            spoken = int(self._speech[:WINDOW_FRAMES].sum())
            if spoken >= LEAST_SPEECH_FRAMES:
                self._waiting[len(self._starts)] = self._samples[: WINDOW_FRAMES * self._frame]
                self._starts.append(self._at)
                self._spoken.append(spoken)
                if len(self._waiting) == settings.BATCH_CLIPS:
                    self._embed(list(self._waiting))
            self._samples = self._samples[STEP_FRAMES * self._frame :]
            self._speech = self._speech[STEP_FRAMES:]
            self._at += STEP_FRAMES

    def changes_s(self) -> tuple[float, ...]:
        """Seconds from the recording's start at which another voice begins; empty where one speaks throughout."""
        starts, before, after = np.array(self._starts, np.int64), [], []
        for first in range(1, len(starts)):
            end = int(np.searchsorted(starts, starts[first] - WINDOW_FRAMES, side="right"))
            if end:
                before.append(range(max(0, end - SIDE_WINDOWS), end))
                after.append(range(first, min(first + SIDE_WINDOWS, len(starts))))
        if not after:  # too short for two windows, and none was embedded in vain
            return ()
        held = set().union(*before, *after)  # in 4 s of sound the middle one of three is on neither side
        self._embed([place for place in self._waiting if place in held])
        ratios = self._ratios(before, after)
        return tuple(
            round(float(starts[side.start] * FRAME_S), 1)
            for place, side in enumerate(after)
            if ratios[place] < settings.CHANGE_LLR
            and ratios[place] <= ratios[max(0, place - APART) : place + APART + 1].min()
        )

    def _ratios(self, before: list[range], after: list[range]) -> Numbers:
        (first, first_s), (second, second_s) = self._sides(before), self._sides(after)
        norms = [self._cohort.norms(side) if self._cohort else unnormalised(len(side)) for side in (first, second)]
        cosines = np.einsum("nd,nd->n", first.astype(np.float64), second.astype(np.float64))
        return self._calibration.llr(normalised(cosines, *norms), Basis(first_s, second_s, 1))

    def _sides(self, sides: list[range]) -> tuple[Vectors, Numbers]:
        """Averages of windows, and the seconds of speech in them, half of which is in two of them."""
        spoken = [np.array([self._spoken[place] for place in side]) * FRAME_S for side in sides]
        vectors = [np.stack([self._vectors[place] for place in side]) for side in sides]
        averages = np.stack([average(some, weights) for some, weights in zip(vectors, spoken, strict=True)])
        return averages, np.array([own.mean() * (1 + len(own)) / 2 for own in spoken])

    def _embed(self, places: list[int]) -> None:
        """Windows that wait."""
        vectors = self._runtime.vectors([self._waiting.pop(place) for place in places])
        self._vectors.update(zip(places, vectors, strict=True))
