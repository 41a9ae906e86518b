"""What a recording may be given as, and the decoder for it."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from speakerdb.audio.decoders import ArrayDecoder, AvDecoder, Decoder, SoundfileDecoder
from speakerdb.errors import AudioUnreadable, InputError, printable

Sound: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | npt.NDArray[Any]"
"""A path, the bytes of a file, a binary file object, or an array with its rate."""

Source: TypeAlias = "Sound | Channel"
"""All channels of a recording, or one."""

Sources: TypeAlias = "Source | Iterable[Source]"
"""One recording or several."""

MAGIC_BYTES = 16
PIPE_WAIT_S = 5.0
"""For who writes to a pipe: one in a long list, to which nobody does, must not stop all others."""
SILENT_DECODERS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff")
"""Beginnings of files whose decoder never writes to stderr by itself. libmpg123 (MP3) does."""


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel of a recording, such as one side of a call. Raises: InputError for a number below 1.

    Attributes: number: from 1.
    """

    sound: Sound
    number: int

    def __post_init__(self) -> None:
        if isinstance(self.number, bool) or not isinstance(self.number, int | np.integer) or self.number < 1:
            raise InputError(f"channel {self.number!r}; channels are counted from 1")


def channel_of(sound: Sound, number: int | None) -> Source:
    """All of a recording where no channel is asked for, else that one."""
    return sound if number is None else Channel(sound, number)


def each(sources: Sources) -> Iterator[Source]:
    """The recordings one by one, as they are taken; one that is given alone is one, be it text, bytes or an array.

    An array is copied, as are bytes that can change: who fills the same ones again for the next recording changes
    nothing.
    Raises: InputError for a file object that was given before: several recordings are read at a time.
    """
    if isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike | np.ndarray | Channel) or hasattr(
        sources, "read"
    ):
        sources = [sources]  # type: ignore[list-item]
    if not isinstance(sources, Iterable):
        raise InputError(f"{printable(repr(sources), 100)}: neither a recording nor several")
    files: weakref.WeakSet[Any] = weakref.WeakSet()
    for source in sources:
        yield Channel(_own(source.sound, files), source.number) if isinstance(source, Channel) else _own(source, files)


def _own(sound: Sound, files: weakref.WeakSet[Any]) -> Sound:
    """The same sound, which nobody else can change or read. Args: files: those that were given before."""
    if isinstance(sound, np.ndarray):
        return sound.copy()
    if hasattr(sound, "read"):
        with contextlib.suppress(TypeError):  # an object that no set takes
            if sound in files:
                raise InputError(f"{printable(name_of(sound), 200)} is given twice; give its path or its bytes")
            files.add(sound)
    return bytes(sound) if isinstance(sound, bytearray | memoryview) else sound


def name_of(source: Source) -> str:
    """The path, a file object's own name, or `<bytes>`, `<array>`; of a channel `call.wav#2`."""
    if isinstance(source, Channel):
        return f"{name_of(source.sound)}#{source.number}"
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    if isinstance(source, np.ndarray):
        return "<array>"
    named = getattr(source, "name", None)
    return named if isinstance(named, str) and named else f"<{type(source).__name__}>"


def open_decoder(source: Sound, name: str, rate_hz: int | None) -> Decoder:
    """A source opened for reading once. Args: name: in errors; rate_hz: of an array. Raises: AudioUnreadable."""
    if isinstance(source, np.ndarray):
        return ArrayDecoder(source, name, rate_hz)
    file: str | IO[bytes]
    if isinstance(source, str | os.PathLike):
        file, magic = _from_path(os.fspath(source), name)
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
    if _is_for_av(magic):
        return AvDecoder(file, name)
    return SoundfileDecoder(file, name, quiet=not magic.startswith(SILENT_DECODERS))


def _is_for_av(magic: bytes) -> bool:
    """Whether a file begins as M4A, WebM, WMA, AMR, or raw AAC (ADTS), which MPEG's layer of 0 tells from an MP3."""
    raw_aac = magic[0] == 0xFF and magic[1:2] != b"" and magic[1] & 0xF6 == 0xF0
    return magic[4:8] == b"ftyp" or magic.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR")) or raw_aac


def _from_path(path: str, name: str) -> tuple[str | IO[bytes], bytes]:
    """What a decoder opens, the path itself or what a pipe held, and the first bytes."""
    try:
        with open(path, "rb", opener=_opened) as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISCHR(mode):
                raise AudioUnreadable(name, "is a device, not a recording")
            if stat.S_ISFIFO(mode):  # `<(…)` in a shell: it can be read once
                return _seekable(io.BytesIO(_of_pipe(file, name)), name)
            return path, file.read(MAGIC_BYTES)
    except FileNotFoundError as error:
        raise AudioUnreadable(name, "no such file") from error
    except IsADirectoryError as error:
        raise AudioUnreadable(name, "is a folder, not a recording") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioUnreadable(name, f"cannot be opened ({reason})") from error


def _opened(path: str, how: int) -> int:
    """Of a pipe that nobody writes to, opening it would wait."""
    return os.open(path, how | getattr(os, "O_NONBLOCK", 0))


def _of_pipe(file: IO[bytes], name: str) -> bytes:
    """What is written to a pipe until its end. Raises: AudioUnreadable where nobody comes to write."""
    give_up = time.monotonic() + PIPE_WAIT_S
    first = b""
    try:
        while not (first := os.read(file.fileno(), io.DEFAULT_BUFFER_SIZE)):
            if time.monotonic() >= give_up:
                raise AudioUnreadable(name, "is a pipe that nobody writes to")
            time.sleep(0.02)
    except BlockingIOError:  # somebody is there and has nothing to say yet
        pass
    os.set_blocking(file.fileno(), True)
    return first + file.read()


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
