"""Where one voice gives way to another within a recording.

Windows of two seconds, one a second, have vectors; at every second the windows just before are held to those just
after. Where two voices are likelier than one, a voice changes. Four seconds on either side: a short interruption and a
conversation that goes to and fro are found as well as two recordings that were joined (docs/thresholds.md).

To cut the windows out and embed them takes longer than the recording itself. An encoder that gives windows beside its
vector (`Runtime.vector_and_windows`) is asked first: where those are clearly one voice's, nothing is cut. They have all
heard the whole recording, so that they tell two voices less well, and only a clear answer of theirs counts when a
recording is enrolled. Of one that is asked about they tell alone: what they overlook costs a warning, and nobody waits.
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


@dataclass(frozen=True, eq=False)
class Places:
    """Where a voice might change: seconds from the recording's start, and LLRs that it does not."""

    at_s: Numbers
    ratios: Numbers

    def changes_s(self) -> tuple[float, ...]:
        """Where it does: the likeliest of places near one another."""
        return tuple(
            round(float(at_s), 1)
            for place, (at_s, ratio) in enumerate(zip(self.at_s, self.ratios, strict=True))
            if ratio < settings.CHANGE_LLR and ratio <= self.ratios[max(0, place - APART) : place + APART + 1].min()
        )


class VoiceWatch:
    """Listens beside the encoder, block by block; `changes_s` at the recording's end.

    Args: cuts: whether windows are cut out where the encoder's own leave a doubt.
    """

    def __init__(self, runtime: Runtime, calibration: Calibration, cohort: Cohort | None, cuts: bool) -> None:
        self._runtime, self._calibration, self._cohort, self._cuts = runtime, calibration, cohort, cuts
        self._frame = runtime.card.rate_hz * FRAME_SAMPLES // SAMPLE_RATE_HZ
        self._samples, self._at = np.zeros(0, np.float32), 0  # what is left from the next window's start on
        self._speech = np.zeros(0, np.bool_)  # of the whole recording
        self._starts: list[int] = []  # of each window, in frames
        self._spoken: list[int] = []
        self._waiting: dict[int, Samples] = {}  # by the window's place among these
        self._vectors: dict[int, Vector] = {}
        self._own_starts: list[npt.NDArray[np.int64]] = []  # of the encoder's own windows, in frames
        self._own_vectors: list[Vectors] = []

    def listen(self, samples: Samples, speech: SpeechMask) -> None:
        """The recording's next block at the encoder's rate, with its speech."""
        self._speech = np.concatenate([self._speech, speech])
        if not self._cuts:
            return
        self._samples = np.concatenate([self._samples, samples])
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

    @property
    def glances(self) -> bool:
        """Whether the encoder's own windows tell anything: of a longer recording to enroll all others are cut out."""
        return not (self._cuts and len(self._speech) * FRAME_S > settings.WHOLE_S)

    def glance(self, start: int, windows: Vectors | None) -> None:
        """What the encoder gave beside the vector of a stretch that begins at this frame: `vector_and_windows`."""
        if windows is not None:
            steps = np.round(np.arange(len(windows)) * WINDOW_STEP_S / FRAME_S).astype(np.int64)
            self._own_starts.append(start + steps)
            self._own_vectors.append(windows)

    def changes_s(self) -> tuple[float, ...]:
        """Seconds from the recording's start at which another voice begins; empty where one speaks throughout."""
        found = self._at_a_glance()
        if self._cuts and (found is None or not (found.ratios >= settings.ONE_VOICE_LLR).all()):
            found = self._by_cutting()
        return found.changes_s() if found else ()

    def _by_cutting(self) -> Places | None:
        """By windows that heard themselves alone; None where the recording is too short for two."""
        windows = Windows(np.array(self._starts, np.int64), np.array(self._spoken, np.int64))
        before, after = windows.sides(WINDOW_FRAMES)
        if not after:  # and none was embedded in vain
            return None
        held = set().union(*before, *after)  # in 4 s of sound the middle one of three is on neither side
        self._embed([place for place in self._waiting if place in held])
        empty = np.zeros(self._runtime.card.dimension, np.float32)
        vectors = np.stack([self._vectors.get(place, empty) for place in range(len(self._starts))])
        return self._places(windows, vectors, before, after)

    def _at_a_glance(self) -> Places | None:
        """By the encoder's own windows; None where it gave none, or the recording is too short for two."""
        if not self._own_vectors:
            return None
        speech, length = self._speech, round(WINDOW_S / FRAME_S)
        starts = np.concatenate(self._own_starts)
        total = np.concatenate([[0], np.cumsum(speech)])
        spoken = total[np.minimum(starts + length, len(speech))] - total[starts]
        enough = spoken >= LEAST_SPEECH_FRAMES
        windows = Windows(starts[enough], spoken[enough])
        before, after = windows.sides(length)
        return self._places(windows, np.concatenate(self._own_vectors)[enough], before, after) if after else None

    def _places(self, windows: Windows, vectors: Vectors, before: list[range], after: list[range]) -> Places:
        """Between the windows of both sides."""
        (first, first_s), (second, second_s) = (_sides(windows, vectors, side) for side in (before, after))
        norms = [self._cohort.norms(side) if self._cohort else unnormalised(len(side)) for side in (first, second)]
        cosines = np.einsum("nd,nd->n", first.astype(np.float64), second.astype(np.float64))
        ratios = self._calibration.llr(normalised(cosines, *norms), Basis(first_s, second_s, 1))
        return Places(windows.starts[[side.start for side in after]].astype(np.float64) * FRAME_S, ratios)

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
