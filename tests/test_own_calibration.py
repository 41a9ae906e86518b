"""A gallery's own calibration: from its own recordings, from lists, from what users said; and that it is used."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from galleries import many_people
from hypothesis import given
from hypothesis import strategies as st
from twelve_people import change

from speakerdb import Encoder, Gallery, settings
from speakerdb.calibration import Basis, Calibration, LlrMap, Tail
from speakerdb.calibration.fit import Trials, refit
from speakerdb.embedding import normalize
from speakerdb.encoder.registry import find_bundle
from speakerdb.errors import InputError, NoSuchSpeaker, StorageError, TooFewTrials, printable
from speakerdb.gallery import calibrating
from speakerdb.gallery.calibrating import left_out
from speakerdb.store import decisions
from speakerdb.store.binding import EncoderIdentity
from speakerdb.store.recordings import recordings


def test_leaving_each_out_is_what_a_plain_loop_finds(three_people) -> None:
    with three_people._existing().reading() as connection:
        held = recordings(connection)
    judge = three_people._judge(three_people.encoder)
    own = left_out(judge, held, {1: "ana", 2: "ben", 3: "kal"})
    assert (own.targets, own.nontargets) == (9, 18)
    found = sorted(own.trials.scores.tolist())
    expected = []
    for row in range(9):
        for speaker in (1, 2, 3):
            others = [i for i in range(9) if held.speakers[i] == speaker and i != row]
            mean = held.vectors[others].astype(np.float64).mean(axis=0)
            voice = (mean / np.linalg.norm(mean)).astype(np.float32)
            (mean_a, spread_a), (mean_b, spread_b) = (
                (float(n.mean[0]), float(n.spread[0])) for n in map(judge.norms, (held.vectors[[row]], voice[None]))
            )
            cosine = float(held.vectors[row].astype(float) @ voice.astype(float))
            expected.append(((cosine - mean_a) / spread_a + (cosine - mean_b) / spread_b) / 2)
    assert found == pytest.approx(sorted(expected), rel=2e-6, abs=1e-5)  # float32 vectors, scores up to 12


def test_too_few_trials_are_refused_with_the_number_needed(three_people) -> None:
    with pytest.raises(TooFewTrials, match="needs 30 trials of one speaker, and 9 are here") as few:
        three_people.calibrate()
    assert few.value.fields == {"trials": 9, "needed": 30} and few.value.exit_code == 4


@given(st.integers(1, 2_000_000))
def test_the_rate_that_is_offered_in_another_ones_place_is_not_refused(strangers: int) -> None:
    rate = calibrating._rarest(strangers)
    assert (rate is None) == (strangers < calibrating.LEAST_STRANGERS)
    if rate is not None:
        shown = float(f"{rate:.2g}")
        assert max(round(settings.LEAST_ERRORS / shown), calibrating.LEAST_STRANGERS) <= strangers


def test_a_rate_asks_for_thirty_errors(gallery_folder) -> None:
    with many_people(gallery_folder) as gallery:
        with pytest.raises(TooFewTrials, match=r"an FMR of 0.1 % needs 30,000 trials of two speakers, and 4,680 are"):
            gallery.calibrate(fmr=0.001)
        assert gallery.calibrate(fmr=0.01, dry_run=True).nontargets == 4680


def test_a_rate_that_the_trials_are_too_few_to_show_is_said_to_be_one(gallery_folder, run) -> None:
    with many_people(gallery_folder) as gallery:
        done = gallery.calibrate(dry_run=True)
    assert [(rate.fmr, rate.shown) for rate in done.rates] == [(0.1, True), (0.01, True), (0.001, False)]
    lines = run("calibrate", "--dry-run").stdout.splitlines()
    [few] = [line for line in lines if line.endswith("; 4,680 trials are too few to show so rare a rate")]
    assert few.startswith("  at FMR 0.1 %: ")


def test_none_of_some_trials_is_told_as_less_than_one_of_them(gallery_folder, run) -> None:
    with many_people(gallery_folder) as gallery:
        [_, at, _] = gallery.calibrate(dry_run=True).rates
    assert at.fnmr_after == 0.0
    [line] = [line for line in run("calibrate", "--dry-run").stdout.splitlines() if "at FMR 1 %:" in line]
    assert line.endswith("→ less than 1 in 120")


def test_a_threshold_says_down_to_which_rate_the_gallerys_own_trials_go(gallery_folder, examples) -> None:
    with many_people(gallery_folder) as gallery:
        gallery.calibrate()
        found = gallery.verify("voice0", examples / "ana_4.wav", fmr=0.0001)
    assert "4,680 of two" in found.threshold.origin
    assert "an FMR below 1 % by the encoder's own trials" in found.threshold.origin


def test_a_dry_run_changes_nothing_and_a_calibration_decides_until_it_is_forgotten(gallery_folder) -> None:
    with many_people(gallery_folder) as gallery:
        before = gallery.calibration
        tried = gallery.calibrate(dry_run=True)
        assert not tried.applied and gallery.calibration == before
        done = gallery.calibrate()
        assert (
            done.applied and "40 speakers of this gallery" in done.origin and (done.targets, done.feedback) == (120, 0)
        )
        after = gallery.calibration
        assert after.origin == done.origin and after != before
        at = {rate.fmr: rate for rate in done.rates}[0.01]
        assert at.fmr_after == pytest.approx(0.01, rel=0.35)
    with Gallery.open(gallery_folder) as again:
        assert again.calibration == after
        assert again.forget_calibration() and not again.forget_calibration()
        assert again.calibration == before


def test_a_calibration_counts_from_the_next_answer_on_wherever_it_was_made(gallery_folder, examples) -> None:
    with many_people(gallery_folder) as gallery, Gallery.open(gallery_folder) as other:
        heard = gallery.encoder.probe(examples / "ana_4.wav")
        before = gallery.verify("voice0", heard), gallery.identify(heard)
        done = other.calibrate()
        for answer, then in zip((gallery.verify("voice0", heard), gallery.identify(heard)), before, strict=True):
            assert done.origin in answer.threshold.origin and answer.llr != then.llr
        other.forget_calibration()
        assert (gallery.verify("voice0", heard), gallery.identify(heard)) == before


def test_a_calibration_that_was_damaged_is_an_error_and_not_another_decision(gallery_folder) -> None:
    import sqlite3

    with many_people(gallery_folder) as gallery:
        gallery.calibrate()
    changed = sqlite3.connect(gallery_folder / "gallery.sqlite")
    [(content,)] = changed.execute("SELECT content FROM calibration").fetchall()
    raw = json.loads(content)
    raw["llr_weights"][0] += 1.0
    changed.execute("UPDATE calibration SET content = ?", (json.dumps(raw),))
    changed.commit()
    changed.close()
    with Gallery.open(gallery_folder) as gallery, pytest.raises(StorageError, match="checksum"):
        _ = gallery.calibration


def test_moving_to_another_encoder_forgets_what_was_found_out_about_the_other(gallery_folder, examples) -> None:
    from speakerdb.store import reembedding

    with many_people(gallery_folder) as gallery:
        gallery.calibrate()
        with gallery._existing().writing() as connection:
            ids = reembedding.unstaged(connection, "f" * 64, 1000)
            for enrollment in ids:
                reembedding.stage(connection, enrollment, "f" * 64, normalize(np.ones(192)))
            reembedding.switch(connection, EncoderIdentity("other", "1", "f" * 64, 192))
            assert decisions.calibration(connection) is None


def test_a_list_of_trials_names_what_is_wrong_with_it(three_people, examples, tmp_path) -> None:
    for content, error, told in (
        ("1 ana nothing.wav", InputError, "no such file"),
        (f"1 nobody {examples / 'ana_4.wav'}", NoSuchSpeaker, "nobody"),
        (f"1 ana {examples / 'ana_1.wav'}", InputError, "ana_1.wav of 'ana' is enrolled"),
        (f"1 ana {examples / 'ana_4.wav'}\n0 ana {examples / 'ana_4.wav'}", InputError, "as the speaker's and as an"),
    ):
        (tmp_path / "list.txt").write_text(content)
        with pytest.raises(error, match=told):
            three_people.calibrate(trials=tmp_path / "list.txt")
    with pytest.raises(InputError):
        three_people.calibrate(trials=str(tmp_path / "missing.txt"))


def test_a_trial_counts_once_however_often_and_by_whatever_name_it_is_listed(three_people, examples, tmp_path) -> None:
    (tmp_path / "again.wav").write_bytes((examples / "ana_4.wav").read_bytes())
    own = [f"1 ana {examples / 'ana_4.wav'}", "1 ana again.wav"] * 20
    others = [f"0 ana {examples / f'{name}_4.wav'}" for name in ("ben", "kal", "eva", "slt")] * 1000
    (tmp_path / "list.txt").write_text("\n".join(own + others))
    with pytest.raises(TooFewTrials, match="needs 30 trials of one speaker, and 1 is here"):
        three_people.calibrate(trials=tmp_path / "list.txt")


def test_answers_count_once_there_are_thirty_of_either_kind(gallery_folder) -> None:
    with many_people(gallery_folder) as gallery:
        rng = np.random.default_rng(0)

        def say(count: int, start: int) -> None:
            with gallery._existing().writing() as connection:
                for number in range(start, start + count):
                    target = number % 2 == 0
                    score = float(rng.normal(6.0 if target else 0.0, 1.5))
                    decisions.keep_feedback(connection, f"{number}", [decisions.Said(1, target, score, 2.0, 8.0, 3)])

        say(40, 0)
        few = gallery.calibrate(dry_run=True)
        assert (few.feedback, few.feedback_waiting) == (0, 40)
        say(700, 40)
        enough = gallery.calibrate(dry_run=True, fmr=0.05)
        assert (enough.feedback, enough.feedback_waiting) == (740, 0) and "740 answers" in enough.origin


def test_answers_move_no_tail_since_strangers_in_them_were_the_nearest_of_many() -> None:
    base = Encoder.load().card.calibration
    rng = np.random.default_rng(2)
    target = np.arange(20_600) < 600
    own = Trials(np.where(target, 6.0, 0.0) + rng.normal(size=20_600), Basis(3.0, 8.0, 3), target)
    nearest = rng.normal(size=(400, 200)).max(axis=1)
    answers = np.arange(800) < 400
    said = Trials(np.where(answers, 6.0, 0.0) + np.concatenate([rng.normal(size=400), nearest]),
                  Basis(3.0, 8.0, 3), answers)  # fmt: skip
    alone, beside = (refit(base, own, one, "own") for one in (None, said))
    assert beside.tail == alone.tail and beside.search == alone.search
    assert np.mean(own.scores[~target] >= beside.tail.score_at(0.01)) == pytest.approx(0.01, rel=0.1)


def test_a_list_of_any_name_makes_a_calibration_that_can_be_read_again(gallery_folder, examples, tmp_path) -> None:
    with many_people(gallery_folder) as gallery:
        own = gallery.calibrate(dry_run=True)
        with gallery._existing().writing() as connection:
            found = replace(gallery.calibration, origin=f"the list {printable(chr(0xA0) + 'a' + chr(0x202F))}")
            decisions.keep_calibration(connection, found)
        assert gallery.calibration.origin == found.origin
        with gallery._existing().writing() as connection, pytest.raises(ValueError, match="origin"):
            decisions.keep_calibration(connection, replace(found, origin="a\u00a0b"))
        assert own.targets == 120


@pytest.mark.parametrize("more", [["--dry-run"], ["--trials", "list.txt"]])
def test_a_reset_that_is_said_to_change_nothing_changes_nothing(gallery_folder, run, more: list[str]) -> None:
    with many_people(gallery_folder) as gallery:
        own = gallery.calibrate().origin
    assert run("calibrate", "--reset", *more).returncode == 2
    with Gallery.open(gallery_folder) as gallery:
        assert gallery.calibration.origin == own


def test_a_damaged_calibration_can_be_taken_out(gallery_folder, run) -> None:
    with many_people(gallery_folder) as gallery:
        gallery.calibrate()
    change(gallery_folder / "gallery.sqlite", "UPDATE calibration SET content = '{}'")
    assert run("calibrate", "--reset").returncode == 0
    with Gallery.open(gallery_folder) as gallery:
        assert gallery.calibration == gallery.encoder.card.calibration


@pytest.mark.parametrize("fmr", [1e-310, 5e-324])
def test_a_rate_that_no_gallery_can_show_is_refused(gallery_folder, fmr: float) -> None:
    with many_people(gallery_folder) as gallery, pytest.raises(TooFewTrials):
        gallery.calibrate(fmr=fmr)


def test_separated_trials_of_a_small_gallery_do_not_make_it_sure(gallery_folder) -> None:
    base = Encoder.load().card.calibration
    assert base is not None
    scores = np.concatenate([np.full(40, 9.0) + np.arange(40) / 100, np.linspace(-3.0, 1.0, 4000)])
    trials = Trials(scores, Basis(3.0, 8.0, 3), np.arange(4040) < 40)
    found = refit(base, trials, None, "separated")
    assert 0.8 < found.llr.weights[1] / base.llr.weights[1] < 1.6


def test_trials_that_the_encoder_is_wrong_about_move_its_ratios_towards_the_truth() -> None:
    rng = np.random.default_rng(1)
    tail = Tail((0.0, 4.0), (0.1, 1e-4))
    base = Calibration(
        LlrMap((-8.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
        tail,
        tail,
        "off by 6",
        {"target": (0.0, 1.0), "nontarget": (-1.0, 0.0)},
    )
    target = rng.random(6000) < 0.3
    scores = np.where(target, 4.0, 0.0) + 2.0 * rng.normal(size=6000)  # the true LLR is the score less 2
    found = refit(base, Trials(scores, Basis(1.0, 1.0, 1), target), None, "truth")
    assert found.llr([0.0, 4.0], Basis(1.0, 1.0, 1)) == pytest.approx([-2.0, 2.0], abs=0.4)


def test_the_shipped_encoder_is_the_one_that_these_tests_read() -> None:
    assert find_bundle().name == "speakerdb-16k"
