"""The rules of enrolling, identifying, verifying and forgetting, with each distance worked out again."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import threading
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_store import KnownVoices, voice

from speakerdb import Encoder, Gallery, settings
from speakerdb.embedding import average, normalize
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.errors import (
    AudioUnreadable,
    ConflictingEnrollment,
    DuplicateEnrollment,
    EmptyGallery,
    EncoderDamaged,
    EncoderMismatch,
    GalleryDamaged,
    InputError,
    NameTaken,
    NoSuchEnrollment,
    NoSuchGallery,
    NoSuchSpeaker,
    StateError,
    StorageError,
    TooLittleSpeech,
)
from speakerdb.index import snapshot
from speakerdb.store import database, records
from speakerdb.store.records import EncoderIdentity, NewEnrollment

ALL = 2.0
"""A threshold that accepts everybody."""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture(scope="module")
def known_voices(encoder) -> KnownVoices:
    return KnownVoices(encoder._bundle)


@pytest.fixture(scope="module")
def heard(encoder, examples) -> Callable[[str], np.ndarray]:
    """A recording's vector, straight from the encoder."""
    vectors: dict[str, np.ndarray] = {}

    def embed(clip: str) -> np.ndarray:
        if clip not in vectors:
            vectors[clip] = encoder.embed(examples / f"{clip}.wav")
        return vectors[clip]

    return embed


@pytest.fixture
def clips(examples) -> Callable[..., list[Path]]:
    return lambda *names: [examples / f"{name}.wav" for name in names]


@pytest.fixture
def gallery(gallery_folder, encoder):
    """A gallery in which nobody is enrolled yet."""
    with Gallery.open(gallery_folder, encoder=encoder) as opened:
        yield opened


@pytest.fixture
def people(gallery, clips):
    """A gallery with ana (two recordings), ben (one) and eva (one)."""
    gallery.enroll("ana", clips("ana_1", "ana_2"))
    gallery.enroll("ben", clips("ben_1"))
    gallery.enroll("eva", clips("eva_1"))
    return gallery


PEOPLE = {"ana": ["ana_1", "ana_2"], "ben": ["ben_1"], "eva": ["eva_1"]}


@pytest.fixture
def exact(heard) -> Callable[..., float]:
    """A recording's distance to the voiceprint of others, in float64 from the encoder's vectors."""

    def distance(probe: str, enrolled: Iterable[str]) -> float:
        units = [heard(clip).astype(float) for clip in enrolled]
        mean = np.mean([unit / np.linalg.norm(unit) for unit in units], axis=0)
        return float(np.linalg.norm(heard(probe) - mean / np.linalg.norm(mean)))

    return distance


def listed(gallery: Gallery) -> dict[str, int]:
    return {entry.speaker: entry.enrollments for entry in gallery.speakers()}


# Enrolling


def test_the_voiceprint_is_the_average_of_the_recordings_brought_to_unit_length(gallery, clips, exact):
    enrolled = gallery.enroll("ana", clips("ana_1", "ana_2", "ana_3"))
    assert (enrolled.speaker, enrolled.new_speaker, enrolled.total) == ("ana", True, 3)
    assert [recording.source for recording in enrolled.enrolled] == [
        str(clip) for clip in clips("ana_1", "ana_2", "ana_3")
    ]
    assert all(recording.net_speech_s > 2.0 for recording in enrolled.enrolled)
    assert enrolled.net_speech_s == sum(recording.net_speech_s for recording in enrolled.enrolled)
    for probe in ("ana_4", "ana_1", "ben_1"):
        expected = exact(probe, ["ana_1", "ana_2", "ana_3"])
        assert gallery.verify("ana", *clips(probe)).distance == pytest.approx(expected, abs=1e-6)


def test_recordings_enrolled_one_by_one_weigh_as_much_as_together(gallery, clips, exact):
    for number, clip in enumerate(clips("ana_1", "ana_2", "ana_3"), start=1):
        enrolled = gallery.enroll("ana", clip)
        assert (enrolled.new_speaker, enrolled.total) == (number == 1, number)
    expected = exact("ana_4", ["ana_1", "ana_2", "ana_3"])
    assert gallery.verify("ana", *clips("ana_4")).distance == pytest.approx(expected, abs=1e-6)


def test_the_first_enrollment_makes_the_gallery_and_nothing_else_does(gallery, gallery_folder, clips, tmp_path):
    assert gallery.speakers() == []
    gallery.compare(clips("ana_1", "ben_1"))
    for use in (
        lambda: gallery.identify(*clips("ana_1")),
        lambda: gallery.verify("ana", *clips("ana_1")),
        lambda: gallery.rename("ana", "ben"),
        lambda: gallery.remove("ana"),
        lambda: gallery.remove_enrollment(1),
        gallery.check,
        gallery.rebuild,
    ):
        with pytest.raises(NoSuchGallery, match="the first `speakerdb enroll NAME FILE` makes one"):
            use()
    with pytest.raises(AudioUnreadable):
        gallery.enroll("ana", tmp_path / "nothing.wav")
    refused = gallery.enroll("ana", tmp_path / "nothing.wav", keep_going=True)
    assert (refused.enrolled, len(refused.refused), refused.total) == ([], 1, 0)
    assert not gallery_folder.exists()
    gallery.enroll("ana", clips("ana_1"))
    assert sorted(path.name for path in gallery_folder.iterdir() if path.is_file()) == [
        "gallery.sqlite",
        "gallery.sqlite-shm",
        "gallery.sqlite-wal",
    ]


def test_the_same_sound_is_enrolled_once_whatever_it_comes_as(people, clips, examples):
    samples, rate_hz = soundfile.read(examples / "ana_1.wav", dtype="float32")
    integers, _ = soundfile.read(examples / "ana_1.wav", dtype="int16")
    flac = io.BytesIO()
    soundfile.write(flac, integers, rate_hz, format="FLAC")
    content = (examples / "ana_1.wav").read_bytes()
    before = people.check().generation
    for source, arguments in (
        (str(examples / "ana_1.wav"), {}),
        (content, {}),
        (bytearray(content), {}),
        (memoryview(content), {}),
        (io.BytesIO(content), {}),
        (flac.getvalue(), {}),
        (samples, {"rate_hz": rate_hz}),
        (integers, {"rate_hz": rate_hz}),
        (np.stack([samples, samples], axis=1), {"rate_hz": rate_hz}),
    ):
        with pytest.raises(DuplicateEnrollment, match=r"is enrolled for 'ana' already \(same audio\)"):
            people.enroll("ana", source, **arguments)
    with (examples / "ana_1.wav").open("rb") as file, pytest.raises(DuplicateEnrollment):
        people.enroll("ana", file)
    assert people.check().generation == before
    assert listed(people) == {"ana": 2, "ben": 1, "eva": 1}


@pytest.mark.parametrize("form", ["path", "text", "bytes", "file", "array", "list", "generator"])
def test_every_form_of_a_source_is_enrolled_and_found_again(gallery, examples, form):
    path = examples / "ana_1.wav"
    samples, rate_hz = soundfile.read(path, dtype="float32")
    source = {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "file": io.BytesIO(path.read_bytes()),
        "array": samples,
        "list": [path],
        "generator": (one for one in [path]),
    }[form]
    enrolled = gallery.enroll("ana", source, rate_hz=rate_hz if form == "array" else None)
    shown = {"bytes": "<bytes>", "file": "<BytesIO>", "array": "<array>"}.get(form, str(path))
    assert enrolled.enrolled[0].source == shown
    found = gallery.identify(path)
    assert found.speaker == "ana"
    assert found.distance == pytest.approx(0.0, abs=1e-6)
    assert gallery.identify(samples, rate_hz=rate_hz).distance == pytest.approx(0.0, abs=1e-6)


def test_a_recording_of_somebody_else_is_a_conflict_and_changes_nothing(people, clips):
    with pytest.raises(ConflictingEnrollment, match="is enrolled for 'ana', not 'ben'") as raised:
        people.enroll("ben", clips("ben_2", "ana_1"))
    assert raised.value.fields["enrolled_for"] == "ana"
    assert listed(people) == {"ana": 2, "ben": 1, "eva": 1}
    people.enroll("ben", clips("ben_2"))


def test_a_recording_twice_in_one_call_is_a_duplicate(gallery, clips):
    with pytest.raises(DuplicateEnrollment):
        gallery.enroll("ana", clips("ana_1", "ana_2", "ana_1"))
    assert listed(gallery) == {}
    enrolled = gallery.enroll("ana", clips("ana_1", "ana_2", "ana_1"), keep_going=True)
    assert (len(enrolled.enrolled), len(enrolled.refused), enrolled.total) == (2, 1, 2)


def silence() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(32_000), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("bad", "error"),
    [(Path("nothing.wav"), AudioUnreadable), (silence(), TooLittleSpeech)],
    ids=["missing", "silent"],
)
def test_one_unusable_recording_stops_all_of_them_or_is_passed_over(people, clips, place, bad, error):
    sources = clips("ana_3", "ana_4")
    sources.insert(place, bad)
    with pytest.raises(error):
        people.enroll("ana", sources)
    assert listed(people)["ana"] == 2
    enrolled = people.enroll("ana", sources, keep_going=True)
    assert (len(enrolled.enrolled), enrolled.total) == (2, 4)
    assert [refused.error["error"] for refused in enrolled.refused] == [error.__name__]
    again = people.enroll("ana", sources, keep_going=True)
    assert (again.enrolled, len(again.refused), again.total) == ([], 3, 4)


def test_passing_over_takes_in_duplicates_and_conflicts_too(people, clips):
    enrolled = people.enroll("ana", clips("ana_1", "ben_1", "ana_3"), keep_going=True)
    assert [Path(recording.source).stem for recording in enrolled.enrolled] == ["ana_3"]
    assert [refused.error["error"] for refused in enrolled.refused] == [
        "DuplicateEnrollment",
        "ConflictingEnrollment",
    ]
    nobody = people.enroll("newcomer", clips("ana_1", "ben_1"), keep_going=True)
    assert (nobody.enrolled, nobody.new_speaker, nobody.total) == ([], False, 0)
    assert "newcomer" not in listed(people)


def test_nothing_to_enroll_is_an_error(gallery):
    with pytest.raises(InputError, match="no recording was given"):
        gallery.enroll("ana", [])


def test_progress_tells_the_recording_and_its_seconds(gallery, clips):
    told: list[tuple] = []
    gallery.enroll("ana", clips("ana_1", "ana_2"), progress=lambda *values: told.append(values))
    assert {values[:2] for values in told} == {(0, 2), (1, 2)}
    for _, _, done_s, length_s in told:
        assert done_s == pytest.approx(length_s)


# Identifying


def test_everybody_is_a_candidate_at_the_exact_distance_likeliest_first(people, clips, exact, encoder):
    for probe in ("ana_3", "ben_2", "eva_2", "stranger_1"):
        found = people.identify(*clips(probe), top=10)
        expected = {name: exact(probe, enrolled) for name, enrolled in PEOPLE.items()}
        assert {candidate.speaker for candidate in found.candidates} == set(PEOPLE)
        voice = encoder.cohort.norms(encoder.embed(*clips(probe))[None])
        scores = []
        for candidate in found.candidates:
            with people._existing().reading() as connection:
                stored = encoder.cohort.norms(records.voiceprint(connection, candidate.id)[None])
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


def test_without_a_calibration_the_encoders_own_threshold_decides(people, clips, encoder, tmp_path):
    folder = shutil.copytree(find_bundle(), tmp_path / "bundle")
    (folder / "card.json").write_text(json.dumps(encoder.card.raw | {"calibration": None, "cohort": None}))
    with Gallery.open(people.folder, encoder=folder) as gallery:
        found = gallery.verify("ana", *clips("ana_3"))
        assert (found.threshold.distance, found.threshold.origin) == (0.986, encoder.card.threshold_origin)
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


def ready(folder: Path, encoder: Encoder, voices: dict[str, list[np.ndarray]]) -> None:
    """A gallery of ready vectors, written through the store alone."""
    card = encoder.card
    store = database.create(folder / database.FILE)
    with store.writing() as connection:
        records.bind(connection, EncoderIdentity(card.name, card.version, card.sha256, card.dimension))
    for name, vectors in voices.items():
        with store.writing() as connection:
            speaker = records.add_speaker(connection, name)
            for vector in vectors:
                records.add_enrollment(connection, speaker, recording_of(vector))
            records.refresh_voiceprint(connection, speaker, added=len(vectors))
            records.record_change(connection, [speaker])
    store.close()


def recording_of(vector: np.ndarray) -> NewEnrollment:
    digest = hashlib.sha256(vector.tobytes()).hexdigest()
    return NewEnrollment(f"recording {digest[::-1][:24]}.wav", digest, 2.0, {"snr_db": 30.0}, vector)


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


# Verifying and comparing


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


def test_one_recording_cannot_be_compared(gallery, clips):
    for sources in ([], clips("ana_1")):
        with pytest.raises(InputError, match="two recordings or more"):
            gallery.compare(sources)


# Names


def test_a_renamed_speaker_keeps_the_voice(people, clips):
    before = people.identify(*clips("ana_3"), threshold=ALL)
    assert before.speaker is not None
    renamed = people.rename(before.speaker, "Zoë")
    assert (renamed.before, renamed.after) == (before.speaker, "Zoë")
    after = people.identify(*clips("ana_3"), threshold=ALL)
    assert (after.speaker, after.distance) == ("Zoë", before.distance)
    with pytest.raises(NoSuchSpeaker):
        people.verify(before.speaker, *clips("ana_3"))
    assert people.check().findings == []


def test_a_name_that_is_taken_is_refused(people):
    with pytest.raises(NameTaken, match="a speaker named 'ben' exists already"):
        people.rename("ana", "ben")
    with pytest.raises(NoSuchSpeaker):
        people.rename("dan", "eva")
    assert listed(people) == {"ana": 2, "ben": 1, "eva": 1}


def test_renaming_to_the_same_name_changes_nothing(people):
    assert people.rename("ana", "ana").after == "ana"
    assert listed(people) == {"ana": 2, "ben": 1, "eva": 1}


def test_both_normal_forms_of_a_name_are_one_speaker(gallery, clips):
    composed, decomposed = "Zoë", unicodedata.normalize("NFD", "Zoë")
    assert composed != decomposed
    gallery.enroll(decomposed, clips("ana_1"))
    assert gallery.enroll(composed, clips("ana_2")).total == 2
    assert gallery.rename(composed, decomposed).after == composed
    assert gallery.verify(f" {decomposed} ", *clips("ana_1"), threshold=ALL).speaker == composed
    gallery.enroll("ben", clips("ben_1"))
    with pytest.raises(NameTaken):
        gallery.rename("ben", decomposed)
    assert gallery.remove(decomposed).enrollments == 2


# Forgetting


def test_a_removed_speaker_is_found_no_more_and_may_come_back(people, clips):
    assert people.identify(*clips("ben_1")).speaker == "ben"
    removed = people.remove("ben")
    assert (removed.speaker, removed.enrollments, removed.speaker_removed, removed.log_erased) == (
        "ben",
        1,
        True,
        True,
    )
    found = people.identify(*clips("ben_1"), top=10, threshold=ALL)
    assert {candidate.speaker for candidate in found.candidates} == {"ana", "eva"}
    for use in (lambda: people.verify("ben", *clips("ben_1")), lambda: people.remove("ben")):
        with pytest.raises(NoSuchSpeaker):
            use()
    assert people.enroll("ben", clips("ben_1")).new_speaker
    assert people.identify(*clips("ben_1")).speaker == "ben"


def test_a_removed_recording_is_taken_out_of_the_average(people, clips, exact):
    first, second = people.speakers(enrollments=True)[0].recordings
    people.identify(*clips("ana_3"))
    removed = people.remove_enrollment(first.id)
    assert (removed.speaker, removed.enrollments, removed.speaker_removed) == ("ana", 1, False)
    assert listed(people)["ana"] == 1
    distance = people.identify(*clips("ana_2")).distance
    assert distance == pytest.approx(exact("ana_2", ["ana_2"]), abs=1e-5)
    with pytest.raises(NoSuchEnrollment):
        people.remove_enrollment(first.id)
    assert people.remove_enrollment(second.id).speaker_removed
    assert "ana" not in listed(people)
    assert people.check().findings == []


@pytest.mark.parametrize("number", [0, -1, 99, 1 << 31, 1 << 62, 1 << 64, -(1 << 70)])
def test_a_recording_that_is_not_there_cannot_be_removed(people, number):
    with pytest.raises(NoSuchEnrollment):
        people.remove_enrollment(number)
    assert listed(people) == {"ana": 2, "ben": 1, "eva": 1}


def test_where_the_last_has_gone_nobody_can_be_found(people, clips):
    for name in ("ana", "ben", "eva"):
        people.remove(name)
    assert people.speakers() == []
    with pytest.raises(EmptyGallery):
        people.identify(*clips("ana_1"))
    with pytest.raises(EmptyGallery):
        people.nearest(voice("anybody"))
    assert people.check().findings == []
    assert people.rebuild().speakers == 0
    people.enroll("ana", clips("ana_1"))
    assert people.identify(*clips("ana_1")).speaker == "ana"


def test_no_id_is_used_twice_not_even_after_a_restart(gallery_folder, known_voices):
    seen: set[int] = set()
    speakers: set[int] = set()
    for turn in range(4):
        with Gallery.open(gallery_folder, encoder=known_voices) as gallery:
            gallery.enroll("stays", f"stays {turn}")
            new = [recording.id for recording in gallery.enroll("goes", [f"{turn} a", f"{turn} b"]).enrolled]
            store = database.open_existing(gallery_folder / database.FILE)
            with store.reading() as connection:
                speaker = records.speaker_id(connection, "goes")
            store.close()
            assert not seen & set(new)
            assert speaker not in speakers
            seen |= set(new)
            speakers.add(speaker)
            gallery.remove("goes")
    assert len(seen) == 8


# What a removal leaves: nothing


def pieces(*secrets: bytes) -> set[bytes]:
    """Every sixteen bytes of secrets: any stretch of 31 of their bytes holds one of these."""
    return {secret[at : at + 16] for secret in secrets for at in range(0, len(secret) - 15, 16)}


def left_in(folder: Path, secrets: set[bytes]) -> list[str]:
    """Where any of the pieces stands, byte by byte through every file."""
    heads = np.array([int.from_bytes(piece[:8], "little") for piece in secrets], np.uint64)
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for shift in range(min(8, len(content) // 8)):
            words = np.frombuffer(content, "<u8", (len(content) - shift) // 8, shift)
            for at in shift + 8 * np.flatnonzero(np.isin(words, heads)):
                if content[at : at + 16] in secrets:
                    found.append(f"{path.name} at {at}: {content[at : at + 16]!r}")
    return found


def secrets_of(folder: Path, name: str) -> set[bytes]:
    """What must not be left of a speaker: vectors, name, hashes and names of the recordings."""
    store = database.open_existing(folder / database.FILE)
    with store.reading() as connection:
        speaker = records.speaker_id(connection, name)
        stored, vectors = next(records.voiceprint_parts(connection, [speaker])).vectors()
        secrets = [records.to_blob(stored), *(records.to_blob(vector) for vector in vectors), name.encode()]
        hashes = connection.exec_driver_sql("SELECT audio_sha256 FROM enrollment WHERE speaker_id = ?", (speaker,))
        secrets += [value.encode() for (value,) in hashes]
    store.close()
    assert len(secrets) == 3 + 2 * len(vectors) - 1
    return pieces(*secrets)


def test_what_is_looked_for_is_seen_while_it_is_there(people, clips):
    people.rename("ana", "ana of the long name")
    people.identify(*clips("ana_1"))
    secrets = secrets_of(people.folder, "ana of the long name")
    assert len(secrets) > 3 * 48
    seen = {line.split(": ")[1] for line in left_in(people.folder, secrets)}
    assert len(seen) == len(secrets)
    people.rebuild()
    assert [line for line in left_in(people.folder, secrets) if line.startswith(snapshot.FILE)]


def test_of_a_removed_speaker_no_byte_is_left_in_any_file(people, clips, encoder):
    folder = people.folder
    people.rename("ana", "ana of the long name")
    secrets = secrets_of(folder, "ana of the long name")
    people.identify(*clips("ana_1"))
    people.rebuild()  # a snapshot on disk, an index in memory
    with Gallery.open(folder, encoder=encoder) as other:  # and one elsewhere, which has not caught up
        other.identify(*clips("ana_1"))
        assert people.remove("ana of the long name").log_erased
        assert left_in(folder, secrets) == []
        people.enroll("kal", clips("kal_1"))
        people.identify(*clips("ana_1"))
        assert left_in(folder, secrets) == []
    assert left_in(folder, secrets) == []
    people.close()
    assert left_in(folder, secrets) == []
    with Gallery.open(folder, encoder=encoder) as again:
        again.identify(*clips("ana_1"))
        assert again.check().findings == []
    assert left_in(folder, secrets) == []


def test_of_a_removed_recording_and_the_average_with_it_no_byte_is_left(people, clips):
    store = database.open_existing(people.folder / database.FILE)
    with store.reading() as connection:
        stored, vectors = next(records.voiceprint_parts(connection, [1])).vectors()
        secrets = pieces(records.to_blob(stored), records.to_blob(vectors[0]))
        kept = pieces(records.to_blob(vectors[1]))
    store.close()
    people.rebuild()
    assert left_in(people.folder, secrets)
    people.remove_enrollment(1)
    assert left_in(people.folder, secrets) == []
    people.identify(*clips("ana_2"))
    people.close()
    assert left_in(people.folder, secrets) == []
    assert left_in(people.folder, kept)


@pytest.mark.slow
def test_after_many_removals_from_a_large_gallery_nothing_is_left_of_anyone(gallery_folder, encoder, monkeypatch):
    rng = np.random.default_rng(0)  # with these names SQLite 3.40 leaves copies behind, if the file is not rewritten
    names = [f"person {rng.bytes(int(rng.integers(9, 31))).hex()}" for _ in range(300)]
    voices = {name: [voice(f"{name} {n}") for n in range(1 + i % 3)] for i, name in enumerate(names)}
    ready(gallery_folder, encoder, voices)
    store = database.open_existing(gallery_folder / database.FILE)
    for name in names[::2]:  # a second recording later: rows grow, pages split
        with store.writing() as connection:
            speaker = records.speaker_id(connection, name)
            voices[name].append(voice(f"{name} later"))
            records.add_enrollment(connection, speaker, recording_of(voices[name][-1]))
            records.refresh_voiceprint(connection, speaker, added=1)
            records.record_change(connection, [speaker])
    store.close()

    def secrets(name: str) -> set[bytes]:
        hashes = [recording_of(vector).audio_sha256.encode() for vector in voices[name]]
        vectors = [records.to_blob(vector) for vector in [*voices[name], average(voices[name])]]
        return pieces(*vectors, *hashes, name.encode())

    order = [names[i] for i in rng.permutation(len(names))]
    gone: set[bytes] = set()
    with Gallery.open(gallery_folder, encoder=encoder) as gallery:
        gallery.rebuild()
        assert len(left_in(gallery_folder, secrets(order[0]))) >= len(secrets(order[0]))
        with monkeypatch.context() as patch:  # most of them without writing the file anew: pages merge, are freed
            patch.setattr(settings, "REWRITE_BELOW_BYTES", 0)
            for name in order[:200]:
                assert gallery.remove(name).log_erased
                gone |= secrets(name)
        for name in order[200:210]:
            assert gallery.remove(name).log_erased
            gone |= secrets(name)
            assert left_in(gallery_folder, gone) == []
        found = {c.speaker for c in gallery.nearest(voice("anybody"), top=500)}
        assert found == set(order[210:])
        assert gallery.check().findings == []
    assert left_in(gallery_folder, gone) == []


# Listing, checking, rebuilding


def test_speakers_are_listed_by_name_with_their_recordings(people, clips):
    entries = people.speakers(enrollments=True)
    assert [entry.speaker for entry in entries] == ["ana", "ben", "eva"]
    ana = entries[0]
    assert [Path(recording.source).stem for recording in ana.recordings] == ["ana_1", "ana_2"]
    assert ana.net_speech_s == pytest.approx(sum(recording.net_speech_s for recording in ana.recordings))
    assert ana.recordings[0].quality["net_speech_s"] == pytest.approx(ana.recordings[0].net_speech_s, abs=1e-3)
    assert people.speakers()[0].recordings == []
    json.dumps([entry.to_json() for entry in entries])


def test_more_people_of_one_voice_than_check_looks_at_are_no_finding(gallery_folder, encoder):
    centre = voice("centre")
    twins = {f"twin {n}": [normalize(centre + np.float32(1e-5) * voice(f"twin {n}"))] for n in range(12)}
    ready(gallery_folder, encoder, twins)
    with Gallery.open(gallery_folder, encoder=encoder) as gallery:
        assert gallery.check().findings == []


def test_a_sound_gallery_has_no_findings(people, encoder):
    report = people.check()
    assert report.findings == []
    assert (report.speakers, report.enrollments, report.generation) == (3, 4, 3)
    assert report.encoder == encoder.card.id


def test_check_names_a_file_that_others_may_read(people):
    (people.folder / "gallery.sqlite").chmod(0o644)
    (people.folder / "index").mkdir(0o700, exist_ok=True)
    (people.folder / "index" / snapshot.PARTIAL).touch(0o600)
    readable, partial = people.check().findings
    assert "can be read by others (mode 644); chmod 600 it" in readable
    assert "is left from a write that was cut off; run `speakerdb rebuild`" in partial
    people.rebuild()
    (people.folder / "gallery.sqlite").chmod(0o600)
    assert people.check().findings == []


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM enrollment WHERE speaker_id = 1", "speaker 'ana' has no enrollment"),
        (
            "DELETE FROM enrollment WHERE id = 1",
            "the voiceprint of speaker 'ana' does not fit its enrollments",
        ),
        ("DELETE FROM voiceprint WHERE speaker_id = 2", "speaker 'ben' has no voiceprint"),
        (
            "UPDATE voiceprint SET count = 7 WHERE speaker_id = 3",
            "of speaker 'eva' does not fit its enrollments",
        ),
        ("UPDATE enrollment SET vector_crc32 = 1 WHERE id = 3", "speaker 'ben' is damaged"),
        ("UPDATE enrollment SET speaker_id = 99 WHERE id = 3", "foreign key of enrollment"),
    ],
)
def test_check_names_what_does_not_agree(people, statement, finding):
    store = database.open_existing(people.folder / database.FILE)
    with store.migrating() as connection:
        connection.exec_driver_sql(statement)
        if "99" in statement:  # `migrating` itself would refuse it
            connection.exec_driver_sql("INSERT INTO speaker VALUES (99, 'q', 0, '')")
    if "99" in statement:
        with store._engine.connect() as connection:
            raw = connection.connection.driver_connection
            raw.execute("PRAGMA foreign_keys = OFF")
            raw.execute("DELETE FROM speaker WHERE id = 99")
            raw.execute("PRAGMA foreign_keys = ON")
    store.close()
    findings = people.check().findings
    assert [line for line in findings if finding in line], findings


def test_check_sees_a_voiceprint_that_is_not_the_average(people):
    store = database.open_existing(people.folder / database.FILE)
    with store.writing() as connection:
        records.add_enrollment(connection, 2, recording_of(voice("somebody else")))
        records.refresh_voiceprint(connection, 2, added=1)
        records.remove_enrollment(connection, 3)
        connection.exec_driver_sql("UPDATE voiceprint SET count = 1 WHERE speaker_id = 2")
    store.close()
    assert "the voiceprint of speaker 'ben' is not the average of its enrollments" in people.check().findings


def test_check_sees_an_index_that_holds_other_voices(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", "ana 1")
        gallery.enroll("ben", "ben 1")
        gallery.rebuild()
    loaded = snapshot.load(gallery_folder / "index", binding(gallery_folder))
    assert loaded is not None
    index, generation = loaded
    index.add(np.array([2]), voice("somebody else")[None])
    snapshot.save(gallery_folder / "index", index, binding(gallery_folder), generation, lambda: generation)
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        assert gallery.check().findings == [
            "the index does not find speaker 2 by its voiceprint; run `speakerdb rebuild`"
        ]
        gallery.rebuild()
        assert gallery.check().findings == []


def binding(folder: Path) -> snapshot.Binding:
    store = database.open_existing(folder / database.FILE)
    with store.reading() as connection:
        identity = records.identity(connection)
    store.close()
    return snapshot.Binding(identity.uuid, identity.encoder.sha256, identity.encoder.dimension, "numpy")


@pytest.fixture
def nobody_reads_everything(monkeypatch) -> None:
    """Reading all voiceprints fails, as it must not be needed."""

    def refuse(connection: object) -> None:
        raise AssertionError("all voiceprints were read")

    monkeypatch.setattr(records, "all_voiceprints", refuse)


def three_voices(folder: Path, encoder: KnownVoices) -> Path:
    with Gallery.open(folder, encoder=encoder, index="numpy") as gallery:
        for name in ("ana", "ben", "eva"):
            gallery.enroll(name, f"{name} 1")
        gallery.identify("ana 1")
    return folder / "index" / snapshot.FILE


def test_the_index_is_kept_from_one_run_to_the_next(gallery_folder, known_voices, nobody_reads_everything, monkeypatch):
    with monkeypatch.context() as patch:
        patch.undo()
        patch.setattr(records, "all_voiceprints", ALL_VOICEPRINTS)
        file = three_voices(gallery_folder, known_voices)
    assert file.exists()
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        assert gallery.identify("ben 1").speaker == "ben"


ALL_VOICEPRINTS = records.all_voiceprints


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "folder", "of another gallery", "a file"])
def test_an_index_that_cannot_be_believed_is_made_anew(gallery_folder, tmp_path, known_voices, damage):
    file = three_voices(gallery_folder, known_voices)
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    if damage == "of another gallery":
        shutil.copy(three_voices(tmp_path / "others", known_voices), file)
    elif damage == "a file":
        shutil.rmtree(file.parent)
        file.parent.touch(0o600)
    elif damage in ("missing", "folder"):
        file.unlink()
        if damage == "folder":
            file.mkdir(0o700)
    else:
        file.write_bytes({"empty": b"", "cut": bytes(content[:-9]), "flipped": bytes(content)}[damage])
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        found = gallery.identify("ben 1", top=5)
        assert (found.speaker, len(found.candidates)) == ("ben", 3)
        gallery.enroll("ben", "ben 2")
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        assert gallery.identify("ben 2", threshold=1.2).speaker == "ben"


def test_a_removal_where_the_index_cannot_be_deleted_is_an_error_and_removes_nobody(gallery_folder, known_voices):
    file = three_voices(gallery_folder, known_voices)
    file.unlink()
    file.mkdir(0o700)
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for use in (lambda: gallery.remove("ana"), lambda: gallery.remove_enrollment(1), gallery.rebuild):
            with pytest.raises(StorageError):
                use()
        assert gallery.identify("ana 1").speaker == "ana"


def test_an_old_snapshot_brought_back_catches_up(gallery_folder, known_voices):
    file = three_voices(gallery_folder, known_voices)
    old = file.read_bytes()
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.remove("ana")
        gallery.enroll("ben", "ben 2")
        gallery.enroll("kal", "kal 1")
        gallery.identify("ben 1")
    file.write_bytes(old)
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        found = gallery.identify("kal 1", top=9)
        assert found.speaker == "kal"
        assert {candidate.speaker for candidate in found.candidates} == {"ben", "eva", "kal"}


def test_a_database_brought_back_from_a_backup_is_not_searched_by_a_later_index(gallery_folder, tmp_path, known_voices):
    three_voices(gallery_folder, known_voices)
    shutil.copy(gallery_folder / "gallery.sqlite", tmp_path / "backup")
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for name in ("lost 1", "lost 2"):
            gallery.enroll(name, name)
        gallery.identify("lost 1")
    shutil.copy(tmp_path / "backup", gallery_folder / "gallery.sqlite")
    for name in ("new 1", "new 2", "new 3"):  # past the generation at which the index stands
        with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
            gallery.enroll(name, name)
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for name in ("new 1", "new 2", "new 3"):
            assert gallery.identify(name).speaker == name
        assert len(gallery.identify("new 1", top=20).candidates) == 6
        assert gallery.check().findings == []


def test_rebuilding_says_how_many(gallery_folder, known_voices):
    three_voices(gallery_folder, known_voices).unlink()
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        rebuilt = gallery.rebuild()
        assert (rebuilt.speakers, rebuilt.kind) == (3, "numpy")
    assert (gallery_folder / "index" / snapshot.FILE).exists()


def test_an_unknown_kind_of_index_is_refused(gallery_folder):
    with pytest.raises(ValueError, match="'hnsw'; known"):
        Gallery.open(gallery_folder, index="hnsw")


def test_a_gallery_that_is_damaged_meanwhile_can_still_be_closed(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", "ana 1")
        gallery.identify("ana 1")
        store = database.open_existing(gallery_folder / database.FILE)
        with store.migrating() as connection:
            connection.exec_driver_sql("DROP TABLE gallery")
        store.close()
        with pytest.raises(GalleryDamaged):
            gallery.identify("ana 1")


def test_a_voiceprint_whose_speaker_is_gone_is_nobody(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for name in ("ana", "ben"):
            gallery.enroll(name, f"{name} 1", force=True)
        assert gallery.identify("ben 1").candidates[0].speaker == "ben"
        changed = sqlite3.connect(gallery_folder / database.FILE)  # where foreign keys are not enforced
        changed.execute("DELETE FROM speaker WHERE name = 'ben'")
        changed.commit()
        changed.close()
        for ask in (gallery.identify, lambda name: gallery.nearest(voice(name))):
            with pytest.raises(GalleryDamaged, match="a voiceprint has no speaker"):
                ask("ben 1")


def test_what_is_listed_does_not_change_what_is_decided(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for number in range(40):
            gallery.enroll(f"voice {number}", f"voice {number}", force=True)
        whole = gallery.identify("voice 7", top=40)
        assert len(whole.candidates) == 40
        for top in (1, 2, 5):
            fewer = gallery.identify("voice 7", top=top)
            assert fewer == replace(whole, candidates=whole.candidates[:top])


def test_threads_may_share_a_gallery(gallery_folder, known_voices):
    errors: list[BaseException] = []
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("first", "first")

        def work(number: int) -> None:
            try:
                for turn in range(4):
                    name = f"{number} {turn}"
                    gallery.enroll(name, name)
                    assert gallery.identify(name).speaker == name
                    assert gallery.verify("first", "first").accepted
                gallery.remove(f"{number} 0")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(gallery.speakers()) == 1 + 4 * 3
        assert len(gallery.identify("first", top=50).candidates) == 13
        assert gallery.check().findings == []


# The encoder that a gallery is bound to


@pytest.fixture(scope="module")
def other_bundle(encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped graph under another hash: the same vectors, another encoder."""
    onnx = pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
    folder = tmp_path_factory.mktemp("bundles") / "other"
    folder.mkdir()
    model = onnx.load_from_string(encoder._bundle.model)
    onnx.helper.set_model_props(model, {"purpose": "another hash"})
    content = model.SerializeToString()
    (folder / "encoder.onnx").write_bytes(content)
    named = {"name": "other", "version": "9", "sha256": hashlib.sha256(content).hexdigest()}
    card = encoder.card.raw | named | {"calibration": None, "cohort": None}  # scores without a cohort are others
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_a_gallery_is_bound_to_the_encoder_of_its_first_enrollment(people, clips, other_bundle, encoder):
    with Gallery.open(people.folder, encoder=other_bundle) as gallery:
        for use in (
            lambda: gallery.enroll("kal", clips("kal_1")),
            lambda: gallery.identify(*clips("ana_1")),
            lambda: gallery.verify("ana", *clips("ana_1")),
            lambda: gallery.compare(clips("ana_1", "ben_1")),
        ):
            with pytest.raises(EncoderMismatch) as raised:
                use()
            message = str(raised.value)
            assert encoder.card.id in message
            assert encoder.card.sha256[:8] in message
            assert "other 9" in message
            assert "--encoder" in message
            assert "\n" not in message
        assert listed(gallery) == {"ana": 2, "ben": 1, "eva": 1}  # what needs no encoder works
        assert gallery.remove("eva").speaker_removed
        assert gallery.check().findings == []


def test_a_gallery_of_another_encoder_needs_it_to_be_named(gallery_folder, clips, other_bundle):
    with Gallery.open(gallery_folder, encoder=other_bundle) as gallery:
        gallery.enroll("ana", clips("ana_1"))
        assert gallery.identify(*clips("ana_1")).speaker == "ana"
        assert gallery.check().encoder == "other 9"
    with (
        Gallery.open(gallery_folder) as gallery,
        pytest.raises(EncoderMismatch, match=r"made with encoder other 9 \("),
    ):
        gallery.identify(*clips("ana_1"))
    with Gallery.open(gallery_folder, encoder=str(other_bundle)) as gallery:
        assert gallery.identify(*clips("ana_1")).speaker == "ana"


def test_without_a_name_the_encoder_is_the_one_that_the_gallery_is_bound_to(people, clips, other_bundle, monkeypatch):
    monkeypatch.setenv(settings.ENCODER_VARIABLE, str(other_bundle))  # for new galleries
    with Gallery.open(people.folder) as gallery:
        assert gallery.identify(*clips("ana_1")).speaker == "ana"


def test_a_gallery_bound_by_another_process_meanwhile_is_not_searched_with_the_wrong_encoder(
    gallery_folder, clips, other_bundle, encoder
):
    with Gallery.open(gallery_folder, encoder=other_bundle) as early:
        assert early.encoder.card.id == "other 9"
        with Gallery.open(gallery_folder, encoder=encoder) as faster:
            faster.enroll("ana", clips("ana_1"))
        for use in (lambda: early.identify(*clips("ana_1")), lambda: early.enroll("ben", clips("ben_1"))):
            with pytest.raises(EncoderMismatch):
                use()
    with Gallery.open(gallery_folder / "elsewhere") as undecided:
        assert undecided.encoder.card.id == encoder.card.id
        with Gallery.open(gallery_folder / "elsewhere", encoder=other_bundle) as faster:
            faster.enroll("ana", clips("ana_1"))
        with pytest.raises(EncoderMismatch, match="made with encoder other 9"):
            undecided.identify(*clips("ana_1"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "its card says 000000000000"),
        ({"sha256": None}, "None is not a short text"),
        ({"format": "speakerdb-encoder/2"}, "not of the format speakerdb-encoder/1"),
        ({"dimension": 0}, "0 is not a whole number from 1 to 65536"),
        ({"dimension": 10**30}, "is not a whole number"),
        ({"dimension": True}, "is not a whole number"),
        ({"dimension": 192.0}, "is not a whole number"),
        ({"rate_hz": -1}, "-1 is not a whole number"),
        ({"least_speech_s": {"enroll": 1e999}}, "inf is not a number"),
        ({"least_speech_s": {"probe": -1}}, "-1 is not between"),
        ({"least_speech_s": []}, "AttributeError"),
        ({"threshold": {"distance": 2.5, "origin": "x"}}, "2.5 is not between 0.0 and 2.0"),
        ({"threshold": {"distance": 0.5}}, "KeyError: 'origin'"),
        ({"name": ""}, "'' is not a short text"),
        ({"name": "x" * 501}, "card.json: ValueError: 'xxx"),
        ({"name": "two\nlines"}, "is not a short text"),
        ({"features": {"kind": "mfcc"}}, "features of kind 'mfcc' are not known"),
        ({"features": 7}, "TypeError"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_card_that_does_not_hold_is_refused_in_one_line(encoder, tmp_path, gallery_folder, change, message):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "encoder.onnx").write_bytes(encoder._bundle.model)
    (bundle / "card.json").write_text(json.dumps(encoder.card.raw | change))
    assert_refused(bundle, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "card.json cannot be read (No such file or directory)"),
        (b"", "card.json is not JSON"),
        (b"{", "card.json is not JSON"),
        (b"\xff\xfe\x00", "card.json is not JSON"),
        (b"[" * 100_000, "card.json is not JSON"),
        (b"[]", "not of the format"),
        (b"null", "not of the format"),
        (b'{"format": "speakerdb-encoder/1"}', "KeyError: 'name'"),
        (b" " * ((1 << 20) + 1), "card.json is larger than 1 MiB"),
    ],
    ids=["missing", "empty", "cut", "no text", "brackets", "a list", "null", "too little", "too much"],
)
def test_a_card_that_is_no_card_is_refused_in_one_line(encoder, tmp_path, content, message):
    (tmp_path / "encoder.onnx").write_bytes(encoder._bundle.model)
    if content is not None:
        (tmp_path / "card.json").write_bytes(content)
    assert_refused(tmp_path, message)


def test_a_bundle_without_or_with_another_graph_is_refused_in_one_line(encoder, tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(encoder.card.raw))
    assert_refused(tmp_path, "encoder.onnx cannot be read")
    flipped = bytearray(encoder._bundle.model)
    flipped[len(flipped) // 2] ^= 1
    for content in (b"", bytes(flipped), encoder._bundle.model[:-1]):
        (tmp_path / "encoder.onnx").write_bytes(content)
        assert_refused(tmp_path, "encoder.onnx has SHA-256")


def assert_refused(bundle: Path, message: str) -> None:
    for open_it in (open_bundle, lambda folder: Gallery.open(folder / "people", encoder=folder)):
        with pytest.raises(EncoderDamaged) as raised:
            open_it(bundle)
        shown = str(raised.value)
        assert message in shown
        assert "\n" not in shown
        assert len(shown) < 600
    assert not (bundle / "people").exists()


def test_an_encoder_that_is_not_there_names_those_that_are(gallery_folder, encoder):
    with pytest.raises(EncoderDamaged, match=f"no such bundle; there are: .*{encoder.card.name}"):
        Gallery.open(gallery_folder, encoder="speakerdb-64k")
