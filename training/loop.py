"""The training loop: draw a batch, take a step, now and then look at the dev lists and keep the best.

Everything is a function of the recipe and the step, and a checkpoint holds the weights, the optimizer's state and
the step: a stopped run goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
from keras import ops
from rich.console import Console

from training.batches import CropSampler
from training.evaluate import dev_error_rates
from training.features_cache import CachedFeatures
from training.losses import AdditiveAngularMargin, cosine_loss, relational_loss
from training.networks.next_tdnn import build
from training.recipe import Optimization, Recipe


class Student(keras.Model):
    """The network with its losses: the fused teachers' vectors, their relations, and the speakers' labels."""

    def __init__(self, network: keras.Model, speakers: int, how: Optimization) -> None:
        super().__init__()
        self.network = network
        self.margin = AdditiveAngularMargin(speakers, how.margin, how.scale, name="margin")
        self.how = how
        self.cosine = keras.metrics.Mean(name="cosine")
        self.speaker = keras.metrics.Mean(name="speaker")

    def call(self, features: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Unit vectors of crops without padding: [batch, frames, bins] → [batch, dimension].

        `training` must be named here: without it Keras never tells the network's batch normalisation.
        """
        vectors = self.network([features, ops.ones_like(features[..., :1])], training=training)
        if not self.margin.built:
            self.margin.build(vectors.shape)
        return vectors

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # type: ignore[no-untyped-def]
        """The weighted sum; `y` is a pair of targets and speakers."""
        targets, speakers = y
        cosine, speaker = cosine_loss(y_pred, targets), self.margin(y_pred, speakers)
        self.cosine.update_state(cosine)
        self.speaker.update_state(speaker)
        relational = self.how.relational_weight * relational_loss(y_pred, targets)
        return cosine + relational + self.how.speaker_weight * speaker


def train(
    recipe: Recipe,
    sampler: CropSampler,
    dev: dict[str, CachedFeatures],
    trials: Path,
    work: Path,
    console: Console,
) -> keras.Model:
    """Train by the recipe, or go on from the checkpoint in `work`; the network with the best dev EER.

    Writes to `work`: log.jsonl (a line a report), last.weights.h5 with last.json, best.weights.h5 with best.json.
    """
    how = recipe.optimization
    keras.utils.set_random_seed(how.seed)
    student = Student(build(recipe.network), sampler.speakers, how)
    rate = keras.optimizers.schedules.CosineDecay(
        how.learning_rate / 100.0,
        how.steps - how.warmup_steps,
        alpha=0.01,
        warmup_target=how.learning_rate,
        warmup_steps=how.warmup_steps,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=how.weight_decay, clipnorm=5.0)
    student.compile(optimizer=optimizer, jit_compile=False)
    step = _restore(student, sampler, work)
    began, first = time.monotonic(), step
    with ThreadPoolExecutor(1) as pool, (work / "log.jsonl").open("a", encoding="utf8") as log:
        ahead = pool.submit(sampler.batch, step)
        while step < how.steps:
            batch = ahead.result()
            ahead = pool.submit(sampler.batch, step + 1)
            values = student.train_on_batch(batch.features, (batch.targets, batch.speakers), return_dict=True)
            step += 1
            if step % how.report_steps == 0:
                left_s = (time.monotonic() - began) / (step - first) * (how.steps - step)
                line = {"step": step, **{name: round(float(value), 4) for name, value in values.items()}}
                log.write(json.dumps(line) + "\n")
                log.flush()
                console.print(f"step {step}/{how.steps}  {line}  {left_s / 60:.0f} min left", highlight=False)
                student.reset_metrics()
            if step % how.evaluate_steps == 0 or step == how.steps:
                rates = dev_error_rates(student.network, dev, trials)
                console.print(f"dev EER % {rates}", highlight=False)
                log.write(json.dumps({"step": step, "dev": rates}) + "\n")
                _checkpoint(student, work, step, rates)
    student.network.load_weights(work / "best.weights.h5")
    return student.network


def _checkpoint(student: Student, work: Path, step: int, rates: dict[str, float]) -> None:
    best = work / "best.json"
    if not best.exists() or rates["mean"] < json.loads(best.read_text())["dev"]["mean"]:
        student.network.save_weights(work / "best.weights.h5")
        best.write_text(json.dumps({"step": step, "dev": rates}))
    partial = work / "partial.weights.h5"
    student.save_weights(partial)  # the optimizer's state with it
    partial.replace(work / "last.weights.h5")
    (work / "last.json").write_text(json.dumps({"step": step}))


def _restore(student: Student, sampler: CropSampler, work: Path) -> int:
    """Load the last checkpoint; the step that it stands at, 0 without one."""
    work.mkdir(parents=True, exist_ok=True)
    student(sampler.batch(0).features)
    if not (work / "last.json").exists():
        return 0
    student.optimizer.build(student.trainable_variables)
    student.load_weights(work / "last.weights.h5")
    return int(json.loads((work / "last.json").read_text())["step"])
