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
    """A recording that was enrolled; `id` is what `remove_enrollment` takes; quality: `high`, `fair` or `low`."""

    id: int
    source: str
    net_speech_s: float
    quality: str


@dataclass(frozen=True)
class RefusedRecording(Result):
    """A recording that was passed over with `keep_going`, and the error in full."""

    source: str
    error: dict[str, Any]


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


@dataclass(frozen=True)
class Neighbour(Result):
    """A speaker and the distance of a vector to the voiceprint, 0 to 2."""

    speaker: str
    distance: float


@dataclass(frozen=True)
class Candidate(Result):
    """A speaker beside the probe.

    Attributes:
        id: the speaker's, which a rename does not change.
        distance: of the probe to the voiceprint, 0 to 2.
        llr: natural log-likelihood ratio of "the same person"; None where the encoder is not calibrated.
        threshold: the distance up to which this speaker would be named.
        recordings, net_speech_s: what the voiceprint is the average of.
    """

    speaker: str
    id: int
    distance: float
    llr: float | None
    threshold: float
    recordings: int
    net_speech_s: float


@dataclass(frozen=True)
class Identification(Result):
    """Who speaks, as far as the gallery knows.

    Attributes:
        outcome: `accepted`, `unknown`, or `inconclusive` where a margin was asked for.
        speaker: the likeliest where accepted, else None.
        distance, llr, threshold: of the likeliest, whoever that is; threshold_llr: the LLR at the threshold.
        ahead: by how much the second's distance is larger; None where there is no second.
        candidates: the likeliest speakers, one row a person, the likeliest first.
        decision: the id that `feedback` takes.
    """

    source: str
    outcome: str
    speaker: str | None
    distance: float
    llr: float | None
    threshold: Threshold
    threshold_llr: float | None
    ahead: float | None
    candidates: list[Candidate]
    quality: Quality
    decision: str
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verification(Result):
    """Whether a recording is of the speaker that it is said to be of.

    Attributes:
        outcome: `accepted`, `rejected`, or `inconclusive` where a margin was asked for.
        threshold_llr: the LLR at the threshold.
        recordings, enrolled_s: what the voiceprint is the average of, and its seconds of net speech.
        decision: the id that `feedback` takes.
    """

    source: str
    speaker: str
    outcome: str
    accepted: bool
    distance: float
    llr: float | None
    threshold: Threshold
    threshold_llr: float | None
    recordings: int
    enrolled_s: float
    quality: Quality
    decision: str
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ComparedPair(Result):
    """Two recordings and their distance; `same_speaker` where it is at most the threshold for these two."""

    first: str
    second: str
    distance: float
    llr: float | None
    threshold: float
    same_speaker: bool


@dataclass(frozen=True)
class Comparison(Result):
    """Every pair of some recordings; `origin` and `fmr` as in `Threshold`."""

    pairs: list[ComparedPair]
    origin: str
    fmr: float | None
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
        calibration_taken: whether this gallery decides by the archive's calibration now; only one without people does.
    """

    speakers: int
    recordings: int
    merged: list[str]
    renamed: dict[str, str]
    skipped: list[str]
    already: int
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
        log_erased: False where another process was reading, so that SQLite's log holds the vectors until it is
            done; `speakerdb check` erases them then.
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
class FeedbackKept(Result):
    """What was said of a decision: comparisons of one speaker and of two that it made known; totals of all so far."""

    decision: str
    targets: int
    nontargets: int
    all_targets: int
    all_nontargets: int


@dataclass(frozen=True)
class CalibratedRate(Result):
    """Error rates of a gallery's own trials at the line for an FMR, by the calibration before and by the new one."""

    fmr: float
    fmr_before: float | None
    fmr_after: float
    fnmr_before: float | None
    fnmr_after: float


@dataclass(frozen=True)
class ChangedAnswer(Result):
    """A recording that one calibration accepts as its speaker's and the other rejects."""

    speaker: str
    source: str
    before: str
    after: str


@dataclass(frozen=True)
class Calibrated(Result):
    """A gallery's own calibration.

    Attributes:
        applied: False after a dry run. origin: which trials, how many. targets, nontargets: of those.
        feedback: how many answers of users were used; feedback_waiting: too few of them yet.
        rates: at the FMR asked for, ten times it and a tenth. changed: whose recordings fare differently.
    """

    applied: bool
    origin: str
    targets: int
    nontargets: int
    feedback: int
    feedback_waiting: int
    rates: list[CalibratedRate]
    changed: list[ChangedAnswer]


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
