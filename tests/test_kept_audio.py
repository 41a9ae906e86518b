"""Sounds that a gallery keeps: what was packed is what comes out, and nothing is kept unasked."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb import Gallery, settings
from speakerdb.audio import read
from speakerdb.errors import InputError
from speakerdb.kept_audio import KeptAudio
from speakerdb.store.database import FILE


def packed(pieces: list[np.ndarray], rate_hz: int = 16_000) -> bytes:
    kept = KeptAudio("clip.wav", rate_hz)
    for piece in pieces:
        kept.add(piece)
    return kept.packed()


@given(st.lists(st.integers(-(1 << 15), (1 << 15) - 1), min_size=1, max_size=2_000), st.sampled_from([8_000, 44_100]))
def test_samples_of_16_bits_come_out_as_they_went_in(values, rate_hz):
    samples = np.array(values, np.float32) / (1 << 15)
    recording = read(packed([samples], rate_hz), rate_hz)
    assert np.array_equal(recording.samples, samples)
    assert recording.source_rate_hz == rate_hz
    assert recording.sha256 == read(samples, rate_hz, rate_hz).sha256


@given(st.lists(st.floats(-1.0, 0.9375, width=32), min_size=1, max_size=500))
def test_other_samples_come_out_to_24_bits(values):
    samples = np.array(values, np.float32)
    assert np.abs(read(packed([samples]), 16_000).samples - samples).max() <= 2.0**-24


def test_samples_beyond_full_scale_are_not_clipped():
    samples = np.array([0.1, -3.5, 1.0, 2.0], np.float32)
    assert np.array_equal(read(packed([samples]), 16_000).samples, samples)


def test_pieces_are_joined():
    pieces = [np.full(n, 0.25, np.float32) for n in (3, 1, 2)]
    assert len(read(packed(pieces), 16_000).samples) == 6


def test_what_is_longer_than_is_kept_is_refused_as_soon_as_that_is_known(monkeypatch):
    monkeypatch.setattr(settings, "MAX_KEPT_S", 2.0)
    kept = KeptAudio("long.wav", 16_000)
    kept.add(np.zeros(32_000, np.float32))
    with pytest.raises(InputError, match=r"long\.wav: longer than 2 s, the most that is kept"):
        kept.add(np.zeros(1, np.float32))


def kept_in(folder: Path) -> list[tuple[int, bytes]]:
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection, connection:
        return connection.execute("SELECT enrollment_id, file FROM kept_audio").fetchall()


@pytest.mark.parametrize("recordings", [["ana_1"], ["ana_1", "ana_2"]], ids=["one", "several"])
def test_no_sound_is_kept_unless_asked_for(gallery_folder, examples, recordings):
    paths = [examples / f"{name}.wav" for name in recordings]
    with Gallery.open(gallery_folder) as gallery:
        gallery.enroll("ana", paths)
        assert kept_in(gallery_folder) == []
        assert {info.audio_kept for info in gallery.speakers(enrollments=True)[0].recordings} == {False}


@pytest.mark.parametrize("recordings", [["ana_1"], ["ana_1", "ana_2"]], ids=["one", "several"])
def test_a_kept_sound_is_the_recordings_own(gallery_folder, examples, recordings):
    paths = [examples / f"{name}.wav" for name in recordings]
    with Gallery.open(gallery_folder) as gallery:
        gallery.enroll("ana", paths, keep_audio=True)
        assert [info.audio_kept for info in gallery.speakers(enrollments=True)[0].recordings] == [True] * len(paths)
    found = [read(file, 16_000).sha256 for _, file in kept_in(gallery_folder)]
    assert found == [read(path, 16_000).sha256 for path in paths]


def test_a_removed_recording_takes_its_sound_with_it(gallery_folder, examples):
    with Gallery.open(gallery_folder) as gallery:
        gallery.enroll("ana", [examples / "ana_1.wav", examples / "ana_2.wav"], keep_audio=True)
        [(first, file), (second, _)] = kept_in(gallery_folder)
        gallery.remove_enrollment(first)
        assert [row for row, _ in kept_in(gallery_folder)] == [second]
    assert file[1000:2000] not in (gallery_folder / FILE).read_bytes()
