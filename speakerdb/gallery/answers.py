"""Who speaks, how sure that is, and what was learnt from users' word on it: `results.Result`s."""

from __future__ import annotations

from dataclasses import dataclass, field

from speakerdb.decision.threshold import Threshold
from speakerdb.gallery.results import Result
from speakerdb.speech import Quality


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
        ahead: the second's distance less the likeliest's, negative where scores rank against distances; None where
            there is no second.
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

    def __bool__(self) -> bool:
        """Whether somebody was named."""
        return self.speaker is not None


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

    def __bool__(self) -> bool:
        """As `accepted`: `if gallery.verify(...)` must let nobody in who was rejected."""
        return self.accepted


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
class FeedbackKept(Result):
    """What was said of a decision: comparisons of one speaker and of two that it made known; totals of all so far."""

    decision: str
    targets: int
    nontargets: int
    all_targets: int
    all_nontargets: int


@dataclass(frozen=True)
class CalibratedRate(Result):
    """Error rates of a gallery's own trials at the line for an FMR, by the calibration before and by the new one.

    Attributes: shown: whether there are trials of strangers enough to show so rare a rate.
    """

    fmr: float
    shown: bool
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
    warnings: list[str] = field(default_factory=list)
