"""One recording, heard: from a source to a unit vector, its quality and its hash, in one pass of bounded memory.

A recording of up to 20 s goes through the encoder whole. A longer one is cut into windows of 10 s; windows with too
little speech are left out, and the others' vectors are averaged with their seconds of speech as weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from speakerdb import settings
from speakerdb.audio import AudioStream, Samples, Source
from speakerdb.embedding import Vector, average
from speakerdb.encoder.runtime import Runtime
from speakerdb.errors import TooLittleSpeech
from speakerdb.speech import FRAME_SAMPLES, SAMPLE_RATE_HZ, Quality, SpeechMask, SpeechMeter

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
        for windows in _batches(_windows(meter, stream, progress)):
            vectors.extend(runtime.vectors([samples for samples, _ in windows]))
            weights.extend(speech_s for _, speech_s in windows)
        quality = meter.quality()
        if quality.net_speech_s < needed_s or not vectors:
            raise TooLittleSpeech(stream.name, quality.net_speech_s, needed_s, quality.duration_s, purpose)
        return Utterance(stream.name, stream.sha256, average(vectors, weights), quality)


def _windows(meter: SpeechMeter, stream: AudioStream, progress: Heard | None) -> Iterator[tuple[Samples, float]]:
    """The stretches to embed, each with its seconds of speech."""
    held: list[tuple[Samples, SpeechMask]] = []
    held_samples, cut = 0, False
    whole = round(settings.WHOLE_S * SAMPLE_RATE_HZ)
    for samples, speech in meter.listen(stream.blocks(SAMPLE_RATE_HZ)):
        held.append((samples, speech))
        held_samples += len(samples)
        if held_samples > whole:
            cut = True
            yield from _cut(*_join(held))
            held, held_samples = [], 0
        if progress:
            progress(stream.duration_s, stream.length_s)
    if held:
        samples, speech = _join(held)
        if cut:
            yield from _cut(samples, speech)
        elif speech.any():
            yield samples, float(speech.sum() * FRAME_S)


def _join(held: list[tuple[Samples, SpeechMask]]) -> tuple[Samples, SpeechMask]:
    return np.concatenate([s for s, _ in held]), np.concatenate([m for _, m in held])


def _cut(samples: Samples, speech: SpeechMask) -> Iterator[tuple[Samples, float]]:
    frames = round(settings.WINDOW_S / FRAME_S)
    for start in range(0, len(speech), frames):
        speech_s = float(speech[start : start + frames].sum() * FRAME_S)
        if speech_s >= settings.WINDOW_MIN_SPEECH_S:
            yield samples[start * FRAME_SAMPLES : (start + frames) * FRAME_SAMPLES], speech_s


def _batches(windows: Iterator[tuple[Samples, float]]) -> Iterator[list[tuple[Samples, float]]]:
    batch = []
    for window in windows:
        batch.append(window)
        if len(batch) == settings.BATCH_CLIPS:
            yield batch
            batch = []
    if batch:
        yield batch
