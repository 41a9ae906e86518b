"""Recordings that cannot be used: one line that says what is wrong, and nothing half-written.

Most cases run the program as a process, since what a C library writes to stderr by itself is seen only there.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from handed_in import (
    EXAMPLES,
    RATE_HZ,
    Run,
    Samples,
    assert_refused,
    by_av,
    encoded,
    listing,
    noise,
    only_line,
    run_here,
    voice,
    with_rate,
    with_sample,
)

from speakerdb import Gallery
from speakerdb.errors import AudioUnreadable, SpeakerdbError, TooLittleSpeech

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
    "cut m4a": ("cut.m4a", lambda: by_av(voice("eva_1"), "mp4", "aac", 44_100)[:12_000], "no sound in it"),
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
    told = done.stderr.splitlines()
    refused = [line for line in told if line.startswith("speakerdb: refused ")]
    assert all(line.isprintable() for line in told)
    assert all(": cut short: its " in line for line in told if line not in refused)
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


def test_a_little_less_speech_than_is_needed_is_not_shown_as_enough() -> None:
    told = TooLittleSpeech("a.wav", 0.992, 1.0, 2.8, "enroll")
    assert str(told).startswith("a.wav: 0.9 s of speech in 2.8 s, 1.0 s needed to enroll;")
    assert told.fields["found_s"] == 0.992
