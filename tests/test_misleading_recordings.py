"""Recordings about which an answer may mislead: it is given all the same, with a warning."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from galleries import many_people
from handed_in import RATE_HZ, Run, encoded, voice

from speakerdb import Gallery, settings
from speakerdb.audio import AudioStream, read
from speakerdb.encoder import encoder as encoder_module


def joined(*names: str) -> np.ndarray:
    return np.concatenate([voice(name) for name in names])


TWO = joined("ana_1", "ana_2", "stranger_1", "stranger_2")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A recording of ana, and then of somebody else."""
    soundfile.write(tmp_path / "two.wav", TWO, RATE_HZ)
    return tmp_path / "two.wav"


@pytest.mark.parametrize("words", [["identify"], ["verify", "ana"], ["compare", "{ana_4}"]])
def test_two_voices_in_a_recording_are_told_on_stderr_and_answered_about(
    enrolled: Path, examples: Path, two: Path, run: Run, words: list[str]
) -> None:
    done = run(*[word.format(ana_4=examples / "ana_4.wav") for word in words], two)
    assert done.returncode in (0, 1) and done.stdout.startswith(words[0])
    assert done.stderr.startswith(f"speakerdb: warning: {two}: several voices; another one begins at ")
    assert done.stderr.endswith(" s. The answer is about all of it together; cut it there\n")
    assert done.stderr.count("\n") == 1


def test_two_voices_in_a_recording_are_told_in_json(enrolled: Path, two: Path, run: Run) -> None:
    done = run("identify", two, "--json")
    assert done.stderr == ""
    [line] = json.loads(done.stdout)["warnings"]
    assert line.startswith(f"{two}: several voices")


def test_two_voices_in_a_recording_of_a_list_are_told(enrolled: Path, examples: Path, two: Path, run: Run) -> None:
    (two.parent / "calls.txt").write_text(f"{examples / 'ana_4.wav'}\n{two}\n")
    (two.parent / "claims.tsv").write_text(f"ana\t{examples / 'ana_4.wav'}\nana\t{two}\n")
    for words in (
        ["identify", "--manifest", two.parent / "calls.txt"],
        ["verify", "--trials", two.parent / "claims.tsv"],
    ):
        told = run(*words).stderr
        assert told.count("\n") == 1 and f"{two}: several voices" in told


def test_the_second_at_which_another_voice_begins_is_told(enrolled: Path) -> None:
    change_s = len(joined("ana_1", "ana_2")) / RATE_HZ
    with Gallery.open(enrolled) as gallery:
        found = gallery.encoder.probe(TWO, RATE_HZ).changes_s
    assert min(abs(at_s - change_s) for at_s in found) <= 1.5


def test_in_a_recording_beyond_the_longest_whole_one_another_voice_is_told(enrolled: Path) -> None:
    first = joined(*["ana_1", "ana_2", "ana_3"] * 4)
    samples = np.concatenate([first, joined(*["stranger_1", "stranger_2", "stranger_3"] * 4)])
    assert len(first) / RATE_HZ > settings.WHOLE_S
    with Gallery.open(enrolled) as gallery:
        found = gallery.encoder.probe(samples, RATE_HZ).changes_s
        assert gallery.encoder.probe(first, RATE_HZ).changes_s == ()
    assert min(abs(at_s - len(first) / RATE_HZ) for at_s in found) <= 1.5


def test_one_voice_is_answered_about_without_a_word(enrolled: Path, tmp_path: Path, run: Run) -> None:
    soundfile.write(tmp_path / "one.wav", joined("ana_2", "ana_3", "ana_4"), RATE_HZ)
    done = run("identify", tmp_path / "one.wav")
    assert (done.returncode, done.stderr) == (0, "")


def test_asking_about_two_voices_cuts_nothing_out(enrolled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Gallery.open(enrolled) as gallery:
        runtime, runs = gallery.encoder.runtime, list[int]()
        monkeypatch.setattr(runtime, "vectors", lambda clips: runs.append(len(clips)))
        assert gallery.identify(TWO, rate_hz=RATE_HZ).warnings
    assert runs == []


def test_for_a_vector_alone_nobody_listens_for_other_voices(enrolled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def listens(*_: object, **__: object) -> None:
        raise AssertionError("a watch was made")

    monkeypatch.setattr(encoder_module, "VoiceWatch", listens)
    with Gallery.open(enrolled) as gallery:
        gallery.encoder.embed(TWO, RATE_HZ)
        assert len(list(gallery.encoder.embed_many([TWO], RATE_HZ))) == 1


@pytest.mark.parametrize("before", [b"", b"ID3\x04\x00\x00\x00\x00\x01\x16" + bytes(150)], ids=["bare", "tagged"])
@pytest.mark.parametrize("container", ["WAV", "AIFF", "MP3"])
def test_a_recording_that_is_cut_short_is_told_and_answered_about(
    enrolled: Path, tmp_path: Path, run: Run, container: str, before: bytes
) -> None:
    content = (before if container == "MP3" else b"") + encoded(voice("ana_4"), container)
    content = content[: len(content) * 3 // 4]
    (tmp_path / "cut").write_bytes(content)
    missing_s = (len(voice("ana_4")) - len(read(content, RATE_HZ).samples)) / RATE_HZ
    assert missing_s == pytest.approx(len(voice("ana_4")) / 4 / RATE_HZ, rel=0.3)
    told = f"cut short: its header announces {missing_s:.1f} s more; copy or record it again"
    for words in (["identify"], ["verify", "ana"], ["enroll", "--force", "zoe"]):
        done = run(*words, tmp_path / "cut")
        assert (done.returncode, done.stderr) == (0, f"speakerdb: warning: {tmp_path}/cut: {told}\n"), words


@pytest.mark.parametrize("order", [["identify", "--manifest"], ["verify", "--trials"]], ids=" ".join)
def test_of_a_recording_that_a_list_names_often_it_is_told_once(
    enrolled: Path, tmp_path: Path, run: Run, order: list[str]
) -> None:
    for name in ("ana_4", "ben_4"):
        content = encoded(voice(name), "WAV")
        (tmp_path / name).write_bytes(content[: len(content) * 3 // 4])
    (tmp_path / "list").write_text("".join(f"ana\t{name}\n" for name in ("ana_4", "ben_4", "ana_4", "ana_4", "ben_4")))
    done = run(*order, tmp_path / "list")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 5)
    assert [line.split(": ")[2] for line in done.stderr.splitlines()] == [f"{tmp_path}/ana_4", f"{tmp_path}/ben_4"]
    answered = [json.loads(line) for line in run(*order, tmp_path / "list", "--json").stdout.splitlines()]
    assert [len(answer["warnings"]) for answer in answered] == [1] * 5


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_an_ogg_that_ends_in_the_middle_of_a_page_is_told(enrolled: Path, codec: str) -> None:
    content = encoded(voice("ana_4"), "OGG", codec)
    last = content.rindex(b"OggS")
    with Gallery.open(enrolled) as gallery:
        [told] = gallery.identify(content[: last - 500]).warnings
        assert told == "<bytes>: cut short: its last page is not whole; copy or record it again"
        assert gallery.identify(content[:last]).warnings == []  # many recorders mark no page as the last
        assert gallery.identify(content + b"and more").warnings == []


@pytest.mark.parametrize(("container", "codec"), [("WAV", None), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_a_file_that_is_cut_while_it_is_read_is_told(tmp_path: Path, container: str, codec: str | None) -> None:
    file, piece = tmp_path / "long", joined("ana_1", "ana_2", "ana_3", "ana_4")
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, format=container, subtype=codec) as written:
        for _ in range(20):
            written.write(piece)
    with AudioStream(file) as stream:
        blocks = stream.blocks(RATE_HZ, 10.0)
        next(blocks)
        os.truncate(file, file.stat().st_size // 2)
        rest_s = sum(map(len, blocks)) / RATE_HZ
        [told] = stream.warnings
    missing_s = 20 * len(piece) / RATE_HZ - 10.0 - rest_s
    assert told == f"cut short: its header announces {missing_s:.1f} s more; copy or record it again"


def test_a_flac_that_ends_between_two_frames_is_told(enrolled: Path) -> None:
    content = bytearray(encoded(voice("ana_4"), "FLAC"))
    content[22:26] = (int.from_bytes(content[22:26], "big") + RATE_HZ).to_bytes(4, "big")  # of STREAMINFO's count
    with Gallery.open(enrolled) as gallery:
        [told] = gallery.identify(bytes(content)).warnings
    assert told == "<bytes>: cut short: its header announces 1.0 s more; copy or record it again"


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_whose_header_does_not_count_its_frames_is_heard_without_a_word(enrolled: Path, mode: str) -> None:
    file, samples = io.BytesIO(), np.concatenate([voice("ana_4"), np.zeros(10 * RATE_HZ, np.float32)])
    soundfile.write(file, samples, RATE_HZ, format="MP3", bitrate_mode=mode, compression_level=0.5)
    content = file.getvalue()
    tag = max(content.find(b"Xing"), content.find(b"Info"))
    with Gallery.open(enrolled) as gallery:
        assert gallery.identify(content).warnings == []
        assert gallery.identify(content + b"TAG" + bytes(125)).warnings == []
        content = content[: tag + 4] + bytes(4) + content[tag + 8 :]
        assert gallery.identify(content).warnings == []
        assert gallery.identify(content[content.index(content[:2], tag) :]).warnings == []  # its first frame is lost


@pytest.mark.parametrize("announced", [0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_a_recording_that_was_written_to_a_pipe_is_heard_without_a_word(enrolled: Path, announced: int) -> None:
    content = bytearray(encoded(voice("ana_4"), "WAV"))
    at = content.index(b"data") + 4
    content[at : at + 4] = announced.to_bytes(4, "little")
    with Gallery.open(enrolled) as gallery:
        assert gallery.identify(bytes(content)).warnings == []


def test_a_header_that_is_some_bytes_off_is_no_cut(enrolled: Path) -> None:
    content = encoded(voice("ana_4"), "WAV")
    with Gallery.open(enrolled) as gallery:
        assert gallery.identify(content[:-100]).warnings == []


def test_recordings_that_a_gallery_is_calibrated_by_are_told_of(
    gallery_folder: Path, examples: Path, two: Path, run: Run
) -> None:
    with many_people(gallery_folder, 110) as gallery:
        gallery.enroll("ana", [examples / f"ana_{part}.wav" for part in (1, 2, 3)], force=True)
    clips = [two.name, *(f"{number}.wav" for number in range(30))]
    for number, clip in enumerate(clips[1:]):
        (two.parent / clip).write_bytes(encoded(voice("ana_4") * (1.0 - 0.01 * number), "WAV"))
    (two.parent / "0.wav").write_bytes((two.parent / "0.wav").read_bytes()[:-16_000])
    trials = [f"1 ana {clip}" for clip in clips]
    trials += [f"0 voice{number} {clip}" for number in range(110) for clip in clips]
    (two.parent / "list.txt").write_text("\n".join(trials))
    done = run("calibrate", "--dry-run", "--trials", two.parent / "list.txt")
    assert done.returncode == 0
    [several, cut] = done.stderr.splitlines()
    assert f"{two}: several voices" in several and several.endswith(
        "Its trials are about all of it together; cut it there"
    )
    assert cut.endswith("0.wav: cut short: its header announces 0.5 s more; copy or record it again")
    told = json.loads(run("calibrate", "--dry-run", "--trials", two.parent / "list.txt", "--json").stdout)["warnings"]
    assert [f"speakerdb: warning: {line}" for line in told] == [several, cut]
