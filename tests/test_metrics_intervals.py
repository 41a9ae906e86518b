"""Intervals by drawing speakers, against lists in which every drawn trial is written out as often as it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from speakerdb.metrics import (
    ErrorCounts,
    equal_error_rate,
    min_dcf,
    rank_one_rate,
    roc_auc,
    search_intervals,
    tpir_at_fpir,
    verification_intervals,
)

FIGURES: dict[str, Callable[[ErrorCounts], float]] = {
    "eer": lambda counts: counts.equal_error_rate().rate,
    "cost": lambda counts: counts.min_dcf(0.05).cost,
    "auc": ErrorCounts.roc_auc,
}
DRAWS = 40


def some_trials(seed: int, speakers: int = 9, decimals: int = 1) -> dict[str, np.ndarray]:
    """Trials of a few speakers, coarsely rounded so that there are ties."""
    rng = np.random.default_rng(seed)
    both = np.array([rng.choice(speakers, 2, replace=False) for _ in range(60)])
    return {
        "target": rng.normal(1.0, 1.0, 30).round(decimals),
        "nontarget": rng.normal(0.0, 1.0, 60).round(decimals),
        "target_speakers": rng.integers(speakers, size=30),
        "nontarget_speakers": both,
    }


def times_drawn(speakers: int, draws: int) -> list[np.ndarray]:
    """The same draws as the module's, which begin from the seed 0: how often each speaker, by rising id."""
    rng = np.random.default_rng(0)
    return [np.bincount(rng.integers(speakers, size=speakers), minlength=speakers) for _ in range(draws)]


@pytest.mark.parametrize("seed", range(3))
def test_intervals_are_those_of_lists_written_out(seed: int) -> None:
    trials = some_trials(seed)
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    for times in times_drawn(9, DRAWS):
        target = [s for s, a in zip(trials["target"], trials["target_speakers"], strict=True) for _ in range(times[a])]
        nontarget = [
            score
            for score, (a, b) in zip(trials["nontarget"], trials["nontarget_speakers"], strict=True)
            for _ in range(times[a] * times[b])
        ]
        found["eer"].append(equal_error_rate(target, nontarget).rate)
        found["cost"].append(min_dcf(target, nontarget, 0.05).cost)
        found["auc"].append(roc_auc(target, nontarget))
    intervals = verification_intervals(**trials, figures=FIGURES, draws=DRAWS)
    for name, values in found.items():
        interval = intervals[name]
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-12)


def test_intervals_of_searches_are_those_of_lists_written_out() -> None:
    rng = np.random.default_rng(5)
    mated, strangers = rng.normal(1.0, 1.0, 40).round(1), rng.normal(0.0, 1.0, 50).round(1)
    ranks, of_mated, of_strangers = rng.integers(1, 3, 40), rng.integers(6, size=40), rng.integers(6, 12, size=50)
    tpir, rank_1 = [], []
    for times in times_drawn(12, DRAWS):
        rows, others = np.repeat(np.arange(40), times[of_mated]), np.repeat(np.arange(50), times[of_strangers])
        tpir.append(tpir_at_fpir(mated[rows], ranks[rows], strangers[others], 0.1).tpir)
        rank_1.append(rank_one_rate(ranks[rows]))
    found = search_intervals(mated, ranks, strangers, of_mated, of_strangers, 0.1, draws=DRAWS)
    for name, values in {"tpir": tpir, "rank_1": rank_1}.items():
        interval = found[name]
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-12)


def test_the_same_seed_gives_the_same_intervals_and_names_of_speakers_do_not_matter() -> None:
    trials = some_trials(1)
    named = {**trials, **{name: trials[name].astype(str) for name in ("target_speakers", "nontarget_speakers")}}
    once, again, by_name = (verification_intervals(**t, figures=FIGURES, draws=DRAWS) for t in (trials, trials, named))
    assert once == again == by_name


def test_a_speaker_whose_trials_are_many_widens_the_interval() -> None:
    rng = np.random.default_rng(2)
    speakers = 200
    nontarget = {
        "nontarget": rng.normal(0.0, 1.0, 2_000),
        "nontarget_speakers": np.array([rng.choice(speakers, 2, replace=False) for _ in range(2_000)]),
    }
    voice = rng.normal(2.0, 1.0, speakers)  # one value a speaker: all their trials err together
    few = rng.integers(8, size=400)
    many = np.arange(400) % speakers
    widths = []
    for of_target in (few, many):
        trials = {"target": voice[of_target], "target_speakers": of_target, **nontarget}
        interval = verification_intervals(**trials, figures={"eer": FIGURES["eer"]}, draws=200)["eer"]
        assert interval is not None
        widths.append(interval.high - interval.low)
    assert widths[0] > 2 * widths[1]


def test_too_few_speakers_leave_no_interval() -> None:
    trials = {"target": [1.0], "target_speakers": [0], "nontarget": [0.0], "nontarget_speakers": [[1, 2]]}
    assert verification_intervals(**trials, figures=FIGURES, draws=DRAWS) == dict.fromkeys(FIGURES)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target": []}, "no target scores"),
        ({"nontarget": [np.nan] * 60}, "NaN"),
        ({"target_speakers": [1, 2]}, "speakers are"),
        ({"nontarget_speakers": [[3, 3]] * 60}, "one speaker on both sides"),
    ],
)
def test_trials_that_allow_no_interval_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        verification_intervals(**{**some_trials(0), **changed}, figures=FIGURES, draws=2)
