"""The rules of enrolling and of names, with each distance worked out again."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from galleries import ALL, listed

from speakerdb.errors import (
    AudioUnreadable,
    ConflictingEnrollment,
    DuplicateEnrollment,
    InputError,
    NameTaken,
    NoSuchGallery,
    NoSuchSpeaker,
    TooLittleSpeech,
)

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
    with pytest.raises(DuplicateEnrollment, match=r"ana_3\.wav is given twice \(same audio\)"):
        people.enroll("ana", [examples / "ana_3.wav"] * 2)
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
