"""The loop: stopped and gone on with, the best kept, and everything written down."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

import h5py
from rich.console import Console
from tiny_corpus import write_voices
from tiny_training import LOOK, RECIPE, STEPS

from training import checkpoints
from training.evaluate import dev_error_rates, embed_cached
from training.export import export_bundle
from training.loop import train
from training.material import gather
from training.networks import build
from training.prepare import prepare_corpora

# Most of the time goes into TensorFlow's graphs: on a machine that trains beside, five minutes are not enough.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PROJECT = Path(__file__).parents[2]


class Stopped:
    """A sampler that is interrupted a step after the first look, as by Ctrl-C."""

    def __init__(self, sampler):
        self._sampler, self.speakers = sampler, sampler.speakers

    def batch(self, step):
        if step == LOOK + 1:
            raise KeyboardInterrupt
        return self._sampler.batch(step)


def run(tiny, work, quiet, recipe=RECIPE, wrapped=lambda sampler: sampler):
    material = tiny.material()
    return train(recipe, replace(material, sampler=wrapped(material.sampler)), tiny.trials, work, quiet)


def stored(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a weights file: the layers' and, in a checkpoint, the optimizer's."""
    found = {}
    with h5py.File(folder / checkpoints.WEIGHTS) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def table(file: Path) -> list[dict[str, float]]:
    with file.open() as lines:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]


def best_network(work: Path):
    network = build(RECIPE.network)
    checkpoints.load(checkpoints.best_weights(work)[0], network.load_weights)
    return network


def test_a_stopped_training_goes_on_to_the_weights_of_an_unbroken_one(tiny, trained, tmp_path, quiet):
    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path, quiet, wrapped=Stopped)
    folder = checkpoints.newest(tmp_path, "checkpoint")
    assert checkpoints.read_state(folder).step == LOOK
    halfway = stored(folder)

    network = run(tiny, tmp_path, quiet)
    expected = stored(checkpoints.newest(trained, "checkpoint"))
    found = stored(checkpoints.newest(tmp_path, "checkpoint"))
    assert found.keys() == expected.keys()
    assert any("optimizer" in name for name in found)
    for name, values in expected.items():
        assert np.allclose(found[name], values, rtol=0, atol=1e-5), name
    moved = [name for name in expected if not np.allclose(found[name], halfway[name], atol=1e-4)]
    assert len(moved) > len(expected) / 2  # the second half did train
    for weight, values in zip(network.weights, best_network(trained).weights, strict=True):
        assert np.allclose(weight, values, rtol=0, atol=1e-5), weight.path
    assert [row["step"] for row in table(tmp_path / "log.csv")] == [2, 4, 6]
    for found, expected in zip(table(tmp_path / "dev.csv"), table(trained / "dev.csv"), strict=True):
        assert found == pytest.approx(expected, abs=1e-3)


def test_a_training_killed_while_it_writes_a_checkpoint_goes_on(tiny, trained, tmp_path, quiet):
    killed = """
import os, signal, sys
sys.path.insert(0, "tests/training")
from pathlib import Path
from rich.console import Console
from tiny_training import RECIPE
from training import checkpoints
from training.loop import train
from training.material import gather
def dying(work, kind, save, state, write=checkpoints.write):
    def half(path):
        save(path)
        os.kill(os.getpid(), signal.SIGKILL)
    last = kind == "checkpoint" and state.step == RECIPE.optimization.steps
    return write(work, kind, half if last else save, state)
checkpoints.write = dying
work, teachers, trials, out = map(Path, sys.argv[1:])
material = gather(RECIPE, work, teachers, Console(quiet=True))
train(RECIPE, material, trials, out, Console(quiet=True))
"""
    arguments = [tiny.work, tiny.teachers, tiny.trials, tmp_path]
    found = subprocess.run([sys.executable, "-c", killed, *arguments], cwd=PROJECT, capture_output=True, check=False)
    assert found.returncode == -9, found.stderr.decode()[-800:]
    assert checkpoints.read_state(checkpoints.newest(tmp_path, "checkpoint")).step == LOOK
    run(tiny, tmp_path, quiet)
    expected = stored(checkpoints.newest(trained, "checkpoint"))
    for name, values in stored(checkpoints.newest(tmp_path, "checkpoint")).items():
        assert np.allclose(values, expected[name], rtol=0, atol=1e-5), name


@pytest.mark.parametrize("step", [LOOK, STEPS])
def test_best_weights_that_were_left_without_a_checkpoint_are_nobodys(tiny, trained, tmp_path, quiet, step):
    other = replace(checkpoints.best_weights(trained)[1], step=step, settings={"name": "other"})
    checkpoints.write(tmp_path, "best", lambda path: path.write_bytes(b"another's"), other)
    network = run(tiny, tmp_path, quiet)
    assert f"best-{step:08d}: removed, of a training that left no checkpoint" in quiet.file.getvalue()
    assert len(list(tmp_path.glob("best-*"))) == 1
    assert checkpoints.best_weights(tmp_path)[1].settings["name"] == "tiny"
    for weight, values in zip(network.weights, best_network(trained).weights, strict=True):
        assert np.allclose(weight, values, rtol=0, atol=1e-5), weight.path


@pytest.mark.parametrize("kind", ["checkpoint", "best"])
def test_a_training_killed_as_it_begins_to_write_goes_on_with_the_right_best_weights(
    tiny, trained, tmp_path, quiet, monkeypatch, kind
):
    def killed(work, what, save, state, write=checkpoints.write):
        if what == kind:
            raise KeyboardInterrupt
        return write(work, what, save, state)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoints, "write", killed)
        run(tiny, tmp_path, quiet)
    assert checkpoints.newest(tmp_path, "best") is None
    if kind == "best":  # nothing is left to train: the checkpoint's own weights are the best
        recipe = RECIPE.with_steps(LOOK)
        network = run(tiny, tmp_path, quiet, recipe)
        assert checkpoints.best_weights(tmp_path)[1].step == LOOK
        halfway = stored(checkpoints.newest(tmp_path, "checkpoint"))
        assert any(np.array_equal(network.weights[0], values) for values in halfway.values())
    run(tiny, tmp_path, quiet)
    best, expected = (checkpoints.best_weights(work) for work in (tmp_path, trained))
    assert best[1].step == expected[1].step
    for name, values in stored(expected[0]).items():
        assert np.allclose(stored(best[0])[name], values, rtol=0, atol=1e-5), name


def test_another_recipe_does_not_go_on_from_a_checkpoint_that_is_not_its_own(tiny, trained, quiet):
    other = replace(RECIPE, losses=replace(RECIPE.losses, relational=1.0))
    with pytest.raises(ValueError, match=r"other settings \(losses\.relational\); take another folder"):
        run(tiny, trained, quiet, other)


def with_another_voice(tiny, folder: Path) -> Path:
    """A work folder whose dev set has another speaker under the names of one of its."""
    archive = write_voices(folder / "common_voice-dev.tar", ["rms", "slt", "stranger"])
    work = folder / "work"
    shutil.copytree(tiny.work, work)
    prepare_corpora([str(archive)], work / "shards", None, Console(quiet=True))
    return work


def test_a_training_does_not_go_on_with_other_people_under_a_sets_name(tiny, trained, tmp_path, quiet):
    material = gather(RECIPE, with_another_voice(tiny, tmp_path), tiny.teachers, quiet)
    with pytest.raises(ValueError, match=r"common_voice-dev changed since this training began; take another --work"):
        train(RECIPE, material, tiny.trials, trained, quiet)


def test_a_training_does_not_go_on_with_other_words_of_its_teachers(tiny, trained, tmp_path, quiet):
    teachers = shutil.copytree(tiny.teachers, tmp_path / "teachers")
    file = teachers / "teacher-vectors" / RECIPE.teachers.files[0]
    with np.load(file) as said:
        np.savez(file, clips=said["clips"], vectors=-said["vectors"])
    material = gather(RECIPE, tiny.work, teachers, quiet)
    with pytest.raises(ValueError, match=r"campplus-train.npz changed since this training began"):
        train(RECIPE, material, tiny.trials, trained, quiet)


@pytest.mark.parametrize("file", [checkpoints.STATE, checkpoints.WEIGHTS])
@pytest.mark.parametrize("kind", ["checkpoint", "best"])
def test_a_training_whose_checkpoint_was_cut_says_what_to_delete(tiny, trained, tmp_path, quiet, kind, file):
    work = shutil.copytree(trained, tmp_path / "tiny")
    cut = checkpoints.newest(work, kind) / file
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with pytest.raises(
        ValueError, match=rf"^{cut}: damaged or cut .*; bring it back, or delete {work} and train anew$"
    ):
        run(tiny, work, quiet)


@pytest.mark.parametrize("missing", ["train", "dev"])
def test_nothing_is_trained_without_sets_to_learn_from_or_to_choose_by(tiny, quiet, missing):
    with pytest.raises(ValueError, match="train and dev name sets"):
        gather(replace(RECIPE, **{missing: []}), tiny.work, tiny.teachers, quiet)


def test_a_training_is_not_exported_with_other_people_under_a_sets_name(tiny, trained, tmp_path, quiet):
    work = with_another_voice(tiny, tmp_path)
    shutil.copytree(trained, work / "tiny")
    with pytest.raises(ValueError, match=r"common_voice-dev changed since this training began"):
        export_bundle(RECIPE, work / "tiny", tiny.corpora, tiny.trials, tmp_path / "bundle", quiet)
    assert not (tmp_path / "bundle").exists()


def test_a_checkpoint_of_before_sets_hashes_were_kept_is_gone_on_with(tiny, trained, tmp_path, quiet):
    work = shutil.copytree(trained, tmp_path / "tiny")
    for file in work.glob(f"*/{checkpoints.STATE}"):
        state = json.loads(file.read_text())
        file.write_text(json.dumps({name: value for name, value in state.items() if name != "made_of"}))
    run(tiny, work, quiet, RECIPE.with_steps(STEPS + 1))
    assert checkpoints.read_state(checkpoints.newest(work, "checkpoint")).made_of == tiny.material().made_of


def test_a_finished_training_that_goes_on_says_that_its_rate_rises(tiny, trained, tmp_path, quiet):
    work = shutil.copytree(trained, tmp_path / "tiny")
    run(tiny, work, quiet, RECIPE.with_steps(STEPS + 1))
    assert "7 steps instead of 6: the rate goes from 0.0001 to 0.001 at once" in quiet.file.getvalue()


def test_training_stops_once_the_dev_error_has_not_fallen_for_long(tiny, tmp_path, quiet):
    still = replace(RECIPE.optimization, learning_rate=0.0, steps=50, evaluate_steps=1, patience=2)
    run(tiny, tmp_path, quiet, replace(RECIPE, optimization=still))
    assert [row["step"] for row in table(tmp_path / "dev.csv")][-1] < 50
    assert "stopped: 2 looks without a better dev EER" in quiet.file.getvalue()


def test_training_moves_the_statistics_that_normalise_a_clip_alone(trained):
    network = best_network(trained)
    means = [weight for weight in network.weights if weight.path.endswith("moving_mean")]
    variances = [weight for weight in network.weights if weight.path.endswith("moving_variance")]
    assert len(means) == len(variances) == 5  # the stem's, two blocks', the aggregation's and the pooling's
    assert all(np.any(mean.numpy() != 0.0) for mean in means)
    assert all(np.any(variance.numpy() != 1.0) for variance in variances)


def test_a_finished_training_is_not_gone_on_with(tiny, trained, quiet):
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    run(tiny, trained, quiet)
    assert {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()} == before


def test_the_logs_have_a_row_a_report_and_a_row_a_look_at_the_dev_lists(trained):
    log, dev = table(trained / "log.csv"), table(trained / "dev.csv")
    assert [row["step"] for row in log] == [2, 4, 6]
    assert [row["step"] for row in dev] == [3, 6]
    losses = {"loss", "cosine", "relational", "speaker", "triplet"}
    assert all(row.keys() == {"step", *losses, "batches_per_s"} for row in log)
    for row in log:
        total = row["cosine"] + 5.0 * row["relational"] + 0.02 * row["speaker"] + 0.1 * row["triplet"]
        assert row["loss"] == pytest.approx(total, abs=1e-3)
    assert all(0.0 <= row["common_voice-dev"] == row["mean"] <= 100.0 for row in dev)


def test_the_best_weights_are_those_of_the_lowest_dev_error(tiny, trained):
    _, state = checkpoints.best_weights(trained)
    assert state.best["mean"] == pytest.approx(min(row["mean"] for row in table(trained / "dev.csv")), abs=1e-3)
    assert dev_error_rates(best_network(trained), tiny.material().dev, tiny.trials) == state.best


def test_dev_clips_are_embedded_as_if_alone(tiny, trained):
    network, cached = best_network(trained), tiny.material().dev["common_voice-dev"]
    vectors = embed_cached(network, cached)
    assert vectors.keys() == {row["path"] for row in cached.clips}
    for clip, row in enumerate(cached.clips):
        frames = cached.of(clip)[None]
        alone = np.asarray(network([frames, np.ones((*frames.shape[:2], 1), np.float32)]))[0]
        assert np.abs(vectors[row["path"]] - alone).max() <= 1e-5
