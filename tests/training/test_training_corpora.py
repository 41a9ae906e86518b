"""Archives → clips → cached features: nothing lost, nothing mixed up, damage told."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import soundfile
from tiny_corpus import EXAMPLES, wav, write_archive, write_noise, write_voices

from speakerdb.features import FilterBank, log_mel
from training.corpora import Clip, check_speakers_apart, read_clips, read_table
from training.features_cache import build_features, join_features, load_features

BANK = FilterBank()


def test_clips_come_in_the_tars_order_with_what_the_table_says(tmp_path):
    archive = write_voices(tmp_path / "common_voice-train.tar", ["slt", "ana"])
    lines = (tmp_path / "common_voice-train.tsv").read_text().splitlines()
    (tmp_path / "common_voice-train.tsv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    clips = list(read_clips(archive))
    assert [clip.path for clip in clips] == [f"{name}/{name}_{n}.wav" for name in ("slt", "ana") for n in (1, 2, 3, 4)]
    audio = (EXAMPLES / "slt_2.wav").read_bytes()
    assert clips[1] == Clip("slt/slt_2.wav", "slt", "common_voice", "en", "f", audio)
    assert clips[1].name == "slt/slt_2"


def test_noise_has_no_speaker(tmp_path):
    clips = list(read_clips(write_noise(tmp_path / "noise.tar")))
    assert [(clip.corpus, clip.speaker, clip.language) for clip in clips] == [("noise", "", "")] * 3


@pytest.mark.parametrize(
    ("members", "table", "message"),
    [
        (["a/1.wav", "a/2.wav"], ["a/1.wav"], r"a/2\.wav is not in the table"),
        (["a/1.wav"], ["a/1.wav", "a/2.wav"], "1 clips, but 2 in the table"),
        (["a/1.wav", "a/1.wav"], ["a/1.wav", "a/2.wav"], r"a/1\.wav stands twice"),
        (["a/1.wav"], ["a/1.wav", "a/1.wav"], "a path stands twice"),
    ],
    ids=["more in the tar", "more in the table", "twice in the tar", "twice in the table"],
)
def test_a_tar_and_a_table_that_differ_are_an_error_that_names_the_archive(tmp_path, members, table, message):
    archive = write_archive(tmp_path / "odd-train.tar", [(path, b"sound") for path in members], table)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_clips(archive))
    assert "odd-train" in str(caught.value)


def test_a_tar_cut_between_two_clips_is_an_error(tmp_path):
    archive = write_archive(tmp_path / "cut-train.tar", [(f"a/{i}.wav", bytes(700)) for i in range(4)])
    archive.write_bytes(archive.read_bytes()[: 2 * (512 + 1024)])
    with pytest.raises(ValueError, match="2 clips, but 4 in the table"):
        list(read_clips(archive))


def test_a_speaker_in_two_splits_is_an_error_that_names_one(tmp_path):
    train = write_archive(tmp_path / "x-train.tar", [("a/1.wav", b""), ("b/1.wav", b""), ("c/1.wav", b"")])
    leaking = write_archive(tmp_path / "x-dev.tar", [("d/1.wav", b""), ("c/2.wav", b""), ("b/9.wav", b"")])
    apart = write_archive(tmp_path / "y-dev.tar", [("d/1.wav", b""), ("e/1.wav", b"")])
    check_speakers_apart(train, apart)
    with pytest.raises(ValueError, match=r"x-train\.tar and x-dev\.tar share 2 speakers, b among them"):
        check_speakers_apart(train, leaking)


def test_the_table_is_keyed_by_path(tmp_path):
    archive = write_archive(tmp_path / "x-train.tar", [("a/1.wav", b"")])
    assert read_table(archive)["a/1.wav"]["speaker"] == "a"


@pytest.fixture
def archive(tmp_path):
    clips = [(f"{name}/{name}_1.wav", (EXAMPLES / f"{name}_1.wav").read_bytes()) for name in ("ana", "kal")]
    short = ("ben/short.wav", wav(np.zeros(399)))
    return write_archive(tmp_path / "tiny-train.tar", [clips[0], short, clips[1]])


def test_cached_features_are_the_log_mel_frames_in_half_precision(tmp_path, archive):
    cached = build_features(read_clips(archive), tmp_path / "features", "tiny-train", BANK)
    assert [row["path"] for row in cached.clips] == ["ana/ana_1.wav", "kal/kal_1.wav"]  # the short one is left out
    for clip, name in enumerate(("ana_1", "kal_1")):
        samples, _ = soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")
        expected = log_mel(samples, BANK)
        assert cached.length(clip) == len(expected)
        assert cached.of(clip).dtype == np.float32
        assert np.array_equal(cached.of(clip), expected.astype(np.float16).astype(np.float32))
        assert np.abs(cached.of(clip) - expected).max() <= 2.0**-7  # half a step of float16 between 16 and 32
    assert cached.frames.dtype == np.float16
    assert len(cached.frames) == cached.starts[-1]


def test_a_cache_is_read_as_it_was_written(tmp_path, archive):
    written = build_features(read_clips(archive), tmp_path / "features", "tiny-train", BANK)
    found = load_features(tmp_path / "features", "tiny-train")
    assert found is not None
    assert np.array_equal(found.frames, written.frames)
    assert found.starts.tolist() == written.starts.tolist()
    first = next(read_clips(archive))
    kept = {name: value for name, value in dataclasses.asdict(first).items() if name != "audio"}
    assert found.clips[0] == {**kept, "name": "ana/ana_1"}


def test_what_a_stopped_build_leaves_is_no_cache(tmp_path, archive):
    folder = tmp_path / "features"

    def stopped():
        yield next(read_clips(archive))
        raise KeyboardInterrupt

    assert load_features(folder, "tiny-train") is None
    with pytest.raises(KeyboardInterrupt):
        build_features(stopped(), folder, "tiny-train", BANK)
    assert load_features(folder, "tiny-train") is None
    again = build_features(read_clips(archive), folder, "tiny-train", BANK)
    assert len(again.clips) == 2


def test_a_cache_whose_frames_were_cut_is_no_cache(tmp_path, archive):
    folder = tmp_path / "features"
    build_features(read_clips(archive), folder, "tiny-train", BANK)
    array = folder / "tiny-train.f16"
    whole = array.read_bytes()
    for size in (0, 160, len(whole) - 160, len(whole) - 1):
        array.write_bytes(whole[:size])
        assert load_features(folder, "tiny-train") is None
    array.write_bytes(whole)
    assert load_features(folder, "tiny-train") is not None


def test_joined_caches_hold_the_clips_one_after_the_other(tmp_path, archive):
    first = build_features(read_clips(archive), tmp_path / "features", "tiny-train", BANK)
    noise = build_features(read_clips(write_noise(tmp_path / "noise.tar")), tmp_path / "features", "noise", BANK)
    joined = join_features([first, noise])
    assert [row["path"] for row in joined.clips] == [row["path"] for row in [*first.clips, *noise.clips]]
    for clip in range(5):
        part, index = (first, clip) if clip < 2 else (noise, clip - 2)
        assert np.array_equal(joined.of(clip), part.of(index))
    assert math.isclose(len(joined.frames), len(first.frames) + len(noise.frames))
