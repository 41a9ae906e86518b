"""Files in a work folder that were cut at any place: made anew with a line that says so, or refused in one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_corpus import write_voices
from tiny_teacher import write_teacher

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

import keras
from rich.console import Console

from speakerdb.speech_detector import FRAME_SAMPLES
from training import checkpoints
from training.calibration.heard import WHOLE, heard
from training.commands.outcome import Refused, errors_as_exit_codes
from training.corpora import read_clips
from training.evaluation.embeddings import Embeddings
from training.features_cache import build_features, load_features
from training.front_ends import FRONT_ENDS
from training.journal import Journal
from training.rooms import sounds
from training.rooms.sounds import Sounds, make_sounds
from training.speech.teacher import labelled
from training.teacher_encoders import open_teacher
from training.teachers import published
from training.transplant import stages
from training.transplant.campplus import read_campplus
from training.transplant.frames import lower_graph

KALDI = FRONT_ENDS["kaldi-16k"]


def cuts(file: Path, count: int = 12):
    """Write the file cut to nothing, to all but a byte, and to lengths between; then one that is all zeros."""
    content = file.read_bytes()
    for size in sorted({0, 1, len(content) - 1, *(len(content) * part // count for part in range(count))}):
        file.write_bytes(content[:size])
        yield size
    file.write_bytes(bytes(len(content)))
    yield "zeros"
    file.write_bytes(content)


def told(quiet, file: Path) -> bool:
    """Whether the last line said that this file is made anew; the lines are gone then."""
    line, end = quiet.file.getvalue(), "; it is made anew\n"
    quiet.file = io.StringIO()
    return line.startswith(f"{file}: damaged or cut (") and line.endswith(end) and line.count("\n") == 1


@pytest.fixture
def voices(tmp_path) -> Path:
    return write_voices(tmp_path / "tiny-train.tar", ["ana", "ben"])


def test_a_table_of_features_that_was_cut_is_no_cache(tmp_path, voices, quiet):
    build_features(read_clips(voices), tmp_path, "x", KALDI, "set", quiet)
    for _ in cuts(tmp_path / "x.json"):
        assert load_features(tmp_path, "x", KALDI, "set", quiet) is None
        assert told(quiet, tmp_path / "x.json")
    assert load_features(tmp_path, "x", KALDI, "set", quiet) is not None
    (tmp_path / "x.json").write_text(json.dumps(["other"]))
    assert load_features(tmp_path, "x", KALDI, "set", quiet) is None and told(quiet, tmp_path / "x.json")


def test_a_log_that_was_cut_keeps_its_whole_rows_and_says_so(tmp_path, quiet):
    journal = Journal(tmp_path, quiet, 100, 0)
    for step in (10, 20, 30):
        journal.report(step, {"loss": 0.12345, "cosine": 0.5})
    log = tmp_path / "log.csv"
    written = log.read_bytes()
    for size in cuts(log, 40):
        left = written[:size] if size != "zeros" else b""
        *whole, half = left.replace(b"\r\n", b"\r").split(b"\r")
        quiet.file = io.StringIO()
        Journal(tmp_path, quiet, 100, 30)
        found = log.read_text().splitlines()[1:] if log.exists() else []
        assert [line.split(",")[0] for line in found] == ["10", "20", "30"][: max(0, len(whole) - 1)]
        lost = size == "zeros" or (half and (whole or not half.startswith(b"step")))
        assert (f"{log}: damaged or cut, 1 lines left out" in quiet.file.getvalue()) == bool(lost)


def test_a_fit_that_was_cut_is_no_fit(tmp_path, quiet):
    file, weights = tmp_path / "fitted.npz", {"second_0": [np.eye(3, dtype=np.float32), np.zeros(3, np.float32)]}
    stages._write(file, weights, "settings")
    for _ in cuts(file):
        assert stages.fit_in(file, "settings", quiet) == {} and told(quiet, file)
    assert stages.fit_in(file, "other settings", quiet) == {}
    assert stages.fit_in(file, "settings", quiet).keys() == {"second_0"} and not quiet.file.getvalue()


def test_what_a_teacher_says_cannot_be_made_anew(tmp_path):
    file, said = tmp_path / "c.npz", r"c\.npz: damaged or cut \(.*\); nothing here makes it; bring it back$"
    np.savez(file, clips=np.array(["a/1", "a/2"]), vectors=np.ones((2, 4), np.float16))
    for _ in cuts(file):
        with pytest.raises(Refused, match=said), errors_as_exit_codes():
            published(file, ["a/1"])
    np.savez(file, clips=np.array(["a/1", "a/2"]), vectors=np.full((2, 4), np.nan, np.float16))
    with pytest.raises(ValueError, match="not a finite one for each"):
        published(file, ["a/1"])


def test_a_teachers_graph_cannot_be_made_anew(tmp_path):
    file = write_teacher(tmp_path / "campplus_tiny.onnx")
    for read in (open_teacher, lower_graph, read_campplus):
        for _ in cuts(file, 4):
            with pytest.raises(
                ValueError, match=rf"^{file}: damaged or cut \(.*\); nothing here makes it; bring it back$"
            ):
                read(file)
        with pytest.raises(
            ValueError, match=r"campplus_gone\.onnx: missing \(.*\); nothing here makes it; bring it back$"
        ):
            read(tmp_path / "campplus_gone.onnx")


def test_a_checkpoint_that_was_cut_is_refused_with_what_to_delete(tmp_path, quiet):
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    network.compile("adam", "mse")
    network.train_on_batch(np.ones((2, 3)), np.ones((2, 4)))
    state = checkpoints.State(5, 5, {"mean": 10.0}, 0, seed=1, settings={})
    weights = checkpoints.write(tmp_path / "mine", "checkpoint", network.save_weights, state) / checkpoints.WEIGHTS
    folder = weights.parent
    said = rf"{folder}/\S+: damaged or cut \(.*\); bring it back, or delete {tmp_path}/mine and train anew$"
    for _ in cuts(folder / checkpoints.STATE):
        with pytest.raises(Refused, match=said), errors_as_exit_codes():
            checkpoints.read_state(folder)
    for _ in cuts(weights):
        with pytest.raises(Refused, match=said), errors_as_exit_codes():
            checkpoints.load(folder, network.load_weights)
    checkpoints.load(folder, network.load_weights)
    assert checkpoints.read_state(folder) == state


def test_what_was_heard_for_calibration_is_heard_again_where_it_was_cut(tmp_path, voices, encoder, quiet):
    folder, bundle = tmp_path / "heard", encoder._bundle
    before = heard(voices, bundle, WHOLE, folder, quiet)
    [file] = folder.glob("*.npz")
    for _ in cuts(file, 2):
        again = heard(voices, bundle, WHOLE, folder, quiet)
        assert told(quiet, file) and np.array_equal(again.vectors, before.vectors)
    assert heard(voices, bundle, WHOLE, folder, quiet).clips.tolist() == before.clips.tolist()
    assert not quiet.file.getvalue()


class Deaf:
    """In Silero's place."""

    def probabilities(self, samples):
        return np.zeros(len(samples) // FRAME_SAMPLES, np.float32)


def test_labels_that_were_cut_are_made_anew(tmp_path, voices, quiet):
    before = labelled(voices, Deaf(), tmp_path, quiet)
    [file] = tmp_path.glob("*.npz")
    for _ in cuts(file, 3):
        assert len(labelled(voices, Deaf(), tmp_path, quiet)) == len(before) and told(quiet, file)


def test_sounds_of_which_a_file_was_cut_are_made_anew(tmp_path, voices, quiet, monkeypatch):
    monkeypatch.setattr(sounds, "_rooms", lambda _: [np.ones(9, np.float32)])
    write_voices(tmp_path / "noise.tar", ["eva"])
    make_sounds(tmp_path, ["tiny-train"], "noise", tmp_path / "rooms", quiet)
    table = tmp_path / "rooms" / sounds.TABLE
    for name in ("clips.npy", "rooms.npy", "noises-lengths.npy", "clips-lengths.npy", sounds.TABLE):
        for _ in cuts(tmp_path / "rooms" / name, 2):
            quiet.file = io.StringIO()
            make_sounds(tmp_path, ["tiny-train"], "noise", tmp_path / "rooms", quiet)
            assert f"{table}: damaged or cut (" in quiet.file.getvalue()
            assert len(Sounds.opened(tmp_path / "rooms").clips) == 8
    (tmp_path / "rooms" / "noises.npy").unlink()
    make_sounds(tmp_path, ["tiny-train"], "noise", tmp_path / "rooms", quiet)
    assert len(Sounds.opened(tmp_path / "rooms").noises) == 4


@pytest.mark.parametrize("line", ["ana/2.wav\tlong\t{crc}\n", "ana/2.wav\t1.000\t{crc}\tmore\n", "\t1.000\t{crc}\n"])
def test_a_line_beside_vectors_that_is_none_ends_what_is_believed(tmp_path, line):
    vectors = Embeddings(tmp_path / "v", "encoder", 2, "source")
    for clip in ("ana/1.wav", "ana/2.wav"):
        vectors.append(clip, 1.0, np.ones(2, np.float32))
    vectors.flush()
    *first, last = (tmp_path / "v.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "v.tsv").write_text("".join(first) + line.format(crc=last.strip().split("\t")[2]))
    assert list(Embeddings(tmp_path / "v", "encoder", 2, "source")) == ["ana/1.wav"]


def test_a_disk_that_fails_makes_nothing_anew(tmp_path, voices, quiet, monkeypatch):
    build_features(read_clips(voices), tmp_path, "x", KALDI, "set", quiet)

    def fails(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_text", fails)
    with pytest.raises(OSError, match="Input/output"):
        load_features(tmp_path, "x", KALDI, "set", Console(quiet=True))
