"""Samples → where somebody speaks, and how good the recording is.

`speech_detector` gives a probability of speech for each frame of 32 ms at 16 kHz, which hysteresis turns into speech
and not speech. All of it streams: eight bytes a frame are kept, and blocks give exactly what one long call gives.

    meter = SpeechMeter()
    for block, speech in meter.listen(stream.blocks(SAMPLE_RATE_HZ)):
        ...                      # speech: bool [frames of the block]
    meter.quality().net_speech_s
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from speakerdb.speech_detector import FRAME_SAMPLES, MODEL, SAMPLE_RATE_HZ, Samples, SpeechDetector, power

SpeechMask: TypeAlias = npt.NDArray[np.bool_]
"""bool [frames]: whether somebody speaks in each frame of `FRAME_SAMPLES`; the last may be cut short."""

# Chosen on dev (docs/LOG.md): 84 % of the words have 0.3 s of speech, 98 % of the sentences a second; of noises that
# the detector has learnt 6 % have 0.3 s and 0.6 % a second, of others 22 and 9 %.
ON, OFF = 0.6, 0.35  # so far apart that a voice that wavers is one segment
MIN_SILENCE_FRAMES = 4  # a gap shorter than 128 ms is a stop consonant, not silence
MIN_SPEECH_FRAMES = 4  # 128 ms
PAD_FRAMES = 1  # on both sides
LOOKAHEAD_FRAMES = MIN_SPEECH_FRAMES - 1 + MIN_SILENCE_FRAMES - 1 + PAD_FRAMES  # that may change yet

MIN_NOISE_FRAMES = 8  # with less than a quarter of a second between the words a noise level is a guess
NOISE_FLOOR = 1e-10  # power, −100 dBFS: 16-bit audio's own; digital silence between the words counts as this
LEAST_VOICE = 0.01  # of the noise's power: speech no louder than what is between the words reads −20 dB
CLIPPED = 0.999  # of full scale; converters and decoders rarely reach 1.0 exactly
BANDWIDTH_DROP_DB = 50.0  # tells telephone (3.7 to 3.9 kHz for 90 % of clips) from wide band (4.8 to 7.8)

_HANN = np.hanning(FRAME_SAMPLES).astype(np.float32)

LOW_SNR_DB, HIGH_SNR_DB = 8.0, 18.0  # below, and from which on, a recording is of low and of high quality
LOW_CLIPPING, HIGH_CLIPPING = 1e-2, 1e-3
LOW_BANDWIDTH_HZ, HIGH_BANDWIDTH_HZ = 3000.0, 5000.0  # a telephone's 3.8 kHz lies between


@dataclass(frozen=True)
class Segment:
    """A stretch of speech, in seconds from the recording's start."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Quality:
    """What can be said of a recording without knowing who speaks.

    Attributes:
        duration_s: its length.
        net_speech_s: seconds of speech, 0 to `duration_s`.
        snr_db: mean power of speech less the noise's, over the median power between the words, −20 to 100;
            None without speech or with less than 0.25 s of anything else. Steady noise is meant: the median
            passes over a door that slams.
        clipping: share of samples at or above 0.999 of full scale, 0 to 1. Clipping that was turned down
            afterwards is not seen.
        peak_dbfs: the largest magnitude in dB, 0 for full scale; None for digital silence.
        bandwidth_hz: the highest frequency at which the mean spectrum of speech is within 50 dB of its
            strongest, 0 to 8000; about 3,800 for a telephone; None without speech.
    """

    duration_s: float
    net_speech_s: float
    snr_db: float | None
    clipping: float
    peak_dbfs: float | None
    bandwidth_hz: float | None

    @property
    def grade(self) -> str:
        """`high`, `fair` or `low`: by the worst of noise, clipping and bandwidth; what is not known is not held."""
        snr_db = math.inf if self.snr_db is None else self.snr_db
        bandwidth_hz = math.inf if self.bandwidth_hz is None else self.bandwidth_hz
        if snr_db < LOW_SNR_DB or self.clipping > LOW_CLIPPING or bandwidth_hz < LOW_BANDWIDTH_HZ:
            return "low"
        if snr_db < HIGH_SNR_DB or self.clipping > HIGH_CLIPPING or bandwidth_hz < HIGH_BANDWIDTH_HZ:
            return "fair"
        return "high"

    def to_json(self) -> dict[str, float | None]:
        """The attributes, rounded to what they are good for."""
        digits = {"duration_s": 3, "net_speech_s": 3, "clipping": 6, "bandwidth_hz": 0}
        return {
            name: None if value is None else round(value, digits.get(name, 1)) for name, value in asdict(self).items()
        }


def speech_frames(probabilities: npt.NDArray[np.float32]) -> SpeechMask:
    """Hysteresis: on at `ON`, off below `OFF`, gaps filled, blips dropped, the rest padded.

    Args:
        probabilities: float32 [frames] from a recording's start.
    Returns: bool [frames]; should the recording go on, the last `LOOKAHEAD_FRAMES` of them may change.
    """
    clear = (probabilities >= ON) | (probabilities < OFF)
    last_clear = np.maximum.accumulate(np.where(clear, np.arange(len(clear)), -1))
    speech = (last_clear >= 0) & (probabilities[last_clear] >= ON)
    runs = _runs(speech)
    for gap_start, gap_end in zip(runs[:-1, 1], runs[1:, 0], strict=True):
        speech[gap_start:gap_end] = gap_end - gap_start < MIN_SILENCE_FRAMES
    for start, end in _runs(speech):
        speech[start:end] = end - start >= MIN_SPEECH_FRAMES
    for start, end in _runs(speech):
        speech[max(0, start - PAD_FRAMES) : end + PAD_FRAMES] = True
    return speech


class SpeechMeter:
    """Listens to one recording and sums up its quality.

    `segments` and `quality` are of the whole recording, once `listen` has ended.

    Raises: StorageError where the model's file is missing or not the one that speakerdb ships.
    """

    def __init__(self, model: Path = MODEL) -> None:
        self._detector = SpeechDetector(model)
        self._probabilities = np.zeros(0, np.float32)
        self._speech = np.zeros(0, np.bool_)  # of the whole recording, once it has ended
        self._powers = np.zeros(0, np.float32)  # [frames], without the frame's mean: an offset is no noise
        self._spectrum = np.zeros(FRAME_SAMPLES // 2 + 1)
        self._samples = self._clipped = self._frames_given = 0
        self._peak = 0.0

    def listen(self, blocks: Iterable[Samples]) -> Iterator[tuple[Samples, SpeechMask]]:
        """Each block with its speech, handed out one block later: once nothing can change it.

        Args:
            blocks: float32 [samples] each, a recording at 16 kHz in order, all but the last a multiple of 512
                long; a second or longer, since the hysteresis looks over the whole recording for each.
        Returns: the same blocks in order, each with bool [⌈samples / 512⌉].
        """
        waiting: deque[Samples] = deque()
        for block in blocks:
            self._hear(block)
            waiting.append(block)
            final = len(self._probabilities) - LOOKAHEAD_FRAMES
            if self._frames_given + _frame_count(waiting[0]) > final:
                continue
            speech = speech_frames(self._probabilities)
            while waiting and self._frames_given + _frame_count(waiting[0]) <= final:
                yield self._give(waiting.popleft(), speech)
        self._probabilities = np.concatenate([self._probabilities, self._detector.finish()])
        self._speech = speech_frames(self._probabilities)
        while waiting:
            yield self._give(waiting.popleft(), self._speech)

    def segments(self) -> list[Segment]:
        """The speech, in order."""
        step_s, end_s = FRAME_SAMPLES / SAMPLE_RATE_HZ, self._samples / SAMPLE_RATE_HZ
        runs = _runs(self._speech)
        return [Segment(start * step_s, min(end * step_s, end_s)) for start, end in runs.tolist()]

    def quality(self) -> Quality:
        """All that can be said of the recording."""
        return Quality(
            duration_s=self._samples / SAMPLE_RATE_HZ,
            net_speech_s=float(sum(segment.end_s - segment.start_s for segment in self.segments())),
            snr_db=_snr_db(self._powers, self._speech),
            clipping=self._clipped / max(1, self._samples),
            peak_dbfs=float(20 * np.log10(self._peak)) if self._peak else None,
            bandwidth_hz=_bandwidth_hz(self._spectrum),
        )

    def _hear(self, block: Samples) -> None:
        self._probabilities = np.concatenate([self._probabilities, self._detector.detect(block)])
        self._powers = np.concatenate([self._powers, _frames(block).var(axis=1)])
        self._samples += len(block)
        peak = max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
        self._peak = max(self._peak, peak)
        if peak >= CLIPPED:
            self._clipped += int(np.count_nonzero(np.abs(block) >= CLIPPED))

    def _give(self, block: Samples, speech: SpeechMask) -> tuple[Samples, SpeechMask]:
        mask = speech[self._frames_given : self._frames_given + _frame_count(block)]
        self._frames_given += len(mask)
        spoken = _frames(block)[mask] * _HANN
        self._spectrum += power(np.fft.rfft(spoken)).sum(axis=0, dtype=np.float64)
        return block, mask


def _frame_count(block: Samples) -> int:
    return -(-len(block) // FRAME_SAMPLES)


def _frames(block: Samples) -> npt.NDArray[np.float32]:
    """float32 [frames, 512], the last filled up with zeros."""
    missing = np.zeros(-len(block) % FRAME_SAMPLES, np.float32)
    return (np.concatenate([block, missing]) if len(missing) else block).reshape(-1, FRAME_SAMPLES)


def _runs(mask: SpeechMask) -> npt.NDArray[np.int64]:
    """int64 [runs, 2]: first frame and the one after the last of each run of True."""
    framed = np.zeros(len(mask) + 2, np.bool_)
    framed[1:-1] = mask
    return np.flatnonzero(framed[1:] != framed[:-1]).reshape(-1, 2)


def _snr_db(powers: npt.NDArray[np.float32], speech: SpeechMask) -> float | None:
    if not speech.any() or np.count_nonzero(~speech) < MIN_NOISE_FRAMES:
        return None
    noise = max(float(np.median(powers[~speech])), NOISE_FLOOR)
    voice = max(float(powers[speech].mean(dtype=np.float64)) - noise, LEAST_VOICE * noise)
    return float(10 * np.log10(voice / noise))


def _bandwidth_hz(spectrum: npt.NDArray[np.float64]) -> float | None:
    smooth = np.convolve(spectrum, np.ones(5) / 5, mode="same")  # 156 Hz: a lone tone is no band
    smooth[:3] = 0.0  # below 80 Hz is hum
    if not smooth.max() > 0.0:
        return None
    within = np.flatnonzero(smooth >= smooth.max() * 10 ** (-BANDWIDTH_DROP_DB / 10))
    return float(within[-1] * SAMPLE_RATE_HZ / FRAME_SAMPLES)
