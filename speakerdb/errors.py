"""The error tree, with the exit code of each branch.

    SpeakerdbError
    ├── InputError 3      audio or an argument that cannot be used
    │   ├── AudioUnreadable     missing, not audio, damaged, wrong rate
    │   ├── SeveralVoices       ├── DifferentChannels: not one person's recording
    │   └── TooLittleSpeech     silence, noise, or less net speech than needed
    ├── StateError 4      what was asked does not fit what is stored
    │   ├── NoSuchSpeaker       ├── DuplicateEnrollment
    │   ├── NameTaken           ├── ConflictingEnrollment
    │   ├── NoSuchEnrollment    ├── EncoderMismatch
    │   ├── EmptyGallery        ├── NoSuchGallery
    │   ├── OutlierRecording    ├── PossibleDuplicate
    │   ├── TooFewTrials        └── AudioNotKept
    └── StorageError 5    the gallery's files cannot be used
        ├── GalleryDamaged      ├── GalleryReadOnly
        ├── GalleryLocked       ├── GalleryFull
        └── GalleryTooNew       └── EncoderDamaged

A message is one line: it names the thing, says what is wrong and, where there is one, the command that mends it.
"""

from __future__ import annotations

import math
from typing import Any


def printable(text: object, limit: int = 80) -> str:
    """Any text on one line: control characters escaped, cut to `limit` characters."""
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in str(text))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def seconds_found(seconds: float) -> str:
    """Of less than is needed, in tenths, rounded down: 0.96 s would be shown as the 1.0 s that are needed."""
    return f"{math.floor(10 * seconds) / 10:.1f} s"


def no_number(text: str) -> float:
    """For `json.loads`, as `parse_constant`: it would take NaN and Infinity. Raises: ValueError."""
    raise ValueError(f"{text} is no number")


class SpeakerdbError(Exception):
    """Root of all errors that speakerdb raises on purpose.

    Attributes: `exit_code`, what the command line exits with; `fields`, the error's data for `--json`.
    """

    exit_code = 5

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        """As pools of processes carry it: subclasses are not made of a message."""
        return _remade, (type(self), self.args, self.fields)

    def add(self, what: str, **fields: Any) -> None:
        """Say more in the same line."""
        self.args = (f"{self}; {what}", *self.args[1:])
        self.fields |= fields

    def to_json(self) -> dict[str, Any]:
        """The error as the object that `--json` prints."""
        return {
            "error": type(self).__name__,
            "message": str(self),
            "exit_code": self.exit_code,
            **self.fields,
        }


def _remade(kind: type[SpeakerdbError], args: tuple[Any, ...], fields: dict[str, Any]) -> SpeakerdbError:
    error = kind.__new__(kind, *args)
    error.fields = fields
    return error


class InputError(SpeakerdbError):
    """Audio or an argument that cannot be used."""

    exit_code = 3


class AudioUnreadable(InputError):
    """A source that cannot be decoded: missing, not audio, damaged, NaN samples, an absurd rate."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{printable(source)}: {reason}", source=source, reason=reason)


class TooLittleSpeech(InputError):
    """A recording with less net speech than the encoder's card asks for."""

    def __init__(self, source: str, found_s: float, needed_s: float, duration_s: float, purpose: str) -> None:
        super().__init__(
            f"{printable(source)}: {seconds_found(found_s)} of speech in {duration_s:.1f} s, "
            f"{needed_s:.1f} s needed to {purpose}; record more speech or less noise",
            source=source,
            found_s=round(found_s, 3),
            needed_s=needed_s,
            duration_s=round(duration_s, 3),
        )


class SeveralVoices(InputError):
    """A recording to enroll in which more than one person speaks."""

    def __init__(self, source: str, changes_s: tuple[float, ...]) -> None:
        super().__init__(
            f"{self.told(source, changes_s)}. Cut the recording there, or enroll it all the same with --force",
            source=source,
            changes_s=list(changes_s),
        )

    @staticmethod
    def told(source: str, changes_s: tuple[float, ...]) -> str:
        """The finding itself, which an answer's warning begins with, too."""
        shown = ", ".join(f"{second:.1f}" for second in changes_s[:5]) + (", …" if len(changes_s) > 5 else "")
        return f"{printable(source)}: several voices; another one begins at {shown} s"


class DifferentChannels(InputError):
    """A recording to enroll whose two channels carry different sounds."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{printable(source)}: its two channels carry different sounds, as a call's two sides do. Enroll one of "
            "them (--channel 1 or --channel 2), or their average all the same with --force",
            source=source,
        )


class StateError(SpeakerdbError):
    """What was asked does not fit what is stored."""

    exit_code = 4


class NoSuchGallery(StateError):
    """The folder holds no gallery yet."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"no gallery in {printable(folder, 200)}; the first `speakerdb enroll NAME FILE` makes one",
            folder=folder,
        )


class EmptyGallery(StateError):
    """Nobody is enrolled, so nobody can be found."""

    def __init__(self) -> None:
        super().__init__("nobody is enrolled yet; begin with `speakerdb enroll NAME FILE`")


class NoSuchSpeaker(StateError):
    """No speaker of that name."""

    def __init__(self, speaker: str) -> None:
        super().__init__(f"no speaker named {printable(speaker)!r}; `speakerdb speakers` lists them", speaker=speaker)


class NameTaken(StateError):
    """Another speaker has that name."""

    def __init__(self, speaker: str) -> None:
        super().__init__(f"a speaker named {printable(speaker)!r} exists already", speaker=speaker)


class NoSuchEnrollment(StateError):
    """No enrollment of that id."""

    def __init__(self, enrollment_id: int) -> None:
        super().__init__(
            f"no enrollment {enrollment_id}; `speakerdb speakers --enrollments` lists them",
            enrollment=enrollment_id,
        )


class DuplicateEnrollment(StateError):
    """The recording is enrolled for this speaker already, or given twice."""

    def __init__(self, source: str, speaker: str, twice: bool = False) -> None:
        known = "is given twice" if twice else f"is enrolled for {printable(speaker)!r} already"
        super().__init__(
            f"{printable(source)} {known} (same audio)",
            source=source,
            speaker=speaker,
        )


class ConflictingEnrollment(StateError):
    """The recording is enrolled for another speaker."""

    def __init__(self, source: str, speaker: str, enrolled_for: str) -> None:
        super().__init__(
            f"{printable(source)} is enrolled for {printable(enrolled_for)!r}, not {printable(speaker)!r} "
            f"(same audio); where that is wrong, `speakerdb move-enrollment` or `speakerdb remove-enrollment` it first "
            f"(`speakerdb speakers --enrollments` lists the ids)",
            source=source,
            speaker=speaker,
            enrolled_for=enrolled_for,
        )


class OutlierRecording(StateError):
    """A recording that does not sound like its speaker's others."""

    def __init__(self, source: str, speaker: str, others: int, distance: float, llr: float) -> None:
        beside = "the other recording" if others == 1 else f"the other {others} recordings"
        super().__init__(
            f"{printable(source)} does not sound like {beside} of {printable(speaker)!r} (distance {distance:.2f}, "
            f"LLR {llr:+.1f}); listen to it, leave it out, or enroll it all the same with --force",
            source=source,
            speaker=speaker,
            distance=distance,
            llr=llr,
        )


class PossibleDuplicate(StateError):
    """A new speaker who sounds like an enrolled one."""

    def __init__(self, speaker: str, enrolled: str, distance: float, threshold: float, llr: float) -> None:
        super().__init__(
            f"{printable(speaker)!r} sounds like {printable(enrolled)!r}, who is enrolled (distance {distance:.2f} ≤ "
            f"{threshold:.2f}, LLR {llr:+.1f}); enroll under that name, or with --force where they are two people",
            speaker=speaker,
            enrolled=enrolled,
            distance=distance,
            threshold=threshold,
            llr=llr,
        )


class TooFewTrials(StateError):
    """Fewer trials than a rate can be found out by: the rule of 30."""

    def __init__(
        self, kind: str, found: int, needed: int, fmr: float | None = None, possible: float | None = None
    ) -> None:
        what = f"an FMR of {100 * fmr:g} %" if fmr else "a calibration"
        more = "enroll more people" if fmr else "enroll more recordings of each speaker"
        less = f", ask for --fmr {possible:.2g}" if possible else ""
        here = "1 is" if found == 1 else f"{found:,} are"
        super().__init__(
            f"{what} needs {needed:,} trials of {kind}, and {here} here (the rule of 30: 30 errors to count); "
            f"{more}{less}, or give --trials FILE",
            trials=found,
            needed=needed,
        )


class EncoderMismatch(StateError):
    """The gallery's vectors come from another encoder than the one in use."""

    def __init__(self, gallery_encoder: str, encoder: str) -> None:
        super().__init__(
            f"the gallery was made with encoder {printable(gallery_encoder)}, not with {printable(encoder)}; "
            f"use that encoder (--encoder; `speakerdb encoder add` where it is not here), "
            f"move the gallery (`speakerdb encoder use`), or enroll into a new one (--gallery)",
            gallery_encoder=gallery_encoder,
            encoder=encoder,
        )


class AudioNotKept(StateError):
    """Another encoder wants to hear the recordings, and their sound was not kept."""

    def __init__(self, recordings: int, first: list[str]) -> None:
        named = ", ".join(printable(source, 40) for source in first) + (", …" if recordings > len(first) else "")
        super().__init__(
            f"the sound of {recordings} recording{'s' if recordings != 1 else ''} was not kept ({named}), so no other "
            "encoder can hear them; enroll them again into a new gallery with --encoder and --keep-audio",
            recordings=recordings,
        )


class StorageError(SpeakerdbError):
    """The gallery's or an encoder's files cannot be used."""

    exit_code = 5


class GalleryDamaged(StorageError):
    """The database is not what speakerdb wrote."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{printable(path, 200)} is damaged ({printable(reason)}); put a backup in the place of its whole folder",
            path=path,
            reason=reason,
        )


class GalleryLocked(StorageError):
    """Another process held the database for longer than the busy timeout."""

    def __init__(self, path: str, waited_s: float) -> None:
        super().__init__(
            f"{printable(path, 200)} is locked by another process (waited {waited_s:g} s); try again",
            path=path,
        )


class GalleryReadOnly(StorageError):
    """The folder or database cannot be written."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{printable(path, 200)} cannot be written; check its owner and permissions", path=path)


class GalleryFull(StorageError):
    """No space is left; what was under way was not written."""

    def __init__(self, path: str) -> None:
        what = "make room, reading wants 100 KB of it too; what was under way was not written"
        super().__init__(f"no space left for {printable(path, 200)}; {what}", path=path)


class GalleryTooNew(StorageError):
    """A newer speakerdb wrote the database."""

    def __init__(self, path: str, revision: str) -> None:
        super().__init__(
            f"{printable(path, 200)} was written by a newer speakerdb (schema {printable(revision)}); "
            f"upgrade with `pip install --upgrade speakerdb`",
            path=path,
            revision=revision,
        )


class EncoderDamaged(StorageError):
    """An encoder bundle's files do not agree with its card."""

    def __init__(self, bundle: str, reason: str) -> None:
        super().__init__(f"encoder bundle {printable(bundle, 200)}: {reason}", bundle=bundle, reason=reason)
