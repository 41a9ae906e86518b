"""Virtual speakers and teachers: what is played faster sounds so, and a teacher says what its makers' program says."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from tiny_corpus import wav, write_voices

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")
pytest.importorskip("kaldi_native_fbank", reason="a teacher needs Kaldi's filter bank (the extra kaldi)")

from rich.console import Console
from tiny_teacher import CHANNELS, write_teacher
from tiny_training import RECIPE

from speakerdb.audio import read
from training.corpora import Clip
from training.losses import Losses
from training.material import gather
from training.optimization import Optimization, Transplant
from training.prepare import prepare_corpora
from training.teacher_encoders import open_teacher
from training.teachers import Teachers, VirtualClips, taught
from training.virtual_speakers import Virtual, at_speed, recorded_set

RATE_HZ = 16_000


def tone(hertz: float, seconds: float) -> Clip:
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)
    return Clip("ana/1.wav", "ana", "c", "en", "f", audio=wav(samples))


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_a_faster_clip_is_shorter_and_higher_by_the_same_factor(speed):
    [played] = at_speed([tone(1_000.0, 2.0)], speed, RATE_HZ)
    samples = read(played.audio, RATE_HZ).samples
    assert len(samples) / RATE_HZ == pytest.approx(2.0 / speed, abs=0.001) == played.seconds
    peak = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * RATE_HZ / len(samples)
    assert peak == pytest.approx(1_000.0 * speed, abs=1.0)


def test_its_speaker_is_another_one_and_its_name_of_its_own():
    [played] = at_speed([tone(1_000.0, 2.0)], 0.9, RATE_HZ)
    assert (played.speaker, played.path, played.name, played.sex) == ("ana@0.9", "ana/1@0.9.wav", "ana/1@0.9", "f")


def test_what_becomes_too_short_or_is_no_sound_is_left_out():
    clips = [tone(1_000.0, 0.55), replace(tone(1.0, 1.0), audio=b"no sound")]
    assert list(at_speed(clips, 1.2, RATE_HZ)) == []


def test_sets_are_the_recorded_ones_as_often_as_they_count_and_the_virtual_ones():
    sets = Virtual(speeds=[0.9, 1.1], originals=2).sets(["a", "b"])
    assert sets == ["a", "b", "a", "b", "a@0.9", "a@1.1", "b@0.9", "b@1.1"]
    assert recorded_set("a@0.9") == recorded_set("a") == "a"


def test_a_training_draws_from_virtual_speakers_too(tiny, tmp_path, quiet):
    work = tmp_path / "work"
    work.mkdir()
    (work / "shards").symlink_to(tiny.work / "shards")
    labels = replace(RECIPE, teachers=Teachers(), losses=Losses(speaker=1.0), virtual=Virtual([0.9, 1.1]))
    material = gather(labels, work, tiny.teachers, quiet)
    assert material.sampler.speakers == 4 * 3
    assert {row["speaker"] for row in material.train["common_voice-train@1.1"].clips} == {
        f"{voice}@1.1" for voice in ("ana", "ben", "eva", "kal")
    }
    again = gather(labels, work, tiny.teachers, quiet)
    assert np.array_equal(again.sampler.batch(3).features, material.sampler.batch(3).features)


def test_a_teachers_frames_of_virtual_speakers_are_taught_too(tiny, tmp_path, quiet):
    graph, work = write_teacher(tmp_path / "campplus_tiny.onnx"), tmp_path / "work"
    work.mkdir()
    (work / "shards").symlink_to(tiny.work / "shards")
    how = Transplant(graph.name, front=Optimization(steps=1, learning_rate=1e-3))
    heir = replace(RECIPE, teachers=Teachers(), transplant=how, virtual=Virtual([0.9], originals=2))
    material = gather(heir, work, tmp_path, quiet)
    speeds = [row["speaker"].partition("@")[2] for row in material.teacher_frames.clips]
    assert (speeds.count("0.9"), speeds.count("")) == (16, 32)
    lengths = [material.teacher_frames.length(clip) for clip in range(len(speeds))]
    assert lengths[-16:] != lengths[:16]  # slower clips are longer
    batch = material.sampler.batch(0)
    assert batch.frames.shape == (8, 15, CHANNELS) and batch.valid.all()


@pytest.mark.parametrize(("graph", "least"), [("campplus_zh_en", 0.9), ("ge2e", 0.95)])
def test_a_teacher_says_of_train_clips_what_was_published(shared, graph, least):
    encode = open_teacher(shared / "encoders" / f"{graph}.onnx")
    file = f"{graph.split('_')[0]}-train.npz"
    with np.load(shared / "encoders" / "teacher-vectors" / file) as stored:
        row_of = {str(clip): row for row, clip in enumerate(stored["clips"])}
        vectors = stored["vectors"].astype(np.float32)
    cosines = []
    with tarfile.open(shared / "corpora" / "speechocean762-train.tar") as tar:
        for _, member in zip(range(12), tar, strict=False):
            content = tar.extractfile(member)
            samples, _ = soundfile.read(io.BytesIO(content.read()), dtype="float32")
            cosines.append(float(encode(samples) @ vectors[row_of[member.name.rsplit(".", 1)[0]]]))
    assert min(cosines) >= least  # they heard the recordings before Opus


def test_what_a_teacher_said_of_virtual_clips_is_kept(shared, tiny, tmp_path):
    clips = VirtualClips(tiny.work / "shards", "common_voice-train@1.1")
    paths = [f"{voice}/{voice}_{number}@1.1.wav" for voice in ("ana", "ben") for number in (1, 2)]
    told = io.StringIO()
    first = taught(shared / "encoders" / "ge2e.onnx", clips, paths, tmp_path, Console(file=told))
    [table] = (tmp_path / "teachers").glob("*.tsv")
    written = table.read_bytes()
    again = taught(shared / "encoders" / "ge2e.onnx", clips, paths, tmp_path, Console(file=told))
    assert told.getvalue() == "common_voice-train@1.1: asking ge2e about 4 clips\n"
    assert np.array_equal(first, again) and table.read_bytes() == written
    assert isinstance(again, list) and len(again[0]) == 256


def test_what_a_teacher_said_of_a_copied_archive_is_not_asked_again(tmp_path):
    archive, shards = write_voices(tmp_path / "tiny-train.tar", ["ana"]), tmp_path / "shards"
    of_sets = []
    for time in (1, 2):
        os.utime(archive, (time, time))
        prepare_corpora([str(archive)], shards, None, Console(file=io.StringIO()))
        of_sets.append([VirtualClips(shards, f"tiny-train@{speed}").fingerprint() for speed in (0.9, 1.1)])
    assert of_sets[0] == of_sets[1] and of_sets[0][0] != of_sets[0][1]


def test_a_graph_of_another_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no teacher of that name"):
        open_teacher(tmp_path / "ecapa.onnx")
