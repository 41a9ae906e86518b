"""What a training draws from: the recipe's corpora as cached features, and the sampler over them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from training.apart import people_of, require_strangers
from training.batches import CropSampler
from training.corpora.fingerprints import file_hash
from training.features_cache import CachedFeatures, JoinedFeatures, build_features, load_features
from training.networks.narrow_campplus import NarrowCampplus
from training.recipe import Recipe
from training.records import complete, set_hash
from training.speaker_means import draw_to_means
from training.teachers import load_targets
from training.transplant.frames import teacher_frames
from training.virtual_speakers import clip_count, clips_of, recorded_set

MEASURED_BATCHES = 20


@dataclass(frozen=True)
class Material:
    """Cached features by the set's name, and the sampler over the train sets.

    Attributes:
        made_of: hashes by name: of the sets (`training.records.set_hash`), those of dev and noise too, and of what the
            teachers say.
        teacher_frames, targets: of the train sets' clips, in the sampler's order, where a network inherits CAM++'s
            blocks, else None.
    """

    train: dict[str, CachedFeatures]
    dev: dict[str, CachedFeatures]
    sampler: CropSampler
    made_of: dict[str, str]
    teacher_frames: JoinedFeatures | None = None
    targets: npt.NDArray[np.float32] | None = None


def gather(recipe: Recipe, work: Path, teachers: Path, console: Console, corpora: Path | None = None) -> Material:
    """Features of every set that the recipe names, computed where they are not yet, and the sampler.

    Args: corpora: archives, for test sets that are not prepared: who is in one may be in no train set.
    Raises: ValueError without sets to train on or to choose by, for a set that was not prepared, a speaker on both
        sides, or a clip without a teacher's vector.
    """
    if not recipe.train or not recipe.dev:
        raise ValueError("there is nothing to train on, or to choose by: train and dev name sets")
    names = [*recipe.train, *recipe.dev, *([recipe.noise] if recipe.noise else [])]
    shards = work / "shards"
    for name in names:
        if not complete(shards, name):
            raise ValueError(f"{name} is not in {shards}; run: python -m training prepare … --work {work}")
    require_strangers(recipe.train, people_of(recipe.judged, shards, corpora), shards, corpora)
    made_of = {name: set_hash(shards, name) for name in names}
    for file in recipe.teachers.files:
        made_of[file] = file_hash(teachers / "teacher-vectors" / file)
    sets = recipe.virtual.sets(recipe.train)
    found = {name: features(recipe, work, name, console) for name in dict.fromkeys([*sets, *names])}
    speech = JoinedFeatures([found[name] for name in sets])
    targets = None
    if recipe.teachers.files:
        rows = [(name, found[name].clips) for name in sets]
        targets = load_targets(recipe.teachers, rows, teachers, work, recipe.network.dimension, console)
        clips, speakers, corpora = ([row[key] for row in speech.clips] for key in ("path", "speaker", "corpus"))
        targets = draw_to_means(targets, clips, speakers, corpora, recipe.speaker_means)
    noise = found[recipe.noise] if recipe.noise else None
    frames = None
    if recipe.transplant:
        graph, folder = teachers / recipe.transplant.graph, work / "teacher-frames"
        taught = {}
        for name in dict.fromkeys(sets):
            taught[name] = teacher_frames(found[name], name, made_of[recorded_set(name)], graph, folder, console)
        frames = JoinedFeatures([taught[name] for name in sets])
    seed = recipe.optimization.seed
    size = recipe.network
    slowing = size.slowing if isinstance(size, NarrowCampplus) else None
    sampler = CropSampler(
        speech, targets, noise, recipe.lengths, recipe.augmentation, seed, frames, recipe.cutting, slowing
    )
    train = {name: found[name] for name in sets}
    dev = {name: found[name] for name in recipe.dev}
    return Material(train, dev, sampler, made_of, frames, targets if frames else None)


def features(recipe: Recipe, work: Path, name: str, console: Console) -> CachedFeatures:
    """The features of one set, recorded or virtual, from the cache or computed now."""
    front_end, folder, shards = recipe.front_end, work / "features" / recipe.front_end.name, work / "shards"
    of_set = set_hash(shards, recorded_set(name))
    cached = load_features(folder, name, front_end, of_set, console)
    if cached is None:
        console.print(f"{name}: computing {front_end.name} features", highlight=False, soft_wrap=True)
        clips = clips_of(shards, name, front_end.rate_hz)
        cached = build_features(clips, folder, name, front_end, of_set, console, clip_count(shards, name))
    return cached


def describe(recipe: Recipe, material: Material) -> list[str]:
    """What a training would train on and cost, a line each, for `train --dry-run`."""
    how, front_end = recipe.optimization, recipe.front_end
    frame_s = front_end.frame_shift_samples / front_end.rate_hz
    lines = []
    for title, sets in (("train", material.train), ("dev", material.dev)):
        for name, cached in sets.items():
            speakers = {row["speaker"] for row in cached.clips}
            hours = len(cached.frames) * frame_s / 3600
            lines.append(f"{title}  {name}: {len(speakers)} speakers, {len(cached.clips)} clips, {hours:.2f} h")
    shares = sum(length.share for length in recipe.lengths)
    crops = sum(length.share * length.crops for length in recipe.lengths) / shares
    frames = sum(length.share * length.crops * length.frames for length in recipe.lengths) / shares
    heard_h = how.steps * frames * frame_s / 3600
    lines.append(
        f"steps  {how.steps} of {crops:.0f} crops on average: {how.steps * crops:,.0f} crops, {heard_h:.0f} h of sound"
    )
    if recipe.transplant:
        lines.append(f"front  {recipe.transplant.front.steps} steps of the same crops before, on the teacher's frames")
    held = sum(cached.frames.nbytes for cached in material.train.values())
    largest = max(4 * front_end.bins * length.frames * length.crops for length in recipe.lengths)
    lines.append(f"memory  a batch {largest / 1e6:.1f} MB, TensorFlow about 1 GB; features {held / 1e6:.0f} MB on disk")
    rate = batches_a_second(material.sampler)
    lines.append(f"batches  {rate:.1f} a second drawn by one core, without the network")
    return lines


def batches_a_second(sampler: CropSampler) -> float:
    """How fast batches are drawn and augmented when nothing trains."""
    began = time.monotonic()
    for step in range(MEASURED_BATCHES):
        sampler.batch(step)
    return MEASURED_BATCHES / (time.monotonic() - began)
