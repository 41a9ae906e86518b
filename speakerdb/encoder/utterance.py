"""One recording, heard: from a source to a unit vector, its quality and its hash, in one pass of bounded memory.

A recording of up to 20 s goes through the encoder whole. A longer one is cut into windows of 10 s; windows with too
little speech are left out, and the others' vectors are averaged with their seconds of speech as weights. Where every
window has too little, the one with the most stands for the recording.

Speech is looked for at 16 kHz, whatever the encoder's rate: windows are cut at the same seconds for every encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from speakerdb import settings
from speakerdb.audio import AudioStream, Samples, Source
from speakerdb.embedding import Vector, average
from speakerdb.encoder.change_of_voice import FRAME_S, VoiceWatch
from speakerdb.encoder.runtime import Runtime
from speakerdb.errors import EncoderDamaged, TooLittleSpeech, printable
from speakerdb.kept_audio import KeptAudio
from speakerdb.speech import Quality, SpeechMask, SpeechMeter
from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ

Heard = Callable[[float, float | None], None]
"""Called with the seconds of audio done and, where the header tells, the seconds in all."""


class Window(NamedTuple):
    """A stretch to embed, its seconds of speech, and the frame of the recording that it begins at."""

    samples: Samples
    speech_s: float
    start: int


@dataclass(frozen=True, eq=False)
class Utterance:
    """What is kept of a recording.

    Attributes:
        name: the source's. sha256: of its decoded samples.
        vector: float32 [dimension], unit length.
        quality: net speech, SNR, clipping, bandwidth.
        warnings: a line each; empty where the file is whole and the encoder was made for such recordings.
        changes_s: seconds at which another voice begins, where that was looked for.
        two_sounds: whether its two channels carry different sounds, of which the average was heard.
        audio: the sound itself as `KeptAudio` packs it, where that was asked for.
        heard_by: whose vector it is, as `Card.vectors_of` says; empty where a caller made it.
    """

    name: str
    sha256: str
    vector: Vector
    quality: Quality
    warnings: list[str] = field(default_factory=list)
    changes_s: tuple[float, ...] = ()
    two_sounds: bool = False
    audio: bytes | None = field(default=None, repr=False)
    heard_by: str = ""


def hear(
    runtime: Runtime,
    source: Source,
    needed_s: float,
    purpose: str,
    source_rate_hz: int | None = None,
    progress: Heard | None = None,
    keep_audio: bool = False,
    watch: VoiceWatch | None = None,
) -> Utterance:
    """Decode, find the speech, embed.

    Args:
        needed_s: least net speech, in seconds. purpose: what for, in the error's words (`enroll`).
        source_rate_hz: the rate of an array.
        keep_audio: whether the sound itself is wanted, too. watch: looks for changes of the voice.
    Raises: AudioUnreadable; TooLittleSpeech with the seconds found and needed; InputError for a recording that is
        longer than is kept.
    """
    meter = SpeechMeter()
    vectors: list[Vector] = []
    weights: list[float] = []
    with AudioStream(source, source_rate_hz) as stream:
        kept = KeptAudio(stream.name, stream.source_rate_hz) if keep_audio else None
        stream.listener = kept.add if kept else None
        for windows in _batches(_spoken(_windows(meter, stream, runtime.card.rate_hz, progress, watch))):
            try:
                vectors.extend(_vectors(runtime, windows, watch))
            except EncoderDamaged as error:
                error.add(f"at {printable(stream.name, 200)}", source=stream.name)
                raise
            weights.extend(window.speech_s for window in windows)
        quality = meter.quality()
        if quality.net_speech_s < needed_s or not vectors:
            too_little = TooLittleSpeech(stream.name, quality.net_speech_s, needed_s, quality.duration_s, purpose)
            for line in stream.warnings:
                too_little.add(line)
            raise too_little
        lines = [*stream.warnings, *runtime.card.warnings(stream.source_rate_hz)]
        warnings = [f"{printable(stream.name, 200)}: {line}" for line in lines]
        audio = kept.packed() if kept else None
        changes_s = watch.changes_s() if watch else ()
        vector, encoder = average(vectors, weights) if len(vectors) > 1 else vectors[0], runtime.card.vectors_of
        both = stream.two_sounds
        return Utterance(stream.name, stream.sha256, vector, quality, warnings, changes_s, both, audio, encoder)


def _vectors(runtime: Runtime, windows: list[Window], watch: VoiceWatch | None) -> Iterable[Vector]:
    """A vector each; the watch sees what else the encoder gives."""
    if watch is None or not watch.glances:
        return runtime.vectors([window.samples for window in windows])
    vectors = []
    for window in windows:
        vector, within = runtime.vector_and_windows(window.samples)
        watch.glance(window.start, within)
        vectors.append(vector)
    return vectors


def _windows(
    meter: SpeechMeter, stream: AudioStream, rate_hz: int, progress: Heard | None, watch: VoiceWatch | None
) -> Iterator[Window]:
    """The recording whole, or in windows that are the same ones whatever the size of the stream's blocks."""
    whole, step = round(settings.WHOLE_S * rate_hz), round(settings.WINDOW_S / FRAME_S)
    frame = rate_hz * FRAME_SAMPLES // SAMPLE_RATE_HZ
    samples, speech, start, cut = np.zeros(0, np.float32), np.zeros(0, np.bool_), 0, False
    for block, mask in _heard(meter, stream, rate_hz):
        samples, speech = np.concatenate([samples, block]), np.concatenate([speech, mask])
        cut = cut or len(samples) > whole
        if watch:
            watch.listen(block, mask)
        while cut and len(speech) >= step:
            yield Window(samples[: step * frame], _seconds(speech[:step]), start)
            samples, speech, start = samples[step * frame :], speech[step:], start + step
        if progress:
            progress(stream.duration_s, stream.length_s)
    yield Window(samples, _seconds(speech), start)


def _heard(meter: SpeechMeter, stream: AudioStream, rate_hz: int) -> Iterator[tuple[Samples, SpeechMask]]:
    """Blocks at the encoder's rate with the speech in each of their frames of 32 ms.

    At another rate than speech detection's, the samples wait until their speech is known: some minutes of them.
    """
    if rate_hz == SAMPLE_RATE_HZ:
        yield from meter.listen(stream.blocks(rate_hz))
        return
    waiting = [np.zeros(0, np.float32)]
    frame = rate_hz * FRAME_SAMPLES // SAMPLE_RATE_HZ
    for _, mask in meter.listen(_whole_frames(_at_speech_rate(stream, rate_hz, waiting))):
        size = len(mask) * frame
        block, waiting[0] = waiting[0][:size], waiting[0][size:]
        yield block, mask
    yield waiting[0], np.zeros(0, np.bool_)  # part of a frame, where resampling rounds the recording's end down


def _at_speech_rate(stream: AudioStream, rate_hz: int, waiting: list[Samples]) -> Iterator[Samples]:
    """The stream at 16 kHz; its blocks at the encoder's rate are appended to `waiting[0]` as they come."""
    import soxr

    resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
    for block in stream.blocks(rate_hz):
        waiting[0] = np.concatenate([waiting[0], block])
        yield resampler.resample_chunk(block)
    if len(waiting[0]):
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _whole_frames(pieces: Iterator[Samples]) -> Iterator[Samples]:
    """The same samples in blocks of whole frames, all but the last."""
    held = np.zeros(0, np.float32)
    for piece in pieces:
        held = np.concatenate([held, piece])
        whole = len(held) // FRAME_SAMPLES * FRAME_SAMPLES
        if whole:
            yield held[:whole]
        held = held[whole:]
    if len(held):
        yield held


def _spoken(windows: Iterator[Window]) -> Iterator[Window]:
    """The windows with enough speech; the one with the most where none has, and none where nobody speaks."""
    fullest, found = Window(np.zeros(0, np.float32), 0.0, 0), False
    for window in windows:
        if window.speech_s >= settings.WINDOW_MIN_SPEECH_S:
            found = True
            yield window
        elif window.speech_s > fullest.speech_s:
            fullest = window
    if not found and fullest.speech_s > 0.0:
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
