"""A whole training that inherits, with a made-up teacher: its stages, and that a stopped one goes on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from tiny_corpus import EXAMPLES, write_archive
from tiny_teacher import HEIR, write_teacher
from tiny_training import RECIPE

from training import checkpoints
from training.batches import CropLength
from training.card import descent
from training.losses import Losses
from training.material import gather
from training.networks import build
from training.optimization import Optimization, Transplant
from training.prepare import prepare_corpora
from training.speaker_means import SpeakerMeans
from training.transplant import stages
from training.transplant.stages import fit_key, fitted, train_transplanted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HOW = Optimization(steps=4, learning_rate=2e-3, optimizer="muon", report_steps=2, evaluate_steps=2)
HEIRS_RECIPE = replace(
    RECIPE,
    name="heir",
    network=HEIR,
    losses=Losses(cosine=1.0, relational=5.0, speaker=0.02, frame=0.1),
    optimization=replace(HOW, inherited_share=0.4),
    lengths=[CropLength(frames=62, share=1.0, crops=32)],
    transplant=Transplant(
        graph="campplus_tiny.onnx", front=replace(HOW, steps=16, report_steps=4), crops=20, crop_frames=20
    ),
)


class Stopped:
    """A sampler that is interrupted at its n-th batch, as by Ctrl-C."""

    def __init__(self, sampler, batches: int) -> None:
        self._sampler, self._left = sampler, batches
        self.speakers, self.speaker_targets = sampler.speakers, sampler.speaker_targets

    def batch(self, step: int):
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        return self._sampler.batch(step)


def run(tiny, work, quiet, batches: int = 0):
    write_teacher(tiny.teachers / "campplus_tiny.onnx")
    material = gather(HEIRS_RECIPE, tiny.work, tiny.teachers, quiet)
    if batches:
        material = replace(material, sampler=Stopped(material.sampler, batches))
    return train_transplanted(HEIRS_RECIPE, material, tiny.trials, tiny.teachers, work, quiet)


def weights_of(network) -> dict[str, np.ndarray]:
    return {weight.path: weight.numpy() for weight in network.weights}


@pytest.fixture(scope="module")
def unbroken(tiny, tmp_path_factory):
    """The folder of a training that was never stopped, and the network that came out."""
    import io

    from rich.console import Console

    work = tmp_path_factory.mktemp("heir")
    return work, run(tiny, work, Console(file=io.StringIO()))


def best(work) -> dict[str, np.ndarray]:
    network = build(HEIR)
    checkpoints.load(checkpoints.best_weights(work)[0], network.load_weights)
    return weights_of(network)


def test_the_front_alone_moves_first_and_then_all_of_it(unbroken):
    work, network = unbroken
    with np.load(work / "fitted.npz") as stored:
        fitted = stages._read(work / "fitted.npz", str(stored["settings"]))
    assert stages._read(work / "fitted.npz", "other settings") == {}
    taught = best(work / "front")
    for name, arrays in fitted.items():
        found = [values for path, values in taught.items() if path.split("/")[-2] == name]
        assert len(found) == len(arrays)
        assert all(np.array_equal(one, other) for one, other in zip(found, arrays, strict=True)), name
    moved = [path for path, values in weights_of(network).items() if not np.array_equal(values, taught[path])]
    assert any(path.startswith("second_0_bottleneck") for path in moved)
    assert any(path.startswith("head2/") for path in moved)


def test_the_frames_are_learnt(unbroken):
    rows = (unbroken[0] / "front" / "log.csv").read_text().splitlines()
    at = rows[0].split(",").index("frame")
    assert float(rows[-1].split(",")[at]) < float(rows[1].split(",")[at])


# A batch is drawn to build the network, then one a step and one ahead. The front has 16 steps, a look every second.
@pytest.mark.parametrize("batches", [5, 22], ids=["in the front's training", "in the joint one"])
def test_a_stopped_training_goes_on_to_the_weights_of_an_unbroken_one(tiny, unbroken, tmp_path, quiet, batches):
    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path, quiet, batches)
    assert (checkpoints.newest(tmp_path / "front", "best") is not None) and (tmp_path / "fitted.npz").exists()
    assert quiet.file.getvalue().count("fitting the inherited blocks") == 1
    found = weights_of(run(tiny, tmp_path, quiet))
    assert quiet.file.getvalue().count("fitting the inherited blocks") == 1
    for path, values in weights_of(unbroken[1]).items():
        assert np.allclose(found[path], values, rtol=0, atol=1e-5), path


def fit(folder: Path, quiet, recipe=HEIRS_RECIPE) -> int:
    """Ask for the fit of this recipe, teachers and work; how often it was made so far."""
    material = gather(recipe, folder / "work", folder / "teachers", quiet)
    how, teachers = recipe.transplant, folder / "teachers"
    key = fit_key(recipe, how, material, teachers)
    fitted(recipe, how, material, teachers / how.graph, folder, quiet, key)
    return quiet.file.getvalue().count("fitting the inherited blocks")


@pytest.fixture
def fitted_once(tiny, tmp_path, quiet):
    """A folder with work, teachers and the fit of them."""
    for place, name in ((tiny.work, "work"), (tiny.teachers, "teachers")):
        shutil.copytree(place, tmp_path / name)
    write_teacher(tmp_path / "teachers" / "campplus_tiny.onnx")
    assert fit(tmp_path, quiet) == 1
    return tmp_path


def test_a_fit_is_made_once(fitted_once, quiet):
    assert fit(fitted_once, quiet) == 1


def test_a_fit_is_made_again_where_its_file_was_cut(fitted_once, quiet):
    file = fitted_once / "fitted.npz"
    file.write_bytes(file.read_bytes()[:-9])
    assert fit(fitted_once, quiet) == 2 and f"{file}: damaged or cut" in quiet.file.getvalue()
    assert fit(fitted_once, quiet) == 2


def test_a_fit_is_made_again_by_another_seed(fitted_once, quiet):
    other = replace(HEIRS_RECIPE, optimization=replace(HEIRS_RECIPE.optimization, seed=2))
    assert fit(fitted_once, quiet, other) == 2


def test_a_fit_is_made_again_for_other_targets(fitted_once, quiet):
    assert fit(fitted_once, quiet, replace(HEIRS_RECIPE, speaker_means=SpeakerMeans({"common_voice": 0.5}))) == 2


def test_a_fit_is_made_again_where_a_teacher_says_otherwise(fitted_once, quiet):
    said = fitted_once / "teachers" / "teacher-vectors" / HEIRS_RECIPE.teachers.files[0]
    with np.load(said) as stored:
        clips, vectors = stored["clips"], stored["vectors"]
    np.savez(said, clips=clips, vectors=vectors[::-1])
    assert fit(fitted_once, quiet) == 2


def test_a_fit_is_made_again_for_other_recordings_under_a_sets_name(fitted_once, quiet):
    voices = ("ana", "ben", "eva", "kal")
    clips = [(f"{name}/{name}_{number}.wav", f"{name}_{5 - number}.wav") for name in voices for number in (1, 2, 3, 4)]
    swapped = [(path, (EXAMPLES / file).read_bytes()) for path, file in clips]
    archive = write_archive(fitted_once / "common_voice-train.tar", swapped)
    prepare_corpora([str(archive)], fitted_once / "work" / "shards", None, quiet)
    assert fit(fitted_once, quiet) == 2


def test_a_front_that_began_with_another_fit_is_not_gone_on_with(tiny, unbroken, tmp_path, quiet):
    work = tmp_path / "heir"
    shutil.copytree(unbroken[0] / "front", work / "front")  # stopped after the front
    other = replace(HEIRS_RECIPE, optimization=replace(HEIRS_RECIPE.optimization, seed=2))
    material = gather(other, tiny.work, tiny.teachers, quiet)
    with pytest.raises(ValueError, match="front: what it inherits changed since this training began"):
        train_transplanted(other, material, tiny.trials, tiny.teachers, work, quiet)


def test_the_card_says_whose_blocks_they_are():
    assert descent(RECIPE) == {}
    real = replace(HEIRS_RECIPE, transplant=replace(HEIRS_RECIPE.transplant, graph="campplus_zh_en.onnx"))
    assert "Apache-2.0" in descent(real)["descends_from"]["campplus_zh_en.onnx"]
