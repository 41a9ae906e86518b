"""What was done to a gallery's people or to all of it, and what state it is in: `results.Result`s."""

from __future__ import annotations

from dataclasses import dataclass

from speakerdb.gallery.results import Result


@dataclass(frozen=True)
class Exported(Result):
    """What went into an archive."""

    file: str
    speakers: int
    recordings: int
    size_bytes: int


@dataclass(frozen=True)
class Imported(Result):
    """What came out of an archive.

    Attributes:
        speakers: new ones; recordings: new ones, of them and of those `merged`.
        renamed: names that were taken, and the ones that these speakers have here.
        skipped: names that were taken and left out. already: recordings that were enrolled.
        known_as: names of whom nothing came in, since all their recordings are enrolled for others; one of these each.
        calibration_taken: whether this gallery decides by the archive's calibration now; only one without people does.
    """

    speakers: int
    recordings: int
    merged: list[str]
    renamed: dict[str, str]
    skipped: list[str]
    already: int
    known_as: dict[str, str]
    calibration_taken: bool


@dataclass(frozen=True)
class Renamed(Result):
    """A speaker's names before and after."""

    before: str
    after: str


@dataclass(frozen=True)
class Moved(Result):
    """The encoder that a gallery had and the one that it has now (equal: nothing was to do), and its recordings."""

    before: str
    after: str
    enrollments: int


@dataclass(frozen=True)
class Removed(Result):
    """What was removed.

    Attributes:
        speaker_removed: False where recordings of the speaker remain.
        log_erased: False where another process was reading, or the disk was full, so that the file or SQLite's log may
            still hold the vectors; `speakerdb check` erases them then.
    """

    speaker: str
    enrollments: int
    speaker_removed: bool
    log_erased: bool


@dataclass(frozen=True)
class Merged(Result):
    """Recordings that went to another speaker.

    Attributes: into: whose they are now; emptied: speakers who have none left and are gone.
    """

    into: str
    enrollments: int
    emptied: list[str]
    total: int


@dataclass(frozen=True)
class Complaint(Result):
    """What is likely to be wrong with a profile.

    Attributes:
        kind: `outlier`, `two_people`, `never_matches`, `near_duplicates` or `little_speech`.
        speakers, enrollments: whom and which recordings it is about. mend: the command that mends it.
    """

    kind: str
    speakers: list[str]
    enrollments: list[int]
    message: str
    mend: str


@dataclass(frozen=True)
class Diagnosis(Result):
    """What `doctor` found; healthy where `complaints` is empty.

    Attributes: calibrated: False where nobody has calibrated the encoder, so that only seconds could be looked at.
    """

    speakers: int
    enrollments: int
    calibrated: bool
    complaints: list[Complaint]


@dataclass(frozen=True)
class CheckReport(Result):
    """What `check` found; sound where `findings` is empty."""

    gallery: str
    encoder: str
    generation: int
    speakers: int
    enrollments: int
    findings: list[str]


@dataclass(frozen=True)
class BackedUp(Result):
    """A copy of a gallery: a folder that is one itself, and what is in it."""

    folder: str
    speakers: int
    enrollments: int
    size_bytes: int


@dataclass(frozen=True)
class Rebuilt(Result):
    """An index made anew from the database."""

    speakers: int
    kind: str
