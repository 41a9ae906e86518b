"""Samples piece by piece as they are stored: by libsndfile, by PyAV, or an array's own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from speakerdb.audio.announced import frames_are_counted, missing_share
from speakerdb.errors import AudioUnreadable
from speakerdb.quiet import stderr_closed

Samples: TypeAlias = npt.NDArray[np.float32]
"""float32 [samples], mono, −1 to 1 by convention (louder is not clipped)."""

READ_SAMPLES = 1 << 16
"""Of all channels together in one read from a decoder."""

UNKNOWN_FRAMES = (1 << 63) - 1
"""What libsndfile says of a FLAC that was written to a pipe, whose header does not know its length."""

LONGEST_PATH = 1000
"""Bytes of a path that libsndfile opens itself; beyond 1,023 it cannot."""

MOST_HEADER_BYTES = 8192
"""A file without samples is no longer; a recorder that was cut off leaves a header of none before its sound."""


class Decoder(Protocol):
    """An opened source.

    Attributes:
        rate_hz: the source's own.
        frames: how many it says that it has, None where it does not say.
        missing_s: seconds that its header announces and that are not there, as far as it tells; infinite where it does
            not tell how many. Known once all samples were read.
    """

    rate_hz: int
    frames: int | None
    missing_s: float

    def read(self) -> Iterator[Samples]:
        """Its samples in order: float32 [frames] or [frames, channels]. Raises: AudioUnreadable for damage."""

    def close(self) -> None:
        """To be called once."""


class ArrayDecoder:
    """An array's own samples: [samples] or [samples, channels]. Raises: AudioUnreadable."""

    missing_s = 0.0

    def __init__(self, array: npt.NDArray[Any], name: str, rate_hz: int | None) -> None:
        if rate_hz is None:
            raise AudioUnreadable(name, "an array needs its sample rate (rate_hz=16000)")
        if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= 64):
            raise AudioUnreadable(name, f"shape {array.shape}; [samples] or [samples, channels] is needed")
        if array.dtype.kind not in "fiu":
            raise AudioUnreadable(name, f"dtype {array.dtype}; floats or integers are needed")
        try:
            self.rate_hz = int(rate_hz)
        except (TypeError, ValueError, OverflowError) as error:  # text, NaN, infinity
            raise AudioUnreadable(name, f"a sample rate of {rate_hz!r} is no number of samples a second") from error
        self.frames: int | None = len(array)
        self._array = array

    def read(self) -> Iterator[Samples]:
        """As `Decoder` has it."""
        for start in range(0, len(self._array), READ_SAMPLES):
            yield _to_float(self._array[start : start + READ_SAMPLES])

    def close(self) -> None:
        """Nothing is open."""


def _to_float(array: npt.NDArray[Any]) -> Samples:
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is refused
            return array.astype(np.float32, copy=False)
    full_scale = float(1 << (8 * array.dtype.itemsize - 1))
    offset = full_scale if array.dtype.kind == "u" else 0.0
    return ((array.astype(np.float64) - offset) / full_scale).astype(np.float32)


class SoundfileDecoder:
    """libsndfile. Args: quiet: stderr is shut while it works. Raises: AudioUnreadable."""

    def __init__(self, file: str | IO[bytes], name: str, quiet: bool) -> None:
        import soundfile

        self._name = name
        self._guard = stderr_closed if quiet else contextlib.nullcontext
        self._own = contextlib.ExitStack()
        if isinstance(file, str) and len(os.fsencode(file)) > LONGEST_PATH:
            file = self._own.enter_context(Path(file).open("rb"))  # noqa: SIM115 (closed with the decoder)
        self._sought = None if isinstance(file, str) else _Sought(file)
        opened: Any = self._sought or file
        if isinstance(file, str) and os.name != "nt":
            opened = os.fsencode(file)  # a name may hold bytes that are no text
        try:
            with self._guard():
                self._file = soundfile.SoundFile(opened)
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            self._own.close()
            self._require_read()
            raise AudioUnreadable(name, "not audio that can be read") from error
        self._error, self._path = soundfile.LibsndfileError, file if isinstance(file, str) else ""
        self.rate_hz = int(self._file.samplerate)
        self.frames: int | None = int(self._file.frames)
        if self.frames == UNKNOWN_FRAMES:
            self.frames = None
        share = missing_share(self._file.extra_info)
        self.missing_s = share and share * (self.frames or 0) / self.rate_hz
        self._counted = frames_are_counted(self._file.subtype, self._bytes_at)
        # Or soundfile seeks to where it stands after every read. A FLAC of a pipe cannot, and in an MP3 the decoder
        # forgets there what the next frames still need (its bit reservoir).
        self._file.seekable = lambda: False

    def read(self) -> Iterator[Samples]:
        """As `Decoder` has it."""
        done, size = 0, max(1, READ_SAMPLES // self._file.channels)
        while True:
            try:
                with self._guard():
                    frames = self._file.read(size, dtype="float32")
            except (self._error, RuntimeError) as error:
                self._require_read()
                raise self._cut(done) from error
            if not len(frames):
                self._require_read()
                if not done and self.frames:  # a FLAC's header alone
                    raise self._cut(done)
                if not done and self._size() > MOST_HEADER_BYTES:
                    raise AudioUnreadable(self._name, "its header announces no samples; its recorder did not finish it")
                if self._counted and self.frames:
                    self.missing_s = max(self.missing_s, (self.frames - done) / self.rate_hz)
                return
            done += len(frames)
            yield frames

    def close(self) -> None:
        """As `Decoder` has it."""
        with self._guard():
            self._file.close()
        self._own.close()

    def _cut(self, done: int) -> AudioUnreadable:
        return AudioUnreadable(self._name, f"damaged or cut short after {done / self.rate_hz:.1f} s")

    def _bytes_at(self, offset: int, count: int) -> bytes:
        """Of the file as it is stored; where the decoder stands in it stays."""
        if not self._sought:
            with Path(self._path).open("rb") as file:
                file.seek(offset)
                return file.read(count)
        stood = self._sought.tell()
        self._sought.seek(offset)
        found = self._sought.read(count)
        self._sought.seek(stood)
        return found

    def _size(self) -> int:
        """Of the file, in bytes."""
        return self._sought.seek(0, os.SEEK_END) if self._sought else Path(self._path).stat().st_size

    def _require_read(self) -> None:
        """Raise AudioUnreadable where a file object's own reading failed: its end was none."""
        if self._sought and self._sought.failure:
            raise AudioUnreadable(self._name, f"reading it failed ({self._sought.failure})") from self._sought.failure


class _Sought:
    """A binary file that can be sought to anywhere: a damaged header asks for places before the beginning, and what
    a callback of libsndfile raises is printed to stderr with its traceback."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell = file.tell
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Nothing, which libsndfile takes for the end, where it fails; `failure` says that it was none."""
        try:
            return self._file.read(size)
        except Exception as error:
            self.failure = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return self._file.seek(0)


def _any_title(version: str) -> dict[str, Any]:
    """What lets PyAV open a file whose title is no UTF-8: since 19 it does so by itself, and knows no such word."""
    return {"metadata_errors": "replace"} if int(version.split(".")[0]) < 19 else {}


class AvDecoder:
    """PyAV. Raises: AudioUnreadable, where PyAV is missing, too."""

    missing_s = 0.0

    def __init__(self, file: str | IO[bytes], name: str) -> None:
        try:
            import av
        except ImportError as error:
            needed = "M4A, AAC, AMR, WebM and WMA need PyAV: pip install 'speakerdb[media]'"
            raise AudioUnreadable(name, needed) from error
        self._av = av
        self._name = name
        opened = f"file:{file}" if isinstance(file, str) else file
        nothing = AudioUnreadable(name, "no sound in it that can be read")
        try:
            self._container = av.open(opened, mode="r", **_any_title(av.__version__))
        except av.FFmpegError as error:
            raise nothing from error
        try:
            self._stream = self._container.streams.audio[0]
            self.rate_hz = int(self._stream.rate)
        except (IndexError, AttributeError, TypeError) as error:  # no stream, codec or rate
            self._container.close()
            raise nothing from error
        ticks, unit = self._stream.duration, self._stream.time_base
        self.frames: int | None = int(ticks * unit * self.rate_hz) if ticks and unit else None

    def read(self) -> Iterator[Samples]:
        """As `Decoder` has it."""
        planar = self._av.AudioResampler(format="fltp")
        try:
            for frame in self._container.decode(self._stream):
                for converted in planar.resample(frame):
                    yield converted.to_ndarray().astype(np.float32, copy=False).T
        except (self._av.FFmpegError, ValueError) as error:  # ValueError: the format changes half-way
            raise AudioUnreadable(self._name, "damaged or cut short") from error

    def close(self) -> None:
        """As `Decoder` has it."""
        self._container.close()
