"""Score normalisation, tails and the LLR map, against plain references."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb.calibration import Basis, Calibration, Cohort, LlrMap, Tail, cosine_at, normalised, unnormalised
from speakerdb.calibration.cohort import USUAL_SPREAD
from speakerdb.calibration.fit import PRIOR, Trials, fit, logistic
from speakerdb.calibration.model import ENROLLED_S, PROBE_S, RECORDINGS, terms
from speakerdb.embedding import normalize
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.errors import EncoderDamaged
from speakerdb.metrics import act_dcf, cllr, min_cllr, min_dcf

TAIL = Tail((0.0, 1.0, 3.0), (0.1, 0.01, 0.001))


def voices(count: int, seed: int = 0, dimension: int = 16) -> np.ndarray:
    return normalize(np.random.default_rng(seed).normal(size=(count, dimension)))


def trials(count: int = 20_000, seed: int = 0) -> Trials:
    """Scores whose true LLR is s − u − 1, u the logarithm of the probe's seconds."""
    rng = np.random.default_rng(seed)
    target = rng.random(count) < 0.5
    probe_s = rng.uniform(0.5, 8.0, count)
    # two Gaussians of one spread whose means lie spread² apart have the LLR s − middle
    spread = 2.0
    middle = 1.0 + np.log(probe_s)
    scores = middle + np.where(target, 0.5, -0.5) * spread**2 + spread * rng.normal(size=count)
    basis = Basis(probe_s, rng.uniform(1.0, 20.0, count), rng.integers(1, 9, count))
    return Trials(scores, basis, target)


def test_a_norm_is_the_mean_and_spread_of_the_nearest_of_the_cohort() -> None:
    cohort, found = Cohort(voices(50), 7), voices(600, seed=1)
    norms = cohort.norms(found)
    for i, voice in enumerate(found.astype(float)):
        nearest = sorted((float(voice @ other) for other in cohort.vectors.astype(float)), reverse=True)[:7]
        mean = sum(nearest) / 7
        assert norms.mean[i] == pytest.approx(mean)
        assert norms.spread[i] == pytest.approx(math.sqrt(sum((c - mean) ** 2 for c in nearest) / 7))


def test_of_a_norm_a_share_of_the_mean_is_taken_off_and_a_power_of_the_spread_divided_by() -> None:
    vectors, found = voices(50), voices(20, seed=1)
    whole, part = Cohort(vectors, 7).norms(found), Cohort(vectors, 7, 0.75, 0.25).norms(found)
    assert part.mean == pytest.approx(0.75 * whole.mean)
    assert part.spread == pytest.approx((whole.spread * USUAL_SPREAD**3) ** 0.25)
    neither = Cohort(vectors, 7, 0.0, 0.0).norms(found)
    assert normalised(0.3, neither, neither) == pytest.approx(0.3 / USUAL_SPREAD)


def test_voices_of_a_cohort_that_are_all_alike_divide_nothing_by_zero() -> None:
    same = np.repeat(voices(1), 5, axis=0)
    assert np.all(np.isfinite(normalised(0.5, Cohort(same, 5).norms(voices(2)), unnormalised(2))))


@given(st.floats(-1, 1), st.integers(0, 99))
def test_the_cosine_at_a_score_has_that_score(cosine: float, seed: int) -> None:
    cohort = Cohort(voices(40), 10)
    first, second = cohort.norms(voices(1, seed + 1)), cohort.norms(voices(1, seed + 200))
    assert cosine_at(normalised(cosine, first, second), first, second) == pytest.approx(cosine, abs=1e-9)
    assert normalised(cosine, first, second) == pytest.approx(normalised(cosine, second, first))


def test_without_a_cohort_the_cosine_is_the_score() -> None:
    assert normalised(0.3, unnormalised(1), unnormalised(1)) == pytest.approx(0.3)


@given(st.floats(1e-9, 0.9), st.floats(1e-9, 0.9))
def test_a_rarer_rate_has_a_higher_score(one: float, other: float) -> None:
    rarer, other = sorted((one, other))
    assert TAIL.score_at(rarer) >= TAIL.score_at(other) - 1e-9


def test_no_rate_is_too_small_for_a_score() -> None:
    assert math.isfinite(TAIL.score_at(0.0)) and TAIL.score_at(0.0) >= TAIL.score_at(5e-324) > TAIL.score_at(1e-200)


def test_an_llr_is_the_weights_times_their_terms() -> None:
    drawn, weights = trials(50), (0.3, 1.2, -0.4, 0.7, 0.1, 0.05, -0.02)
    expected = terms(drawn.scores, drawn.basis) @ np.array(weights)
    assert LlrMap(weights)(drawn.scores, drawn.basis) == pytest.approx(expected)
    two = np.stack([drawn.scores, drawn.scores + 1.0])
    assert LlrMap(weights)(two, drawn.basis)[0] == pytest.approx(expected)


def test_a_tail_goes_through_its_points_and_on_in_a_straight_line() -> None:
    assert [TAIL.score_at(rate) for rate in TAIL.rates] == pytest.approx(TAIL.scores)
    assert TAIL.score_at(1e-4) == pytest.approx(5.0)


def test_a_measured_tail_is_reached_by_no_more_than_its_rates() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=5_000), rng.normal(1.0, 1.0, size=3_000)]
    tail = Tail.measured(parts)
    assert tail.rates == (0.3, 0.1, 0.03, 0.01)  # 4,000 strangers in the mean: 40 errors at 1 %, 12 at 0.3 %
    for score, rate in zip(tail.scores, tail.rates, strict=True):
        assert np.mean([np.mean(part >= score) for part in parts]) == pytest.approx(rate, rel=0.02)


@given(st.integers(0, 3000), st.integers(0, 2**32 - 1))
def test_a_measured_tail_promises_no_rate_that_more_reach_however_many_share_a_score(tied: int, seed: int) -> None:
    scores = np.sort(np.random.default_rng(seed).normal(size=3200))
    scores[len(scores) - tied :] = scores[-1]
    try:
        tail = Tail.measured([scores])
    except ValueError:
        assert tied > 3200 * 0.1  # fewer than two rates are left
        return
    for score, rate in zip(tail.scores, tail.rates, strict=True):
        assert np.mean(scores >= score) <= rate


def test_too_few_strangers_and_strangers_of_one_score_have_no_tail() -> None:
    with pytest.raises(ValueError, match="299 trials of strangers; 300 are needed"):
        Tail.measured([np.arange(299.0)])
    with pytest.raises(ValueError, match="too many of the strangers' scores are the same"):
        Tail.measured([np.zeros(1000)])


@pytest.mark.parametrize(
    "raw",
    [
        {"scores": [0.0], "rates": [0.1]},
        {"scores": [0.0, 1.0], "rates": [0.1]},
        {"scores": [1.0, 0.0], "rates": [0.1, 0.01]},
        {"scores": [0.0, 1.0], "rates": [0.01, 0.1]},
        {"scores": [0.0, float("nan")], "rates": [0.1, 0.01]},
        {"scores": [0.0, 1.0], "rates": [1.0, 0.01]},
        {"scores": [0.0, 1.0], "rates": [0.1, 0.0]},
    ],
)
def test_what_is_no_tail_is_refused(raw: dict) -> None:
    with pytest.raises(ValueError):
        Tail.parse(raw)


def test_logistic_regression_is_scikit_learns() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn comes with the extra train")
    drawn = trials(600)
    rows = terms(drawn.scores, drawn.basis)
    weights = np.where(drawn.target, 0.3, 1.7)
    ours = logistic(rows, drawn.target, weights, ridge=0.5)
    model = linear.LogisticRegression(C=2.0, max_iter=10_000, tol=1e-10)
    model.fit(rows[:, 1:], drawn.target, sample_weight=weights)
    assert ours == pytest.approx(np.r_[model.intercept_, model.coef_[0]], abs=1e-4)


def test_classes_that_scores_part_without_error_still_have_a_fit() -> None:
    rows = np.c_[np.ones(6), [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]]
    found = logistic(rows, np.arange(6) >= 3, np.ones(6), ridge=1e-3)
    assert np.all(np.isfinite(found)) and found[1] > 0


def test_a_fit_finds_the_likelihood_ratio_that_trials_were_drawn_with() -> None:
    drawn, others = trials(), trials(seed=1)
    found = fit([drawn], "made up").llr
    true = others.scores - np.log(others.basis.probe_s) - 1.0
    assert found(others.scores, others.basis) == pytest.approx(true, abs=1.0)
    llr = found(others.scores, others.basis)
    target, nontarget = llr[others.target], llr[~others.target]
    assert cllr(target, nontarget) < 1.05 * min_cllr(target, nontarget)
    assert act_dcf(target, nontarget, 0.05) < 1.15 * min_dcf(target, nontarget, 0.05).cost


def test_the_prior_that_a_fit_weighs_for_is_not_in_the_ratios() -> None:
    drawn = trials()
    few = np.flatnonzero(~drawn.target | (np.arange(20_000) % 7 == 0))
    basis = Basis(*(values[few] for values in drawn.basis))
    fewer = Trials(drawn.scores[few], basis, drawn.target[few])
    assert 0 < PRIOR < 1
    first, second = fit([fewer], "a seventh of the targets").llr, fit([drawn], "all").llr
    assert first([-2.0, 1.0, 3.0], Basis(3.0, 8.0, 2)) == pytest.approx(
        second([-2.0, 1.0, 3.0], Basis(3.0, 8.0, 2)), abs=0.3
    )


@pytest.mark.parametrize("target", [True, False])
def test_trials_of_one_kind_are_refused(target: bool) -> None:
    with pytest.raises(ValueError, match="one speaker and of two"):
        fit([Trials(np.arange(5.0), Basis(1.0, 1.0, 1), np.full(5, target))], "one-sided")


def test_scores_that_say_the_opposite_are_refused() -> None:
    drawn = trials()
    with pytest.raises(ValueError, match="must rise"):
        fit([Trials(-drawn.scores, drawn.basis, drawn.target)], "upside down")


def test_a_map_that_falls_for_some_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="must rise"):
        LlrMap.parse([0.0, 1.0, 0.0, 0.0, 0.0, 0.7, 0.0])  # 1 + 0.7·ln 0.2 < 0
    with pytest.raises(ValueError):
        LlrMap.parse([0.0, 1.0])


def test_seconds_beyond_the_limits_count_as_the_limit() -> None:
    found = LlrMap((0.1, 1.0, 0.2, 0.3, 0.4, 0.05, 0.06))
    assert found(1.0, Basis(60.0, 600.0, 99)) == found(1.0, Basis(PROBE_S[1], ENROLLED_S[1], RECORDINGS[1]))
    assert found(1.0, Basis(0.0, 0.0, 0)) == found(1.0, Basis(PROBE_S[0], ENROLLED_S[0], RECORDINGS[0]))


@pytest.mark.parametrize("words", [None, TAIL])
def test_a_calibration_is_the_same_after_its_json(words: Tail | None) -> None:
    found = fit([trials()], "made up", search_of_words=words)
    again = Calibration.parse(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()
    assert again.search_of_words == words
    assert again.llr(2.0, Basis(3.0, 5.0, 2)) == pytest.approx(found.llr(2.0, Basis(3.0, 5.0, 2)), abs=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": ""},
        {"origin": 3},
        {"llr_quantiles": {"target": [1, 0], "nontarget": [0, 1]}},
        {"llr_quantiles": {"target": [0, 1], "nontarget": [0, math.inf]}},
        {"llr_quantiles": {"target": [-1.7e308, 1.7e308], "nontarget": [0, 1]}},
        {"llr_weights": [1e308, 1.7e308, 0, 0, 0, 0, 0]},
        {"tail": {"scores": [-1e308, 1e308], "rates": [0.1, 0.01]}},
        {"search_tail": {"scores": [math.nan, 1.0], "rates": [0.1, 0.01]}},
        {"search_tail_of_words": {"scores": [1]}},
    ],
)
def test_what_is_no_calibration_is_refused(change: dict) -> None:
    with pytest.raises((ValueError, KeyError)):
        Calibration.parse({**fit([trials()], "made up").to_json(), **change})


def test_the_shipped_bundle_has_a_calibration_and_a_cohort() -> None:
    bundle = open_bundle(find_bundle())
    assert bundle.card.calibration is not None and bundle.cohort is not None
    assert np.linalg.norm(bundle.cohort.vectors, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert (bundle.folder / "cohort.npy").stat().st_size < 1 << 20


@pytest.mark.parametrize("damage", ["missing", "cut", "pickle", "shape", "large"])
def test_a_cohort_that_is_not_the_cards_is_an_error_that_names_it(tmp_path, damage: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(find_bundle(), folder)
    file, card = folder / "cohort.npy", json.loads((folder / "card.json").read_text())
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        import hashlib

        content = {"pickle": np.array([{}]), "shape": np.ones((9, 3), np.float16), "large": np.ones((9, 192))}[damage]
        np.save(file, content, allow_pickle=True)
        card["cohort"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(EncoderDamaged, match=r"cohort\.npy") as error:
        open_bundle(folder)
    assert "\n" not in str(error.value)
