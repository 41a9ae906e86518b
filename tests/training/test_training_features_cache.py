"""Clips → cached features: nothing lost, nothing mixed up, damage told."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import soundfile
from tiny_corpus import EXAMPLES, wav, write_archive, write_noise

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from speakerdb.features.filter_bank import log_mel
from training.corpora import Clip, read_clips
from training.features_cache import ROW, JoinedFeatures, build_features, computed, load_features
from training.front_ends import FRONT_ENDS

KALDI = FRONT_ENDS["kaldi-16k"]


@pytest.fixture
def archive(tmp_path):
    clips = [(f"{name}/{name}_1.wav", (EXAMPLES / f"{name}_1.wav").read_bytes()) for name in ("ana", "kal")]
    short = ("ben/short.wav", wav(np.zeros(399)))
    return write_archive(tmp_path / "tiny-train.tar", [clips[0], short, clips[1]])


def build(archive, folder, quiet, front_end=KALDI):
    return build_features(read_clips(archive), folder, archive.stem, front_end, "set", quiet)


def test_cached_features_are_the_log_mel_frames_in_half_precision(tmp_path, archive, quiet):
    cached = build(archive, tmp_path / "features", quiet)
    assert [row["path"] for row in cached.clips] == ["ana/ana_1.wav", "kal/kal_1.wav"]  # the short one is left out
    for clip, name in enumerate(("ana_1", "kal_1")):
        samples, _ = soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")
        expected = log_mel(samples, KALDI)
        assert cached.length(clip) == len(expected)
        assert cached.of(clip).dtype == np.float32
        assert np.abs(cached.of(clip) - expected).max() <= 2.0**-6  # a step of float16 between 16 and 32
    assert cached.frames.dtype == np.float16
    assert len(cached.frames) == cached.starts[-1]


def test_a_cache_is_read_as_it_was_written(tmp_path, archive, quiet):
    written = build(archive, tmp_path / "features", quiet)
    found = load_features(tmp_path / "features", "tiny-train", KALDI, "set", quiet)
    assert found is not None
    assert np.array_equal(found.frames, written.frames)
    assert found.starts.tolist() == written.starts.tolist()
    first = next(read_clips(archive))
    assert found.clips[0] == {column: getattr(first, column) for column in ROW}


def test_clips_keep_their_order_however_many_cores_decode_them(archive):
    sounds = [clip for clip in read_clips(archive) if "short" not in clip.path]
    clips = [dataclasses.replace(sounds[i % 2], path=f"{i}") for i in range(40)]
    found = list(computed(iter(clips), KALDI))
    assert [clip.path for clip, _ in found] == [clip.path for clip in clips]
    for i, (_, frames) in enumerate(found):
        assert np.array_equal(frames, found[i % 2][1])


def test_a_cache_of_another_front_end_is_none(tmp_path, archive, quiet):
    build(archive, tmp_path, quiet)
    assert load_features(tmp_path, "tiny-train", FRONT_ENDS["seed-16k"], "set", quiet) is None
    assert load_features(tmp_path, "tiny-train", dataclasses.replace(KALDI, low_hz=60.0), "set", quiet) is None


def test_a_cache_of_a_set_that_was_prepared_anew_is_none(tmp_path, archive, quiet):
    build(archive, tmp_path, quiet)
    assert load_features(tmp_path, "tiny-train", KALDI, "set", quiet) is not None
    assert load_features(tmp_path, "tiny-train", KALDI, "another split of it", quiet) is None


def test_what_a_stopped_build_leaves_is_no_cache(tmp_path, archive, quiet):
    def stopped():
        yield next(read_clips(archive))
        raise KeyboardInterrupt

    assert load_features(tmp_path, "tiny-train", KALDI, "set", quiet) is None
    with pytest.raises(KeyboardInterrupt):
        build_features(stopped(), tmp_path, "tiny-train", KALDI, "set", quiet)
    assert load_features(tmp_path, "tiny-train", KALDI, "set", quiet) is None
    assert len(build(archive, tmp_path, quiet).clips) == 2


def test_a_cache_whose_frames_were_cut_is_no_cache(tmp_path, archive, quiet):
    build(archive, tmp_path, quiet)
    array = tmp_path / "tiny-train.f16"
    whole = array.read_bytes()
    for size in (0, 160, len(whole) - 160, len(whole) - 1):
        array.write_bytes(whole[:size])
        assert load_features(tmp_path, "tiny-train", KALDI, "set", quiet) is None
    array.write_bytes(whole)
    assert load_features(tmp_path, "tiny-train", KALDI, "set", quiet) is not None


def clips_with_damage(archive, sound: int, damaged: int):
    clip = next(read_clips(archive))
    for i in range(sound + damaged):
        bad = i % (sound // damaged + 1) == 0
        yield Clip(f"{i}.wav", "a", "c", "", "", audio=b"RIFF no sound" if bad else clip.audio)


def test_a_few_clips_that_cannot_be_read_are_left_out_and_counted(tmp_path, archive, quiet):
    clips = clips_with_damage(archive, 120, 1)
    cached = build_features(clips, tmp_path, "x", KALDI, "set", quiet)
    assert [row["path"] for row in cached.clips] == [f"{i}.wav" for i in range(1, 121)]
    assert "x: 1 of 121 clips cannot be read; the first: 0.wav" in quiet.file.getvalue()


def test_many_clips_that_cannot_be_read_are_an_error_that_names_one(tmp_path, archive, quiet):
    with pytest.raises(ValueError, match=r"x: 2 of 12 clips cannot be read; the first: 0\.wav"):
        build_features(clips_with_damage(archive, 10, 2), tmp_path, "x", KALDI, "set", quiet)
    assert not (tmp_path / "x.json").exists()


def test_a_damaged_shard_stops_the_build_and_is_not_taken_for_the_end(tmp_path, archive, quiet):
    def damaged():
        yield next(read_clips(archive))
        raise ValueError("shard 7: damaged or cut")

    with pytest.raises(ValueError, match="shard 7"):
        build_features(damaged(), tmp_path, "x", KALDI, "set", quiet)
    assert load_features(tmp_path, "x", KALDI, "set", quiet) is None


def test_a_set_without_a_clip_is_an_error(tmp_path, quiet):
    with pytest.raises(ValueError, match="no clip that is long enough"):
        build_features(iter(()), tmp_path, "x", KALDI, "set", quiet)


def test_joined_caches_hold_the_clips_one_after_the_other(tmp_path, archive, quiet):
    first = build(archive, tmp_path / "features", quiet)
    noise = build(write_noise(tmp_path / "noise.tar"), tmp_path / "features", quiet)
    joined = JoinedFeatures([first, noise])
    assert [row["path"] for row in joined.clips] == [row["path"] for row in [*first.clips, *noise.clips]]
    for clip in range(5):
        part, index = (first, clip) if clip < 2 else (noise, clip - 2)
        assert np.array_equal(joined.of(clip), part.of(index))
        assert np.array_equal(joined.stretch(clip, 3, 20), part.of(index)[3:23])
        assert joined.length(clip) == part.length(index)


def test_the_table_says_which_front_end_it_is_of(tmp_path, archive, quiet):
    build(archive, tmp_path, quiet)
    assert json.loads((tmp_path / "tiny-train.json").read_text())["front_end"]["name"] == "kaldi-16k"
