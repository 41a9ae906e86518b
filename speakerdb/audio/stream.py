"""Any source of sound → float32 mono samples at the encoder's rate, in blocks of bounded size.

A source is a path, bytes, a binary file object, or an array with its rate, or one channel of these. libsndfile reads
WAV, FLAC, MP3, Ogg (Vorbis and Opus) and AIFF; PyAV, where installed, M4A, AAC, AMR, WebM and WMA. Channels are
averaged where none is chosen. A two-hour file is never in memory at once: `AudioStream.blocks` hands it out a minute at
a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from speakerdb.audio.channels import Channels
from speakerdb.audio.decoders import Samples
from speakerdb.audio.sources import Channel, Source, name_of, open_decoder
from speakerdb.errors import AudioUnreadable

RATE_RANGE_HZ = (4_000, 384_000)
"""Below, no voice is left; above, no recorder exists: a damaged header."""

LOUDEST = float(1 << 31)
"""Integers of up to 32 bits that were made floats without scaling can be heard; beyond is no sound."""

LEAST_MISSING_S = 0.1
"""Less is a slip of who wrote the header."""

BLOCK_S = 60


@dataclass(frozen=True)
class Recording:
    """A whole recording in memory.

    Attributes:
        name: the path, a file object's own name, or `<bytes>`, `<array>`.
        samples: float32 [samples], mono, at `rate_hz`.
        rate_hz: what was asked for.
        source_rate_hz: what the source has.
        sha256: hex digest of the decoded mono samples at the source's rate; the same sound in WAV and FLAC
            has the same one.
    """

    name: str
    samples: Samples
    rate_hz: int
    source_rate_hz: int
    sha256: str


def read(source: Source, rate_hz: int, source_rate_hz: int | None = None) -> Recording:
    """Decode a whole source; for short recordings, since all of it is held in memory."""
    with AudioStream(source, source_rate_hz) as stream:
        blocks = list(stream.blocks(rate_hz))
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        return Recording(stream.name, samples, rate_hz, stream.source_rate_hz, stream.sha256)


class AudioStream:
    """A source opened for reading once, block by block.

    Args:
        source: path, bytes, binary file object, or array [samples] or [samples, channels] (floats −1 to 1, or
            integers of full scale); or a `Channel` of one of these.
        source_rate_hz: the rate of an array; must be left out for all else, which know theirs.
    Attributes: listener: is handed every piece as it was decoded: mono, at the source's own rate.
    Raises: AudioUnreadable with one line that names the source and says what is wrong.
    """

    listener: Callable[[Samples], None] | None = None

    def __init__(self, source: Source, source_rate_hz: int | None = None) -> None:
        self.name = name_of(source)
        self._hash = hashlib.sha256()
        self._frames_read = 0
        self._channel: int | None = None
        if isinstance(source, Channel):
            self._channel, source = source.number, source.sound
        self._decoder = open_decoder(source, self.name, source_rate_hz)
        self.source_rate_hz = self._decoder.rate_hz
        self._channels = Channels(self.source_rate_hz)
        low, high = RATE_RANGE_HZ
        if not low <= self.source_rate_hz <= high:
            self._decoder.close()
            raise AudioUnreadable(
                self.name, f"a sample rate of {self.source_rate_hz} Hz; {low} to {high} Hz can be used"
            )
        self._hash.update(f"{self.source_rate_hz}:".encode())

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self._decoder.close()

    @property
    def sha256(self) -> str:
        """Digest of what was decoded so far; of the recording once all blocks were taken."""
        return self._hash.hexdigest()

    @property
    def duration_s(self) -> float:
        """Seconds decoded so far."""
        return self._frames_read / self.source_rate_hz

    @property
    def length_s(self) -> float | None:
        """Seconds in all as far as the header knows; for progress alone, since a cut file's header is wrong."""
        frames = self._decoder.frames
        return None if frames is None else frames / self.source_rate_hz

    @property
    def warnings(self) -> list[str]:
        """Why less may be heard than was recorded, a line each, once all blocks were taken."""
        lines = []
        missing_s = self._decoder.missing_s
        if missing_s >= LEAST_MISSING_S:
            what = (
                "its last page is not whole"
                if math.isinf(missing_s)
                else f"its header announces {missing_s:.1f} s more"
            )
            lines.append(f"cut short: {what}; copy or record it again")
        return [*lines, *self._channels.warnings]

    @property
    def two_sounds(self) -> bool:
        """Whether two channels were averaged that carry different sounds, once all blocks were taken."""
        return self._channels.different

    def blocks(self, rate_hz: int, block_s: float = BLOCK_S) -> Iterator[Samples]:
        """The recording as float32 blocks at `rate_hz`, each `block_s` long but the last.

        Raises: AudioUnreadable for samples that are NaN, infinite or beyond `LOUDEST`, and for damage found while
            decoding.
        """
        size = round(block_s * rate_hz)
        pending: list[Samples] = []
        held = 0
        for piece in self._resampled(rate_hz):
            pending.append(piece)
            held += len(piece)
            if held >= size:
                joined = np.concatenate(pending)
                whole = len(joined) // size * size
                yield from np.split(joined[:whole], whole // size)
                pending, held = [joined[whole:]], len(joined) - whole
        if held:
            yield np.concatenate(pending)

    def _resampled(self, rate_hz: int) -> Iterator[Samples]:
        if rate_hz == self.source_rate_hz:
            yield from self._mono()
            return
        import soxr

        resampler = soxr.ResampleStream(self.source_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")
        for piece in self._mono():
            yield resampler.resample_chunk(piece)
        if self._frames_read:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _mono(self) -> Iterator[Samples]:
        for frames in self._decoder.read():
            mono = self._heard_of(frames)
            if len(mono) and not max(mono.max(), -mono.min()) <= LOUDEST:  # NaN is no number's maximum
                raise self._no_sound(mono)
            if self._channel is None and frames.ndim == 2 and frames.shape[1] > 1:
                self._channels.listen(frames, mono)
            self._frames_read += len(mono)
            self._hash.update(np.ascontiguousarray(mono, "<f4").data)
            if self.listener:
                self.listener(mono)
            yield mono

    def _heard_of(self, frames: Samples) -> Samples:
        """The channel that is asked for, or the average of all. Raises: AudioUnreadable where there is no such one."""
        if self._channel is not None:
            channels = frames[:, None] if frames.ndim == 1 else frames
            if self._channel > channels.shape[1]:
                many = "1 channel" if channels.shape[1] == 1 else f"{channels.shape[1]} channels"
                raise AudioUnreadable(self.name, f"the recording has {many}, and none of number {self._channel}")
            return np.ascontiguousarray(channels[:, self._channel - 1])
        with np.errstate(over="ignore", invalid="ignore"):  # what they make is refused by the caller
            return frames if frames.ndim == 1 else frames.mean(axis=1, dtype=np.float32)

    def _no_sound(self, mono: Samples) -> AudioUnreadable:
        """What to say of samples of which one is no number, or beyond all."""
        first = int(np.flatnonzero(~(np.abs(mono) <= LOUDEST))[0])
        at_s = (self._frames_read + first) / self.source_rate_hz
        return AudioUnreadable(self.name, f"the sample at {at_s:.3f} s is {mono[first]:g}, no sound")
