"""Recordings that look unusual and are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from handed_in import EXAMPLES, RATE_HZ, Run, by_av, encoded, listing, resampled, run_here, voice

from speakerdb import Gallery, audio

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
    "m4a": ("ana_3.m4a", lambda: by_av(voice("ana_3"), "mp4", "aac", 44_100)),
    "webm": ("ana_4.webm", lambda: by_av(voice("ana_4"), "webm", "libopus", 48_000)),
    "raw aac": ("eva_3.aac", lambda: by_av(voice("eva_3"), "adts", "aac", 44_100)),
    "amr": ("rms_3.amr", lambda: by_av(voice("rms_3"), "amr", "libopencore_amrnb", 8_000)),
    "m4a with a colon in its name": ("ben: 3.m4a", lambda: by_av(voice("ben_3"), "mp4", "aac", 16_000)),
}


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
    make()  # skips where PyAV is missing, or cannot make it
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


def test_json_rounds_what_it_says_of_a_recording(enrolled: Path, run: Run) -> None:
    quality = json.loads(run("identify", EXAMPLES / "ana_3.wav", "--json").stdout)["quality"]
    assert all(value is None or value == round(value, 6) for value in quality.values())
    with Gallery.open(enrolled) as gallery:
        assert gallery.identify(EXAMPLES / "ana_3.wav").quality.to_json() == quality
