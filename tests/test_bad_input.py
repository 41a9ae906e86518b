"""What people hand in by mistake: correct work, or one line that says what is wrong, and nothing half-written.

Most cases run the program as a process, since what a C library writes to stderr by itself is seen only there.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

from speakerdb import Gallery, audio, settings
from speakerdb.cli.main import main
from speakerdb.errors import (
    AudioUnreadable,
    EncoderDamaged,
    GalleryLocked,
    InputError,
    NoSuchSpeaker,
    SpeakerdbError,
    TooLittleSpeech,
)

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE_HZ = 16_000
IN_WORDS = {2: "usage", 3: "input", 4: "state", 5: "storage"}

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
Samples: TypeAlias = npt.NDArray[np.float32]


def voice(name: str = "eva_1") -> Samples:
    return soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")[0]


def encoded(samples: npt.NDArray, container: str, subtype: str | None = None, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def encoded_by_av(name: str, container: str, codec: str, rate_hz: int) -> bytes:
    av = pytest.importorskip("av", reason="PyAV (the extra `media`) is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray((voice(name) * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        for piece in av.AudioResampler(stream.format.name, "mono", rate_hz).resample(frame):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return file.getvalue()


def noise(count: int, seed: int = 7) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def with_rate(rate_hz: int) -> bytes:
    """A WAV file whose header says another rate."""
    content = bytearray(encoded(voice(), "WAV"))
    struct.pack_into("<I", content, 24, rate_hz)
    return bytes(content)


def with_sample(value: float) -> Samples:
    samples = voice().copy()
    samples[5000] = value
    return samples


def listing(folder: Path) -> list:
    """Everyone with every recording; asserts that the gallery is sound."""
    with Gallery.open(folder) as gallery:
        assert gallery.check().findings == []
        return gallery.speakers(enrollments=True)


def only_line(text: str, as_json: bool = False) -> str:
    """The one line that stderr may hold: ours, printable, as an object where asked for."""
    assert text.endswith("\n")
    line = text[:-1]
    if as_json:
        assert "\n" not in line
        fields = json.loads(line)
        assert set(fields) >= {"error", "message", "exit_code"}
        assert fields["message"].isprintable()
        return str(fields["message"])
    assert line.isprintable(), line
    assert line.startswith("speakerdb: ")
    return line.removeprefix("speakerdb: ")


def assert_refused(done: subprocess.CompletedProcess[str], exit_code: int, says: str = "") -> None:
    assert (done.returncode, IN_WORDS[exit_code]) == (exit_code, IN_WORDS.get(done.returncode)), done.stderr
    assert done.stdout in ("", None)
    assert says in only_line(done.stderr, "--json" in done.args)


def run_here(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """The program inside this process: its exit code, stdout and stderr down to the file descriptors."""
    argv, sys.argv = sys.argv, ["speakerdb", *map(str, arguments)]
    capfd.readouterr()
    try:
        main()
    except SystemExit as stopped:
        out, err = capfd.readouterr()
        return int(stopped.code or 0), out, err
    finally:
        sys.argv = argv
    raise AssertionError("the program did not exit")


# Recordings that cannot be used: the file's name, what is in it (None: there is no file), what is said.

BAD_RECORDINGS: dict[str, tuple[str, Callable[[], bytes] | None, str]] = {
    "missing": ("gone.wav", None, "no such file"),
    "missing, with control characters": ("no\nsuch\x1b[31m.wav", None, r"no\nsuch\x1b[31m.wav: no such file"),
    "missing, with right-to-left marks": ("‮vaw.ana", None, r"\u202e"),
    "missing, with a name of 4 kB": ("x" * 4096, None, "File name too long"),
    "empty": ("empty.wav", lambda: b"", "empty"),
    "text named wav": ("text.wav", lambda: b"This is text.\n" * 500, "not audio"),
    "text named mp3": ("text.mp3", lambda: b"This is text.\n" * 500, "not audio"),
    "text with an odd name": ("a\nb\x07.wav", lambda: b"text", r"a\nb\x07.wav: not audio"),
    "wav of a header alone": ("header.wav", lambda: encoded(voice(), "WAV")[:44], "0.0 s of speech in 0.0 s"),
    "wav of half a header": ("half.wav", lambda: encoded(voice(), "WAV")[:30], "not audio"),
    "flac of a header alone": ("header.flac", lambda: encoded(voice(), "FLAC")[:44], "damaged or cut short"),
    "cut flac": ("cut.flac", lambda: encoded(voice(), "FLAC")[:30_000], "damaged or cut short"),
    "damaged flac": ("bad.flac", lambda: b"".join(spoiled(encoded(voice(), "FLAC"))), "damaged or cut short"),
    "damaged mp3": ("bad.mp3", lambda: b"".join(spoiled(encoded(voice()[:14_000], "MP3"))), "needed to enroll"),
    "mp3 cut to a frame": ("cut.mp3", lambda: encoded(voice(), "MP3")[:700], "needed to enroll"),
    "opus of headers alone": ("cut.opus", lambda: encoded(voice(), "OGG", "OPUS")[:200], "not audio"),
    "0 samples": ("none.wav", lambda: encoded(np.zeros(0), "WAV"), "0.0 s of speech in 0.0 s, 1.0 s needed"),
    "1 sample": ("one.wav", lambda: encoded(voice()[:1], "WAV"), "0.0 s of speech in 0.0 s, 1.0 s needed"),
    "digital silence": ("silence.wav", lambda: encoded(np.zeros(48_000), "WAV"), "0.0 s of speech in 3.0 s"),
    "noise": (
        "noise.wav",
        lambda: encoded(hiss(), "WAV"),
        "needed to enroll; record more speech or less noise",
    ),
    "too little speech": ("short.wav", lambda: encoded(voice()[:12_000], "WAV"), "1.0 s needed to enroll"),
    "NaN": ("nan.wav", lambda: encoded(with_sample(np.nan), "WAV", "FLOAT"), "the sample at 0.312 s is nan"),
    "infinity": (
        "inf.wav",
        lambda: encoded(with_sample(np.inf), "WAV", "DOUBLE"),
        "the sample at 0.312 s is inf",
    ),
    "beyond all scale": ("loud.wav", lambda: encoded(voice() * 1e20, "WAV", "FLOAT"), "no sound"),
    "1 Hz": ("1hz.wav", lambda: with_rate(1), "a sample rate of 1 Hz; 4000 to 384000 Hz can be used"),
    "2 GHz": ("2ghz.wav", lambda: with_rate(2_000_000_000), "a sample rate of 2000000000 Hz"),
    "0 Hz": ("0hz.wav", lambda: with_rate(0), "not audio"),
    "random bytes named wav": ("random.wav", lambda: noise(20_000), "not audio"),
    "random bytes named mp3": ("random.mp3", lambda: noise(20_000), "not audio"),
    "random bytes named ogg": ("random.ogg", lambda: noise(20_000), "not audio"),
    "random bytes named flac": ("random.flac", lambda: noise(20_000), "not audio"),
    "random bytes named m4a": ("random.m4a", lambda: noise(20_000), "not audio"),
    "random bytes after wav's": ("r.wav", lambda: b"RIFF\0\0\1\0WAVEfmt " + noise(20_000), "not audio"),
    "random bytes after mp3's": ("r.mp3", lambda: b"\xff\xfb\x90\0" + noise(20_000), ""),
    "random bytes after ogg's": ("r.ogg", lambda: b"OggS" + noise(20_000), "not audio"),
    "random bytes after flac's": ("r.flac", lambda: b"fLaC" + noise(20_000), ""),
    "random bytes after m4a's": ("r.m4a", lambda: b"\0\0\0\x20ftypM4A " + noise(20_000), ""),
    "random bytes after webm's": ("r.webm", lambda: b"\x1aE\xdf\xa3" + noise(20_000), ""),
    "cut m4a": ("cut.m4a", lambda: encoded_by_av("eva_1", "mp4", "aac", 44_100)[:12_000], "no sound in it"),
}


def hiss() -> Samples:
    return np.random.default_rng(3).normal(0.0, 0.05, 48_000).astype(np.float32)


def spoiled(content: bytes) -> Iterator[bytes]:
    """The content with 300 random bytes in its middle."""
    middle = len(content) // 2
    yield from (content[:middle], noise(300), content[middle + 300 :])


@pytest.mark.parametrize(("name", "content", "says"), BAD_RECORDINGS.values(), ids=BAD_RECORDINGS.keys())
def test_a_recording_that_cannot_be_used_is_refused_in_one_line_and_nothing_is_written(
    name: str,
    content: Callable[[], bytes] | None,
    says: str,
    tmp_path: Path,
    enrolled: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content())
    before = listing(enrolled)
    good = EXAMPLES / "eva_2.wav"
    monkeypatch.chdir(tmp_path)
    code, out, err = run_here(capfd, "enroll", "zoe", good, name, "--gallery", enrolled)
    assert (code, out) == (3, "")
    assert says in only_line(err)
    code, out, err = run_here(capfd, "enroll", "zoe", tmp_path / name, good, "--gallery", enrolled, "--json")
    assert (code, out) == (3, "")
    assert json.loads(err)["source"] == str(tmp_path / name)
    only_line(err, as_json=True)
    assert listing(enrolled) == before


@pytest.mark.parametrize("kind", ["missing", "text named mp3", "damaged mp3", "cut flac", "cut m4a", "NaN"])
def test_a_process_says_one_line_about_a_recording_that_cannot_be_used(
    kind: str, tmp_path: Path, enrolled: Path, run: Run
) -> None:
    before = listing(enrolled)
    name, content, says = BAD_RECORDINGS[kind]
    if content is not None:
        (tmp_path / name).write_bytes(content())
    assert_refused(run("enroll", "zoe", EXAMPLES / "eva_2.wav", name, cwd=tmp_path), 3, says)
    assert listing(enrolled) == before


def test_a_process_passes_over_all_of_them_with_a_line_each(tmp_path: Path, enrolled: Path, run: Run) -> None:
    folders = []
    for number, (name, content, _) in enumerate(BAD_RECORDINGS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        folders.append(folder / name)
        if content is not None:
            with contextlib.suppress(pytest.skip.Exception):  # without PyAV the file is missing
                (folder / name).write_bytes(content())
    done = run("enroll", "zoe", EXAMPLES / "eva_2.wav", *folders, "--keep-going")
    assert (done.returncode, done.stdout[:24]) == (3, "Enrolled  zoe  1 recordi")
    lines = done.stderr.splitlines()
    assert len(lines) == len(BAD_RECORDINGS)
    assert all(line.startswith("speakerdb: refused ") and line.isprintable() for line in lines)
    assert [speaker.speaker for speaker in listing(enrolled)] == ["ana", "ben", "zoe"]


def test_a_folder_a_device_and_a_closed_stdin_are_no_recordings(
    tmp_path: Path, enrolled: Path, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    before = listing(enrolled)
    for source, says in ((tmp_path, "is a folder, not a recording"), (Path("/dev/zero"), "is a device, not")):
        if not source.exists():
            continue
        for command in (["identify", source], ["verify", "ana", source]):
            code, out, err = run_here(capfd, *command, "--gallery", enrolled)
            assert (code, out) == (3, "")
            assert says in only_line(err)
    assert_refused(run("identify", "-", stdin=None, before=["sh", "-c", 'exec "$@" <&-', "sh"]), 3, "stdin is closed")
    assert listing(enrolled) == before


def test_text_on_stdin_is_refused_and_a_recording_on_it_is_heard(enrolled: Path, run: Run) -> None:
    before = listing(enrolled)
    content = (EXAMPLES / "ana_1.wav").read_bytes()
    text = {"stdin": None, "text": None, "encoding": None}
    done = run("enroll", "zoe", "-", input=b"This is text.\n", **text)
    assert (done.returncode, done.stderr) == (3, b"speakerdb: <stdin>: not audio that can be read\n")
    assert listing(enrolled) == before
    found = json.loads(run("identify", "-", "--threshold", "2", "--json", input=content, **text).stdout)
    assert (found["source"], found["speaker"]) == ("<stdin>", "ana")


def test_a_pipe_given_by_its_path_is_read_once(enrolled: Path, run: Run) -> None:
    if not Path("/dev/fd").exists():
        pytest.skip("this system names no open files by path")
    with (EXAMPLES / "ana_1.wav").open("rb") as file:
        cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        done = run("identify", "/dev/fd/0", "--threshold", "2", stdin=cat.stdout)
        assert cat.stdout is not None
        cat.stdout.close()
    assert (cat.wait(), done.returncode, done.stderr) == (0, 0, "")


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", None), ("MP3", None), ("OGG", "OPUS"), ("OGG", "VORBIS")],
)
def test_a_recording_cut_anywhere_is_heard_as_far_as_it_goes_or_refused(
    container: str, subtype: str | None, tmp_path: Path, enrolled: Path, run: Run
) -> None:
    before = listing(enrolled)
    clips = {name: encoded(voice(name), container, subtype) for name in ("eva_1", "kal_1", "rms_1", "slt_1")}
    files = []
    for number, (name, content) in enumerate(clips.items()):
        for kept in (10, 100, 1_000, len(content) * (3 + number) // 8, len(content) - 1 - number):
            path = tmp_path / f"{name}_{kept}.{container.lower()}"
            path.write_bytes(content[:kept])
            files.append(path)
    done = run("enroll", "zoe", *files, "--keep-going", "--force")
    refused = done.stderr.splitlines()
    assert all(line.startswith("speakerdb: refused ") and line.isprintable() for line in refused)
    assert refused and done.returncode == 3
    after = listing(enrolled)
    heard = [speaker.enrollments for speaker in after if speaker.speaker == "zoe"]
    assert sum(heard) + len(refused) == len(files)
    assert [speaker for speaker in after if speaker.speaker != "zoe"] == before


BAD_ARRAYS: dict[str, tuple[object, object, type[SpeakerdbError]]] = {
    "NaN": (with_sample(np.nan), RATE_HZ, AudioUnreadable),
    "infinity": (with_sample(-np.inf), RATE_HZ, AudioUnreadable),
    "beyond float32": (voice().astype(np.float64) * 1e300, RATE_HZ, AudioUnreadable),
    "beyond float32 in the mean": (np.full((48_000, 2), 3e38, np.float32), RATE_HZ, AudioUnreadable),
    "both infinities": (np.tile(np.array([np.inf, -np.inf], np.float32), (9, 1)), RATE_HZ, AudioUnreadable),
    "no samples": (np.zeros(0, np.float32), RATE_HZ, TooLittleSpeech),
    "no channels": (np.zeros((9, 0), np.float32), RATE_HZ, AudioUnreadable),
    "three axes": (voice()[:, None, None], RATE_HZ, AudioUnreadable),
    "truth values": (voice() > 0, RATE_HZ, AudioUnreadable),
    "complex": (voice().astype(np.complex64), RATE_HZ, AudioUnreadable),
    "objects": (voice()[:99].astype(object), RATE_HZ, AudioUnreadable),
    "a list": ([voice()[:3].tolist()], RATE_HZ, AudioUnreadable),
    "no rate": (voice(), None, AudioUnreadable),
    "1 Hz": (voice(), 1, AudioUnreadable),
    "2 GHz": (voice(), 2_000_000_000, AudioUnreadable),
    "a rate below zero": (voice(), -16_000, AudioUnreadable),
    "a rate that is NaN": (voice(), float("nan"), AudioUnreadable),
    "a rate without end": (voice(), float("inf"), AudioUnreadable),
    "a rate in words": (voice(), "16k", AudioUnreadable),
    "a rate for bytes": (encoded(voice(), "WAV"), RATE_HZ, AudioUnreadable),
}


@pytest.mark.parametrize(("source", "rate_hz", "error"), BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_an_array_that_cannot_be_used_raises_the_same_errors(
    source: object, rate_hz: object, error: type[SpeakerdbError], enrolled: Path
) -> None:
    before = listing(enrolled)
    with Gallery.open(enrolled) as gallery, pytest.raises(error) as raised:
        gallery.enroll("zoe", source, rate_hz=rate_hz)  # type: ignore[arg-type]
    assert str(raised.value).isprintable()
    assert listing(enrolled) == before


# Recordings that look unusual and are right.

UNUSUAL_RECORDINGS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "stereo": ("eva_1.wav", lambda: encoded(np.stack([voice("eva_1"), 0.5 * voice("eva_1")], 1), "WAV")),
    "12 channels": ("eva_2.wav", lambda: encoded(np.repeat(voice("eva_2")[:, None], 12, 1), "WAV")),
    "8 kHz mu-law": ("eva_3.wav", lambda: encoded(resampled("eva_3", 8_000), "WAV", "ULAW", 8_000)),
    "96 kHz of 24 bits": ("eva_4.wav", lambda: encoded(resampled("eva_4", 96_000), "WAV", "PCM_24", 96_000)),
    "11,025 Hz of 8 bits": (
        "kal_1.wav",
        lambda: encoded(resampled("kal_1", 11_025), "WAV", "PCM_U8", 11_025),
    ),
    "float of 64 bits": ("kal_2.wav", lambda: encoded(voice("kal_2"), "WAV", "DOUBLE")),
    "16-bit values as floats": ("kal_3.wav", lambda: encoded(voice("kal_3") * 32768, "WAV", "FLOAT")),
    "flac": ("kal_4.flac", lambda: encoded(voice("kal_4"), "FLAC")),
    "mp3": ("rms_1.mp3", lambda: encoded(voice("rms_1"), "MP3")),
    "opus": ("rms_2.opus", lambda: encoded(voice("rms_2"), "OGG", "OPUS")),
    "vorbis": ("rms_3.ogg", lambda: encoded(voice("rms_3"), "OGG", "VORBIS")),
    "aiff": ("rms_4.aiff", lambda: encoded(voice("rms_4"), "AIFF")),
    "flac named mp3": ("slt_1.mp3", lambda: encoded(voice("slt_1"), "FLAC")),
    "a name without an ending": ("slt_2", lambda: encoded(voice("slt_2"), "WAV")),
    "a name with a line feed and control characters": (
        "slt_3\n\x1b[1m.wav",
        lambda: encoded(voice("slt_3"), "WAV"),
    ),
    "a name of bytes that are no text": ("slt_4\udcff.wav", lambda: encoded(voice("slt_4"), "WAV")),
    "m4a": ("ana_3.m4a", lambda: encoded_by_av("ana_3", "mp4", "aac", 44_100)),
    "webm": ("ana_4.webm", lambda: encoded_by_av("ana_4", "webm", "libopus", 48_000)),
    "m4a with a colon in its name": ("ben: 3.m4a", lambda: encoded_by_av("ben_3", "mp4", "aac", 16_000)),
}


def resampled(name: str, rate_hz: int) -> Samples:
    return soxr.resample(voice(name), RATE_HZ, rate_hz)


@pytest.fixture(scope="module")
def unusual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unusual")
    for name, content in UNUSUAL_RECORDINGS.values():
        try:
            (folder / name).write_bytes(content())
        except pytest.skip.Exception:  # the tests of PyAV's formats skip by themselves
            continue
        except (OSError, UnicodeError):  # a file system that wants names of text
            continue
    return folder


def test_unusual_recordings_enroll_in_one_go_without_a_word_on_stderr(
    unusual: Path, gallery_folder: Path, run: Run
) -> None:
    files = sorted(path.name for path in unusual.iterdir())
    done = run("enroll", "zoe", *files, "--force", cwd=unusual)
    assert (done.returncode, done.stderr) == (0, "")
    (zoe,) = listing(gallery_folder)
    assert zoe.enrollments == len(files)
    assert all(recording.source.isprintable() for recording in zoe.recordings)


@pytest.mark.parametrize("case", UNUSUAL_RECORDINGS, ids=str)
def test_an_unusual_recording_is_heard_whole_and_found_again(
    case: str,
    unusual: Path,
    enrolled: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, make = UNUSUAL_RECORDINGS[case]
    make()  # skips where PyAV is missing
    if not (unusual / name).exists():
        pytest.skip("this file system does not take the name")
    monkeypatch.chdir(unusual)
    clip = name.replace(": ", "_").replace("\n", ".").replace("\udcff", ".").split(".")[0]
    original = audio.read(EXAMPLES / f"{clip}.wav", RATE_HZ)
    recording = audio.read(name, RATE_HZ)
    assert len(recording.samples) == pytest.approx(len(original.samples), abs=0.1 * RATE_HZ)
    with Gallery.open(enrolled) as gallery:
        done = gallery.enroll("zoe", name, force=True)
        assert done.net_speech_s == pytest.approx(len(original.samples) / RATE_HZ, abs=0.8)
    code, out, err = run_here(capfd, "identify", name, "--threshold", "2", "--json", "--gallery", enrolled)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["speaker"], found["source"]) == ("zoe", name)
    assert found["distance"] < 1e-3


def test_a_result_that_names_a_file_of_undecodable_bytes_is_printed(unusual: Path, enrolled: Path, run: Run) -> None:
    if not (unusual / "slt_4\udcff.wav").exists():
        pytest.skip("this file system does not take the name")
    done = run("identify", b"slt_4\xff.wav", "--threshold", "2", "--json", cwd=unusual)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["source"] == "slt_4\udcff.wav"


# Names.

BAD_NAMES = {
    "empty": ("", "must not be empty"),
    "blanks": ("   ", "must not be empty"),
    "10 kB": ("a" * 10_240, "has 10240 bytes; 256 are allowed"),
    "257 bytes": ("é" * 128 + "a", "has 257 bytes"),
    "a line feed": ("zoe\nben", r"'zoe\\nben' holds a character that cannot be shown (U+000A)"),
    "a terminal's control sequence": ("zoe\x1b[31m", "(U+001B)"),
    "a delete character": ("zo\x7fe", "(U+007F)"),
    "a right-to-left override": ("zoe\u202eana", "(U+202E)"),
    "a line separator": ("zoe\u2028ana", "(U+2028)"),
    "a byte order mark": ("zoe\ufeff", "(U+FEFF)"),
    "a zero-width space": ("z\u200boe", "(U+200B)"),
    "a private character": ("zoe\ue000", "(U+E000)"),
    "bytes that are no text": ("zo\udcff", "(U+DCFF)"),
}


@pytest.mark.parametrize(("name", "says"), BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_name_that_cannot_be_used_is_refused_in_one_line_wherever_it_is_given(
    name: str, says: str, enrolled: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = listing(enrolled)
    clip = EXAMPLES / "ana_1.wav"
    for command in (
        ("enroll", name, clip),
        ("verify", name, clip),
        ("remove", name),
        ("rename", "ana", name),
    ):
        code, out, err = run_here(capfd, *command, "--gallery", enrolled)
        assert (code, out) == (3, "")
        assert says in only_line(err)
    assert listing(enrolled) == before


@pytest.mark.parametrize("name", [b"zo\xff\xfe", b"a\nb", b"a" * 10_240], ids=["no text", "line feed", "10 kB"])
def test_a_bad_name_is_refused_on_a_real_command_line(name: bytes, enrolled: Path, run: Run) -> None:
    before = listing(enrolled)
    assert_refused(run("enroll", name, EXAMPLES / "eva_1.wav"), 3)
    assert listing(enrolled) == before


def test_both_of_unicodes_normal_forms_of_a_name_are_one_speaker(
    gallery_folder: Path, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    assert run_here(capfd, "enroll", composed, EXAMPLES / "eva_1.wav", "--gallery", gallery_folder)[0] == 0
    done = json.loads(run("enroll", f" {decomposed} ", EXAMPLES / "eva_2.wav", "--json").stdout)
    assert (done["speaker"], done["new_speaker"], done["total"]) == (composed, False, 2)
    again = ["verify", decomposed, EXAMPLES / "eva_1.wav", "--threshold", "2", "--gallery", gallery_folder]
    assert run_here(capfd, *again)[0] == 0
    assert [speaker.speaker for speaker in listing(gallery_folder)] == [composed]


def test_a_name_of_256_bytes_and_one_with_a_joiner_can_be_used(enrolled: Path) -> None:
    with Gallery.open(enrolled) as gallery:
        for name in ("é" * 128, "علی\u200cرضا"):
            gallery.rename("ana", name)
            assert name in [speaker.speaker for speaker in gallery.speakers()]
            gallery.rename(name, "ana")


def test_names_that_are_no_text_are_refused_in_python(enrolled: Path) -> None:
    with Gallery.open(enrolled) as gallery:
        for name in (None, b"ana", 7, ["ana"]):
            with pytest.raises(InputError, match="a name must be text"):
                gallery.verify(name, EXAMPLES / "ana_1.wav")  # type: ignore[arg-type]


# What does not fit what is stored.


def test_an_unknown_speaker_is_named_and_nothing_changes(
    enrolled: Path, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    before = listing(enrolled)
    clip = EXAMPLES / "ana_1.wav"
    assert_refused(run("verify", "zoe", clip), 4, "no speaker named 'zoe'; `speakerdb speakers` lists them")
    for command, says in (
        (["remove", "zoe"], "no speaker named 'zoe'"),
        (["rename", "zoe", "eva"], "no speaker named 'zoe'"),
        (["remove-enrollment", "99"], "no enrollment 99"),
    ):
        for as_json in (False, True):
            code, out, err = run_here(capfd, *command, "--gallery", enrolled, *(["--json"] if as_json else []))
            assert (code, out) == (4, "")
            assert says in only_line(err, as_json)
    with Gallery.open(enrolled) as gallery, pytest.raises(NoSuchSpeaker):
        gallery.remove("zoe")
    assert listing(enrolled) == before


def test_where_nobody_is_enrolled_everything_says_how_to_begin(
    gallery_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = EXAMPLES / "ana_1.wav"
    commands = (["identify", clip], ["verify", "ana", clip], ["remove", "ana"], ["check"], ["rebuild"])
    for command in commands:
        code, out, err = run_here(capfd, *command, "--gallery", gallery_folder)
        assert (code, out) == (4, "")
        assert "`speakerdb enroll NAME FILE`" in only_line(err)
    assert not gallery_folder.exists()
    with Gallery.open(gallery_folder) as gallery:
        assert gallery.speakers() == []
        gallery.enroll("ana", clip)
        gallery.remove("ana")
    code, out, err = run_here(capfd, "identify", clip, "--gallery", gallery_folder)
    assert (code, out, only_line(err)[:24]) == (4, "", "nobody is enrolled yet; ")
    assert listing(gallery_folder) == []


def test_a_command_line_that_cannot_be_understood_is_one_line_too(
    enrolled: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = str(EXAMPLES / "ana_1.wav")
    for command, says in (
        (["identify"], "Missing argument 'FILE'"),
        (["identify", clip, clip], "unexpected extra argument"),
        (["identify", clip, "--top", "0"], "0 is not in the range"),
        (["identify", clip, "--top", "1000000000"], "1000000000 is not in the range"),
        (["identify", clip, "--threshold", "near"], "'near' is not a valid float"),
        (["identify", clip, "--\x1b[31m"], r"\x1b[31m"),
        (["remove-enrollment", "9" * 30], "is not in the range"),
        (["listen"], "No such command 'listen'"),
    ):
        for as_json in (False, True):
            code, out, err = run_here(capfd, *command, *(["--json"] if as_json else []))
            assert (code, out) == (2, "")
            assert says in only_line(err, as_json)


def test_a_threshold_outside_of_all_distances_is_refused(enrolled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for threshold in ("nan", "inf", "-0.1", "2.1"):
        code, out, err = run_here(
            capfd, "identify", EXAMPLES / "ana_1.wav", f"--threshold={threshold}", "--gallery", enrolled
        )
        assert (code, out) == (3, "")
        assert "distances lie between 0 and 2" in only_line(err)


# Folders and disks that refuse.


def as_an_ordinary_user() -> list[str]:
    """What stands before a command so that files' modes hold for it; root's do not."""
    if os.name == "nt":
        pytest.skip("access is not in the mode on Windows")
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root ignores modes, and setpriv, which takes that right away, is not installed")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.fixture
def forbid() -> Iterator[Callable[[Path, int], None]]:
    """Change a mode for the rest of a test."""
    changed: list[tuple[Path, int]] = []

    def change(path: Path, mode: int) -> None:
        changed.append((path, path.stat().st_mode))
        path.chmod(mode)

    yield change
    for path, mode in reversed(changed):
        path.chmod(mode)


@pytest.mark.parametrize(
    ("what", "mode"), [(".", 0o500), (".", 0o000), ("gallery.sqlite", 0o400), ("gallery.sqlite", 0o000)]
)
def test_a_gallery_that_may_not_be_written_says_so_and_stays(
    what: str, mode: int, enrolled: Path, run: Run, forbid: Callable[[Path, int], None]
) -> None:
    before, content = listing(enrolled), (enrolled / "gallery.sqlite").read_bytes()
    user = as_an_ordinary_user()
    forbid(enrolled / what, mode)
    assert_refused(run("enroll", "zoe", EXAMPLES / "eva_1.wav", before=user), 5, "gallery.sqlite")
    found = run("identify", EXAMPLES / "ana_1.wav", "--threshold", "2", before=user)
    if found.returncode == 0:
        assert (found.stderr, "ana" in found.stdout) == ("", True)
    else:
        assert_refused(found, 5, "gallery.sqlite")
    enrolled.chmod(0o700)
    (enrolled / "gallery.sqlite").chmod(0o600)
    assert (enrolled / "gallery.sqlite").read_bytes() == content
    assert listing(enrolled) == before


def test_an_index_that_may_not_be_read_costs_no_answer_and_one_that_may_not_be_deleted_no_removal(
    enrolled: Path, run: Run, forbid: Callable[[Path, int], None]
) -> None:
    before = listing(enrolled)
    user = as_an_ordinary_user()
    forbid(enrolled / "index", 0o000)
    found = run("identify", EXAMPLES / "ana_1.wav", "--threshold", "2", "--json", before=user)
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["speaker"] == "ana"
    assert_refused(run("remove", "ana", before=user), 5, "index")
    (enrolled / "index").chmod(0o700)
    assert listing(enrolled) == before


def test_a_recording_that_may_not_be_read_says_so(
    tmp_path: Path, enrolled: Path, run: Run, forbid: Callable[[Path, int], None]
) -> None:
    before = listing(enrolled)
    clip = shutil.copy(EXAMPLES / "eva_1.wav", tmp_path / "secret.wav")
    user = as_an_ordinary_user()
    forbid(clip, 0o000)
    assert_refused(run("enroll", "zoe", clip, before=user), 3, "cannot be opened (Permission denied)")
    assert listing(enrolled) == before


def test_a_gallery_cannot_be_made_where_nothing_may_be_written(
    tmp_path: Path, run: Run, capfd: pytest.CaptureFixture[str], forbid: Callable[[Path, int], None]
) -> None:
    parent = tmp_path / "locked"
    parent.mkdir()
    user = as_an_ordinary_user()
    forbid(parent, 0o500)
    clip = EXAMPLES / "eva_1.wav"
    assert_refused(run("enroll", "zoe", clip, "--gallery", parent / "people", before=user), 5, "cannot be written")
    for options, says in (
        (["--gallery", clip], "choose another folder with --gallery"),
        (["--gallery", clip / "a\nb"], r"a\nb"),
        (["--gallery", tmp_path / "people", "--encoder", "gone"], "encoder bundle gone: no such bundle"),
        (["--gallery", "x" * 5000], "File name too long"),
    ):
        code, out, err = run_here(capfd, "enroll", "zoe", clip, *options)
        assert (code, out) == (5, "")
        assert says in only_line(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["locked"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB at `gallery_folder`'s place."""
    folder = tmp_path / "people"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs Linux and root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, left_bytes: int) -> None:
    """Take what the disk has but for some bytes."""
    with (folder / "filler").open("wb") as file:
        free = os.statvfs(folder)
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - left_bytes)))
    (folder / "filler").chmod(0o600)


@pytest.mark.parametrize("left_kib", [0, 48, 96])
def test_a_full_disk_is_told_and_the_gallery_stays_as_it_was(
    left_kib: int, enrolled_once: Path, small_disk: Path, run: Run
) -> None:
    shutil.copytree(enrolled_once, small_disk, dirs_exist_ok=True)
    before = listing(small_disk)
    fill(small_disk, left_kib << 10)
    clips = [EXAMPLES / f"{name}_{number}.wav" for name in ("eva", "kal", "rms") for number in (1, 2, 3, 4)]
    done = run("enroll", "zoe", *clips, "--force")
    if done.returncode == 0:
        assert left_kib >= 64, "the last case is there to show that the disk was full before"
    else:
        assert_refused(done, 5, "no space left for")
    (small_disk / "filler").unlink()
    names = [speaker.speaker for speaker in listing(small_disk)]
    assert names == (["ana", "ben", "zoe"] if done.returncode == 0 else ["ana", "ben"])
    if done.returncode:
        assert listing(small_disk) == before
        with Gallery.open(small_disk) as gallery:
            assert len(gallery.enroll("zoe", clips, force=True).enrolled) == len(clips)


def test_a_gallery_cannot_be_begun_on_a_full_disk_and_can_once_there_is_room(small_disk: Path, run: Run) -> None:
    fill(small_disk, 0)
    assert_refused(run("enroll", "zoe", EXAMPLES / "eva_1.wav"), 5, "no space left for")
    (small_disk / "filler").unlink()
    with Gallery.open(small_disk) as gallery:
        gallery.enroll("zoe", EXAMPLES / "eva_1.wav")
    assert [speaker.speaker for speaker in listing(small_disk)] == ["zoe"]


def test_a_disk_that_is_mounted_read_only_is_told_and_its_gallery_answers(
    enrolled_once: Path, small_disk: Path, run: Run
) -> None:
    shutil.copytree(enrolled_once, small_disk, dirs_exist_ok=True)
    before = listing(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert_refused(run("enroll", "zoe", EXAMPLES / "eva_1.wav"), 5, "cannot be written")
    assert_refused(run("remove", "ana", "--json"), 5)
    for arguments in (["identify", EXAMPLES / "ana_4.wav"], ["verify", "ana", EXAMPLES / "ana_4.wav"], ["speakers"]):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "ana" in done.stdout
    assert run("check").stdout.endswith("sound\n")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert listing(small_disk) == before


@pytest.mark.parametrize("largest_bytes", [512, 40_960])
def test_a_limit_on_the_size_of_files_is_an_error_of_the_disk(largest_bytes: int, enrolled: Path, run: Run) -> None:
    if os.name == "nt":
        pytest.skip("Windows knows no such limit")
    limited = (
        f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_bytes}, {largest_bytes})); "
    )
    limited += "os.execv(sys.argv[1], sys.argv[1:])"
    before = listing(enrolled)
    clips = [EXAMPLES / f"{name}_{number}.wav" for name in ("eva", "kal", "rms") for number in (1, 2, 3, 4)]
    done = run("enroll", "zoe", *clips, "--force", before=[sys.executable, "-c", limited])
    assert_refused(done, 5, "gallery.sqlite")
    assert listing(enrolled) == before


def test_a_stdout_that_cannot_be_written_is_told_and_one_that_went_away_is_not(enrolled: Path, run: Run) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = run("speakers", stdout=full)
    assert_refused(done, 5, "stdout: No space left on device")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = run("identify", EXAMPLES / "ben_2.wav", "--threshold", "0", stdout=gone)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_gallery_of_random_bytes_is_damaged_and_stays(enrolled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (enrolled / "gallery.sqlite").write_bytes(noise(8192))
    for command in (["speakers"], ["identify", EXAMPLES / "ana_1.wav"], ["check"], ["db", "upgrade"]):
        code, out, err = run_here(capfd, *command, "--gallery", enrolled)
        assert (code, out) == (5, "")
        assert "is damaged" in only_line(err)
    assert (enrolled / "gallery.sqlite").read_bytes() == noise(8192)


def test_a_locked_gallery_waits_and_says_so_and_is_read_meanwhile(
    enrolled: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "BUSY_TIMEOUT_S", 0.2)
    before = listing(enrolled)
    clip = EXAMPLES / "eva_1.wav"
    other = sqlite3.connect(enrolled / "gallery.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Gallery.open(enrolled) as gallery:
        for change in (lambda: gallery.enroll("zoe", clip), lambda: gallery.remove("ana")):
            with pytest.raises(GalleryLocked, match="locked by another process"):
                change()
        assert gallery.nearest(gallery.encoder.embed(EXAMPLES / "ana_1.wav"))[0].speaker == "ana"
        code, out, err = run_here(capfd, "rename", "ana", "zoe", "--gallery", enrolled, "--json")
        assert (code, out) == (5, "")
        assert "locked by another process (waited 0.2 s); try again" in only_line(err, as_json=True)
        other.execute("ROLLBACK")
        other.close()
        assert gallery.enroll("zoe", clip).new_speaker
    assert [speaker for speaker in listing(enrolled) if speaker.speaker != "zoe"] == before


def test_an_interrupted_enrollment_exits_with_130_and_writes_nothing(enrolled: Path) -> None:
    before = listing(enrolled)
    command = [sys.executable, "-m", "speakerdb.cli.main", "enroll", "zoe", "-", "--gallery", str(enrolled)]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # and some shells block it altogether
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it, and so
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # do its children
    signal.signal(signal.SIGINT, own)
    with process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(encoded(np.tile(voice(), 20), "WAV"))  # more than a pipe holds: it is being read
        process.stdin.flush()
        for _ in range(6):
            time.sleep(0.5)  # Python notices a signal within a read that waits, not between two reads of a pipe
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
                break
        process.kill()  # where it did not listen
        line = only_line(process.stderr.read().decode())
        assert (process.returncode, line) == (130, "interrupted; nothing of the running command was written")
    assert listing(enrolled) == before


# Length.

PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
"""A small process between: on Linux a child's peak begins at that of the process that it was split from."""


def peak_mib(clip: Path, gallery: Path) -> float:
    command = [
        sys.executable,
        "-m",
        "speakerdb.cli.main",
        "enroll",
        clip.stem,
        str(clip),
        "--force",  # many voices, one after the other
        "--gallery",
        str(gallery),
    ]
    done = subprocess.run([sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return int(done.stdout.split()[-1]) / (1 << (20 if sys.platform == "darwin" else 10))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hours_take_little_more_memory_than_two_minutes(
    tmp_path: Path, gallery_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [resampled(path.stem, 8_000) for path in sorted(EXAMPLES.glob("*.wav"))]
    minute_and_a_half = np.concatenate(clips)
    peaks = {}
    for name, duration_s in (("two_minutes", 120), ("two_hours", 7200)):
        clip = tmp_path / f"{name}.wav"
        with soundfile.SoundFile(clip, "w", 8_000, 1, subtype="PCM_16") as file:
            while (left := duration_s * 8_000 - file.frames) > 0:
                file.write(minute_and_a_half[:left])
        peaks[name] = peak_mib(clip, gallery_folder)
        clip.unlink()
    with capsys.disabled():
        print(f"\npeak memory: two minutes {peaks['two_minutes']:.0f} MiB, two hours {peaks['two_hours']:.0f} MiB")
    seconds = {speaker.speaker: speaker.net_speech_s for speaker in listing(gallery_folder)}
    assert seconds["two_hours"] > 0.9 * 7200
    assert peaks["two_hours"] < peaks["two_minutes"] + 160


@pytest.mark.parametrize("command", [["speakers"], ["db", "upgrade"]])
def test_an_empty_gallery_path_is_a_usage_error(run: Run, command: list[str]) -> None:
    result = run(*command, "--gallery", "")
    assert (result.returncode, "the path is empty" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", ""])
def test_an_encoder_that_cannot_be_a_path_is_not_found(gallery_folder: Path, name: str) -> None:
    with pytest.raises(EncoderDamaged, match="no such bundle"):
        Gallery.open(gallery_folder, encoder=name)


def test_a_gallery_whose_name_is_no_path_is_refused() -> None:
    with pytest.raises(InputError, match="not a folder's path"):
        Gallery.open("a\0b")


def test_json_rounds_what_it_says_of_a_recording(enrolled: Path, run: Run) -> None:
    quality = json.loads(run("identify", EXAMPLES / "ana_3.wav", "--json").stdout)["quality"]
    assert all(value is None or value == round(value, 6) for value in quality.values())
    with Gallery.open(enrolled) as gallery:
        assert gallery.identify(EXAMPLES / "ana_3.wav").quality.to_json() == quality
