"""Recordings of several channels: one of them is heard where it is asked for, else their average, with a warning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from handed_in import RATE_HZ, Run, assert_refused, by_av, listing, voice
from numpy.testing import assert_array_equal

from speakerdb import Channel, Gallery, InputError
from speakerdb.audio import AudioStream, channel_of, each, name_of, read
from speakerdb.errors import AudioUnreadable

DIFFERENT = (
    "its two channels carry different sounds, as a call's two sides do, and their average is what is heard; "
    "take one at a time (--channel 1, --channel 2)"
)


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two channels, the shorter filled up with silence."""
    sides = np.zeros((max(len(left), len(right)), 2), np.float32)
    sides[: len(left), 0], sides[: len(right), 1] = left, right
    return sides


def turns(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two channels, of which one speaks after the other."""
    return np.concatenate([beside(left, left[:0]), beside(right[:0], right)])


CALL = beside(voice("ana_4"), voice("ben_4"))


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """A call: ana on the first channel, ben on the second."""
    soundfile.write(tmp_path / "call.wav", CALL, RATE_HZ, subtype="FLOAT")
    return tmp_path / "call.wav"


@pytest.mark.parametrize(("number", "speaker"), [(1, "ana"), (2, "ben")])
def test_one_side_of_a_call_is_asked_about_alone(enrolled: Path, call: Path, run: Run, number: int, speaker: str):
    found = run("identify", call, "--channel", str(number), "--json")
    answer = json.loads(found.stdout)
    assert (found.returncode, answer["speaker"], answer["warnings"]) == (0, speaker, [])
    assert answer["source"] == f"{call}#{number}"
    assert run("verify", speaker, call, "--channel", str(number)).returncode == 0
    assert run("verify", speaker, call, "--channel", str(3 - number)).returncode == 1


def test_a_channel_is_heard_as_a_recording_of_it_alone(call: Path) -> None:
    for number, name in enumerate(("ana_4", "ben_4"), 1):
        alone = np.pad(voice(name), (0, len(CALL) - len(voice(name))))
        one = read(Channel(call, number), RATE_HZ)
        assert_array_equal(one.samples, alone)
        assert one.sha256 == read(alone, RATE_HZ, RATE_HZ).sha256


@pytest.mark.parametrize("given", ["path", "bytes", "file", "array"])
def test_a_channel_may_be_one_of_anything_that_a_recording_may_be(enrolled: Path, call: Path, given: str) -> None:
    with Gallery.open(enrolled) as gallery, call.open("rb") as file:
        sound = {"path": call, "bytes": call.read_bytes(), "file": file, "array": CALL}[given]
        rate_hz = RATE_HZ if given == "array" else None
        assert gallery.identify(Channel(sound, 2), rate_hz=rate_hz).speaker == "ben"


def test_stdins_channel_is_asked_about(enrolled: Path, call: Path, run: Run) -> None:
    with call.open("rb") as stdin:
        done = run("identify", "-", "--channel", "2", "--json", stdin=stdin)
    assert json.loads(done.stdout)["speaker"] == "ben"


def test_both_sides_of_a_call_are_enrolled_as_two_people(gallery_folder: Path, call: Path, run: Run) -> None:
    for number, name in enumerate(("ana", "ben"), 1):
        assert run("enroll", name, call, "--channel", str(number)).returncode == 0
    assert [one.recordings[0].source for one in listing(gallery_folder)] == [f"{call}#1", f"{call}#2"]


def test_a_manifest_of_calls_goes_on_with_the_channel_that_is_not_enrolled_yet(
    gallery_folder: Path, call: Path, tmp_path: Path
) -> None:
    (tmp_path / "agents.tsv").write_text("agent\tcall.wav\n")
    with Gallery.open(gallery_folder) as gallery:
        for number, known in ((1, 0), (1, 1), (2, 0), (2, 1)):
            done = gallery.enroll_manifest(tmp_path / "agents.tsv", channel=number, force=True)
            assert (done.recordings, done.known, done.refused) == (1 - known, known, [])


def test_lists_of_calls_are_asked_about_by_a_channel(enrolled: Path, call: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "calls.txt").write_text("call.wav\n")
    (tmp_path / "claims.tsv").write_text("ben\tcall.wav\nana\tcall.wav\n")
    done = run("identify", "--manifest", tmp_path / "calls.txt", "--channel", "2", "--scores", tmp_path / "scores")
    assert (done.returncode, done.stdout.split()[1:3]) == (0, [f"{call}#2", "ben"])
    assert (tmp_path / "scores").read_text().startswith(f"ben {call}#2 ")
    done = run("verify", "--trials", tmp_path / "claims.tsv", "--channel", "2")
    assert [line.split()[3] for line in done.stdout.splitlines()] == ["accepted", "rejected"]


def test_recordings_are_compared_by_a_channel(call: Path, tmp_path: Path, examples: Path, run: Run) -> None:
    soundfile.write(tmp_path / "second.wav", beside(voice("ben_2"), voice("ben_1")), RATE_HZ)
    answered = [run("compare", call, tmp_path / "second.wav", "--channel", number).returncode for number in "12"]
    assert answered == [1, 0]


def test_a_channel_that_a_recording_has_not_is_refused_in_a_line(enrolled: Path, call: Path, examples: Path, run: Run):
    says = f"{call}#3: the recording has 2 channels, and none of number 3"
    assert_refused(run("identify", call, "--channel", "3"), 3, says)
    assert_refused(run("enroll", "zoe", examples / "ana_4.wav", "--channel", "2"), 3, "1 channel, and none of number 2")
    assert_refused(run("identify", call, "--channel", "0"), 2)
    assert_refused(run("calibrate", "--channel", "1"), 2, "--channel belongs to --trials")


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", None, True])
def test_what_is_no_number_of_a_channel_is_refused(number: object) -> None:
    with pytest.raises(InputError, match="channels are counted from 1"):
        Channel("call.wav", number)  # type: ignore[arg-type]


def test_a_number_that_is_none_is_told_before_anything_is_heard(gallery_folder: Path, call: Path, tmp_path: Path):
    (tmp_path / "people.tsv").write_text("ana\tcall.wav\nben\tcall.wav\n")
    with Gallery.open(gallery_folder) as gallery:
        with pytest.raises(InputError, match="channels are counted from 1"):
            gallery.enroll_manifest(tmp_path / "people.tsv", channel=0)
        with pytest.raises(InputError, match="a channel belongs to a list of trials"):
            gallery.calibrate(channel=1)


def test_what_is_refused_is_named_with_its_channel(enrolled: Path, tmp_path: Path) -> None:
    for name, samples in (("mono", voice("ana_4")), ("silent", np.zeros((32_000, 2)))):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE_HZ)
    (tmp_path / "list").write_text("ana\tmono.wav\nana\tsilent.wav\nana\tgone.wav\nzoe\tmono.wav\n")
    refused = [f"{tmp_path}/{name}.wav#2" for name in ("mono", "silent", "gone", "mono")]
    with Gallery.open(enrolled) as gallery:
        done = gallery.enroll_manifest(tmp_path / "list", channel=2).refused
        assert [one.source for one in done] == refused
        assert all(one.error["message"].startswith(f"{one.source}: ") for one in done)
        found = [one.source for one in gallery.identify_many(tmp_path / "list", channel=2)]
        assert found == refused
        claimed = [one.source for _, one in gallery.verify_many(tmp_path / "list", channel=2)]
        assert sorted(claimed) == sorted(refused)
        given = Channel(tmp_path / "gone.wav", 2)
        assert [one.source for one in gallery.enroll("ana", given, keep_going=True).refused] == refused[2:3]


def test_a_file_object_of_which_two_channels_are_wanted_is_refused(enrolled: Path, call: Path) -> None:
    with Gallery.open(enrolled) as gallery:
        for numbers in ((None, None), (1, 2)):
            with call.open("rb") as file, pytest.raises(InputError, match="is given twice; give its path or its bytes"):
                gallery.compare([channel_of(file, number) for number in numbers])
        assert len(gallery.compare([Channel(call.read_bytes(), 1), Channel(call.read_bytes(), 2)]).pairs) == 1


def test_of_a_recording_of_one_channel_the_first_is_all_of_it() -> None:
    for samples in (voice(), voice()[:, None]):
        assert_array_equal(read(Channel(samples, 1), RATE_HZ, RATE_HZ).samples, voice())


def test_a_channel_of_an_array_that_changes_afterwards_stays_as_it_was() -> None:
    buffer = CALL.copy()
    [kept] = each(Channel(buffer, 2))
    buffer[:] = 0.0
    assert_array_equal(read(kept, RATE_HZ, RATE_HZ).samples, CALL[:, 1])
    assert name_of(kept) == "<array>#2"


def test_a_channel_that_is_missing_is_told_where_it_is_read() -> None:
    with AudioStream(Channel(CALL, 3), RATE_HZ) as stream, pytest.raises(AudioUnreadable, match="none of number 3"):
        list(stream.blocks(RATE_HZ))


@pytest.mark.parametrize("crosstalk", [0.0, 0.03])
@pytest.mark.parametrize("sides", [beside, turns])
def test_two_people_on_two_channels_are_told_and_answered_about(enrolled: Path, sides, crosstalk: float) -> None:
    samples = sides(np.tile(voice("ana_4"), 2), np.tile(voice("ben_4"), 2))
    with Gallery.open(enrolled) as gallery:
        warnings = gallery.identify(samples + crosstalk * samples[:, ::-1], rate_hz=RATE_HZ).warnings
    assert f"<array>: {DIFFERENT}" in warnings


def test_a_call_is_enrolled_as_one_voice_only_where_that_is_asked_for(gallery_folder: Path, call: Path, run: Run):
    says = f"{call}: its two channels carry different sounds, as a call's two sides do. Enroll one of them (--channel 1"
    assert_refused(run("enroll", "ana", call), 3, says)
    assert not gallery_folder.exists()
    done = run("enroll", "ana", call, "--force")
    assert (done.returncode, DIFFERENT in done.stderr) == (0, True)


def test_a_list_goes_on_without_the_calls_in_it(gallery_folder: Path, call: Path, tmp_path: Path, examples: Path):
    (tmp_path / "people.tsv").write_text(f"ana\tcall.wav\nana\t{examples / 'ana_1.wav'}\n")
    with Gallery.open(gallery_folder) as gallery:
        done = gallery.enroll_manifest(tmp_path / "people.tsv")
    assert (done.recordings, [one.error["error"] for one in done.refused]) == (1, ["DifferentChannels"])
    assert done.refused[0].source == str(call)


def warnings_of(samples: np.ndarray) -> list[str]:
    with AudioStream(samples, RATE_HZ) as stream:
        list(stream.blocks(RATE_HZ))
        return stream.warnings


def before_two_microphones(name: str) -> np.ndarray:
    """One voice, near one microphone, far from the other, which hears it later and an echo of it."""
    far = 0.3 * np.roll(voice(name), 100) + 0.2 * np.roll(voice(name), 900)
    return np.stack([voice(name), far], axis=1)


@pytest.mark.parametrize("level", [1.0, 0.02])
@pytest.mark.parametrize("name", ["ana_4", "ben_1", "eva_1", "slt_2", "stranger_1"])
def test_one_voice_before_two_microphones_is_heard_without_a_word(name: str, level: float) -> None:
    hiss = np.random.default_rng(0).normal(0.0, 0.003, (len(voice(name)), 2)).astype(np.float32)
    assert warnings_of(level * (before_two_microphones(name) + hiss)) == []


def test_a_voice_beside_silence_or_hiss_is_heard_without_a_word() -> None:
    hiss = np.random.default_rng(0).normal(0.0, 0.03, len(voice("ana_4"))).astype(np.float32)
    for other in (hiss, 0.0 * hiss):
        assert warnings_of(beside(voice("ana_4"), other)) == []


def test_what_is_said_of_channels_does_not_hang_on_how_they_are_read(call: Path) -> None:
    soundfile.write(call.with_suffix(".ogg"), CALL, RATE_HZ, format="OGG", subtype="OPUS")
    for file in (call, call.with_suffix(".ogg")):
        with AudioStream(file) as stream:
            list(stream.blocks(RATE_HZ))
            assert stream.warnings == [DIFFERENT]


@pytest.mark.parametrize(("codec", "rate_hz"), [("aac", 44_100), ("alac", 16_000)])
def test_nor_on_who_reads_them(codec: str, rate_hz: int) -> None:
    with AudioStream(by_av(CALL, "mp4", codec, rate_hz)) as stream:
        list(stream.blocks(RATE_HZ))
        assert stream.warnings == [DIFFERENT]


def test_one_voice_in_much_noise_of_its_own_on_either_channel_is_heard_without_a_word() -> None:
    said, rng = voice("ana_4"), np.random.default_rng(0)
    steps = np.repeat(rng.choice([0.1, 1.0, 3.0], (len(said) // 1600 + 1, 2)), 1600, axis=0)[: len(said)]
    loud = np.sqrt(np.mean(said**2)) * steps * rng.normal(size=(len(said), 2)) / 2
    samples = (said[:, None] + loud).astype(np.float32)
    pieces = samples[: len(said) // 320 * 320].reshape(-1, 320, 2)
    levels = 10 * np.log10(np.square(pieces).mean(axis=1)).T
    assert np.corrcoef(*levels)[0, 1] < 0.55 and levels.std(axis=1).min() > 6.0  # by levels alone they would be two
    assert warnings_of(samples) == []


def test_a_side_that_is_hardly_heard_in_the_average_is_no_reason_for_a_warning() -> None:
    assert warnings_of(beside(voice("ana_4"), 0.3 * voice("ben_4"))) == [DIFFERENT]
    assert warnings_of(beside(voice("ana_4"), 0.03 * voice("ben_4"))) == []


def test_half_a_second_of_two_voices_says_nothing() -> None:
    assert warnings_of(CALL[12_000:20_000]) == []


def test_a_piece_without_samples_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with AudioStream(CALL, RATE_HZ) as stream:
        pieces = [CALL[:20_000], CALL[:0], CALL[20_000:]]
        monkeypatch.setattr(stream._decoder, "read", lambda: iter(pieces))
        assert sum(map(len, stream.blocks(RATE_HZ))) == len(CALL)
        assert stream.warnings == [DIFFERENT]


def test_a_channel_alone_is_no_reason_for_a_warning(call: Path) -> None:
    with AudioStream(Channel(call, 1)) as stream:
        list(stream.blocks(RATE_HZ))
        assert stream.warnings == []


def opposite(name: str, share: float) -> np.ndarray:
    """Two channels of which the second is the first upside down, at this share of its height."""
    return np.stack([voice(name), -share * voice(name)], axis=1)


def test_channels_that_nearly_cancel_one_another_are_told_and_answered_about(
    enrolled: Path, tmp_path: Path, run: Run
) -> None:
    soundfile.write(tmp_path / "crossed.wav", opposite("ana_4", 0.9), RATE_HZ, subtype="FLOAT")
    told = f"{tmp_path}/crossed.wav: its channels cancel one another, and their average is what is heard; "
    for words in (["identify"], ["verify", "ana"], ["enroll", "--force", "zoe"]):
        done = run(*words, tmp_path / "crossed.wav")
        assert (done.returncode, done.stderr) == (0, f"speakerdb: warning: {told}take one (--channel 1)\n"), words


def test_channels_that_cancel_one_another_are_why_nobody_is_heard(enrolled: Path, tmp_path: Path, run: Run) -> None:
    soundfile.write(tmp_path / "crossed.wav", opposite("ana_4", 1.0), RATE_HZ)
    done = run("identify", tmp_path / "crossed.wav")
    assert (done.returncode, done.stdout) == (3, "")
    assert "0.0 s of speech" in done.stderr and "its channels cancel one another" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("share", [0.5, 0.0, -1.0])
def test_channels_that_leave_enough_of_a_voice_are_heard_without_a_word(enrolled: Path, share: float) -> None:
    with Gallery.open(enrolled) as gallery:
        assert gallery.identify(opposite("ana_4", share), rate_hz=RATE_HZ).warnings == []


def test_channels_that_have_nothing_to_do_with_one_another_are_heard_without_a_word(enrolled: Path) -> None:
    hiss = np.random.default_rng(0).normal(0.0, 0.001, (len(voice("ana_4")), 5)).astype(np.float32)
    with Gallery.open(enrolled) as gallery:
        many = np.concatenate([voice("ana_4")[:, None], hiss], axis=1)
        assert gallery.identify(many, rate_hz=RATE_HZ).warnings == []
