"""Reading an archive that anybody may have edited: nothing in it is believed before it was checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speakerdb.calibration import Calibration
from speakerdb.embedding import Vector, average
from speakerdb.errors import InputError, no_number, printable
from speakerdb.kept_audio import KEPT_BEGIN
from speakerdb.store.archive import AUDIO, CALIBRATION, FORMAT, HEAD, RECORDINGS, VECTORS, Line, method_of
from speakerdb.store.archive_members import MAX_LINE_BYTES, UNREADABLE, Member, line_of, vector_of
from speakerdb.store.binding import EncoderIdentity
from speakerdb.store.fields import MOST_DIMENSIONS, STORED, time_of

MAX_HEAD_BYTES = 1 << 20
MAX_SOUND_BYTES = 512 << 20
"""Of one recording: five minutes at 192 kHz as floats are 230 MB."""
MAX_RECORDINGS = 100_000_000


@dataclass(frozen=True)
class Archived:
    """A recording of an archive, checked."""

    line: Line
    vector: Vector
    audio: bytes | None


class Archive:
    """An archive opened for reading. Raises: InputError, in one line, for whatever is wrong with it.

    Args: usable_name: the rule for names, which raises InputError; a name must already be as it leaves it.
    """

    def __init__(self, file: Path, usable_name: Callable[[str], str]) -> None:
        self._file, self._usable_name = file, usable_name
        self.names = set[str]()
        if os.path.exists(file) and not os.path.isfile(file):  # noqa: PTH110, PTH113 (Path raises where a name is too long)
            raise InputError(f"{printable(file, 200)}: not a file", path=str(file))
        try:
            self._zip = zipfile.ZipFile(file)
        except OSError as error:
            raise InputError(f"{printable(file, 200)}: {error.strerror or error}", path=str(file)) from error
        except UNREADABLE as error:
            raise InputError(f"{printable(file, 200)}: not an archive ({error})", path=str(file)) from error
        try:
            with self._translated(HEAD):
                self._read_head()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exc: object) -> None:
        self._zip.close()

    def check(self) -> None:
        """Read everything once; `names` are the speakers' then.

        Raises: InputError where anything is not as it must be.
        """
        names, sounds, vectors = self.names, set[bytes](), list[Vector]()
        last, kept = "", 0
        for number, archived in enumerate(self.recordings(), 1):
            name, sound = archived.line.speaker, bytes.fromhex(archived.line.audio_sha256)
            if (name != last and name in names) or sound in sounds:
                what = "the same sound" if sound in sounds else f"speaker {printable(name)!r}"
                raise self._wrong(RECORDINGS, f"line {number}: {what} stands in two places")
            if name != last:
                self._require_somebody(last, vectors)
                vectors.clear()
            names.add(name)
            sounds.add(sound)
            vectors.append(archived.vector)
            kept += archived.audio is not None
            last = name
        self._require_somebody(last, vectors)
        if len(names) != self.speakers:
            raise self._wrong(HEAD, f"{self.speakers} speakers are announced, {len(names)} are there")
        if kept != self._sounds:
            raise self._wrong(RECORDINGS, f"{self._sounds} sounds are in the file, {kept} of them are a recording's")
        self.calibration()

    def _require_somebody(self, name: str, vectors: list[Vector]) -> None:
        """Raise where the vectors of a speaker cancel out."""
        with self._translated(f"{VECTORS}, speaker {printable(name)!r}"):
            if vectors:
                average(vectors)

    def recordings(self) -> Iterator[Archived]:
        """All recordings, a speaker's one after the other; the hashes have agreed once it has come to its end."""
        with self._hashed(RECORDINGS) as lines, self._hashed(VECTORS) as vectors:
            for number in range(1, self.count + 1):
                with self._translated(f"{RECORDINGS}, line {number}"):
                    line = line_of(lines.read_line(), self._usable_name)
                with self._translated(f"{VECTORS}, row {number}"):
                    vector = vector_of(vectors.read(self.encoder.dimension * STORED.itemsize))
                yield Archived(line, vector, self._sound(line, number))

    def calibration(self) -> Calibration | None:
        """The gallery's own, where it had one."""
        if CALIBRATION not in self._members:
            return None
        with self._hashed(CALIBRATION) as member, self._translated(CALIBRATION):
            return Calibration.parse(json.loads(member.read(member.size), parse_constant=no_number)).kept()

    def _read_head(self) -> None:
        for one in self._zip.infolist():
            self._require_method(one)
        with self._zip.open(HEAD) as member:
            content = member.read(MAX_HEAD_BYTES + 1)
        if len(content) > MAX_HEAD_BYTES:
            raise ValueError("too large")
        head = json.loads(content)
        if head["format"] != FORMAT:
            raise ValueError(f"format {printable(str(head['format']), 50)!r}; this program reads {FORMAT}")
        time_of(head["created"])
        _text(head["gallery_uuid"], 32)
        one = head["encoder"]
        name, version, sha256 = (_text(one[key], 200) for key in ("name", "version", "sha256"))
        self.encoder = EncoderIdentity(name, version, sha256, one["dimension"])
        self.speakers, self.count = head["speakers"], head["recordings"]
        for number, most in (
            (self.count, MAX_RECORDINGS),
            (self.speakers, self.count),
            (self.encoder.dimension, MOST_DIMENSIONS),
        ):
            if type(number) is not int or not 0 <= number <= most:
                raise ValueError(f"a count of {number!r}")
        self._members = {name: (_size(one["size"]), str(one["sha256"])) for name, one in head["members"].items()}
        self._require_members()

    @staticmethod
    def _require_method(info: zipfile.ZipInfo) -> None:
        """Texts are deflated, and all else is as long as it is in the file: what is tiny there unpacks to little."""
        stored = info.compress_type == zipfile.ZIP_STORED
        if info.compress_type != method_of(info.filename) or (stored and info.compress_size != info.file_size):
            raise ValueError(f"member {printable(info.filename)!r} is not packed as `speakerdb export` does")

    def _require_members(self) -> None:
        """Nothing else is in the file, and nothing that would unpack to more than it says."""
        sizes = {name: size for name, (size, _) in self._members.items()}
        if not {RECORDINGS, VECTORS} <= sizes.keys() <= {RECORDINGS, VECTORS, CALIBRATION}:
            raise ValueError("other members are announced than an archive has")
        if sizes[VECTORS] != self.count * self.encoder.dimension * STORED.itemsize:
            raise ValueError(f"{VECTORS} has not one row a recording")
        if sizes[RECORDINGS] > self.count * MAX_LINE_BYTES or sizes.get(CALIBRATION, 0) > MAX_HEAD_BYTES:
            raise ValueError("a member is too large")
        seen, self._sounds = set[str](), 0
        for info in self._zip.infolist():
            number = info.filename.removeprefix("audio/")
            sound = number.isdecimal() and info.filename == AUDIO.format(int(number)) and 0 < int(number) <= self.count
            known = info.filename in (HEAD, *sizes) or sound
            if not known or info.filename in seen or info.flag_bits & 1:
                raise ValueError(f"member {printable(info.filename)!r} does not belong")
            if info.filename in sizes and info.file_size != sizes[info.filename]:
                raise ValueError(f"member {info.filename} has another size than was written")
            if info.file_size > MAX_SOUND_BYTES and sound:
                raise ValueError(f"member {info.filename} is too large")
            seen.add(info.filename)
            self._sounds += sound
        if sum(info.compress_size for info in self._zip.infolist()) > self._file.stat().st_size:
            raise ValueError("its members lie over one another")
        if not sizes.keys() <= seen:
            raise ValueError("a member is missing")

    def _sound(self, line: Line, number: int) -> bytes | None:
        name = AUDIO.format(number)
        if line.audio is None:
            return None
        with self._translated(name):
            if self._zip.getinfo(name).file_size != line.audio["size"]:
                raise ValueError("another size than was written")
            content = self._zip.read(name)
            if hashlib.sha256(content).hexdigest() != line.audio["sha256"]:
                raise ValueError("its checksum does not agree")
            if not content.startswith(KEPT_BEGIN):
                raise ValueError("not a sound as a gallery keeps it")
            return content

    @contextlib.contextmanager
    def _hashed(self, name: str) -> Iterator[Member]:
        """A member to read; at the end of the block it must have been read whole, and its hash must agree."""
        size, sha256 = self._members[name]
        with self._translated(name):
            opened = self._zip.open(name)
        with opened as raw:
            member = Member(raw, size)
            yield member
            with self._translated(name):
                if member.left or member.digest.hexdigest() != sha256:
                    raise ValueError("its checksum does not agree")

    @contextlib.contextmanager
    def _translated(self, place: str) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            raise self._wrong(place, str(error)) from error
        except UNREADABLE as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise self._wrong(
                place, f"{type(error).__name__}: {reason}" if isinstance(error, KeyError) else reason
            ) from error

    def _wrong(self, place: str, reason: str) -> InputError:
        shown = printable(" ".join(reason.split()) or "cannot be read", 200)
        return InputError(f"{printable(self._file, 200)}: {place}: {shown}", path=str(self._file), member=place)


def _size(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"a size of {printable(value)}")
    return value


def _text(value: Any, longest: int) -> str:
    if not isinstance(value, str) or not value or len(value) > longest or not value.isprintable():
        raise ValueError("a text is missing, too long, or holds what cannot be shown")
    return value
