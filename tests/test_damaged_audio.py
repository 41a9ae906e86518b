"""Damaged, cut and unfinished files: read as far as they go, or refused in one way, and nothing is printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from handed_in import by_av
from hypothesis import given, settings
from hypothesis import strategies as st
from test_audio import RATE_HZ, clip, encoded

from speakerdb import audio
from speakerdb.audio import read
from speakerdb.errors import AudioUnreadable

CONTAINERS = [("WAV", None), ("FLAC", None), ("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("AIFF", None)]
CONTENTS = [encoded(clip()[:16_000], *container) for container in CONTAINERS]


@settings(deadline=None, max_examples=200)
@given(content=st.sampled_from(CONTENTS), share=st.floats(0.0, 1.0))
def test_a_file_cut_anywhere_is_read_as_far_as_it_goes_or_refused(content: bytes, share: float) -> None:
    try:
        heard = audio.read(content[: int(share * len(content))], RATE_HZ)
    except AudioUnreadable as error:
        assert str(error).isprintable()
    else:
        assert len(heard.samples) <= 17_000
        assert np.isfinite(heard.samples).all()


@settings(deadline=None, max_examples=200)
@given(content=st.sampled_from(CONTENTS), place=st.floats(0.0, 1.0), bytes_=st.binary(min_size=1, max_size=64))
def test_a_file_damaged_anywhere_is_read_or_refused_and_never_raises_anything_else(
    content: bytes, place: float, bytes_: bytes
) -> None:
    start = int(place * (len(content) - 1))
    damaged = content[:start] + bytes_ + content[start + len(bytes_) :]
    try:
        heard = audio.read(damaged, RATE_HZ)
    except AudioUnreadable as error:
        assert str(error).isprintable()
    else:
        assert np.isfinite(heard.samples).all()


@pytest.mark.parametrize(
    "damage", [lambda mp3: mp3[:700], lambda mp3: b"\xff\xfb\x90\0" * 4 + mp3[1000:], lambda _: b"no"]
)
def test_a_broken_mp3_leaves_standard_error_and_its_descriptor_alone(damage, capfd: pytest.CaptureFixture) -> None:
    content = bytearray(encoded(clip(), "MP3"))
    content[3000:3400] = bytes(400)
    before = os.fstat(2)
    descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208 (no Path is needed)
    for broken in (bytes(content), damage(bytes(content))):
        try:
            audio.read(broken, RATE_HZ)
        except AudioUnreadable:
            continue
    after = os.fstat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    os.write(2, b"still here\n")
    print("and here", file=sys.stderr)
    assert capfd.readouterr().err == "still here\nand here\n"


def damaged_headers(content: bytes, count: int) -> Iterator[bytes]:
    """Copies with a few bytes changed, more of them at the beginning than elsewhere."""
    chance = np.random.default_rng(len(content))
    for _ in range(count):
        damaged = bytearray(content)
        for _ in range(chance.integers(1, 4)):
            start = int(chance.integers(0, 200 if chance.random() < 0.7 else len(content)))
            size = int(chance.choice([1, 1, 2, 4, 8, 64]))
            damaged[start : start + size] = chance.bytes(size) if chance.random() < 0.7 else b"\xff" * size
        yield bytes(damaged)


def assert_heard_or_refused_in_silence(contents: list[bytes], capfd: pytest.CaptureFixture) -> None:
    for content in contents:
        for damaged in damaged_headers(content, 150):
            try:
                audio.read(damaged, RATE_HZ)
            except AudioUnreadable as error:
                assert str(error).isprintable()
    assert capfd.readouterr() == ("", "")


def test_damaged_headers_raise_one_kind_of_error_and_print_nothing(capfd: pytest.CaptureFixture) -> None:
    assert_heard_or_refused_in_silence(CONTENTS, capfd)


@pytest.mark.parametrize(
    "form",
    [("mp4", "aac", 44_100), ("webm", "libopus", 48_000), ("adts", "aac", 44_100), ("amr", "libopencore_amrnb", 8_000)],
    ids=lambda form: form[0],
)
def test_damaged_headers_of_pyavs_formats_do_so_too(form: tuple[str, str, int], capfd: pytest.CaptureFixture) -> None:
    assert_heard_or_refused_in_silence([by_av(clip()[:16_000], *form)], capfd)


def test_a_title_of_bytes_that_are_no_text_does_not_matter() -> None:
    content = by_av(clip(), "mp4", "aac", 16_000)
    assert content.count(b"isomiso2") == 1
    spoiled = content.replace(b"isomiso2", b"isom\xffso2")
    assert audio.read(spoiled, RATE_HZ).sha256 == audio.read(content, RATE_HZ).sha256


def test_a_flac_that_was_written_to_a_pipe_is_read_to_its_end(tmp_path):
    samples = (0.1 * np.random.default_rng(0).standard_normal(480_000)).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", samples, 16_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0  # STREAMINFO's number of samples: 36 bits of zeros, not known
    content[22:26] = bytes(4)
    (tmp_path / "piped.flac").write_bytes(content)
    for source in (tmp_path / "piped.flac", bytes(content)):
        assert len(read(source, 16_000).samples) == 480_000


@pytest.mark.parametrize("riff_bytes", [0, 36])
def test_a_wav_whose_recorder_did_not_finish_it_is_told_as_that(tmp_path, examples, riff_bytes):
    content = bytearray((examples / "ana_4.wav").read_bytes())
    at = content.index(b"data")
    content[4:8] = riff_bytes.to_bytes(4, "little")
    content[at + 4 : at + 8] = bytes(4)
    (tmp_path / "cut.wav").write_bytes(content)
    for source in (tmp_path / "cut.wav", bytes(content)):
        with pytest.raises(AudioUnreadable, match="announces no samples"):
            read(source, 16_000)
