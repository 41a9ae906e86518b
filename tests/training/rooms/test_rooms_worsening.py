"""What befalls recordings: rooms, codecs, what was said before; and the sounds for it on disk."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is an extra (speakerdb[train])")

from speakerdb.audio import read
from training.rooms import channels
from training.rooms.impulse_responses import BEFORE_DIRECT, impulse_response
from training.rooms.sounds import Sounds, make_sounds, write_sounds
from training.rooms.worsening import Shares, Worsening, in_room

RATE_HZ = 16_000
SHARES = Shares(filtered=0.15, room=0.65, noise=0.3, telephone=0.08, codec=0.05, clipping=0.03, level=0.3)


@pytest.fixture(scope="module")
def sounds(folder: Path) -> Sounds:
    return Sounds.opened(folder)


def lag(after: np.ndarray, before: np.ndarray) -> int:
    """Samples by which the one comes later than the other, or earlier."""
    size = 1 << 17
    alike = np.abs(np.fft.irfft(np.fft.rfft(after, size) * np.conj(np.fft.rfft(before, size))))
    return min(int(alike.argmax()), size - int(alike.argmax()))


def test_a_room_begins_with_the_direct_sound_and_dies_away() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        echoes = impulse_response(rng)
        assert np.abs(echoes).argmax() <= BEFORE_DIRECT and np.abs(echoes).max() == 1.0
        first, last = np.square(echoes[: len(echoes) // 4]).sum(), np.square(echoes[-len(echoes) // 4 :]).sum()
        assert last < 0.02 * first


def test_a_worsened_crop_keeps_its_length_and_place(sounds) -> None:
    voice = np.random.default_rng(0).standard_normal(40_000)  # nothing in it is like anything later
    for seed in range(40):
        heard = Worsening(sounds, SHARES).worsened(voice, np.random.default_rng(seed))
        assert heard.shape == voice.shape and np.isfinite(heard).all()
        assert lag(heard, voice) <= 16  # samples: a millisecond


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
@pytest.mark.parametrize(
    "how",
    [
        {"format": "WAV", "subtype": "GSM610"},
        {"format": "WAV", "subtype": "ALAW"},
        {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": channels.COMPRESSION[0]},
        {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": channels.COMPRESSION[1]},
        {"format": "OGG", "subtype": "OPUS", "compression_level": channels.COMPRESSION[1]},
    ],
    ids=lambda how: f"{how['subtype']} {how.get('compression_level', '')}",
)
def test_codecs_delay_nothing_and_bear_silence(how, rate_hz: int) -> None:
    voice = 30.0 * np.random.default_rng(0).standard_normal(40_001)
    heard = channels.encoded(voice, rate_hz, **how)
    assert heard.shape == voice.shape and lag(heard, voice) <= 1
    silence = channels.encoded(np.zeros(16_000), rate_hz, **how)
    assert silence.shape == (16_000,) and np.abs(silence).max() <= 1e-9


def test_what_was_said_before_a_crop_echoes_in_it() -> None:
    said = np.zeros(16_000)
    said[1_000] = 1.0
    echoes = np.zeros(9_000)
    echoes[BEFORE_DIRECT], echoes[8_000 + BEFORE_DIRECT] = 1.0, 0.5
    heard = in_room(said, echoes)
    assert np.flatnonzero(np.abs(heard) > 1e-6).tolist() == [1_000, 9_000]
    assert np.square(heard).mean() == pytest.approx(np.square(said).mean())


def test_silence_stays_finite(sounds) -> None:
    for seed in range(40):
        heard = Worsening(sounds, SHARES).worsened(np.zeros(16_000), np.random.default_rng(seed))
        assert np.isfinite(heard).all()


@pytest.mark.parametrize(("clips", "noises"), [([], [np.ones(9)]), ([np.ones(9)], [])])
def test_nothing_to_learn_from_is_an_error(clips, noises, tmp_path) -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        write_sounds(tmp_path, clips, noises, [np.ones(9)])


def archive(corpora: Path, name: str, files: list[Path]) -> None:
    corpora.mkdir(exist_ok=True)
    with tarfile.open(corpora / f"{name}.tar", "w") as tar:
        for file in files:
            tar.add(file, f"someone/{file.name}")
    rows = [f"someone/{file.name}\tsomeone\n" for file in files]
    (corpora / f"{name}.tsv").write_text("path\tspeaker\n" + "".join(rows), encoding="utf8")


def test_sounds_are_made_once_and_anew_where_others_are_asked_for(tmp_path, examples, quiet, monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.sounds.ROOMS", 2)
    corpora, made = tmp_path / "corpora", tmp_path / "made"
    for name, clips in {"some-train": ["ana_1", "ben_1"], "more-train": ["eva_1"], "noise": ["rms_1"]}.items():
        archive(corpora, name, [examples / f"{clip}.wav" for clip in clips])
    make_sounds(corpora, ["some-train"], "noise", made, quiet)
    found = Sounds.opened(made)
    assert [len(pieces) for pieces in (found.clips, found.noises, found.rooms)] == [2, 1, 2]
    np.testing.assert_allclose(found.clips[1], read(str(examples / "ben_1.wav"), RATE_HZ).samples, atol=1e-3)
    np.testing.assert_array_equal(found.rooms[1], impulse_response(np.random.default_rng([7, 1])))
    before = (made / "clips.npy").stat().st_mtime_ns
    make_sounds(corpora, ["some-train"], "noise", made, quiet)
    assert (made / "clips.npy").stat().st_mtime_ns == before
    make_sounds(corpora, ["some-train", "more-train"], "noise", made, quiet)
    assert len(Sounds.opened(made).clips) == 3
