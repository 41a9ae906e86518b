"""Where one voice gives way to another within a recording.

Windows of two seconds, one a second, have vectors; at every second the windows just before are held to those just
after. Where two voices are likelier than one, a voice changes. Four seconds on either side: a short interruption and a
conversation that goes to and fro are found as well as two recordings that were joined (docs/thresholds.md).

To cut the windows out and embed them takes longer than the recording itself. An encoder that gives windows beside its
vector (`Runtime.vector_and_windows`) is asked first: where those are clearly one voice's, nothing is cut. They have all
heard the whole recording, so that they tell two voices less well, and only a clear answer of theirs counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from speakerdb import settings
from speakerdb.audio import Samples
from speakerdb.calibration import Basis, Calibration, Cohort, normalised, unnormalised
from speakerdb.embedding import Vector, Vectors, normalize
from speakerdb.encoder.runtime import WINDOW_S, WINDOW_STEP_S, Runtime
from speakerdb.speech import SpeechMask
from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ

Numbers: TypeAlias = npt.NDArray[np.float64]
"""float64 [places]."""

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
WINDOW_FRAMES, STEP_FRAMES = 64, 32
"""Two seconds and one, in frames of 32 ms, of windows that are cut out."""
LEAST_SPEECH_FRAMES = 25
"""Of a window that is held to others."""
APART = 2
"""Windows around a change that tell of the same one."""
SIDE_WINDOWS = 3
"""On either side: they overlap by half, so that they hold four seconds."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Those with speech enough, in order: where each begins, in frames, and its frames of speech; int64 [windows]."""

    starts: npt.NDArray[np.int64]
    spoken: npt.NDArray[np.int64]

    def sides(self, length: int) -> tuple[list[range], list[range]]:
        """Windows just before, and from, each window that begins where others of `length` frames have ended."""
        before, after = [], []
        for first in range(1, len(self.starts)):
            end = int(np.searchsorted(self.starts, self.starts[first] - length, side="right"))
            if end:
                before.append(range(max(0, end - SIDE_WINDOWS), end))
                after.append(range(first, min(first + SIDE_WINDOWS, len(self.starts))))
        return before, after


class VoiceWatch:
    """Listens beside the encoder, block by block; `changes_s` at the recording's end."""

    def __init__(self, runtime: Runtime, calibration: Calibration, cohort: Cohort | None) -> None:
        self._runtime, self._calibration, self._cohort = runtime, calibration, cohort
        self._frame = runtime.card.rate_hz * FRAME_SAMPLES // SAMPLE_RATE_HZ
        self._samples, self._at = np.zeros(0, np.float32), 0  # what is left from the next window's start on
        self._speech = np.zeros(0, np.bool_)  # of the whole recording
        self._starts: list[int] = []  # of each window, in frames
        self._spoken: list[int] = []
        self._waiting: dict[int, Samples] = {}  # by the window's place among these
        self._vectors: dict[int, Vector] = {}
        self._within: Vectors | None = None

    def listen(self, samples: Samples, speech: SpeechMask) -> None:
        """The recording's next block at the encoder's rate, with its speech."""
        self._samples = np.concatenate([self._samples, samples])
        self._speech = np.concatenate([self._speech, speech])
        while len(self._speech) - self._at >= WINDOW_FRAMES:
            spoken = int(self._speech[self._at : self._at + WINDOW_FRAMES].sum())
            if spoken >= LEAST_SPEECH_FRAMES:
                self._waiting[len(self._starts)] = self._samples[: WINDOW_FRAMES * self._frame]
                self._starts.append(self._at)
                self._spoken.append(spoken)
            self._samples = self._samples[STEP_FRAMES * self._frame :]
            self._at += STEP_FRAMES
        if self._at * FRAME_S > settings.WHOLE_S:  # a recording of hours is not held until its end
            self._embed(list(self._waiting))

    def glance(self, windows: Vectors | None) -> None:
        """What the encoder gave beside the vector of a whole recording: `Runtime.vector_and_windows`."""
        self._within = windows

    def changes_s(self) -> tuple[float, ...]:
        """Seconds from the recording's start at which another voice begins; empty where one speaks throughout."""
        if self._clearly_one():
            return ()
        windows = Windows(np.array(self._starts, np.int64), np.array(self._spoken, np.int64))
        before, after = windows.sides(WINDOW_FRAMES)
        if not after:  # too short for two windows, and none was embedded in vain
            return ()
        held = set().union(*before, *after)  # in 4 s of sound the middle one of three is on neither side
        self._embed([place for place in self._waiting if place in held])
        empty = np.zeros(self._runtime.card.dimension, np.float32)
        vectors = np.stack([self._vectors.get(place, empty) for place in range(len(self._starts))])
        ratios = self._ratios(windows, vectors, before, after)
        return tuple(
            round(float(windows.starts[side.start] * FRAME_S), 1)
            for place, side in enumerate(after)
            if ratios[place] < settings.CHANGE_LLR
            and ratios[place] <= ratios[max(0, place - APART) : place + APART + 1].min()
        )

    def _clearly_one(self) -> bool:
        """Whether the encoder's own windows leave no doubt that one voice speaks."""
        if self._within is None:
            return False
        speech, length = self._speech, round(WINDOW_S / FRAME_S)
        starts = np.round(np.arange(len(self._within)) * WINDOW_STEP_S / FRAME_S).astype(np.int64)
        total = np.concatenate([[0], np.cumsum(speech)])
        spoken = total[np.minimum(starts + length, len(speech))] - total[starts]
        enough = spoken >= LEAST_SPEECH_FRAMES
        windows = Windows(starts[enough], spoken[enough])
        before, after = windows.sides(length)
        if not after:
            return False
        ratios = self._ratios(windows, self._within[enough], before, after)
        return bool((ratios >= settings.ONE_VOICE_LLR).all())

    def _ratios(self, windows: Windows, vectors: Vectors, before: list[range], after: list[range]) -> Numbers:
        """LLRs that the windows of both sides are one voice's."""
        (first, first_s), (second, second_s) = (_sides(windows, vectors, side) for side in (before, after))
        norms = [self._cohort.norms(side) if self._cohort else unnormalised(len(side)) for side in (first, second)]
        cosines = np.einsum("nd,nd->n", first.astype(np.float64), second.astype(np.float64))
        return self._calibration.llr(normalised(cosines, *norms), Basis(first_s, second_s, 1))

    def _embed(self, places: list[int]) -> None:
        """Windows that wait."""
        if places:
            vectors = self._runtime.vectors([self._waiting.pop(place) for place in places])
            self._vectors.update(zip(places, vectors, strict=True))


def _sides(windows: Windows, vectors: Vectors, sides: list[range]) -> tuple[Vectors, Numbers]:
    """Averages of windows by their speech, and the seconds of speech in them, half of which is in two of them."""
    first, end = np.array([side.start for side in sides]), np.array([side.stop for side in sides])
    spoken = np.concatenate([[0], np.cumsum(windows.spoken)])
    weighted = np.cumsum(vectors.astype(np.float64) * windows.spoken[:, None], axis=0)
    weighted = np.concatenate([np.zeros((1, vectors.shape[1])), weighted])
    count = end - first
    seconds = (spoken[end] - spoken[first]) * FRAME_S / count * (1 + count) / 2
    return normalize(weighted[end] - weighted[first]), seconds
