"""The training loop: draw a batch, take a step, now and then look at the dev lists and keep the best.

Everything is a function of the recipe and the step, and a checkpoint holds the weights, the optimizer's state and
the step: a stopped run goes on to the result of an unbroken one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from rich.console import Console

from training import checkpoints
from training.evaluate import dev_error_rates
from training.journal import Journal
from training.material import Material
from training.networks import build
from training.networks.narrow_campplus import INHERITED
from training.optimization import Optimization
from training.optimizers import change_of_rate, make_optimizer
from training.recipe import Recipe
from training.student import Student

LOOKS = ("report_steps", "evaluate_steps", "patience")
FREE_SETTINGS = (
    # Training does not depend on these.
    *("name", "bundle", "limits", "licences", "levelled", "warped", "channels", "known", "further"),
    "optimization.steps",
    *(f"{part}.{name}" for part in ("optimization", "transplant.front") for name in LOOKS),
)
"""What a resumed training may change of its recipe."""


def train(
    recipe: Recipe,
    material: Material,
    trials: Path,
    work: Path,
    console: Console,
    begin: Callable[[Student], None] = lambda student: None,
    frame_deviations: npt.NDArray[np.float32] | None = None,
) -> keras.Model:
    """Train by the recipe, or go on from the checkpoint in `work`; the network with the best dev EER.

    Args: trials: the folder with the pairs of each dev corpus, `NAME-pairs.txt`.
        begin: puts other weights than random ones into a training that begins.
        frame_deviations: as `Student` takes them.
    Writes to `work`: log.csv, dev.csv, curves.png, a checkpoint and the best weights (`training.checkpoints`).
    Raises: ValueError where the checkpoint in `work` is of another recipe, or made of other sets of the same names.
    """
    how, sampler = recipe.optimization, material.sampler
    keras.utils.set_random_seed(how.seed)
    network = build(recipe.network)
    if how.inherited_share == 0.0:
        _freeze_inherited(network)
    student = Student(network, sampler.speakers, recipe.losses, frame_deviations)
    student.compile(optimizer=make_optimizer(how), jit_compile=False)
    state = _restore(student, recipe, material, work, begin, console)
    journal = Journal(work, console, how.steps, state.step)
    changed = change_of_rate(Optimization(**state.settings["optimization"]), how, state.step)
    if changed and state.step < how.steps:
        journal.say(changed)
    state = replace(state, settings=recipe.to_json(), made_of=material.made_of)
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(sampler.batch, state.step)
        step, drawn = state.step, []
        while step < how.steps and not _patience_is_over(state, how):
            batch = ahead.result()
            ahead = pool.submit(sampler.batch, step + 1)
            student.set_step(step)
            drawn.append(student.train_on_batch(batch.features, batch.truth, return_dict=True))
            step += 1
            if step % how.report_steps == 0:
                journal.report(step, {name: float(np.mean([row[name] for row in drawn])) for name in drawn[0]})
                drawn = []
            if step % how.evaluate_steps == 0 or step == how.steps:
                began = time.monotonic()
                rates = dev_error_rates(student.network, material.dev, trials)
                journal.look(step, rates, time.monotonic() - began)
                state = _keep(student, work, _after(state, step, rates))
        ahead.cancel()
    if _patience_is_over(state, how):
        journal.say(f"stopped: {how.patience} looks without a better dev EER than that of step {state.best_step}")
    folder, best = checkpoints.best_weights(work)
    journal.say(f"best: step {best.best_step}, dev EER %  " + "  ".join(f"{n} {r:.2f}" for n, r in best.best.items()))
    checkpoints.load(folder, student.network.load_weights)
    return student.network


def _freeze_inherited(network: keras.Model) -> None:
    for layer in network.layers:
        if re.search(INHERITED, layer.name):
            layer.trainable = False


def _restore(
    student: Student,
    recipe: Recipe,
    material: Material,
    work: Path,
    begin: Callable[[Student], None],
    console: Console,
) -> checkpoints.State:
    """Load the last checkpoint; the state that it stands at, step 0 without one, with the weights to begin with."""
    work.mkdir(parents=True, exist_ok=True)
    student(material.sampler.batch(0).features)
    settings = recipe.to_json()
    folder = checkpoints.newest(work, "checkpoint")
    if folder is None:
        for best in checkpoints.forget_best(work):
            console.print(f"{best}: removed, of a training that left no checkpoint", highlight=False, soft_wrap=True)
        begin(student)
        return checkpoints.State(0, 0, {}, 0, recipe.optimization.seed, settings, material.made_of)
    state = checkpoints.read_state(folder)
    changed = changed_since(state, settings)
    if changed:
        raise ValueError(f"{work} holds a training with other settings ({', '.join(changed)}); take another folder")
    require_same_sets(state, material.made_of, work)
    student.optimizer.build(student.trainable_variables)
    checkpoints.load(folder, student.load_weights)
    checkpoints.keep_best(work, student.network.save_weights, state)
    return state


def changed_since(state: checkpoints.State, settings: dict[str, object]) -> list[str]:
    """Parts of a recipe that are not what was trained by, but for those that may change."""
    return _differences(_bound(state.settings), _bound(settings))


def require_same_sets(state: checkpoints.State, made_of: dict[str, str], work: Path) -> None:
    """Raise ValueError for sets that the training in `work` was not made of. Args: made_of: hashes of today's."""
    other = [name for name, found in made_of.items() if state.made_of.get(name, found) != found]
    if other:
        raise ValueError(
            f"{work}: {', '.join(other)} changed since this training began; "
            "take another --work, or remove that folder to train anew"
        )


def _after(state: checkpoints.State, step: int, rates: dict[str, float]) -> checkpoints.State:
    better = not state.best or rates["mean"] < state.best["mean"]
    if better:
        return replace(state, step=step, best_step=step, best=rates, looks_since_best=0)
    return replace(state, step=step, looks_since_best=state.looks_since_best + 1)


def _keep(student: Student, work: Path, state: checkpoints.State) -> checkpoints.State:
    checkpoints.write(work, "checkpoint", student.save_weights, state)  # the optimizer's state with it
    checkpoints.keep_best(work, student.network.save_weights, state)
    return state


def _patience_is_over(state: checkpoints.State, how: Optimization) -> bool:
    return 0 < how.patience <= state.looks_since_best


def _bound(settings: dict[str, object], within: str = "") -> dict[str, object]:
    """Settings flat, without those that may change."""
    flat: dict[str, object] = {}
    for name, value in settings.items():
        at = within + name
        if at in FREE_SETTINGS:
            continue
        if isinstance(value, dict):
            flat |= _bound(value, f"{at}.")
        else:
            flat[at] = list(value) if isinstance(value, tuple) else value
    return flat


def _differences(first: dict[str, object], second: dict[str, object]) -> list[str]:
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
