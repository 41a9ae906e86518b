"""Each figure against a twin that tries every threshold in a plain loop, with ties drawn often."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb.metrics import (
    equal_error_rate,
    error_rates,
    min_dcf,
    rank_one_rate,
    roc_auc,
    sensitivity_at_specificity,
    sensitivity_specificity,
    tpir_at_fpir,
)

# Few distinct whole numbers: most lists hold ties within and between the classes.
scores = st.lists(st.integers(-4, 4), min_size=1, max_size=25)
shares = st.sampled_from([0.0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.9, 0.983, 1.0])
metrics_of_two_classes: list[Callable[..., object]] = [
    error_rates,
    equal_error_rate,
    min_dcf,
    roc_auc,
    sensitivity_at_specificity,
    lambda target, nontarget: sensitivity_specificity(target, nontarget, 0.0),
]


def every_threshold(*classes: list[int]) -> list[float]:
    return [-math.inf, *sorted({float(score) for scores in classes for score in scores}), math.inf]


def share_at_or_above(scores: list[int], threshold: float) -> Fraction:
    return Fraction(sum(1 for score in scores if score >= threshold), len(scores))


def points(target: list[int], nontarget: list[int]) -> list[tuple[float, Fraction, Fraction]]:
    """(threshold, FMR, FNMR), one a threshold."""
    return [
        (threshold, share_at_or_above(nontarget, threshold), 1 - share_at_or_above(target, threshold))
        for threshold in every_threshold(target, nontarget)
    ]


def eer_by_geometry(target: list[int], nontarget: list[int]) -> float:
    """Where the line FMR = FNMR cuts the polygon through all points."""
    curve = [(fmr, fnmr) for _, fmr, fnmr in points(target, nontarget)]
    for (fmr, fnmr), (next_fmr, next_fnmr) in pairwise(curve):
        if fnmr <= fmr and next_fnmr >= next_fmr and (fmr, fnmr) != (next_fmr, next_fnmr):
            # fmr + s·Δfmr = fnmr + s·Δfnmr
            s = (fmr - fnmr) / ((next_fnmr - fnmr) - (next_fmr - fmr))
            return float(fmr + s * (next_fmr - fmr))
    raise AssertionError("the two ends lie on both sides of the line")


@given(scores, scores)
def test_error_rates_are_the_shares_counted_at_every_threshold(target: list[int], nontarget: list[int]) -> None:
    rates = error_rates(target, nontarget)
    counted = points(target, nontarget)
    assert rates.thresholds.tolist() == [threshold for threshold, _, _ in counted]
    assert rates.fmr.tolist() == [float(fmr) for _, fmr, _ in counted]
    assert rates.fnmr.tolist() == pytest.approx([float(fnmr) for _, _, fnmr in counted], abs=1e-15)


def test_error_rates_begin_with_all_accepted_and_end_with_all_rejected() -> None:
    rates = error_rates([1.0, 2.0], [0.0])
    assert (rates.thresholds[0], rates.fmr[0], rates.fnmr[0]) == (-math.inf, 1.0, 0.0)
    assert (rates.thresholds[-1], rates.fmr[-1], rates.fnmr[-1]) == (math.inf, 0.0, 1.0)


@given(scores, scores)
def test_equal_error_rate_is_where_the_diagonal_cuts_the_curve(target: list[int], nontarget: list[int]) -> None:
    assert equal_error_rate(target, nontarget).rate == pytest.approx(eer_by_geometry(target, nontarget), abs=1e-12)


@given(scores, scores)
def test_no_observed_threshold_brings_the_rates_nearer_than_that_of_the_equal_error_rate(
    target: list[int], nontarget: list[int]
) -> None:
    threshold = equal_error_rate(target, nontarget).threshold
    gaps = {threshold: abs(fnmr - fmr) for threshold, fmr, fnmr in points(target, nontarget)}
    assert math.isfinite(threshold)
    assert gaps[threshold] == min(gaps.values())


@given(scores, scores)
def test_equal_error_rate_keeps_its_value_under_a_rising_function(target: list[int], nontarget: list[int]) -> None:
    def stretch(scores: list[int]) -> list[float]:
        return [math.exp(score) + 7.0 for score in scores]

    original = equal_error_rate(target, nontarget)
    stretched = equal_error_rate(stretch(target), stretch(nontarget))
    assert stretched.rate == original.rate
    assert stretched.threshold == stretch([int(original.threshold)])[0]


@given(scores, scores)
def test_equal_error_rate_keeps_its_value_when_the_classes_swap_and_the_scores_are_mirrored(
    target: list[int], nontarget: list[int]
) -> None:
    mirrored = equal_error_rate([-score for score in nontarget], [-score for score in target])
    assert mirrored.rate == pytest.approx(equal_error_rate(target, nontarget).rate, abs=1e-12)


def test_equal_error_rate_worked_out_by_hand() -> None:
    # At 3: FMR 1/4, FNMR 0; at 4: FMR 1/4, FNMR 1/3. On the line between, FMR stays 1/4.
    found = equal_error_rate([3.0, 5.0, 6.0], [0.0, 1.0, 2.0, 4.0])
    assert found.rate == pytest.approx(0.25)
    assert found.threshold == 4.0  # |1/3 − 1/4| < |0 − 1/4|


@given(scores, scores, st.sampled_from([0.01, 0.05, 0.5, 0.9]), st.sampled_from([(1.0, 1.0), (10.0, 1.0)]))
def test_min_dcf_is_the_least_cost_of_any_threshold(
    target: list[int], nontarget: list[int], p_target: float, costs: tuple[float, float]
) -> None:
    miss, false_alarm = costs[0] * p_target, costs[1] * (1 - p_target)
    normalised = {
        threshold: (miss * fnmr + false_alarm * fmr) / min(miss, false_alarm)
        for threshold, fmr, fnmr in points(target, nontarget)
    }
    found = min_dcf(target, nontarget, p_target, *costs)
    assert found.cost == pytest.approx(min(normalised.values()), abs=1e-12)
    assert normalised[found.threshold] == pytest.approx(found.cost, abs=1e-12)
    assert found.cost <= 1.0


def test_min_dcf_worked_out_by_hand() -> None:
    # At 4 one of four targets is missed and no nontarget accepted: (0.05 · 0.25) / 0.05.
    assert min_dcf([1.0, 4.0, 5.0, 6.0], [0.0, 2.0, 3.0]).cost == pytest.approx(0.25)
    assert min_dcf([1.0, 4.0, 5.0, 6.0], [0.0, 2.0, 3.0]).threshold == 4.0


def test_min_dcf_of_a_useless_system_is_that_of_rejecting_all_or_of_accepting_all() -> None:
    assert min_dcf([0.0], [1.0], p_target=0.05) == min_dcf([5.0], [9.0, 9.0], p_target=0.01)
    assert min_dcf([0.0], [1.0], p_target=0.05).threshold == math.inf
    accept_all = min_dcf([0.0], [1.0], p_target=0.95)
    assert (accept_all.cost, accept_all.threshold) == (1.0, 0.0)


@given(scores, scores)
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(target: list[int], nontarget: list[int]) -> None:
    right = sum((t > n) + 0.5 * (t == n) for t in target for n in nontarget)
    assert roc_auc(target, nontarget) == pytest.approx(right / (len(target) * len(nontarget)), abs=1e-12)


@given(scores, scores, st.sampled_from([-math.inf, -5.0, -1.0, 0.0, 0.5, 4.0, math.inf]))
def test_sensitivity_and_specificity_count_a_score_on_the_threshold_as_accepted(
    target: list[int], nontarget: list[int], threshold: float
) -> None:
    point = sensitivity_specificity(target, nontarget, threshold)
    assert point.threshold == threshold
    assert point.sensitivity == float(share_at_or_above(target, threshold))
    assert point.specificity == float(1 - share_at_or_above(nontarget, threshold))


@given(scores, scores, shares)
def test_sensitivity_at_specificity_is_the_largest_that_any_fitting_threshold_has(
    target: list[int], nontarget: list[int], specificity: float
) -> None:
    fitting = [
        1 - fnmr for _, fmr, fnmr in points(target, nontarget) if float(1 - fmr) >= specificity
    ]  # never empty: +inf rejects all
    found = sensitivity_at_specificity(target, nontarget, specificity)
    assert found.sensitivity == float(max(fitting))
    assert found.specificity >= specificity
    assert found == sensitivity_specificity(target, nontarget, found.threshold)


def test_a_specificity_met_exactly_is_met() -> None:
    # 2 of 10 rejected is 0.2; taken as 1 − FMR it would be 1 − 0.8 = 0.19999999999999996 and fall short.
    found = sensitivity_at_specificity([2.0], list(range(10)), 0.2)
    assert (found.threshold, found.sensitivity, found.specificity) == (2.0, 1.0, 0.2)


searches = st.lists(st.tuples(st.integers(-4, 4), st.integers(1, 3)), min_size=1, max_size=25)


@given(searches, scores, shares)
def test_tpir_is_counted_at_the_lowest_threshold_that_few_enough_strangers_reach(
    mated: list[tuple[int, int]], strangers: list[int], fpir: float
) -> None:
    mated_scores, ranks = [score for score, _ in mated], [rank for _, rank in mated]
    threshold = min(
        threshold
        for threshold in every_threshold(mated_scores, strangers)
        if float(share_at_or_above(strangers, threshold)) <= fpir
    )
    hits = sum(1 for score, rank in mated if rank == 1 and score >= threshold)
    found = tpir_at_fpir(mated_scores, ranks, strangers, fpir)
    assert found.threshold == threshold
    assert found.tpir == hits / len(mated)
    assert found.fpir_observed == float(share_at_or_above(strangers, threshold)) <= fpir


def test_tpir_worked_out_by_hand() -> None:
    # Of 100 strangers one may pass at 1 %: that at 99. The threshold is the next score above 98.
    found = tpir_at_fpir([98.0, 98.5, 200.0, 300.0], [1, 1, 1, 2], list(range(100)))
    assert (found.threshold, found.tpir, found.fpir_observed) == (98.5, 0.5, 0.01)


def test_tpir_with_strangers_who_tie_lets_none_of_them_through_where_one_would_be_too_many() -> None:
    found = tpir_at_fpir([5.0, 6.0], [1, 1], [5.0] * 100)
    assert (found.threshold, found.tpir, found.fpir_observed) == (6.0, 0.5, 0.0)


def test_tpir_is_zero_where_strangers_score_above_everybody() -> None:
    found = tpir_at_fpir([1.0, 2.0], [1, 1], [3.0], fpir=0.0)
    assert (found.threshold, found.tpir, found.fpir_observed) == (math.inf, 0.0, 0.0)


def test_rank_one_rate_counts_first_places() -> None:
    assert rank_one_rate([1, 2, 1, 7]) == 0.5


def test_separated_scores_have_no_error() -> None:
    target, nontarget = [0.5, 0.75, 1.0], [-1.0, 0.0, 0.25]
    assert equal_error_rate(target, nontarget).rate == 0.0
    assert equal_error_rate(target, nontarget).threshold == 0.5
    assert min_dcf(target, nontarget).cost == 0.0
    assert roc_auc(target, nontarget) == 1.0
    assert sensitivity_at_specificity(target, nontarget, 1.0).sensitivity == 1.0
    assert tpir_at_fpir(target, [1, 1, 1], nontarget, fpir=0.0).tpir == 1.0


def test_reversed_scores_are_wrong_throughout() -> None:
    assert equal_error_rate([0.0, 1.0], [2.0, 3.0]).rate == 1.0
    assert roc_auc([0.0, 1.0], [2.0, 3.0]) == 0.0


@pytest.mark.parametrize("targets, nontargets", [(1, 1), (3, 50), (50, 3)])
def test_tied_scores_tell_nothing(targets: int, nontargets: int) -> None:
    target, nontarget = [1.0] * targets, [1.0] * nontargets
    assert equal_error_rate(target, nontarget).rate == 0.5
    assert equal_error_rate(target, nontarget).threshold == 1.0
    assert min_dcf(target, nontarget).cost == 1.0
    assert roc_auc(target, nontarget) == 0.5
    assert sensitivity_at_specificity(target, nontarget).sensitivity == 0.0


@given(scores, scores, st.randoms(use_true_random=False))
def test_the_order_of_trials_never_matters(target: list[int], nontarget: list[int], rng: random.Random) -> None:
    shuffled_target = rng.sample(target, len(target))
    shuffled_nontarget = rng.sample(nontarget, len(nontarget))
    for metric in (equal_error_rate, min_dcf, roc_auc, sensitivity_at_specificity):
        assert metric(shuffled_target, shuffled_nontarget) == metric(target, nontarget)


def test_the_callers_arrays_are_left_as_they_were() -> None:
    target, nontarget = np.array([3.0, 1.0]), np.array([2.0, 0.0])
    equal_error_rate(target, nontarget)
    tpir_at_fpir(target, [1, 1], nontarget)
    assert target.tolist() == [3.0, 1.0]
    assert nontarget.tolist() == [2.0, 0.0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [1, 12], ids=["many ties", "no ties"])
def test_equal_error_rate_and_auc_agree_with_scikit_learn(seed: int, decimals: int) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with the extra `train`")
    rng = np.random.default_rng(seed)
    target = rng.normal(1.0, 1.0, 300).round(decimals)
    nontarget = rng.normal(-1.0, 1.0, 1700).round(decimals)
    labels = np.concatenate([np.ones(300), np.zeros(1700)])
    both = np.concatenate([target, nontarget])
    fpr, tpr, _ = sklearn_metrics.roc_curve(labels, both, drop_intermediate=False)
    # FPR − FNMR rises strictly along the curve, so it can be inverted at 0.
    expected = np.interp(0.0, fpr - (1.0 - tpr), fpr)
    assert equal_error_rate(target, nontarget).rate == pytest.approx(expected, abs=1e-12)
    assert roc_auc(target, nontarget) == pytest.approx(sklearn_metrics.roc_auc_score(labels, both), abs=1e-12)


@pytest.mark.parametrize("metric", metrics_of_two_classes)
@pytest.mark.parametrize(
    "target, nontarget, said",
    [
        ([], [], "no target scores"),
        ([], [1.0], "no target scores"),
        ([1.0], [], "no nontarget scores"),
        ([math.nan], [1.0], "target scores hold NaN"),
        ([1.0], [0.0, math.nan], "nontarget scores hold NaN"),
        ([math.inf], [0.0], "target scores hold NaN or infinity"),
        ([[1.0]], [0.0], r"target scores have shape \(1, 1\)"),
        ([1.0], 0.0, r"nontarget scores have shape \(\)"),
    ],
)
def test_scores_that_allow_no_figure_are_refused(
    metric: Callable[..., object], target: object, nontarget: object, said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        metric(target, nontarget)


@pytest.mark.parametrize(
    "mated, ranks, strangers, said",
    [
        ([], [], [0.0], "no mated scores"),
        ([1.0], [1], [], "no nonmated scores"),
        ([1.0], [], [0.0], "no ranks"),
        ([1.0, 2.0], [1], [0.0], "2 mated scores but 1 ranks"),
        ([math.nan], [1], [0.0], "mated scores hold NaN"),
        ([1.0], [1], [math.nan], "nonmated scores hold NaN"),
        ([1.0], [0], [0.0], "ranks are whole numbers from 1"),
        ([1.0], [1.5], [0.0], "ranks are whole numbers from 1"),
    ],
)
def test_searches_that_allow_no_figure_are_refused(
    mated: list[float], ranks: list[float], strangers: list[float], said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        tpir_at_fpir(mated, ranks, strangers)


@pytest.mark.parametrize("ranks", [[], [0], [1.5], [[1]], [math.nan]])
def test_ranks_that_are_none_are_refused(ranks: list[float]) -> None:
    with pytest.raises(ValueError, match="rank"):
        rank_one_rate(ranks)


@pytest.mark.parametrize(
    "ask, said",
    [
        (lambda: min_dcf([1.0], [0.0], p_target=0.0), "p_target is 0.0"),
        (lambda: min_dcf([1.0], [0.0], p_target=1.0), "p_target is 1.0"),
        (lambda: min_dcf([1.0], [0.0], cost_miss=0.0), "cost_miss is 0.0"),
        (lambda: min_dcf([1.0], [0.0], cost_false_alarm=math.inf), "cost_false_alarm is inf"),
        (lambda: sensitivity_at_specificity([1.0], [0.0], specificity=1.1), "specificity is 1.1"),
        (lambda: sensitivity_specificity([1.0], [0.0], threshold=math.nan), "the threshold is not a number"),
        (lambda: tpir_at_fpir([1.0], [1], [0.0], fpir=-0.1), "fpir is -0.1"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        ask()
