"""Where one voice gives way to another within a recording.

Windows of two seconds, one a second, are embedded; at every second the windows just before are held to those just
after. Where two voices are likelier than one, a voice changes. Four seconds on either side: a short interruption and a
conversation that goes to and fro are found as well as two recordings that were joined (docs/thresholds.md).
"""

from __future__ import annotations

import numpy as np

from speakerdb import settings
from speakerdb.audio import Samples
from speakerdb.calibration import Basis, Calibration, Cohort, normalised, unnormalised
from speakerdb.embedding import Vector, Vectors, average
from speakerdb.encoder.runtime import Runtime
from speakerdb.speech import SpeechMask
from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ

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
        self._waiting: list[Samples] = []
        self._vectors: list[Vector] = []
        self._starts: list[int] = []
        self._spoken: list[int] = []

    def listen(self, samples: Samples, speech: SpeechMask) -> None:
        """The recording's next block at the encoder's rate, with its speech."""
        self._samples = np.concatenate([self._samples, samples])
        self._speech = np.concatenate([self._speech, speech])
        while len(self._speech) >= WINDOW_FRAMES:
            spoken = int(self._speech[:WINDOW_FRAMES].sum())
            if spoken >= LEAST_SPEECH_FRAMES:
                self._waiting.append(self._samples[: WINDOW_FRAMES * self._frame])
                self._starts.append(self._at)
                self._spoken.append(spoken)
                if len(self._waiting) == settings.BATCH_CLIPS:
                    self._embed(np.ones(len(self._waiting), np.bool_))
            self._samples = self._samples[STEP_FRAMES * self._frame :]
            self._speech = self._speech[STEP_FRAMES:]
            self._at += STEP_FRAMES

    def changes_s(self) -> tuple[float, ...]:
        """Seconds from the recording's start at which another voice begins; empty where one speaks throughout."""
        starts, sides = np.array(self._starts, np.int64), []
        for after in range(1, len(starts)):
            before = np.searchsorted(starts, starts[after] - WINDOW_FRAMES, side="right")
            if before:
                sides.append((after, slice(max(0, before - SIDE_WINDOWS), before), slice(after, after + SIDE_WINDOWS)))
        if not sides:  # too short for two windows, and none was embedded in vain
            return ()
        held = np.zeros(len(starts), np.bool_)  # in 4 s of sound the middle one of three is on neither side
        for _, before_it, after_it in sides:
            held[before_it] = held[after_it] = True
        self._embed(held[len(self._vectors) :])
        ratios = self._ratios([side[1] for side in sides], [side[2] for side in sides])
        return tuple(
            round(float(starts[after] * FRAME_S), 1)
            for place, (after, _, _) in enumerate(sides)
            if ratios[place] < settings.CHANGE_LLR
            and ratios[place] <= ratios[max(0, place - APART) : place + APART + 1].min()
        )

    def _ratios(self, before: list[slice], after: list[slice]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        vectors, spoken = np.stack(self._vectors), np.array(self._spoken) * FRAME_S
        (first, first_s), (second, second_s) = (_side(vectors, spoken, parts) for parts in (before, after))
        norms = [self._cohort.norms(side) if self._cohort else unnormalised(len(side)) for side in (first, second)]
        cosines = np.einsum("nd,nd->n", first.astype(np.float64), second.astype(np.float64))
        return self._calibration.llr(normalised(cosines, *norms), Basis(first_s, second_s, 1))

    def _embed(self, wanted: SpeechMask) -> None:
        """The windows that wait; zeros for those that are not wanted."""
        vectors = np.zeros((len(self._waiting), self._runtime.card.dimension), np.float32)
        chosen = np.flatnonzero(wanted)
        vectors[chosen] = self._runtime.vectors([self._waiting[place] for place in chosen])
        self._vectors.extend(vectors)
        self._waiting = []


def _side(
    vectors: Vectors, spoken: np.ndarray[tuple[int], np.dtype[np.float64]], parts: list[slice]
) -> tuple[Vectors, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Averages of windows, and the seconds of speech in them, half of which is in two of them."""
    averages = np.stack([average(vectors[part], spoken[part]) for part in parts])
    seconds = np.array([spoken[part].mean() * (1 + len(spoken[part])) / 2 for part in parts])
    return averages, seconds
