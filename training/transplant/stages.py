"""A training that begins with inherited blocks: fit them, teach the front alone, then train all of it together.

Everything lies in the training's folder: `fitted.npz`, the front's own training in `front/`, and the checkpoints of the
joint one beside them. Each is made once; a stopped run goes on in the one it was in. A fit is made again where anything
has changed that it depends on, and a front that began with another fit is not gone on with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from rich.console import Console

from training import checkpoints
from training.batches import ANY
from training.corpora.fingerprints import file_hash
from training.features_cache import JoinedFeatures
from training.kept import kept, read_arrays, write_arrays
from training.loop import train
from training.losses import Losses
from training.material import Material
from training.networks.narrow_campplus import FRONT, NarrowCampplus
from training.optimization import Transplant
from training.recipe import Recipe
from training.student import Student
from training.transplant.campplus import Array, read_campplus
from training.transplant.fit import Weights, fit_embedding, fit_upper, pooled

CENTRE_LENGTH = 0.5
"""Of the speakers' centres at first; their length counts for nothing but how far a step turns them."""

SAMPLED_FRAMES = 50
"""Of so many frames one is looked at for their mean and deviation."""

POOLED_FRAMES, POOLED_CLIPS = 100, 64
"""Frames of a clip that the embedding is fitted on, and clips at once."""


def train_transplanted(
    recipe: Recipe, material: Material, trials: Path, teachers: Path, work: Path, console: Console
) -> keras.Model:
    """All stages, or what is left of them; the network with the best dev EER.

    Args: as `training.loop.train`; teachers: the folder with the graph that the recipe's transplant names.
    """
    how, frames = recipe.transplant, material.teacher_frames
    assert how is not None and frames is not None  # as `gather` makes the material of such a recipe
    means, deviations = frame_statistics(frames)
    begun = checkpoints.newest(work, "checkpoint") is not None
    if not begun:
        fit = fit_key(recipe, how, material, teachers)
        inherited = {"what it inherits": hashlib.sha256(fit.encode()).hexdigest()}
        of_front = replace(material, made_of={**material.made_of, **inherited})
        first = replace(recipe, losses=Losses(frame=1.0), optimization=replace(how.front, inherited_share=0.0))

        def begin_front(student: Student) -> None:
            put(student.network, fitted(recipe, how, material, teachers / how.graph, work, console, fit))
            kernel, bias = student.network.get_layer(FRONT).get_weights()
            student.network.get_layer(FRONT).set_weights([kernel, bias + means])

        console.print("the front alone, on the teacher's frames", highlight=False, soft_wrap=True)
        train(first, of_front, trials, work / checkpoints.FRONT_STAGE, console, begin_front, deviations)

    def begin(student: Student) -> None:
        checkpoints.load(checkpoints.best_weights(work / checkpoints.FRONT_STAGE)[0], student.network.load_weights)
        if recipe.losses.speaker and recipe.losses.sub_centers == 1:
            student.angular.centers.assign(CENTRE_LENGTH * material.sampler.speaker_targets())

    console.print("front and inherited blocks together", highlight=False, soft_wrap=True)
    return train(recipe, material, trials, work, console, begin, deviations)


def put(network: keras.Model, weights: Weights) -> None:
    """Set layers' weights by their names."""
    for name, arrays in weights.items():
        network.get_layer(name).set_weights(arrays)


def frame_statistics(frames: JoinedFeatures) -> tuple[Array, Array]:
    """Each channel's mean and deviation: float32 [channels]."""
    sample = np.concatenate(
        [frames.of(clip)[clip % SAMPLED_FRAMES :: SAMPLED_FRAMES] for clip in range(len(frames.clips))]
    )
    deviations: Array = np.maximum(sample.std(axis=0), 1e-3)
    return sample.mean(axis=0), deviations


def fit_key(recipe: Recipe, how: Transplant, material: Material, teachers: Path) -> str:
    """All that the fit depends on, as text: what the recipe says of it, the sets, and what the teachers' files hold."""
    asked = recipe.teachers.graphs if recipe.virtual.speeds else []
    graphs = {file: file_hash(teachers / file) for file in (how.graph, *asked)}
    words = {f"teacher-vectors/{file}": material.made_of[file] for file in recipe.teachers.files}
    settings = {
        "network": asdict(recipe.network),
        "transplant": {**asdict(how), "front": None},
        "targets": [asdict(part) for part in (recipe.teachers, recipe.virtual, recipe.speaker_means)],
        "sets": {name: material.made_of[name] for name in recipe.train},
        "files": graphs | words,
        "seed": recipe.optimization.seed,
    }
    return json.dumps(settings)


def fitted(
    recipe: Recipe, how: Transplant, material: Material, graph: Path, work: Path, console: Console, key: str
) -> Weights:
    """The upper layers' weights from `fitted.npz`, or fitted now. Args: key: as `fit_key` has it."""
    path, size = work / "fitted.npz", recipe.network
    assert isinstance(size, NarrowCampplus) and material.targets is not None and material.teacher_frames is not None
    if found := fit_in(path, key, console):
        return found

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    say("fitting the inherited blocks to the teacher's")
    crops = draw_crops(material.teacher_frames, how, recipe.optimization.seed)
    weights = fit_upper(read_campplus(graph), crops, size, say)
    cosine = fit_embedding(_statistics(weights, material.teacher_frames, size), material.targets, weights)
    say(f"fitted: mean cosine to the teachers' vectors of whole clips {cosine:.3f}")
    _write(path, weights, key)
    return weights


def fit_in(path: Path, key: str, console: Console) -> Weights:
    """The weights in a file; none where it is not there, damaged, or of other settings."""
    return kept(path, lambda file: _read(file, key), console) or {}


def draw_crops(frames: JoinedFeatures, how: Transplant, seed: int) -> Array:
    """Stretches of clips that are long enough: [crops, crop_frames, channels]. Raises: ValueError where none is."""
    rng = np.random.default_rng(seed)
    corpora = np.array([row["corpus"] for row in frames.clips])
    long = np.array([frames.length(clip) >= how.crop_frames for clip in range(len(frames.clips))])
    weights = how.corpora or {ANY: 1.0}
    shares = np.array(list(weights.values())) / sum(weights.values())
    crops = []
    for corpus, count in zip(weights, rng.multinomial(how.crops, shares), strict=True):
        clips = np.flatnonzero(long & ((corpora == corpus) | (corpus == ANY)))
        if not len(clips):
            raise ValueError(f"no clip of {corpus or 'any corpus'} has {how.crop_frames} frames for the transplant")
        for clip in rng.choice(clips, count, replace=count > len(clips)):
            offset = int(rng.integers(0, frames.length(clip) - how.crop_frames + 1))
            crops.append(frames.stretch(clip, offset, how.crop_frames))
    return np.stack(crops)


def _statistics(weights: Weights, frames: JoinedFeatures, size: NarrowCampplus) -> Array:
    """What the fitted layers give of every clip's beginning, clips of one length at a time."""
    lengths = np.array([min(frames.length(clip), POOLED_FRAMES) for clip in range(len(frames.clips))])
    statistics = np.zeros((len(lengths), 2 * size.kept), np.float32)
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        for clips in np.split(alike, range(POOLED_CLIPS, len(alike), POOLED_CLIPS)):
            batch = np.stack([frames.stretch(int(clip), 0, int(length)) for clip in clips])
            statistics[clips] = pooled(weights, batch, size)
    return statistics


def _write(path: Path, weights: Weights, settings: str) -> None:
    """Write them with what they were fitted by, beside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[np.float32]] = {
        f"{name}/{number}": array for name, part in weights.items() for number, array in enumerate(part)
    }
    write_arrays(path, settings=np.array(settings), **arrays)


def _read(path: Path, settings: str) -> Weights:
    """The weights as they were written; none where they were fitted by other settings."""
    weights: Weights = {}
    stored = read_arrays(path)
    if str(stored.pop("settings")) != settings:
        return {}
    for key, array in stored.items():
        weights.setdefault(key.rpartition("/")[0], []).append(array)
    return weights
