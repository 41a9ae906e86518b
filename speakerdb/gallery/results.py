"""What the gallery does and answers: frozen dataclasses, the same in Python and, by `to_json`, in `--json`.

Enrolling and listing here; `answers` of who speaks, `reports` of a gallery and what is done to it. `warnings` holds a
line for each recording that was heard otherwise than it should be (docs/formats.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from speakerdb.errors import SpeakerdbError
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
    """A recording that was enrolled; `id` is what `remove_enrollment` takes; quality: `high`, `fair` or `low`."""

    id: int
    source: str
    net_speech_s: float
    quality: str


@dataclass(frozen=True)
class RefusedRecording(Result):
    """A recording or claim that was passed over (`keep_going`, a manifest, a list), and the error in full.

    Attributes: speaker: whose it was said to be; None where nobody was named.
    """

    source: str
    error: dict[str, Any]
    speaker: str | None = None

    @staticmethod
    def of(error: SpeakerdbError, source: str, speaker: str | None = None) -> RefusedRecording:
        """What was passed over for this error."""
        return RefusedRecording(source, error.to_json(), speaker)

    def in_line(self, number: int) -> RefusedRecording:
        """The same, where it stands in a list."""
        told = {"message": f"line {number}: {self.error['message']}", "line": number}
        return replace(self, error=self.error | told)


@dataclass(frozen=True)
class Enrolled(Result):
    """What an enrollment did.

    Attributes:
        new_speaker: whether the name is new; total: the speaker's recordings now.
        total_speech_s: their net speech; enrollment_complete: whether more would make answers no surer.
    """

    speaker: str
    new_speaker: bool
    enrolled: list[EnrolledRecording]
    refused: list[RefusedRecording]
    total: int
    total_speech_s: float
    enrollment_complete: bool
    warnings: list[str] = field(default_factory=list)

    @property
    def net_speech_s(self) -> float:
        """Seconds of speech enrolled."""
        return sum(recording.net_speech_s for recording in self.enrolled)


@dataclass(frozen=True)
class EnrolledMany(Result):
    """What enrolling by a manifest did.

    Attributes: speakers, recordings: that were enrolled; net_speech_s: of these. known: recordings that were enrolled
        before, under that name and path, and were not heard again.
    """

    speakers: int
    recordings: int
    net_speech_s: float
    known: int
    refused: list[RefusedRecording]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class EnrollmentInfo(Result):
    """One recording as listed; `audio_kept` says whether its sound lies in the gallery."""

    id: int
    source: str
    net_speech_s: float
    quality: dict[str, Any]
    created: str
    audio_kept: bool


@dataclass(frozen=True)
class SpeakerInfo(Result):
    """One speaker as listed; `recordings` only where asked for."""

    speaker: str
    enrollments: int
    net_speech_s: float
    created: str
    recordings: list[EnrollmentInfo] = field(default_factory=list)
