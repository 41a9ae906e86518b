"""What users say of answers: what is kept of it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb import Gallery
from speakerdb.calibration import Basis, Calibration, LlrMap, Tail
from speakerdb.calibration.fit import Trials, refit
from speakerdb.errors import InputError, NoSuchSpeaker, StateError
from speakerdb.gallery import calibrating
from speakerdb.gallery.feedback import Compared, Decision, said
from speakerdb.store import decisions
from speakerdb.store.binding import EncoderIdentity, GalleryIdentity

GALLERY = GalleryIdentity("a" * 32, 1, "2026-11-24", EncoderIdentity("e", "1", "b" * 64, 192), 0)


@given(
    st.sampled_from(["verify", "identify"]),
    st.sampled_from(["accepted", "rejected", "unknown", "inconclusive"]),
    st.floats(0, 60_000, width=16),
    st.lists(
        st.tuples(
            st.integers(0, 2**63 - 1),
            st.floats(-50, 50, width=32),
            st.floats(0, 60_000, width=16),
            st.integers(0, 60_000),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_a_decisions_id_holds_the_decision(purpose, outcome, probe_s, compared) -> None:
    decision = Decision(purpose, outcome, probe_s, tuple(Compared(*one) for one in compared))
    assert Decision.parse(decision.id(GALLERY), GALLERY) == decision
    assert len(decision.id(GALLERY)) <= 78


@given(st.text(max_size=120))
def test_what_is_no_id_is_refused_in_one_line(text: str) -> None:
    with pytest.raises((InputError, StateError)) as error:
        Decision.parse(text, GALLERY)
    assert "\n" not in str(error.value)


def test_an_id_of_another_gallery_or_encoder_is_refused() -> None:
    token = Decision("verify", "accepted", 2.0, (Compared(1, 3.0, 5.0, 2),)).id(GALLERY)
    for other in (
        GalleryIdentity("c" * 32, 1, "", GALLERY.encoder, 0),
        GalleryIdentity(GALLERY.uuid, 1, "", EncoderIdentity("e", "2", "d" * 64, 192), 0),
    ):
        with pytest.raises(StateError, match="another gallery's, or its encoder has changed"):
            Decision.parse(token, other)


def kept(gallery: Gallery) -> list[tuple[int, bool]]:
    with gallery._existing().reading() as connection:
        return [(one.speaker, one.target) for one in decisions.feedback(connection)]


def test_what_an_answer_says_depends_on_what_was_answered(three_people, examples) -> None:
    ana, ben, kal = 1, 2, 3
    right = three_people.verify("ana", examples / "ana_4.wav").decision
    wrong = three_people.verify("ana", examples / "ben_4.wav").decision
    assert three_people.feedback(right, "correct").targets == 1
    assert kept(three_people) == [(ana, True)]
    three_people.feedback(right, "wrong")  # changed their mind: the last word counts
    assert kept(three_people) == [(ana, False)]
    three_people.feedback(right, "correct")
    three_people.feedback(wrong, "correct")
    assert sorted(kept(three_people)) == [(ana, False), (ana, True)]
    named = three_people.identify(examples / "ana_4.wav").decision
    done = three_people.feedback(named, "correct")
    assert (done.targets, done.nontargets, done.all_targets, done.all_nontargets) == (1, 0, 2, 1)
    assert three_people.feedback(named, "wrong", speaker="ben").targets == 1
    unknown = three_people.identify(examples / "stranger_1.wav").decision
    assert three_people.feedback(unknown, "wrong", speaker="kal").targets == 1
    assert sorted(kept(three_people)) == [(ana, False), (ana, True), (ben, True), (kal, True)]


def test_whom_a_search_puts_beside_a_stranger_is_not_kept_as_one(three_people, examples) -> None:
    named, unknown = (three_people.identify(examples / f"{clip}.wav").decision for clip in ("ana_4", "stranger_1"))
    for decision, answer, more in (
        (named, "wrong", {}),
        (named, "wrong", {"stranger": True}),
        (unknown, "correct", {}),
    ):
        three_people.feedback(named, "correct")
        done = three_people.feedback(decision, answer, **more)
        assert (done.targets, done.nontargets) == (0, 0)
        assert kept(three_people) == ([(1, True)] if decision == unknown else [])  # the last word counts


def test_llrs_that_are_true_stay_true_however_many_answers_of_searches_were_called_correct() -> None:
    basis, rng = Basis(3.0, 8.0, 3), np.random.default_rng(5)
    tail = Tail((0.0, 4.0), (0.1, 1e-4))
    quantiles = {"target": (0.0, 1.0), "nontarget": (-1.0, 0.0)}
    base = Calibration(LlrMap((-8.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0)), tail, tail, "true", quantiles)
    target = np.arange(60_600) < 600
    own = Trials(np.where(target, 4.0, 0.0) + rng.normal(size=60_600), basis, target)  # the true LLR is 4·score − 8
    told = []
    for number in range(3000):
        scores = np.concatenate([[4.0 + rng.normal()], np.sort(rng.normal(size=300))[-2:]])
        compared = tuple(Compared(i + 1, float(score), 8.0, 3) for i, score in enumerate(scores))
        told += said(Decision("identify", "accepted", 3.0, compared), "correct", None, False, [1, 2, 3])
        stranger = Decision("verify", "rejected", 3.0, (Compared(2, float(rng.normal()), 8.0, 3),))
        told += said(stranger, "correct", None, False, [1, 2, 3]) if number % 10 == 0 else []
    found = refit(base, own, calibrating.said_trials(told), "own")
    assert len(told) == 3300
    assert found.llr([1.0, 2.0, 3.0], basis) == pytest.approx([-4.0, 0.0, 4.0], abs=0.4)


def test_an_answer_that_leaves_open_who_it_was_or_agrees_with_what_is_called_wrong_is_refused(
    three_people, examples
) -> None:
    refused = three_people.verify("ana", examples / "ben_4.wav").decision
    named, unknown = (three_people.identify(examples / f"{clip}.wav").decision for clip in ("ana_4", "stranger_1"))
    for decision, answer, more in (
        (unknown, "wrong", {}),
        (named, "correct", {"speaker": "ben"}),
        (named, "wrong", {"speaker": "ana"}),
        (named, "wrong", {"speaker": "ben", "stranger": True}),
        (unknown, "wrong", {"stranger": True}),
        (refused, "wrong", {"stranger": True}),
        (refused, "wrong", {"speaker": "ben"}),
        (named, "perhaps", {}),
        ("no id", "correct", {}),
    ):
        with pytest.raises(InputError):
            three_people.feedback(decision, answer, **more)
    with pytest.raises(NoSuchSpeaker):
        three_people.feedback(named, "wrong", speaker="nobody")
    open_one = three_people.verify("ana", examples / "ana_4.wav", margin=1.0).decision
    with pytest.raises(InputError, match="inconclusive"):
        three_people.feedback(open_one, "correct")
    assert kept(three_people) == []


def test_feedback_goes_with_the_speaker_and_holds_no_voice(three_people, examples, gallery_folder) -> None:
    decision = three_people.verify("ana", examples / "ana_4.wav").decision
    three_people.feedback(decision, "correct")
    three_people.remove("ana")
    assert kept(three_people) == []
    with pytest.raises(StateError, match="not enrolled any more"):
        three_people.feedback(decision, "correct")
