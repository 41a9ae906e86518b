"""The rules of identifying, verifying and comparing, with each distance worked out again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from galleries import ALL, PEOPLE, ready
from known_voices import voice

from speakerdb import Gallery
from speakerdb.calibration.model import WORD_S
from speakerdb.decision.criterion import per_comparison
from speakerdb.embedding import average, normalize
from speakerdb.encoder.registry import find_bundle
from speakerdb.errors import (
    InputError,
    NoSuchSpeaker,
    StateError,
)
from speakerdb.store import voiceprints


def test_everybody_is_a_candidate_at_the_exact_distance_likeliest_first(people, clips, exact, encoder):
    for probe in ("ana_3", "ben_2", "eva_2", "stranger_1"):
        found = people.identify(*clips(probe), top=10)
        expected = {name: exact(probe, enrolled) for name, enrolled in PEOPLE.items()}
        assert {candidate.speaker for candidate in found.candidates} == set(PEOPLE)
        voice = encoder.cohort.norms(encoder.embed(*clips(probe))[None])
        scores = []
        for candidate in found.candidates:
            with people._existing().reading() as connection:
                stored = encoder.cohort.norms(voiceprints.of_speaker(connection, candidate.id)[None])
            cosine = 1.0 - candidate.distance**2 / 2.0
            parts = [(cosine - float(norms.mean[0])) / float(norms.spread[0]) for norms in (voice, stored)]
            scores.append(sum(parts) / 2.0)
        assert scores == sorted(scores, reverse=True)
        assert found.distance == found.candidates[0].distance
        for candidate in found.candidates:
            assert candidate.distance == pytest.approx(expected[candidate.speaker], abs=1e-6)
        for top in (1, 2):
            assert people.identify(*clips(probe), top=top).candidates == found.candidates[:top]


def test_the_engines_give_the_same_candidates(people, clips, encoder):
    pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    found = []
    for index in ("numpy", "faiss-flat", "auto"):
        with Gallery.open(people.folder, encoder=encoder, index=index) as again:
            found.append(again.identify(*clips("ana_3"), top=3).candidates)
            assert again.rebuild().kind == ("numpy" if index == "numpy" else "faiss-flat")
    assert found[0] == found[1] == found[2]


def test_a_distance_equal_to_the_threshold_is_accepted_and_the_next_smaller_threshold_rejects(people, clips):
    (probe,) = clips("ana_3")
    distance = people.identify(probe, threshold=ALL).distance
    nearest = people.identify(probe, threshold=ALL).speaker
    below = np.nextafter(distance, 0.0)
    assert people.identify(probe, threshold=distance).speaker == nearest
    assert people.identify(probe, threshold=below).speaker is None
    assert people.identify(probe, threshold=below).candidates[0].speaker == nearest
    assert people.verify(nearest, probe, threshold=distance).accepted
    assert not people.verify(nearest, probe, threshold=below).accepted
    pair = people.compare(clips("ana_3", "ben_2"), threshold=ALL).pairs[0]
    assert people.compare(clips("ana_3", "ben_2"), threshold=pair.distance).pairs[0].same_speaker
    assert not people.compare(clips("ana_3", "ben_2"), threshold=np.nextafter(pair.distance, 0.0)).pairs[0].same_speaker


def test_the_encoders_own_calibration_decides_where_nothing_is_asked_for(people, clips, encoder):
    calibration = encoder.card.calibration
    for probe in ("ana_1", "ana_3", "stranger_1"):
        found = people.identify(*clips(probe))
        assert found.threshold.origin == calibration.origin
        assert found.threshold.fpir == 0.01
        assert (found.speaker is not None) == (found.distance <= found.threshold.distance)
        assert (found.outcome == "accepted") == (found.llr >= found.threshold_llr)
    assert people.identify(*clips("ben_1")).speaker == "ben"


def test_a_word_has_to_come_as_much_nearer_as_strangers_words_do(people, clips, encoder):
    calibration, fmr = encoder.card.calibration, per_comparison(0.01, len(PEOPLE))
    probe = encoder.probe(*clips("ana_3"))
    word = replace(probe, quality=replace(probe.quality, net_speech_s=WORD_S / 2))
    limits = {one.quality.net_speech_s: people.identify(one).threshold.distance for one in (probe, word)}
    reached = {seconds: calibration.searched_by(seconds).score_at(fmr) for seconds in limits}
    assert reached[WORD_S / 2] > reached[probe.quality.net_speech_s]
    assert limits[WORD_S / 2] < limits[probe.quality.net_speech_s]


def test_without_a_calibration_the_encoders_own_threshold_decides(people, clips, encoder, tmp_path):
    folder = shutil.copytree(find_bundle(), tmp_path / "bundle")
    (folder / "card.json").write_text(json.dumps(encoder.card.raw | {"calibration": None, "cohort": None}))
    with Gallery.open(people.folder, encoder=folder) as gallery:
        found = gallery.verify("ana", *clips("ana_3"))
        own = encoder.card.raw["threshold"]
        assert (found.threshold.distance, found.threshold.origin) == (own["distance"], own["origin"])
        assert found.llr is None and found.threshold.fmr is None
        with pytest.raises(StateError, match="speakerdb calibrate"):
            gallery.verify("ana", *clips("ana_3"), fmr=0.01)


@pytest.mark.parametrize("threshold", [-0.01, 2.01, float("nan"), float("inf")])
def test_a_threshold_that_is_no_distance_is_refused(people, clips, threshold):
    for use in (
        lambda: people.identify(*clips("ana_1"), threshold=threshold),
        lambda: people.verify("ana", *clips("ana_1"), threshold=threshold),
        lambda: people.compare(clips("ana_1", "ben_1"), threshold=threshold),
    ):
        with pytest.raises(InputError, match="distances lie between 0 and 2"):
            use()


@pytest.mark.parametrize("top", [0, -1])
def test_at_least_one_candidate_must_be_asked_for(people, clips, top):
    with pytest.raises(InputError, match="at least 1"):
        people.identify(*clips("ana_1"), top=top)


def test_voices_nearer_together_than_float32_can_tell_are_told_apart_exactly(gallery_folder, encoder):
    centre = voice("centre")
    names = [f"twin {number}" for number in range(7)]
    twins = {name: [normalize(centre + np.float32(1e-5 * (7 - n)) * voice(name))] for n, name in enumerate(names)}
    ready(gallery_folder, encoder, twins)
    with Gallery.open(gallery_folder, encoder=encoder) as gallery:
        found = gallery.nearest(centre, top=7)
        expected = {name: float(np.linalg.norm(centre.astype(float) - average(v))) for name, v in twins.items()}
        assert {candidate.speaker: candidate.distance for candidate in found} == pytest.approx(expected, abs=1e-12)
        assert [candidate.speaker for candidate in found] == names[::-1]
        for top in range(1, 7):
            assert gallery.nearest(centre, top=top) == found[:top]


def test_hundreds_of_voices_are_found_as_by_hand(gallery_folder, encoder):
    voices = {f"person {number}": [voice(f"{number}")] for number in range(400)}
    ready(gallery_folder, encoder, voices)
    matrix = np.stack([v[0] for v in voices.values()]).astype(float)
    with Gallery.open(gallery_folder, encoder=encoder) as gallery:
        for probe in ("17", "399", "somebody", "else"):
            exact = np.linalg.norm(matrix - voice(probe).astype(float), axis=1)
            found = gallery.nearest(voice(probe), top=20)
            expected = [(f"person {i}", exact[i]) for i in np.argsort(exact)[:20]]
            assert [candidate.speaker for candidate in found] == [name for name, _ in expected]
            assert [candidate.distance for candidate in found] == pytest.approx([d for _, d in expected], abs=1e-6)


def test_as_many_candidates_are_listed_as_numpys_smallest_numbers_ask_for(gallery_folder, encoder):
    ready(gallery_folder, encoder, {f"person {number}": [voice(f"{number}")] for number in range(255)})
    with Gallery.open(gallery_folder, encoder=encoder) as gallery:
        assert len(gallery.nearest(voice("17"), top=np.uint8(250))) == 250


def test_verifying_reads_the_one_voiceprint_at_its_exact_distance(people, clips, exact):
    for name, enrolled in PEOPLE.items():
        for probe in ("ana_3", "stranger_1"):
            answer = people.verify(name, *clips(probe), threshold=0.7)
            assert answer.distance == pytest.approx(exact(probe, enrolled), abs=1e-6)
            assert answer.accepted == (answer.distance <= 0.7)
            assert (answer.speaker, answer.threshold.origin) == (name, "given by the caller")
    assert not (people.folder / "index").exists()


def test_verifying_somebody_unknown_is_an_error_and_not_a_rejection(people, clips):
    with pytest.raises(NoSuchSpeaker, match="no speaker named 'dan'"):
        people.verify("dan", *clips("ana_1"))


def test_comparing_gives_the_distance_of_every_pair(gallery, clips, heard):
    names = ["ana_1", "ana_2", "ben_1", "ana_1"]
    comparison = gallery.compare(clips(*names), threshold=0.5)
    expected = [float(np.linalg.norm(heard(a).astype(float) - heard(b))) for a, b in combinations(names, 2)]
    assert [pair.distance for pair in comparison.pairs] == pytest.approx(expected, abs=1e-6)
    assert [(Path(pair.first).stem, Path(pair.second).stem) for pair in comparison.pairs] == list(
        combinations(names, 2)
    )
    assert comparison.pairs[2].distance == pytest.approx(0.0, abs=1e-6)
    for pair in comparison.pairs:
        assert pair.same_speaker == (pair.distance <= 0.5)


def test_an_answer_is_true_where_somebody_was_named_or_accepted(people, clips):
    asked = {threshold: people.identify(*clips("ana_3"), threshold=threshold) for threshold in (0.0, 2.0)}
    assert [bool(found) for found in asked.values()] == [False, True]
    assert [bool(people.verify("ben", *clips("ana_3"), threshold=threshold)) for threshold in (0.0, 2.0)] == [
        False,
        True,
    ]


def test_one_recording_cannot_be_compared(gallery, clips):
    for sources in ([], clips("ana_1")):
        with pytest.raises(InputError, match="two recordings or more"):
            gallery.compare(sources)


def test_nearest_takes_a_list_of_numbers(people, clips) -> None:
    vector = people.encoder.embed(*clips("ana_3"))
    assert people.nearest(vector.tolist(), top=2) == people.nearest(vector, top=2)


def test_nearest_takes_unit_vectors_of_the_gallerys_dimension_alone(people, clips) -> None:
    vector = people.encoder.embed(*clips("ana_3"))
    assert people.nearest(vector, top=1)
    for wrong in (2.0 * vector, vector[:-1], vector[None], vector * np.nan, "voice", ["a"] * 192, [[1.0], []], None):
        with pytest.raises(InputError, match=r"a vector of unit length is needed, float32 \[192\]"):
            people.nearest(wrong)
    with pytest.raises(InputError, match="0 candidates"):
        people.nearest(vector, top=0)
