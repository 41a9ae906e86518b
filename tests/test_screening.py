"""What is refused before it is enrolled, and what `doctor` finds of what was enrolled all the same."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from speakerdb import Gallery, audio, settings
from speakerdb.encoder import encoder
from speakerdb.errors import OutlierRecording, PossibleDuplicate, SeveralVoices

RATE_HZ = 16_000


@pytest.fixture
def gallery(gallery_folder: Path):
    with Gallery.open(gallery_folder) as opened:
        yield opened


@pytest.fixture
def clips(examples: Path):
    return lambda *names: [examples / f"{name}.wav" for name in names]


@pytest.fixture
def joined(examples: Path):
    """Recordings of the demo's voices, one after the other, and where each begins."""

    def make(*names: str) -> tuple[np.ndarray, list[float]]:
        parts = [audio.read(str(examples / f"{name}.wav"), RATE_HZ).samples for name in names]
        return np.concatenate(parts), list(np.cumsum([len(part) for part in parts])[:-1] / RATE_HZ)

    return make


def nobody(gallery: Gallery) -> bool:
    return gallery.speakers() == []


def test_two_voices_in_one_recording_are_refused_with_the_second_at_which_they_change(gallery, joined) -> None:
    samples, [change] = (
        joined("ana_1", "ana_2", "stranger_1", "stranger_2")[0],
        joined("ana_1", "ana_2", "stranger_1", "stranger_2")[1][1:2],
    )
    with pytest.raises(SeveralVoices, match="another one begins at") as refused:
        gallery.enroll("ana", samples, rate_hz=RATE_HZ)
    assert min(abs(at - change) for at in refused.value.fields["changes_s"]) <= 1.5
    assert refused.value.exit_code == 3 and nobody(gallery)


def test_voices_that_take_turns_are_refused(gallery, joined) -> None:
    samples, changes = joined("ana_1", "ana_2", "stranger_1", "stranger_2", "ana_3", "ana_4")
    with pytest.raises(SeveralVoices) as refused:
        gallery.enroll("ana", samples, rate_hz=RATE_HZ)
    told = refused.value.fields["changes_s"]
    assert all(min(abs(at - change) for at in told) <= 1.5 for change in (changes[1], changes[3]))
    assert nobody(gallery)


def test_one_voice_with_pauses_is_one_voice(gallery, joined) -> None:
    samples, changes = joined("ana_1", "ana_2", "ana_3")
    at = round(changes[0] * RATE_HZ)
    paused = np.concatenate([samples[:at], np.zeros(4 * RATE_HZ, np.float32), samples[at:]])
    assert gallery.enroll("ana", paused, rate_hz=RATE_HZ).total == 1


def test_several_voices_are_passed_over_with_keep_going_and_taken_by_force(gallery, joined, clips) -> None:
    samples, _ = joined("ana_1", "ana_2", "stranger_1", "stranger_2")
    alone = audio.read(str(clips("stranger_3")[0]), RATE_HZ).samples
    done = gallery.enroll("ben", [alone, samples], rate_hz=RATE_HZ, keep_going=True)
    assert [refused.error["error"] for refused in done.refused] == ["SeveralVoices"] and done.total == 1
    assert gallery.enroll("both", samples, rate_hz=RATE_HZ, force=True).total == 1


def test_by_force_nobody_listens_for_other_voices(gallery, clips, examples, tmp_path, monkeypatch) -> None:
    def listens(*_: object) -> None:
        raise AssertionError("a watch was made")

    monkeypatch.setattr(encoder, "VoiceWatch", listens)
    assert gallery.enroll("ana", clips("ana_1"), force=True).total == 1
    assert gallery.enroll("ana", clips("ana_2", "ana_3"), force=True).total == 3
    manifest = tmp_path / "people.tsv"
    manifest.write_text(f"ben\t{examples}/stranger_1.wav\nben\t{examples}/stranger_2.wav\n")
    assert gallery.enroll_manifest(manifest, force=True).recordings == 2
    with pytest.raises(AssertionError):
        gallery.enroll("eva", clips("eva_1"))


@pytest.fixture
def batches(gallery, monkeypatch) -> list[int]:
    """How many clips the encoder was given in each run that was not of a whole recording."""
    hearing, found = gallery.encoder, list[int]()
    embed = hearing.runtime.vectors
    monkeypatch.setattr(hearing.runtime, "vectors", lambda clips: found.append(len(clips)) or embed(clips))
    return found


def test_a_recording_too_short_for_two_voices_costs_no_window(gallery, joined, batches) -> None:
    samples, _ = joined("ana_1")
    gallery.enroll("ana", samples[: 3 * RATE_HZ], rate_hz=RATE_HZ)
    assert batches == []


def test_where_the_encoder_is_sure_of_one_voice_no_window_is_cut_out(gallery, joined, batches) -> None:
    samples, _ = joined("ana_1", "ana_2", "ana_3")
    gallery.enroll("ana", samples, rate_hz=RATE_HZ)
    assert batches == []


def test_where_the_encoder_is_in_doubt_windows_are_cut_out_and_decide(gallery, joined, batches) -> None:
    samples, _ = joined("ana_1", "ana_2", "stranger_1", "stranger_2")
    with pytest.raises(SeveralVoices):
        gallery.enroll("ana", samples, rate_hz=RATE_HZ)
    assert len(batches) == 1 and batches[0] > 4


def test_of_three_windows_only_the_two_that_do_not_overlap_are_heard(gallery, joined, batches, monkeypatch) -> None:
    monkeypatch.setattr(settings, "ONE_VOICE_LLR", float("inf"))
    samples, _ = joined("ana_1", "ana_2")
    gallery.enroll("ana", samples[: round(4.2 * RATE_HZ)], rate_hz=RATE_HZ)
    assert batches == [2]


@pytest.mark.parametrize("names", [("ana_1", "ana_2", "ana_3"), ("ana_1", "ana_2", "stranger_1", "stranger_2")])
def test_doubt_or_none_the_same_voices_are_told(gallery, joined, names, monkeypatch) -> None:
    def told() -> tuple[float, ...]:
        return gallery.encoder.enrollment(samples, RATE_HZ).changes_s

    samples, _ = joined(*names)
    found = told()
    monkeypatch.setattr(settings, "ONE_VOICE_LLR", float("inf"))
    assert told() == found


def test_in_a_recording_beyond_the_longest_whole_one_another_voice_is_told(gallery, joined) -> None:
    first = ["ana_1", "ana_2", "ana_3"] * 4
    samples, changes = joined(*first, *["stranger_1", "stranger_2", "stranger_3"] * 4)
    change = changes[len(first) - 1]
    assert len(samples) / RATE_HZ > settings.WHOLE_S
    with pytest.raises(SeveralVoices) as refused:
        gallery.enroll("ana", samples, rate_hz=RATE_HZ)
    assert min(abs(at - change) for at in refused.value.fields["changes_s"]) <= 1.5


def test_of_a_recording_beyond_the_longest_whole_one_windows_are_cut_out_without_any_doubt(
    gallery, joined, batches
) -> None:
    samples, _ = joined(*["ana_1", "ana_2", "ana_3"] * 4)
    gallery.enroll("ana", samples[: round((settings.WHOLE_S + 0.5) * RATE_HZ)], rate_hz=RATE_HZ)
    assert sum(batches) > 10


def test_a_wrong_clip_among_right_ones_is_refused_by_name(gallery, clips, examples) -> None:
    told = r"stranger_1\.wav does not sound like the other 3 recordings of 'ana'"
    with pytest.raises(OutlierRecording, match=told) as no:
        gallery.enroll("ana", clips("ana_1", "stranger_1", "ana_2", "ana_3"))
    assert no.value.fields["source"] == str(examples / "stranger_1.wav") and no.value.fields["llr"] < -1.0
    assert no.value.exit_code == 4 and nobody(gallery)
    done = gallery.enroll("ana", clips("ana_1", "stranger_1", "ana_2", "ana_3"), keep_going=True)
    assert [refused.source for refused in done.refused] == [str(examples / "stranger_1.wav")] and done.total == 3


def test_a_wrong_clip_added_later_is_held_to_what_is_enrolled(gallery, clips) -> None:
    gallery.enroll("ana", clips("ana_1"))
    with pytest.raises(OutlierRecording, match="the other recording of 'ana'"):
        gallery.enroll("ana", clips("stranger_1"))
    assert gallery.enroll("ana", clips("stranger_1"), force=True).total == 2
    assert gallery.enroll("ana", clips("ana_2", "ana_3"), keep_going=True).total == 4  # the newcomers are not blamed


def test_of_two_that_disagree_the_later_is_not_taken_in(gallery, clips, examples) -> None:
    with pytest.raises(OutlierRecording) as no:
        gallery.enroll("ana", clips("ana_1", "stranger_1"))
    assert no.value.fields["source"] == str(examples / "stranger_1.wav")


def test_a_person_under_a_second_name_is_reported_before_anything_is_written(gallery, clips) -> None:
    gallery.enroll("ana", clips("ana_1", "ana_2"))
    gallery.enroll("ben", clips("stranger_1", "stranger_2"))
    for keep_going in (False, True):
        with pytest.raises(PossibleDuplicate, match="'anna' sounds like 'ana', who is enrolled") as no:
            gallery.enroll("anna", clips("ana_3", "ana_4"), keep_going=keep_going)
        assert no.value.fields["distance"] <= no.value.fields["threshold"] and no.value.fields["enrolled"] == "ana"
    assert [speaker.speaker for speaker in gallery.speakers()] == ["ana", "ben"]
    assert gallery.enroll("anna", clips("ana_3", "ana_4"), force=True).new_speaker


def test_six_different_people_are_enrolled_without_a_word(gallery, clips) -> None:
    for name in ("ana", "ben", "eva", "kal", "rms", "slt"):
        assert gallery.enroll(name, clips(f"{name}_1", f"{name}_2", f"{name}_3")).total == 3
    assert gallery.doctor().complaints == []


def test_an_enrollment_is_complete_after_twelve_seconds_of_speech(gallery, clips) -> None:
    first = gallery.enroll("ana", clips("ana_1", "ana_2"))
    assert not first.enrollment_complete and first.total_speech_s == pytest.approx(first.net_speech_s)
    second = gallery.enroll("ana", clips("ana_3", "ana_4"))
    third = gallery.enroll(
        "ana", [0.5 * audio.read(str(path), RATE_HZ).samples for path in clips("ana_1", "ana_2")], rate_hz=RATE_HZ
    )
    assert second.total_speech_s == pytest.approx(first.net_speech_s + second.net_speech_s)
    assert third.total_speech_s >= 12.0 and third.enrollment_complete
    assert {recording.quality for recording in third.enrolled} <= {"high", "fair", "low"}


def complaints(gallery: Gallery) -> dict[str, list]:
    found: dict[str, list] = {}
    for complaint in gallery.doctor().complaints:
        found.setdefault(complaint.kind, []).append(complaint)
    return found


def here(gallery: Gallery) -> str:
    """What a command needs to act on this gallery, which is not the user's own."""
    return f" --gallery {gallery.folder}"


def test_the_doctor_finds_a_wrong_clip_and_its_command_mends_it(gallery, clips) -> None:
    wrong = gallery.enroll("ana", clips("ana_1", "ana_2", "ana_3", "stranger_1"), force=True).enrolled[3].id
    [found] = complaints(gallery)["outlier"]
    assert (found.speakers, found.enrollments, found.mend) == (
        ["ana"],
        [wrong],
        f"speakerdb remove-enrollment {wrong}{here(gallery)}",
    )
    gallery.remove_enrollment(wrong)
    assert complaints(gallery) == {}


def test_the_doctor_finds_two_people_under_one_name_and_moving_them_apart_mends_it(gallery, clips) -> None:
    names = ("ana_1", "ana_2", "ana_3", "stranger_1", "stranger_2")
    ids = [recording.id for recording in gallery.enroll("ana", clips(*names), force=True).enrolled]
    [found] = complaints(gallery)["two_people"]
    assert found.enrollments == ids[3:]
    assert found.mend == f"speakerdb move-enrollment --to OTHER_NAME {ids[3]} {ids[4]}{here(gallery)}"
    assert gallery.move_enrollments(found.enrollments, "ben").total == 2
    assert complaints(gallery) == {}
    assert gallery.verify("ben", clips("stranger_4")[0]).accepted


def test_the_doctor_finds_one_person_under_two_names_and_merging_mends_it(gallery, clips) -> None:
    gallery.enroll("ana", clips("ana_1", "ana_2"))
    gallery.enroll("anna", clips("ana_3", "ana_4"), force=True)
    gallery.enroll("ben", clips("stranger_1", "stranger_2"))
    [found] = complaints(gallery)["near_duplicates"]
    assert (found.speakers, found.mend) == (["ana", "anna"], f"speakerdb merge anna ana{here(gallery)}")
    assert gallery.merge("anna", "ana").emptied == ["anna"]
    assert complaints(gallery) == {} and gallery.check().findings == []
    assert [(one.speaker, one.enrollments) for one in gallery.speakers()] == [("ana", 4), ("ben", 2)]


def test_the_doctor_finds_a_profile_that_nothing_matches(gallery, clips) -> None:
    gallery.enroll("crowd", clips("ana_2", "eva_4", "kal_2"), force=True)
    [found] = complaints(gallery)["never_matches"]
    assert found.mend == f"speakerdb remove crowd{here(gallery)}" and len(found.enrollments) == 3


def test_the_doctor_asks_for_more_speech_where_there_is_little(gallery, clips) -> None:
    gallery.enroll("Ana Sousa", clips("ana_1"))
    [found] = complaints(gallery)["little_speech"]
    assert found.mend == f"speakerdb enroll 'Ana Sousa' FILE{here(gallery)}"


def test_the_doctors_command_for_a_name_that_begins_with_a_dash_is_one_that_works(gallery, clips, run) -> None:
    gallery.enroll("--help", clips("ana_1"))
    [found] = complaints(gallery)["little_speech"]
    assert found.mend == f"speakerdb enroll{here(gallery)} -- --help FILE"
    words = shlex.split(found.mend.replace("FILE", str(clips("ana_2")[0])))[1:]
    assert run(*words).stdout.startswith("Enrolled  --help  1 recording, 2 in all")


def test_moving_recordings_is_all_or_none_and_keeps_the_gallery_sound(gallery, clips) -> None:
    from speakerdb.errors import InputError, NoSuchEnrollment, NoSuchSpeaker

    [first, second] = [one.id for one in gallery.enroll("ana", clips("ana_1", "ana_2")).enrolled]
    with pytest.raises(NoSuchEnrollment):
        gallery.move_enrollments([first, 99], "ben")
    with pytest.raises(NoSuchSpeaker):
        gallery.merge("ana", "nobody")
    with pytest.raises(InputError):
        gallery.merge("ana", "ana")
    with pytest.raises(InputError):
        gallery.move_enrollments([], "ben")
    with pytest.raises(InputError, match="not a list of ids"):
        gallery.move_enrollments(first, "ben")
    assert [(one.speaker, one.enrollments) for one in gallery.speakers()] == [("ana", 2)]
    assert gallery.move_enrollments([first, first], "ben").enrollments == 1
    assert gallery.move_enrollments([second], "ana").enrollments == 0
    assert gallery.check().findings == []
    assert gallery.identify(clips("ana_2")[0], threshold=2.0).speaker == "ana"


def test_where_nobody_has_calibrated_the_encoder_nothing_is_screened_and_the_doctor_says_so(
    gallery_folder: Path,
) -> None:
    from known_voices import KnownVoices

    from speakerdb import Encoder

    with Gallery.open(gallery_folder, encoder=KnownVoices(Encoder.load()._bundle)) as known:
        known.enroll("ana", ["any", "other"])  # vectors that have nothing to do with one another
        known.enroll("anna", ["one more"])
        found = known.doctor()
    assert not found.calibrated
    assert [complaint.kind for complaint in found.complaints] == ["little_speech"]
