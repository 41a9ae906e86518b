"""Shards: what is written is read, what is damaged is told, and a killed write leaves nothing that looks whole."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_corpus import write_archive, write_voices

tf = pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.corpora import Clip, read_clips  # noqa: E402
from training.records import encode, parse, read_shard, shards_of, write_shards  # noqa: E402

PROJECT = Path(__file__).parents[2]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CLIPS = st.builds(Clip, path=TEXTS, speaker=TEXTS, corpus=TEXTS, language=TEXTS, sex=TEXTS, audio=st.binary())


def large_archive(folder: Path) -> Path:
    """18 MiB: two shards, and long enough in the writing to be killed there."""
    rng = np.random.default_rng(6)
    return write_archive(folder / "large-train.tar", [(f"s{i}/{i}.wav", rng.bytes(1 << 20)) for i in range(18)])


@settings(deadline=None)
@given(CLIPS)
def test_a_clip_comes_back_from_its_record(clip):
    assert parse(encode(clip)) == clip


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_what_is_no_record_of_a_clip_is_a_value_error(record):
    with pytest.raises(ValueError, match="not a record of a clip"):
        parse(record)


@pytest.mark.parametrize("missing", ["path", "speaker", "corpus", "language", "sex", "audio"])
def test_a_record_without_a_field_is_a_value_error(missing):
    example = tf.train.Example.FromString(encode(Clip("a/1.wav", "a", "c", "en", "f", b"sound")))
    del example.features.feature[missing]
    with pytest.raises(ValueError, match="a field is missing"):
        parse(example.SerializeToString())


def test_the_clips_of_an_archive_come_back_from_its_shard(tmp_path):
    archive = write_voices(tmp_path / "tiny-train.tar", ["ana", "rms"])
    [shard] = write_shards(archive, tmp_path / "shards")
    assert shard.name == "tiny-train-00000-of-00001.tfrecords.gzip"
    assert list(read_shard(shard)) == list(read_clips(archive))
    assert [file.name for file in (tmp_path / "shards").iterdir()] == [shard.name]


def test_complete_shards_are_not_written_again(tmp_path):
    archive = write_voices(tmp_path / "tiny-train.tar", ["ana"])
    [shard] = write_shards(archive, tmp_path / "shards")
    before = shard.stat()
    assert write_shards(archive, tmp_path / "shards") == [shard]
    after = shard.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_archive_that_breaks_off_leaves_no_shard(tmp_path):
    archive = write_archive(tmp_path / "odd-train.tar", [("a/1.wav", b"1"), ("a/2.wav", b"2")], ["a/1.wav"])
    with pytest.raises(ValueError, match="not in the table"):
        write_shards(archive, tmp_path / "shards")
    assert shards_of(archive, tmp_path / "shards") == []
    assert list((tmp_path / "shards").glob("*.gzip")) == []


@pytest.mark.slow
def test_a_killed_write_leaves_no_shard_and_the_next_one_all_of_them(tmp_path):
    archive, shards = large_archive(tmp_path), tmp_path / "shards"
    write = "import sys; from pathlib import Path; from training.records import write_shards; "
    write += "write_shards(Path(sys.argv[1]), Path(sys.argv[2]))"
    process = subprocess.Popen(
        [sys.executable, "-c", write, str(archive), str(shards)], cwd=PROJECT, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120.0
    while not list(shards.glob("*.partial")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9, "the write was over before it could be killed"
    assert list(shards.glob("*.partial"))
    assert list(shards.glob("*.gzip")) == []
    assert shards_of(archive, shards) == []

    written = write_shards(archive, shards)
    assert [shard.name for shard in written] == [f"large-train-{i:05d}-of-00002.tfrecords.gzip" for i in range(2)]
    clips = sorted((clip for shard in written for clip in read_shard(shard)), key=lambda clip: int(clip.speaker[1:]))
    assert clips == list(read_clips(archive))

    written[1].unlink()
    assert shards_of(archive, shards) == []


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    """A shard of three short clips."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(7)
    return write_shards(write_archive(folder / "x.tar", [(f"a/{i}.wav", rng.bytes(90)) for i in range(3)]), folder)[0]


def test_a_shard_cut_anywhere_is_an_error_that_names_it(tmp_path, shard):
    whole, cut = shard.read_bytes(), tmp_path / "cut.tfrecords.gzip"
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut\.tfrecords\.gzip: damaged or cut"):
            list(read_shard(cut))


def test_a_flipped_bit_anywhere_is_an_error_that_names_the_shard_or_changes_no_clip(tmp_path, shard):
    whole, flipped = shard.read_bytes(), tmp_path / "flipped.tfrecords.gzip"
    clips, harmless = list(read_shard(shard)), []
    for at in range(len(whole)):
        flipped.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            found = list(read_shard(flipped))
        except ValueError as error:
            assert f"{flipped}: damaged or cut" in str(error)
        else:
            assert found == clips
            harmless.append(at)
    assert len(clips) == 3
    # Flags, time and system in GZIP's header, and the bits that fill up the last byte before its checksum.
    assert set(harmless) <= {*range(3, 10), len(whole) - 9}
