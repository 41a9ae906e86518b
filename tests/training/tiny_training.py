"""A recipe that trains in seconds, and the corpora, teachers and lists that it needs, made of the example voices."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from tiny_corpus import write_lists, write_noise, write_voices

from training.augment import Augmentation
from training.batches import CropLength
from training.front_ends import FRONT_ENDS
from training.losses import Losses
from training.material import Material, gather
from training.networks.next_tdnn import NextTdnn
from training.optimization import Optimization
from training.prepare import prepare_corpora
from training.recipe import Recipe
from training.teachers import Teachers

STEPS, LOOK = 6, 3
TRAIN = ("ana", "ben", "eva", "kal")
DEV, TEST = ("rms", "slt", "visitor"), ("visitor", "stranger", "rms")  # the last of each is not enrolled
RECIPE = Recipe(
    name="tiny",
    bundle={"name": "tiny-16k", "version": "0.1"},
    limits=["Made in seconds, for a test."],
    train=["common_voice-train"],
    dev=["common_voice-dev"],
    noise="noise",
    front_end=FRONT_ENDS["kaldi-16k"],
    teachers=Teachers(files=["campplus-train.npz", "ge2e-train.npz"], second_weight=0.4),
    network=NextTdnn(width=16, blocks=2, kernel=5, aggregated_blocks=2, pooled=24, attention=8, dimension=8),
    losses=Losses(cosine=1.0, relational=5.0, speaker=0.02, triplet=0.1, margin_rise_steps=4, sub_centers=2),
    optimization=Optimization(
        steps=STEPS, warmup_steps=2, learning_rate=1e-2, weight_decay=1e-4, report_steps=2, evaluate_steps=LOOK
    ),
    augmentation=Augmentation(),
    lengths=[CropLength(frames=60, share=1.0, crops=8, corpora={"common_voice": 1.0}, clips_per_speaker=2)],
)


@dataclass(frozen=True)
class Tiny:
    """Where everything lies.

    Attributes:
        corpora: archives of train, dev, test and noise. trials: lists of dev and test. teachers: with their vectors.
        work: shards and features. material: what a training draws from, gathered anew at each call.
    """

    corpora: Path
    trials: Path
    teachers: Path
    work: Path
    material: Callable[[], Material]


def make_tiny(folder: Path) -> Tiny:
    """Write it all below `folder`."""
    corpora, teachers, work = folder / "corpora", folder / "teachers", folder / "work"
    corpora.mkdir()
    (teachers / "teacher-vectors").mkdir(parents=True)
    train = write_voices(corpora / "common_voice-train.tar", TRAIN)
    archives = [train, write_voices(corpora / "common_voice-dev.tar", DEV), write_noise(corpora / "noise.tar")]
    write_voices(corpora / "common_voice-test.tar", TEST)
    write_lists(folder / "trials", "common_voice-dev", DEV[:2], DEV[2])
    write_lists(folder / "trials", "common_voice-test", TEST[:2], TEST[2])
    names = [f"{voice}/{voice}_{number}" for voice in TRAIN for number in (1, 2, 3, 4)]
    rng = np.random.default_rng(1)
    for file, dimension in zip(RECIPE.teachers.files, (10, 6), strict=True):
        voices = {voice: rng.standard_normal(dimension) for voice in TRAIN}
        vectors = np.stack([voices[name.split("/")[0]] + 0.3 * rng.standard_normal(dimension) for name in names])
        np.savez(teachers / "teacher-vectors" / file, clips=np.array(names), vectors=vectors.astype(np.float16))
    console = Console(file=io.StringIO())
    prepare_corpora([str(archive) for archive in archives], work / "shards", None, console)
    return Tiny(corpora, folder / "trials", teachers, work, lambda: gather(RECIPE, work, teachers, console))
