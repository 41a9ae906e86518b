"""The figures of one list: those of PEERS' tables, their intervals, and groups of pairs. Rates are in percent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.errors import InputError
from speakerdb.metrics import (
    ErrorCounts,
    Interval,
    rank_one_rate,
    search_intervals,
    tpir_at_fpir,
    verification_intervals,
)
from speakerdb.trials import Scores, TrialTable, Vectors, score_open_set
from speakerdb.trials.scoring import voiceprints
from training.evaluation.clips import Facts
from training.evaluation.lists import Lists

SPECIFICITY = 0.983
"""At which SpeechIdentity states its sensitivity."""
FPIR = 0.01

PAIR_FIGURES: dict[str, Callable[[ErrorCounts], float]] = {
    "eer": lambda counts: 100 * counts.equal_error_rate().rate,
    "auc": lambda counts: counts.roc_auc(),
    "sensitivity_at_specificity_98.3": lambda counts: 100 * counts.at_specificity(SPECIFICITY).sensitivity,
    "min_dcf_0.05": lambda counts: counts.min_dcf(0.05).cost,
    "min_dcf_0.01": lambda counts: counts.min_dcf(0.01).cost,
}
DIGITS = {"auc": 4, "min_dcf_0.05": 3, "min_dcf_0.01": 3}
"""Behind the point; 2 for rates in percent."""


@dataclass(frozen=True)
class Threshold:
    """At which sensitivity and specificity are stated: a score (−distance), and where it was chosen."""

    score: float
    origin: str


@dataclass(frozen=True, eq=False)
class ScoredTrials:
    """Trials with their scores, and the speaker on either side ("" where nobody knows)."""

    table: TrialTable
    values: npt.NDArray[np.float64]
    first_speakers: list[str]
    second_speakers: list[str]

    @property
    def scores(self) -> Scores:
        """By class."""
        return Scores.of(self.values, self.table.target)


@dataclass
class Report:
    """What was measured on a list.

    Attributes:
        figures: name → value. intervals: name → lowest and highest of 95 %, for the figures that have one.
        counts: of targets, nontargets and so on. groups: by what → group → counts and EER.
        notes: what is not stated, and why.
    """

    name: str
    figures: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    threshold: Threshold | None = None
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a list's figures lie flat beside its name."""
        threshold = None
        if self.threshold is not None:
            threshold = {"score": self.threshold.score, "origin": self.threshold.origin}
        return {
            "list": self.name,
            **self.figures,
            "threshold": threshold,
            "counts": self.counts,
            "intervals_95": self.intervals,
            **self.groups,
            "notes": self.notes,
        }

    def add(self, figures: Mapping[str, float], intervals: Mapping[str, Interval | None]) -> None:
        """Rounded figures, with their intervals where there are any."""
        for name, value in figures.items():
            self.figures[name] = round(float(value), DIGITS.get(name, 2))
        for name, interval in intervals.items():
            if interval is not None:
                self.intervals[name] = [round(end, DIGITS.get(name, 2)) for end in (interval.low, interval.high)]


Watch = Callable[[str], Callable[[Iterable[int]], Iterable[int]]]
"""What is drawn → what shows how far the draws are."""


@dataclass(frozen=True)
class Bootstrap:
    """How many draws; none where 0."""

    draws: int = 0
    watch: Watch = lambda what: iter


NO_DRAWS = Bootstrap()


def score_pairs_of(lists: Lists, vectors: Vectors, facts: Mapping[str, Facts]) -> ScoredTrials:
    """Clip against clip."""
    return with_speakers(lists.pairs, lists.pairs.scores(vectors, vectors), facts)


def with_speakers(table: TrialTable, values: npt.NDArray[np.float64], facts: Mapping[str, Facts]) -> ScoredTrials:
    """Pairs with the speakers of their clips."""
    return ScoredTrials(
        table, values, [facts[clip].speaker for clip in table.firsts], [facts[clip].speaker for clip in table.seconds]
    )


def score_models_of(lists: Lists, vectors: Vectors, facts: Mapping[str, Facts]) -> ScoredTrials | None:
    """Clip against model; None without such lists. A model's speaker is that of its first clip."""
    table = lists.model_trials
    if table is None:
        return None
    speaker_of = {model.name: facts[model.clips[0]].speaker for model in lists.models}
    values = table.scores(voiceprints(lists.models, table, vectors), vectors)
    tested = [facts[clip].speaker for clip in table.seconds]
    return ScoredTrials(table, values, [speaker_of[name] for name in table.firsts], tested)


def measure_pairs(report: Report, pairs: ScoredTrials, threshold: Threshold | None, bootstrap: Bootstrap) -> None:
    """Figures of clip against clip, at the threshold too where there is one."""
    figures = dict(PAIR_FIGURES)
    if threshold is not None:
        report.threshold = threshold
        figures["sensitivity"] = lambda counts: 100 * counts.at(threshold.score).sensitivity
        figures["specificity"] = lambda counts: 100 * counts.at(threshold.score).specificity
    _measure(report, pairs, "pairs", figures, bootstrap)


def measure_models(report: Report, models: ScoredTrials, bootstrap: Bootstrap) -> None:
    """The EER with several clips enrolled."""
    figures = {"eer_models": lambda counts: 100 * counts.equal_error_rate().rate}
    _measure(report, models, "model trials", figures, bootstrap)


def _measure(
    report: Report,
    trials: ScoredTrials,
    what: str,
    figures: Mapping[str, Callable[[ErrorCounts], float]],
    bootstrap: Bootstrap,
) -> None:
    scores = trials.scores
    prefix = "" if what == "pairs" else "model_"
    report.counts |= {f"{prefix}targets": len(scores.target), f"{prefix}nontargets": len(scores.nontarget)}
    for name, values in (("targets", scores.target), ("nontargets", scores.nontarget)):
        if not len(values):
            raise InputError(f"{report.name}: no {name} among the {what}; error rates need both")
    counts = ErrorCounts.of(scores.target, scores.nontarget)
    intervals: dict[str, Interval | None] = {}
    if bootstrap.draws:
        speakers = _speakers(trials, report, what)
        if speakers is not None:
            watch = bootstrap.watch(f"{report.name}, {what}")
            intervals = verification_intervals(
                scores.target, scores.nontarget, *speakers, figures, draws=bootstrap.draws, watch=watch
            )
    report.add({name: figure(counts) for name, figure in figures.items()}, intervals)


def _speakers(
    trials: ScoredTrials, report: Report, what: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Who takes part in each trial; None, with a note, where that is not known."""
    names = sorted({*trials.first_speakers, *trials.second_speakers})
    rows = {name: row for row, name in enumerate(names)}
    table = trials.table
    first = np.array([rows[name] for name in trials.first_speakers], np.int64)[table.first]
    second = np.array([rows[name] for name in trials.second_speakers], np.int64)[table.second]
    if "" in rows:
        report.notes.append(f"{what}: no intervals, since not every clip's speaker is known")
        return None
    if np.any((first == second) != table.target):
        wrong = int(np.count_nonzero((first == second) != table.target))
        report.notes.append(f"{what}: no intervals, since {wrong} labels contradict the clips' speakers")
        return None
    return first[table.target], np.stack([first, second], axis=1)[~table.target]


def measure_searches(
    report: Report, lists: Lists, vectors: Vectors, facts: Mapping[str, Facts], bootstrap: Bootstrap
) -> None:
    """TPIR at FPIR 1 % and rank one of open-set searches, where there are such lists."""
    if not lists.probes:
        return
    found = score_open_set(lists.gallery, lists.probes, vectors)
    report.counts |= {
        "gallery": len(lists.gallery),
        "mated": len(found.mated_scores),
        "nonmated": len(found.nonmated_scores),
    }
    if not len(found.mated_scores) or not len(found.nonmated_scores):
        raise InputError(f"{report.name}: open-set searches need enrolled people and strangers among the probes")
    tpir = tpir_at_fpir(found.mated_scores, found.mated_ranks, found.nonmated_scores, FPIR)
    intervals: dict[str, Interval | None] = {}
    mated = [facts[probe.clip].speaker for probe in lists.probes if probe.speaker is not None]
    strangers = [facts[probe.clip].speaker for probe in lists.probes if probe.speaker is None]
    if bootstrap.draws and "" in {*mated, *strangers}:
        report.notes.append("searches: no intervals, since not every clip's speaker is known")
    elif bootstrap.draws:
        rows = {name: row for row, name in enumerate(sorted({*mated, *strangers}))}
        drawn = search_intervals(
            found.mated_scores,
            found.mated_ranks,
            found.nonmated_scores,
            [rows[name] for name in mated],
            [rows[name] for name in strangers],
            FPIR,
            draws=bootstrap.draws,
            watch=bootstrap.watch(f"{report.name}, searches"),
        )
        intervals = {"tpir_at_fpir_1": _percent(drawn["tpir"]), "rank_1": _percent(drawn["rank_1"])}
    figures = {"tpir_at_fpir_1": 100 * tpir.tpir, "rank_1": 100 * rank_one_rate(found.mated_ranks)}
    report.add(figures, intervals)


def _percent(interval: Interval | None) -> Interval | None:
    return interval and Interval(100 * interval.low, 100 * interval.high)
