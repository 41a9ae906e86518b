"""What the gallery answers: frozen dataclasses, the same in Python and, by `to_json`, in `--json`.

`warnings` holds a line for each recording that the encoder was not made for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from speakerdb.decision.threshold import Threshold
from speakerdb.speech import Quality


class Result:
    """A result that `--json` can print."""

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values (docs/formats.md)."""
        found: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        quality = getattr(self, "quality", None)
        return {**found, "quality": quality.to_json()} if isinstance(quality, Quality) else found


@dataclass(frozen=True)
class EnrolledRecording(Result):
    """A recording that was enrolled; `id` is what `remove_enrollment` takes."""

    id: int
    source: str
    net_speech_s: float


@dataclass(frozen=True)
class RefusedRecording(Result):
    """A recording that was passed over with `keep_going`, and the error in full."""

    source: str
    error: dict[str, Any]


@dataclass(frozen=True)
class Enrolled(Result):
    """What an enrollment did.

    Attributes: new_speaker: whether the name is new; total: the speaker's recordings now.
    """

    speaker: str
    new_speaker: bool
    enrolled: list[EnrolledRecording]
    refused: list[RefusedRecording]
    total: int
    warnings: list[str] = field(default_factory=list)

    @property
    def net_speech_s(self) -> float:
        """Seconds of speech enrolled."""
        return sum(recording.net_speech_s for recording in self.enrolled)


@dataclass(frozen=True)
class Candidate(Result):
    """A speaker and the distance of the probe to the voiceprint, 0 to 2."""

    speaker: str
    distance: float


@dataclass(frozen=True)
class Identification(Result):
    """Who speaks, as far as the gallery knows.

    Attributes:
        speaker: the nearest, where the distance is at most the threshold; None: nobody known.
        distance: to the nearest, whoever that is.
        candidates: the nearest speakers, from nearest to farthest.
    """

    source: str
    speaker: str | None
    distance: float
    threshold: Threshold
    candidates: list[Candidate]
    quality: Quality
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verification(Result):
    """Whether a recording is of the speaker that it is said to be of."""

    source: str
    speaker: str
    accepted: bool
    distance: float
    threshold: Threshold
    quality: Quality
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ComparedPair(Result):
    """Two recordings and their distance; `same_speaker` where it is at most the threshold."""

    first: str
    second: str
    distance: float
    same_speaker: bool


@dataclass(frozen=True)
class Comparison(Result):
    """Every pair of some recordings."""

    pairs: list[ComparedPair]
    threshold: Threshold
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class EnrollmentInfo(Result):
    """One recording as listed."""

    id: int
    source: str
    net_speech_s: float
    quality: dict[str, Any]
    created: str


@dataclass(frozen=True)
class SpeakerInfo(Result):
    """One speaker as listed; `recordings` only where asked for."""

    speaker: str
    enrollments: int
    net_speech_s: float
    created: str
    recordings: list[EnrollmentInfo] = field(default_factory=list)


@dataclass(frozen=True)
class Renamed(Result):
    """A speaker's names before and after."""

    before: str
    after: str


@dataclass(frozen=True)
class Removed(Result):
    """What was removed.

    Attributes:
        speaker_removed: False where recordings of the speaker remain.
        log_erased: False where another process was reading, so that SQLite's log holds the vectors until it is
            done; `speakerdb check` erases them then.
    """

    speaker: str
    enrollments: int
    speaker_removed: bool
    log_erased: bool


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
class Rebuilt(Result):
    """An index made anew from the database."""

    speakers: int
    kind: str
