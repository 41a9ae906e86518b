"""What befalls crops: rooms, codecs, what was said before; batches of them, made by other processes."""

from __future__ import annotations

import multiprocessing
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
pytest.importorskip("torch", reason="PyTorch is an extra (speakerdb[rooms])")
pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is an extra (speakerdb[train])")

from speakerdb.audio import read
from training.commands.outcome import Refused, errors_as_exit_codes
from training.rooms import channels
from training.rooms.crops import SHARES, Crops, made_beside
from training.rooms.impulse_responses import BEFORE_DIRECT, impulse_response
from training.rooms.sounds import Sounds, make_sounds, write_sounds
from training.rooms.worsening import Worsening, in_room

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def sounds(folder: Path) -> Sounds:
    return Sounds.opened(folder)


@pytest.fixture(scope="module")
def crops(sounds, front_end) -> Crops:
    return Crops(sounds, front_end, 1)


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


def test_a_crop_is_of_the_clip_and_ends_in_silence_where_that_does(crops, sounds) -> None:
    for seed in range(20):
        clean, heard = crops.pair(len(sounds.clips) - 1, 32_000, np.random.default_rng(seed))
        assert clean.shape == heard.shape == (32_000,) and clean[-100:].any()
    clean, heard = crops.pair(0, 32_000, np.random.default_rng(0))  # a word, one second
    assert clean.shape == heard.shape == (32_000,) and clean[:1_000].any() and not clean[-8_000:].any()


@pytest.mark.parametrize("speed", [1.0, 1.25])
def test_a_crop_comes_with_what_was_said_just_before_it(front_end, sounds, tmp_path, monkeypatch, speed: float) -> None:
    monkeypatch.setattr("training.rooms.crops.SPEED_SHARE", 1.0)
    monkeypatch.setattr("training.rooms.crops.SPEED", (speed, speed))
    rising = np.arange(80_000) / 80_000
    write_sounds(tmp_path, [("a", rising)], [sounds.noises[0]], [sounds.rooms[0].astype(np.float32)])
    of_rising, befores = Crops(Sounds.opened(tmp_path), front_end, 1), set()
    for seed in range(12):
        samples, before = of_rising._cut(0, 16_000, np.random.default_rng(seed))
        assert len(samples) == before + 16_000
        steps = np.diff(samples[200:-200:400]) * 80_000
        np.testing.assert_allclose(steps, 400 * speed, atol=60)  # float16 of up to 1 steps by 40 of these
        befores.add(before)
    assert max(befores) in (9_599, 9_600)


def test_a_crop_that_nothing_else_befalls_differs_in_level_alone(crops, sounds, monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.crops.SENTENCES_ALONE_SHARE", 1.0)
    clean, heard = crops.pair(len(sounds.clips) - 1, 16_000, np.random.default_rng(0))
    factor = np.abs(heard).max() / np.abs(clean).max()
    assert 0.1 <= factor <= 2.0
    np.testing.assert_allclose(heard, clean * factor, atol=1e-12)


def test_a_batch_has_a_clean_crop_for_each_worsened_one(crops) -> None:
    shapes = set()
    for step in range(8):
        heard, clean = crops.batch(step)
        assert heard.shape == clean.shape and heard.dtype == clean.dtype == np.float32
        assert np.isfinite(heard).all() and np.isfinite(clean).all()
        assert not np.array_equal(heard, clean)
        shapes.add(clean.shape[1:])
    assert len(shapes) >= 2 and shapes <= {(196, 80), (198, 80), (298, 80), (448, 80)}


def test_a_batch_is_a_function_of_seed_and_step(crops, sounds, front_end) -> None:
    again = Crops(sounds, front_end, 1)
    again.batch(4)  # what was drawn before changes nothing
    for one, other in zip(again.batch(2), crops.batch(2), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(crops.batch(2)[0], Crops(sounds, front_end, 2).batch(2)[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_beside_make_the_same_batches_in_order(crops, folder, front_end, monkeypatch, workers: int) -> None:
    monkeypatch.setattr("training.rooms.workers.WORKERS", workers)
    for step, made in enumerate(made_beside(folder, front_end, 1, range(2, 5)), 2):
        for one, other in zip(made, crops.batch(step), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not multiprocessing.active_children()


def test_what_a_process_beside_raises_is_raised(tmp_path, front_end) -> None:
    with pytest.raises(FileNotFoundError, match="clips"):
        next(made_beside(tmp_path, front_end, 1, range(3)))
    assert not multiprocessing.active_children()


def test_a_process_beside_that_dies_ends_the_course(folder, front_end) -> None:
    batches = made_beside(folder, front_end, 1, range(100))
    next(batches)
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(Refused, match="a process beside this one was ended"), errors_as_exit_codes():
        list(batches)
    assert not multiprocessing.active_children()
    assert not list(folder.glob("batches-*"))


def test_processes_beside_end_when_the_course_is_left(folder, front_end) -> None:
    (folder / "batches-of-a-course-that-was-killed").mkdir()
    batches = made_beside(folder, front_end, 1, range(100))
    next(batches)
    assert len(list(folder.glob("batches-*"))) == 1
    batches.close()
    assert not multiprocessing.active_children()
    assert not list(folder.glob("batches-*"))


@pytest.mark.parametrize("sets", [["a"] * 3, ["speech_commands-train"] * 3, ["speech_commands-train", "a", "a"]])
def test_few_clips_of_few_sets_make_batches_too(sets: list[str], sounds, front_end, tmp_path) -> None:
    longest = sounds.clips[len(sounds.clips) - 1]
    room = [sounds.rooms[0].astype(np.float32)]
    write_sounds(tmp_path, [(name, longest[:24_000]) for name in sets], [longest], room)
    few = Crops(Sounds.opened(tmp_path), front_end, 1)
    for step in range(4):
        assert few.batch(step)[0].shape == (3, 196, 80)  # none is long enough for anything but a second


def test_silence_stays_finite(sounds, front_end, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.crops.SENTENCES_ALONE_SHARE", 0.0)
    write_sounds(tmp_path, [("a", np.zeros(80_000))] * 9, [np.zeros(8_000)], [sounds.rooms[0]])
    silent = Crops(Sounds.opened(tmp_path), front_end, 1)
    for step in range(6):
        assert all(np.isfinite(part).all() for part in silent.batch(step))
    for seed in range(40):
        assert np.isfinite(silent.pair(0, 16_000, np.random.default_rng(seed))[1]).all()


@pytest.mark.parametrize(("clips", "noises"), [([], [np.ones(9)]), ([("a", np.ones(9))], [])])
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
    assert found.sets.tolist() == ["some-train"] * 2 and (len(found.noises), len(found.rooms)) == (1, 2)
    np.testing.assert_allclose(found.clips[1], read(str(examples / "ben_1.wav"), RATE_HZ).samples, atol=1e-3)
    np.testing.assert_array_equal(found.rooms[1], impulse_response(np.random.default_rng([7, 1])))
    before = (made / "clips.npy").stat().st_mtime_ns
    make_sounds(corpora, ["some-train"], "noise", made, quiet)
    assert (made / "clips.npy").stat().st_mtime_ns == before
    make_sounds(corpora, ["some-train", "more-train"], "noise", made, quiet)
    assert Sounds.opened(made).sets.tolist() == ["some-train"] * 2 + ["more-train"]
