"""Sets of shards: what is written is read, damage is told, and a killed write leaves nothing that looks whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_corpus import write_archive, write_voices

tf = pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training import records  # noqa: E402
from training.corpora import Clip, read_clips  # noqa: E402
from training.prepare import prepare_corpora  # noqa: E402
from training.records import complete, encode, parse, read_index, read_shards, set_hash  # noqa: E402

PROJECT = Path(__file__).parents[2]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SECONDS = st.floats(0.0, 1e6, width=32)
CLIPS = st.builds(
    Clip,
    path=TEXTS,
    speaker=TEXTS,
    corpus=TEXTS,
    language=TEXTS,
    sex=TEXTS,
    split=TEXTS,
    seconds=SECONDS,
    audio=st.binary(),
)


@settings(deadline=None)
@given(CLIPS)
def test_a_clip_comes_back_from_its_record(clip):
    assert parse(encode(clip)) == clip


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_what_is_no_record_of_a_clip_is_a_value_error(record):
    with pytest.raises(ValueError, match="not a record of a clip"):
        parse(record)


@pytest.mark.parametrize("missing", ["path", "speaker", "corpus", "language", "sex", "split", "seconds", "audio"])
def test_a_record_without_a_field_is_a_value_error(missing):
    example = tf.train.Example.FromString(encode(Clip("a/1.wav", "a", "c", "en", "f", audio=b"sound")))
    del example.features.feature[missing]
    with pytest.raises(ValueError, match="a field is missing"):
        parse(example.SerializeToString())


def test_a_set_holds_the_clips_of_its_archive_and_their_rows(tmp_path, quiet):
    archive, shards = write_voices(tmp_path / "tiny-train.tar", ["ana", "rms"]), tmp_path / "shards"
    prepare_corpora([str(archive)], shards, None, quiet)
    clips = list(read_clips(archive))
    assert list(read_shards(shards, "tiny-train")) == clips
    assert [
        Clip.of(row, clip.audio) for row, clip in zip(read_index(shards, "tiny-train"), clips, strict=True)
    ] == clips
    files = sorted(file.name for file in shards.iterdir())
    assert files == ["tiny-train-00000.tfrecords.gzip", "tiny-train.json", "tiny-train.tsv"]


def test_what_is_complete_is_not_written_again(tmp_path, quiet):
    archive, shards = write_voices(tmp_path / "tiny-train.tar", ["ana"]), tmp_path / "shards"
    prepare_corpora([str(archive)], shards, None, quiet)
    before = {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in shards.iterdir()}
    prepare_corpora([str(archive)], shards, None, quiet)
    assert {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in shards.iterdir()} == before


def test_a_set_prepared_again_from_the_same_clips_is_the_same_set(tmp_path, quiet):
    archive, shards = write_voices(tmp_path / "tiny-train.tar", ["ana"]), tmp_path / "shards"
    prepare_corpora([str(archive)], shards, None, quiet)
    first, index = set_hash(shards, "tiny-train"), (shards / "tiny-train.json").read_text()
    with archive.open("ab") as tar:
        tar.write(bytes(10_240))  # another tar of the same clips
    prepare_corpora([str(archive)], shards, None, quiet)
    assert (shards / "tiny-train.json").read_text() != index
    assert set_hash(shards, "tiny-train") == first


@pytest.mark.parametrize(("path", "sound"), [("ana/1.wav", b"another"), ("ben/1.wav", b"one")])
def test_a_set_of_another_recording_or_another_speaker_is_another_set(tmp_path, quiet, path, sound):
    hashes = []
    for clip in (("ana/1.wav", b"one"), (path, sound)):
        prepare_corpora([str(write_archive(tmp_path / "tiny-train.tar", [clip]))], tmp_path / "shards", None, quiet)
        hashes.append(set_hash(tmp_path / "shards", "tiny-train"))
    assert hashes[0] != hashes[1]


def test_a_corpus_that_changed_is_written_anew(tmp_path, quiet):
    shards = tmp_path / "shards"
    prepare_corpora([str(write_voices(tmp_path / "tiny-train.tar", ["ana"]))], shards, None, quiet)
    changed = write_voices(tmp_path / "tiny-train.tar", ["ana", "ben"])
    prepare_corpora([str(changed)], shards, None, quiet)
    assert list(read_shards(shards, "tiny-train")) == list(read_clips(changed))


STEPS = {
    "in the first shard": ("SetWriter.write", 3),
    "before a shard is closed": ("SetWriter._close_shard", 1),
    "before its name is given": ("Path.replace", 2),
    "in the second shard": ("SetWriter.write", 12),
    "before the table is closed": ("SetWriter.finish", 1),
    "before the index is written": ("_write_whole", 2),
    "before the index gets its name": ("Path.replace", 5),
}

KILLED = """
import os, signal, sys
from pathlib import Path
from rich.console import Console
from training import records
from training.prepare import prepare_corpora
records.SHARD_BYTES = 40_000
owner, _, name = sys.argv[3].rpartition(".")
owner = {"": records, "SetWriter": records.SetWriter, "Path": Path}[owner]
real, left = getattr(owner, name), [int(sys.argv[4])]
def dying(*arguments, **options):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(owner, name, dying)
prepare_corpora([sys.argv[1]], Path(sys.argv[2]), None, Console(quiet=True))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """18 clips of 4 kB: two shards of 40 kB."""
    rng = np.random.default_rng(6)
    folder = tmp_path_factory.mktemp("large")
    return write_archive(folder / "large-train.tar", [(f"s{i}/{i}.wav", rng.bytes(4_000)) for i in range(18)])


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_write_leaves_no_set_and_the_next_one_all_of_it(tmp_path, quiet, monkeypatch, large, step):
    where, times = STEPS[step]
    command = [sys.executable, "-c", KILLED, str(large), str(tmp_path), where, str(times)]
    killed = subprocess.run(command, cwd=PROJECT, stderr=subprocess.PIPE, check=False)
    assert killed.returncode == -9, f"the step was never reached: {killed.stderr.decode()[-500:]}"
    assert not complete(tmp_path, "large-train")
    standing = {file: file.stat().st_ino for file in tmp_path.glob("*.gzip")}

    monkeypatch.setattr(records, "SHARD_BYTES", 40_000)
    prepare_corpora([str(large)], tmp_path, None, quiet)
    assert list(read_shards(tmp_path, "large-train")) == list(read_clips(large))
    assert {file: file.stat().st_ino for file in standing} == standing  # what was whole was kept
    assert not list(tmp_path.glob("*.partial"))


@pytest.fixture
def written(tmp_path, quiet):
    """A set of three short clips."""
    rng = np.random.default_rng(7)
    archive = write_archive(tmp_path / "x-train.tar", [(f"a/{i}.wav", rng.bytes(90)) for i in range(3)])
    prepare_corpora([str(archive)], tmp_path / "shards", None, quiet)
    return tmp_path / "shards"


def test_a_shard_cut_or_changed_anywhere_is_an_error_that_names_it(written):
    shard = written / "x-train-00000.tfrecords.gzip"
    whole = shard.read_bytes()
    for at in range(len(whole)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]):
            shard.write_bytes(content)
            with pytest.raises(ValueError, match=r"x-train-00000\.tfrecords\.gzip: damaged or cut"):
                list(read_shards(written, "x-train"))


def test_a_table_cut_at_the_end_of_a_line_is_an_error_that_names_it(written):
    table = written / "x-train.tsv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"x-train\.tsv: damaged or cut"):
        read_index(written, "x-train")


@pytest.mark.parametrize("file", ["x-train.json", "x-train.tsv", "x-train-00000.tfrecords.gzip"])
def test_a_set_of_which_a_file_is_gone_is_not_complete(written, file):
    assert complete(written, "x-train")
    (written / file).unlink()
    assert not complete(written, "x-train")


@pytest.mark.parametrize("content", ["", "{}", '{"form": 2}', "[1]", "\x00"])
def test_an_index_that_is_none_is_an_error_that_names_it(written, content):
    (written / "x-train.json").write_text(content)
    with pytest.raises(ValueError, match=r"x-train\.json: not the index of a set"):
        list(read_shards(written, "x-train"))


def test_a_set_that_is_not_there_says_what_makes_it(tmp_path):
    with pytest.raises(ValueError, match=r"no such set; python -m training prepare makes it"):
        list(read_shards(tmp_path, "x-train"))
