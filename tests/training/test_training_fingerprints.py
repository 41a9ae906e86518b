"""What was made of a set stays true however its archive is mounted, and is never believed of another set."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_corpus import write_lists, write_voices

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from training.calibration import heard as hearing
from training.calibration.heard import WHOLE, heard
from training.commands import training
from training.corpora.archive import Archive
from training.corpora.fingerprints import content_of
from training.evaluation import run
from training.evaluation.clips import OfShards
from training.prepare import prepare_corpora
from training.rooms import sounds
from training.rooms.sounds import make_sounds


def touch(archive: Path) -> None:
    """As another mount, or a copy, would have it: the same content with other times, in another file."""
    for file in (archive, archive.with_suffix(".tsv")):
        shutil.copyfile(file, file.with_suffix(".copy"))
        file.with_suffix(".copy").replace(file)
        os.utime(file, (1e9, 1e9))


def change_unseen(file: Path) -> None:
    """Turn a bit, and set the time back to what it was: size and time say nothing."""
    before, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def voices(tmp_path) -> Path:
    return write_voices(tmp_path / "tiny-train.tar", ["ana", "ben"])


def test_an_archive_is_told_by_its_content_alone(voices):
    before = Archive(voices).fingerprint()
    touch(voices)
    assert Archive(voices).fingerprint() == before
    change_unseen(voices)
    changed = Archive(voices).fingerprint()
    change_unseen(voices.with_suffix(".tsv"))
    assert len({before, changed, Archive(voices).fingerprint()}) == 3


def test_a_file_is_read_once_until_it_is_touched(voices, monkeypatch):
    before = content_of(voices)
    monkeypatch.setattr("training.corpora.fingerprints.file_hash", lambda path: "read again")
    assert content_of(voices) == before
    touch(voices)
    assert content_of(voices) == "read again"


def test_what_was_heard_is_bound_to_the_archives_content(voices, tmp_path, encoder, quiet, monkeypatch):
    bundle = encoder._bundle
    before = heard(voices, bundle, WHOLE, tmp_path / "heard", quiet)
    touch(voices)
    with monkeypatch.context() as patched:
        patched.setattr(hearing, "_hear_all", None)  # nothing is heard again
        again = heard(voices, bundle, WHOLE, tmp_path / "heard", quiet)
    assert np.array_equal(again.vectors, before.vectors)
    change_unseen(voices)
    heard(voices, bundle, WHOLE, tmp_path / "heard", quiet)
    assert len(list((tmp_path / "heard").glob("*.npz"))) == 2


@pytest.mark.parametrize("change", [{"features": {"kind": "waveform", "other": 1}}, {"rate_hz": 8_000}], ids=str)
def test_what_was_heard_is_bound_to_what_a_card_feeds_its_graph(voices, tmp_path, encoder, quiet, change, monkeypatch):
    bundle = encoder._bundle
    heard(voices, bundle, WHOLE, tmp_path / "heard", quiet)

    def another(*_):
        raise InterruptedError("it is heard again")

    monkeypatch.setattr(hearing, "_hear_all", another)
    with pytest.raises(InterruptedError):
        heard(voices, replace(bundle, card=replace(bundle.card, **change)), WHOLE, tmp_path / "heard", quiet)


def test_sounds_are_bound_to_the_archives_content(voices, tmp_path, quiet, monkeypatch):
    rooms, made = tmp_path / "rooms", []
    monkeypatch.setattr(sounds, "_rooms", lambda _: made.append(1) or [np.ones(9, np.float32)])
    write_voices(tmp_path / "noise.tar", ["eva"])
    make_sounds(tmp_path, ["tiny-train"], "noise", rooms, quiet)
    course = (rooms / sounds.TABLE).read_bytes()  # what a course in rooms, and its checkpoint, is bound to
    for name in ("tiny-train", "noise"):
        touch(tmp_path / f"{name}.tar")
    make_sounds(tmp_path, ["tiny-train"], "noise", rooms, quiet)
    assert len(made) == 1 and (rooms / sounds.TABLE).read_bytes() == course
    change_unseen(tmp_path / "noise.tar")
    make_sounds(tmp_path, ["tiny-train"], "noise", rooms, quiet)
    assert len(made) == 2 and (rooms / sounds.TABLE).read_bytes() != course


def test_a_set_is_prepared_again_where_its_archive_changed_and_not_where_it_moved(voices, tmp_path, quiet):
    prepare_corpora([str(voices)], tmp_path / "shards", None, quiet)
    touch(voices)
    prepare_corpora([str(voices)], tmp_path / "shards", None, quiet)
    assert quiet.file.getvalue().endswith("tiny-train: complete\n")
    change_unseen(voices)
    prepare_corpora([str(voices)], tmp_path / "shards", None, quiet)
    assert quiet.file.getvalue().count("complete") == 1


def test_a_set_that_was_prepared_again_of_the_same_clips_is_the_same_source(tmp_path, quiet, monkeypatch):
    archive, work = write_voices(tmp_path / "tiny-test.tar", ["ana", "ben", "eva"]), tmp_path / "work"
    prepare_corpora([str(archive)], work / "shards", None, quiet)
    write_lists(tmp_path / "trials", "tiny-test", ["ana", "ben"], "eva")
    command = ["evaluate", find_bundle(), "--list", "tiny-test", "--work", work, "--trials", tmp_path / "trials"]
    command += ["--draws", 0, "--out", tmp_path / "report", "--json"]
    first = CliRunner().invoke(training, [*map(str, command)])
    assert first.exit_code == 0, first.output
    index = work / "shards" / "tiny-test.json"
    before, found = OfShards(work / "shards", "tiny-test").fingerprint(), json.loads(index.read_text())
    index.write_text(json.dumps(found | {"fingerprint": "of the same archive, mounted anew"}))
    assert OfShards(work / "shards", "tiny-test").fingerprint() == before
    deaf = replace(run.Encoder.of(open_bundle(find_bundle())), encode=None)
    monkeypatch.setattr(run.Encoder, "of", lambda _: deaf)  # all vectors are there
    again = CliRunner().invoke(training, [*map(str, command)])
    assert (again.exit_code, again.stdout) == (0, first.stdout), again.output
