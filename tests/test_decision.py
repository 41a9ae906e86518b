"""Where the line lies for what is asked, and on which side of it two voices are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb import Gallery
from speakerdb.calibration import Basis, Calibration, Cohort, LlrMap, Norms, Tail
from speakerdb.calibration.model import WORD_S
from speakerdb.decision.criterion import Asked, criterion, per_comparison
from speakerdb.decision.judging import Judge, Scores
from speakerdb.embedding import normalize
from speakerdb.errors import InputError, StateError

TAIL = Tail((-1.0, 1.0, 2.0, 3.0), (0.3, 0.1, 0.01, 0.001))
SENTENCES = Tail((-1.5, 0.5, 1.5), (0.3, 0.1, 0.01))
CALIBRATION = Calibration(
    LlrMap((-1.0, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0)),
    TAIL,
    TAIL,
    "made up",
    {"target": (0.0, 9.0), "nontarget": (-9.0, 0.0)},
)


def voices(count: int, seed: int = 0) -> np.ndarray:
    return normalize(np.random.default_rng(seed).normal(size=(count, 16)) + 0.5)


JUDGE = Judge(Cohort(voices(60), 20), CALIBRATION)


@pytest.mark.parametrize("probe_s, tail", [(WORD_S - 0.01, TAIL), (WORD_S, SENTENCES), (math.inf, SENTENCES)])
def test_a_search_by_a_word_is_decided_by_what_strangers_words_reach(probe_s: float, tail: Tail) -> None:
    told_apart = replace(CALIBRATION, search=SENTENCES, search_of_words=TAIL)
    line = criterion(Asked(fpir=0.05), told_apart, None, "", 1, probe_s)
    assert line.score == tail.score_at(per_comparison(0.05, 1))
    claim = criterion(Asked(fmr=0.05), told_apart, None, "", None, probe_s)
    assert claim.score == TAIL.score_at(0.05)


def test_without_a_tail_for_words_there_is_one_for_all() -> None:
    for probe_s in (0.3, 3.0):
        assert CALIBRATION.searched_by(probe_s) is CALIBRATION.search


@given(st.floats(1e-6, 0.5), st.integers(1, 1_000_000))
def test_independent_comparisons_at_the_rate_give_the_search_its_rate(fpir: float, speakers: int) -> None:
    fmr = per_comparison(fpir, speakers)
    assert -np.expm1(speakers * np.log1p(-fmr)) == pytest.approx(fpir)


def test_a_search_through_one_is_a_comparison() -> None:
    assert per_comparison(0.01, 1) == pytest.approx(0.01)


@pytest.mark.parametrize(
    "asked, said",
    [
        ({"threshold": 0.9, "fmr": 0.1}, "give one of them"),
        ({"threshold": 2.1}, "a threshold of 2.1"),
        ({"threshold": float("nan")}, "a threshold of nan"),
        ({"fmr": 0.0}, "an FMR of 0"),
        ({"fpir": 1.0}, "an FPIR of 1"),
        ({"fpir": float("nan")}, "an FPIR of nan"),
        ({"margin": -0.1}, "a margin of -0.1"),
        ({"threshold": "near"}, "threshold='near'; a number is needed"),
        ({"fpir": [0.1]}, "a number is needed"),
        ({"margin": None}, "margin=None; a number is needed"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(asked: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Asked(**asked)


def test_verifying_uses_one_percent_and_a_search_its_size() -> None:
    verify, small, large = (criterion(Asked(), CALIBRATION, None, "", n) for n in (None, 10, 10_000))
    assert (verify.fmr, verify.fpir, verify.score) == (0.01, None, pytest.approx(2.0))
    assert small.fpir == large.fpir == 0.01
    assert verify.score < small.score < large.score
    assert large.fmr == pytest.approx(1e-6, rel=0.01)
    assert "extrapolated from an FMR of 0.001" in large.origin and "extrapolated" not in verify.origin


def test_a_distance_asked_for_is_the_distance_whatever_the_calibration() -> None:
    line = criterion(Asked(threshold=0.83), CALIBRATION, 0.5, "card", 100)
    assert (line.distance, line.score, line.fmr, line.fpir) == (0.83, None, None, None)
    assert line.origin == "given by the caller"


def test_an_encoder_that_is_not_calibrated_decides_by_its_own_threshold_and_knows_no_rates() -> None:
    assert criterion(Asked(), None, 0.9, "chosen somewhere", None).origin == "chosen somewhere"
    with pytest.raises(StateError, match="no calibration"):
        criterion(Asked(fmr=0.01), None, 0.9, "chosen somewhere", None)
    with pytest.raises(StateError, match="no threshold of its own"):
        criterion(Asked(), None, None, "", None)


@given(st.integers(0, 500), st.sampled_from([0.2, 0.05, 0.01, 0.001]))
def test_two_voices_are_near_where_their_score_is_that_of_the_rate(seed: int, rate: float) -> None:
    probe, stored = voices(1, seed + 1)[0], voices(5, seed + 1000)
    line = criterion(Asked(fmr=rate), CALIBRATION, None, "", None)
    for found in JUDGE.judge(JUDGE.scores(probe, stored), Basis(2.0, 5.0, 2), line):
        if abs(found.score - TAIL.score_at(rate)) > 1e-6:
            assert (found.side == "near") == (found.score >= TAIL.score_at(rate))
        assert found.llr == pytest.approx(1.5 * found.score - 1.0)
        if 0.0 < found.threshold.distance < 2.0:
            assert found.threshold_llr == pytest.approx(1.5 * TAIL.score_at(rate) - 1.0)


def test_a_margin_makes_what_is_near_the_threshold_inconclusive() -> None:
    scores = JUDGE.scores(voices(1, 3)[0], voices(1, 4))
    [plain] = JUDGE.judge(scores, Basis(2.0, 5.0, 2), criterion(Asked(threshold=1.0), None, None, "", None))
    for limit, margin, side in (
        (plain.distance, 0.0, "near"),
        (plain.distance, 0.01, "inconclusive"),
        (plain.distance + 0.1, 0.05, "near"),
        (plain.distance - 0.1, 0.05, "far"),
        (plain.distance - 0.1, 0.2, "inconclusive"),
    ):
        line = criterion(Asked(threshold=limit, margin=margin), None, None, "", None)
        assert JUDGE.judge(scores, Basis(2.0, 5.0, 2), line)[0].side == side


def test_candidates_are_in_the_order_of_their_scores() -> None:
    line = criterion(Asked(), CALIBRATION, None, "", 30)
    found = JUDGE.scores(voices(1, 9)[0], np.repeat(voices(15, 10), 2, axis=0))
    rows = found.order()
    assert sorted(rows) == list(range(30))
    ordered = found.of(rows)
    assert ordered.values.tolist() == sorted(found.values.tolist(), reverse=True)
    judged = JUDGE.judge(ordered, Basis(2.0, 5.0, 2), line)
    alone = [JUDGE.judge(found.of([row]), Basis(2.0, 5.0, 2), line)[0] for row in rows]
    assert judged == alone


def test_of_equal_scores_the_nearer_is_first() -> None:
    none = Norms(np.zeros(3), np.ones(3))
    scores = Scores(np.array([0.9, 0.8, 0.7]), np.array([1.0, 1.0, 0.5]), none, none)
    assert scores.order() == [1, 0, 2]


def test_a_judge_who_knows_nothing_gives_distances_alone() -> None:
    line = criterion(Asked(threshold=1.0), None, None, "", None)
    probe, stored = voices(1, 5)[0], voices(1, 6)
    judge = Judge(None, None)
    [found] = judge.judge(judge.scores(probe, stored), Basis(2.0, 5.0, 2), line)
    assert found.llr is None and found.threshold_llr is None
    assert found.distance == pytest.approx(np.linalg.norm(probe.astype(float) - stored[0]), abs=1e-6)


def test_the_threshold_of_a_search_follows_the_gallery_as_it_grows(tmp_path, examples) -> None:
    with Gallery.open(tmp_path / "people") as gallery:
        gallery.enroll("ana", [examples / "ana_1.wav", examples / "ana_2.wav"])
        alone = gallery.identify(examples / "ana_4.wav")
        for name in ("ben", "eva", "kal", "rms"):
            gallery.enroll(name, examples / f"{name}_1.wav")
        among = gallery.identify(examples / "ana_4.wav")
    assert among.speaker == alone.speaker == "ana" and among.distance == alone.distance
    assert among.threshold.distance < alone.threshold.distance
    assert alone.threshold.fmr == pytest.approx(0.01) and among.threshold.fmr == pytest.approx(per_comparison(0.01, 5))
    assert among.llr == pytest.approx(alone.llr) and alone.ahead is None and among.ahead is not None
    assert among.ahead == pytest.approx(among.candidates[1].distance - among.distance) and among.ahead > 0


def test_a_smaller_rate_asks_for_a_nearer_voice(tmp_path, examples) -> None:
    with Gallery.open(tmp_path / "people") as gallery:
        gallery.enroll("ana", examples / "ana_1.wav")
        found = [gallery.verify("ana", examples / "ana_4.wav", fmr=rate) for rate in (0.1, 0.01, 0.001)]
        open_question = gallery.verify("ana", examples / "ana_4.wav", threshold=found[0].distance, margin=0.01)
    limits = [one.threshold.distance for one in found]
    assert limits == sorted(limits, reverse=True) and len(set(limits)) == 3
    assert open_question.outcome == "inconclusive" and not open_question.accepted


def test_a_second_candidate_within_the_margin_leaves_the_name_open(tmp_path, examples) -> None:
    with Gallery.open(tmp_path / "people") as gallery:
        gallery.enroll("ana", examples / "ana_1.wav")
        gallery.enroll("ana again", examples / "ana_2.wav", force=True)
        found = gallery.identify(examples / "ana_4.wav", threshold=1.9, margin=0.5)
        assert found.ahead is not None and found.ahead < 0.5
    assert (found.outcome, found.speaker) == ("inconclusive", None)
