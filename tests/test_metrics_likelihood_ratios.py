"""Cllr, its least value and the cost at the LLRs' own threshold, against plain references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speakerdb.metrics import act_dcf, cllr, min_cllr, min_dcf

scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)
priors = st.sampled_from([0.01, 0.05, 0.3, 0.5, 0.9])


@given(scores, scores)
def test_cllr_is_the_mean_of_the_two_classes_costs(target, nontarget):
    missed = sum(math.log2(1 + math.exp(-t)) for t in target) / len(target)
    matched = sum(math.log2(1 + math.exp(n)) for n in nontarget) / len(nontarget)
    assert cllr(target, nontarget) == pytest.approx((missed + matched) / 2)


def test_cllr_of_one_who_knows_nothing_is_a_bit():
    assert cllr([0.0], [0.0, 0.0]) == 1.0


def test_cllr_of_large_ratios_does_not_overflow():
    assert cllr([5000.0], [-5000.0]) == 0.0
    assert cllr([-5000.0], [5000.0]) == pytest.approx(5000.0 / math.log(2.0))


@settings(deadline=None)  # importing scikit-learn takes seconds
@given(scores, scores)
def test_the_least_cllr_is_that_of_isotonic_regression(target, nontarget):
    isotonic = pytest.importorskip("sklearn.isotonic", reason="scikit-learn comes with the extra train")
    values = np.array(target + nontarget)
    labels = np.array([1.0] * len(target) + [0.0] * len(nontarget))
    weights = np.where(labels == 1.0, 1.0 / len(target), 1.0 / len(nontarget))
    share = isotonic.IsotonicRegression().fit(values, labels, sample_weight=weights).predict(values)
    costs = [math.log2(1 / p) if label else math.log2(1 / (1 - p)) for p, label in zip(share, labels, strict=True)]
    expected = np.mean(costs[: len(target)]) + np.mean(costs[len(target) :])
    assert min_cllr(target, nontarget) == pytest.approx(expected / 2, abs=1e-9)


@given(scores, scores)
def test_no_calibration_costs_less_than_the_least(target, nontarget):
    assert min_cllr(target, nontarget) <= min(1.0, cllr(target, nontarget)) + 1e-12


@given(scores, scores)
def test_the_least_cllr_knows_only_the_order(target, nontarget):
    stretched = [[math.exp(value) for value in values] for values in (target, nontarget)]
    assert min_cllr(*stretched) == pytest.approx(min_cllr(target, nontarget))


def test_the_least_cllr_of_separated_scores_is_nothing_and_of_tied_ones_a_bit():
    assert min_cllr([2.0, 3.0], [1.0]) == 0.0
    assert min_cllr([1.0, 1.0], [1.0]) == 1.0
    assert min_cllr([0.0], [1.0]) == 1.0


@given(scores, scores, priors)
def test_the_cost_at_the_ratios_own_threshold_is_counted_trial_by_trial(target, nontarget, prior):
    accepted = [llr >= math.log((1 - prior) / prior) for llr in target]
    matched = [llr >= math.log((1 - prior) / prior) for llr in nontarget]
    cost = prior * accepted.count(False) / len(target) + (1 - prior) * matched.count(True) / len(nontarget)
    assert act_dcf(target, nontarget, prior) == pytest.approx(cost / min(prior, 1 - prior))
    assert act_dcf(target, nontarget, prior) >= min_dcf(target, nontarget, prior).cost - 1e-12


def test_an_error_that_costs_more_moves_the_threshold():
    llrs = [1.0], [0.5]
    assert act_dcf(*llrs, p_target=0.5) == 1.0
    assert act_dcf(*llrs, p_target=0.5, cost_false_alarm=2.0) == 0.0


@pytest.mark.parametrize("metric", [cllr, min_cllr, act_dcf])
@pytest.mark.parametrize("classes", [([], [0.0]), ([0.0], []), ([math.nan], [0.0]), ([0.0], [math.inf])])
def test_what_has_no_value_is_refused(metric, classes):
    with pytest.raises(ValueError):
        metric(*classes)


def test_a_prior_out_of_its_range_is_refused():
    with pytest.raises(ValueError, match="p_target is 1"):
        act_dcf([0.0], [0.0], p_target=1.0)
