"""What a source is, and its decoder: libsndfile, PyAV or an array's own samples, piece by piece as they are stored."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from speakerdb.errors import AudioUnreadable, InputError, printable
from speakerdb.quiet import stderr_closed

Samples: TypeAlias = npt.NDArray[np.float32]
"""float32 [samples], mono, −1 to 1 by convention (louder is not clipped)."""

Source: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | npt.NDArray[Any]"

Sources: TypeAlias = "Source | Iterable[Source]"
"""One recording or several."""

READ_SAMPLES = 1 << 17
"""Of all channels together in one read from a decoder."""

UNKNOWN_FRAMES = (1 << 63) - 1
"""What libsndfile says of a FLAC that was written to a pipe, whose header does not know its length."""

MOST_HEADER_BYTES = 8192
"""A file without samples is no longer; a recorder that was cut off leaves a header of none before its sound."""

MAGIC_BYTES = 16
SILENT_DECODERS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff")
"""Beginnings of files whose decoder never writes to stderr by itself. libmpg123 (MP3) does."""


class Decoder(Protocol):
    """An opened source.

    Attributes: rate_hz: the source's own; frames: how many it says that it has, None where it does not say.
    """

    rate_hz: int
    frames: int | None

    def read(self) -> Iterator[Samples]:
        """Its samples in order: float32 [frames] or [frames, channels]. Raises: AudioUnreadable for damage."""

    def close(self) -> None:
        """To be called once."""


class _ArrayDecoder:
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
        for start in range(0, len(self._array), READ_SAMPLES):
            yield _to_float(self._array[start : start + READ_SAMPLES])

    def close(self) -> None:
        pass


def _to_float(array: npt.NDArray[Any]) -> Samples:
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is refused
            return array.astype(np.float32, copy=False)
    full_scale = float(1 << (8 * array.dtype.itemsize - 1))
    offset = full_scale if array.dtype.kind == "u" else 0.0
    return ((array.astype(np.float64) - offset) / full_scale).astype(np.float32)


class _SoundfileDecoder:
    def __init__(self, file: str | IO[bytes], name: str, quiet: bool) -> None:
        import soundfile

        self._name = name
        self._guard = stderr_closed if quiet else contextlib.nullcontext
        self._sought = None if isinstance(file, str) else _Sought(file)
        opened: Any = self._sought or file
        if isinstance(file, str) and os.name != "nt":
            opened = os.fsencode(file)  # a name may hold bytes that are no text
        try:
            with self._guard():
                self._file = soundfile.SoundFile(opened)
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            self._require_read()
            raise AudioUnreadable(name, "not audio that can be read") from error
        self._error, self._path = soundfile.LibsndfileError, file if isinstance(file, str) else ""
        self.rate_hz = int(self._file.samplerate)
        self.frames: int | None = int(self._file.frames)
        if self.frames == UNKNOWN_FRAMES:
            self.frames, self._file.seekable = None, lambda: False  # or soundfile seeks after reading, and fails

    def read(self) -> Iterator[Samples]:
        done, size = 0, max(1, READ_SAMPLES // self._file.channels)
        while True:
            try:
                with self._guard():
                    frames = self._file.read(size, dtype="float32")
            except (self._error, RuntimeError) as error:
                self._require_read()
                at_s = done / self.rate_hz
                raise AudioUnreadable(self._name, f"damaged or cut short after {at_s:.1f} s") from error
            if not len(frames):
                self._require_read()
                if not done and self._size() > MOST_HEADER_BYTES:
                    raise AudioUnreadable(self._name, "its header announces no samples; its recorder did not finish it")
                return
            done += len(frames)
            yield frames

    def close(self) -> None:
        with self._guard():
            self._file.close()

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


class _AvDecoder:
    def __init__(self, file: str | IO[bytes], name: str) -> None:
        try:
            import av
        except ImportError as error:
            raise AudioUnreadable(name, "M4A, WebM and WMA need PyAV: pip install 'speakerdb[media]'") from error
        self._av = av
        self._name = name
        try:
            opened = f"file:{file}" if isinstance(file, str) else file
            self._container = av.open(opened, mode="r", metadata_errors="replace")
            self._stream = self._container.streams.audio[0]
            self.rate_hz = int(self._stream.rate)
        except (av.FFmpegError, IndexError, AttributeError, TypeError) as error:  # no stream, codec or rate
            raise AudioUnreadable(name, "no sound in it that can be read") from error
        ticks, unit = self._stream.duration, self._stream.time_base
        self.frames: int | None = int(ticks * unit * self.rate_hz) if ticks and unit else None

    def read(self) -> Iterator[Samples]:
        planar = self._av.AudioResampler(format="fltp")
        try:
            for frame in self._container.decode(self._stream):
                for converted in planar.resample(frame):
                    yield converted.to_ndarray().astype(np.float32, copy=False).T
        except (self._av.FFmpegError, ValueError) as error:  # ValueError: the format changes half-way
            raise AudioUnreadable(self._name, "damaged or cut short") from error

    def close(self) -> None:
        self._container.close()


def each(sources: Sources) -> Iterator[Source]:
    """The recordings one by one, as they are taken; one that is given alone is one, be it text, bytes or an array.

    An array is copied, as are bytes that can change: who fills the same ones again for the next recording changes
    nothing.
    """
    if isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike | np.ndarray) or hasattr(sources, "read"):
        sources = [sources]  # type: ignore[list-item]
    if not isinstance(sources, Iterable):
        raise InputError(f"{printable(repr(sources), 100)}: neither a recording nor several")
    for source in sources:
        if isinstance(source, np.ndarray):
            yield source.copy()
        else:
            yield bytes(source) if isinstance(source, bytearray | memoryview) else source


def name_of(source: Source) -> str:
    """The path, a file object's own name, or `<bytes>`, `<array>`."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    if isinstance(source, np.ndarray):
        return "<array>"
    named = getattr(source, "name", None)
    return named if isinstance(named, str) and named else f"<{type(source).__name__}>"


def open_decoder(source: Source, name: str, rate_hz: int | None) -> Decoder:
    """A source opened for reading once. Args: rate_hz: of an array. Raises: AudioUnreadable."""
    if isinstance(source, np.ndarray):
        return _ArrayDecoder(source, name, rate_hz)
    file: str | IO[bytes]
    if isinstance(source, str | os.PathLike):
        file, magic = _from_path(name)
    elif isinstance(source, bytes | bytearray | memoryview):
        file = io.BytesIO(source)
        magic = bytes(source[:MAGIC_BYTES])
    elif hasattr(source, "read"):
        file, magic = _seekable(source, name)
    else:
        raise AudioUnreadable(name, "not a path, bytes, a file or an array")
    if rate_hz is not None:
        raise AudioUnreadable(name, "only an array needs a sample rate; files know theirs")
    if not magic:
        raise AudioUnreadable(name, "the file is empty")
    if magic[4:8] == b"ftyp" or magic.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u")):
        return _AvDecoder(file, name)
    return _SoundfileDecoder(file, name, quiet=not magic.startswith(SILENT_DECODERS))


def _from_path(path: str) -> tuple[str | IO[bytes], bytes]:
    """What a decoder opens, the path itself or what a pipe held, and the first bytes."""
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISCHR(mode):
                raise AudioUnreadable(path, "is a device, not a recording")
            if stat.S_ISFIFO(mode):  # `<(…)` in a shell: it can be read once
                return _seekable(file, path)
            return path, file.read(MAGIC_BYTES)
    except FileNotFoundError as error:
        raise AudioUnreadable(path, "no such file") from error
    except IsADirectoryError as error:
        raise AudioUnreadable(path, "is a folder, not a recording") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioUnreadable(path, f"cannot be opened ({reason})") from error


def _seekable(file: IO[bytes], name: str) -> tuple[IO[bytes], bytes]:
    try:
        if not (hasattr(file, "seekable") and file.seekable() and file.tell() == 0):
            file = io.BytesIO(file.read())  # decoders seek from the beginning
        magic = file.read(MAGIC_BYTES)
        file.seek(0)
    except (OSError, ValueError, TypeError) as error:
        raise AudioUnreadable(name, f"cannot be read ({error})") from error
    if not isinstance(magic, bytes):
        raise AudioUnreadable(name, "opened as text; open it with mode 'rb'")
    return file, magic
