"""One recording, heard: from a source to a unit vector, its quality and its hash, in one pass of bounded memory.

A recording of up to 20 s goes through the encoder whole. A longer one is cut into windows of 10 s; windows with too
little speech are left out, and the others' vectors are averaged with their seconds of speech as weights. Where every
window has too little, the one with the most stands for the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from speakerdb import settings
from speakerdb.audio import AudioStream, Samples, Source
from speakerdb.embedding import Vector, average
from speakerdb.encoder.runtime import Runtime
from speakerdb.errors import TooLittleSpeech
from speakerdb.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Quality, SpeechMask, SpeechMeter

Window: TypeAlias = tuple[Samples, float]
"""A stretch to embed and its seconds of speech."""

Heard = Callable[[float, float | None], None]
"""Called with the seconds of audio done and, where the header tells, the seconds in all."""

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Utterance:
    """What is kept of a recording.

    Attributes:
        name: the source's. sha256: of its decoded samples.
        vector: float32 [dimension], unit length.
        quality: net speech, SNR, clipping, bandwidth.
    """

    name: str
    sha256: str
    vector: Vector
    quality: Quality


def hear(
    runtime: Runtime,
    source: Source,
    needed_s: float,
    purpose: str,
    source_rate_hz: int | None = None,
    progress: Heard | None = None,
) -> Utterance:
    """Decode, find the speech, embed.

    Args:
        needed_s: least net speech, in seconds. purpose: what for, in the error's words (`enroll`).
        source_rate_hz: the rate of an array.
    Raises: AudioUnreadable; TooLittleSpeech with the seconds found and needed.
    """
    meter = SpeechMeter()
    vectors: list[Vector] = []
    weights: list[float] = []
    with AudioStream(source, source_rate_hz) as stream:
        for windows in _batches(_spoken(_windows(meter, stream, progress))):
            vectors.extend(runtime.vectors([samples for samples, _ in windows]))
            weights.extend(speech_s for _, speech_s in windows)
        quality = meter.quality()
        if quality.net_speech_s < needed_s or not vectors:
            raise TooLittleSpeech(stream.name, quality.net_speech_s, needed_s, quality.duration_s, purpose)
        return Utterance(stream.name, stream.sha256, average(vectors, weights), quality)


def _windows(meter: SpeechMeter, stream: AudioStream, progress: Heard | None) -> Iterator[Window]:
    """The recording whole, or in windows that are the same ones whatever the size of the stream's blocks."""
    whole, step = round(settings.WHOLE_S * SAMPLE_RATE_HZ), round(settings.WINDOW_S / FRAME_S)
    samples, speech, cut = np.zeros(0, np.float32), np.zeros(0, np.bool_), False
    for block, mask in meter.listen(stream.blocks(SAMPLE_RATE_HZ)):
        samples, speech = np.concatenate([samples, block]), np.concatenate([speech, mask])
        cut = cut or len(samples) > whole
        while cut and len(speech) >= step:
            yield samples[: step * FRAME_SAMPLES], _seconds(speech[:step])
            samples, speech = samples[step * FRAME_SAMPLES :], speech[step:]
        if progress:
            progress(stream.duration_s, stream.length_s)
    yield samples, _seconds(speech)


def _spoken(windows: Iterator[Window]) -> Iterator[Window]:
    """The windows with enough speech; the one with the most where none has, and none where nobody speaks."""
    fullest, found = (np.zeros(0, np.float32), 0.0), False
    for samples, speech_s in windows:
        if speech_s >= settings.WINDOW_MIN_SPEECH_S:
            found = True
            yield samples, speech_s
        elif speech_s > fullest[1]:
            fullest = samples, speech_s
    if not found and fullest[1] > 0.0:
        yield fullest


def _seconds(speech: SpeechMask) -> float:
    return float(speech.sum() * FRAME_S)


def _batches(windows: Iterator[Window]) -> Iterator[list[Window]]:
    batch = []
    for window in windows:
        batch.append(window)
        if len(batch) == settings.BATCH_CLIPS:
            yield batch
            batch = []
    if batch:
        yield batch
