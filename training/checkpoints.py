"""Checkpoints: where a training stands, whole or not there at all, and the best weights so far.

`checkpoint-00000500/` holds `state.json` and `network.weights.h5`, with the optimizer's state and the losses' weights;
`best-00000500/` the network's weights alone. Each is written beside, fsynced and renamed; then its elder is removed.
The checkpoint comes first, and best weights that are missing are written from it: without a checkpoint there are none.
Batches are a function of the recipe's seed and the step, so the step is all the state that randomness has here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.kept import whole

WEIGHTS = "network.weights.h5"
"""Keras wants this ending."""

STATE = "state.json"

FRONT_STAGE = "front"
"""Where a front is trained alone, in the folder of the whole training that follows (`training.transplant.stages`)."""


@dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
        step: steps done. best_step, best: the look with the lowest mean dev EER (in percent) and all its EERs.
        looks_since_best: how often the dev lists were looked at since, without a better mean.
        seed: of batches and initial weights; with the step, the state of everything random.
        settings: the recipe.
        made_of: hashes of the sets by their names, as `training.material.Material` has them, and of what a front
            inherits. A checkpoint from before they were kept has none, and is gone on with as it was then: what it
            cannot tell is no reason to train anew.
    """

    step: int
    best_step: int
    best: dict[str, float]
    looks_since_best: int
    seed: int
    settings: dict[str, Any]
    made_of: dict[str, str] = field(default_factory=dict)


def newest(work: Path, kind: str) -> Path | None:
    """The newest whole `checkpoint` or `best` folder in a training's folder; None where there is none."""
    found = sorted(folder for folder in work.glob(f"{kind}-*") if folder.suffix != ".partial")
    return found[-1] if found else None


def best_weights(work: Path) -> tuple[Path, State]:
    """The folder of a training's best weights, and the state at which they were found.

    Raises: FileNotFoundError where the training has not yet looked at its dev lists; ValueError where it is damaged.
    """
    folder = newest(work, "best")
    if folder is None:
        raise FileNotFoundError(f"{work}: no weights yet; train first")
    return folder, read_state(folder)


def keep_best(work: Path, save: Callable[[Path], None], state: State) -> None:
    """Write the best weights where they are those of this checkpoint and not there: a kill came between the two."""
    folder = newest(work, "best")
    if state.best_step == state.step and (folder is None or read_state(folder).step != state.step):
        write(work, "best", save, state)


def forget_best(work: Path) -> list[Path]:
    """Remove the best weights of a training that left no checkpoint; which folders those were."""
    found = sorted(work.glob("best-*"))
    for folder in found:
        shutil.rmtree(folder)
    return found


def read_state(folder: Path) -> State:
    """The state of a checkpoint. Raises: ValueError for one that is damaged."""
    return whole(folder / STATE, lambda file: State(**json.loads(file.read_text(encoding="utf8"))), _way_out(folder))


def load(folder: Path, into: Callable[[Path], None]) -> None:
    """Load a checkpoint's weights. Args: into: takes them from the path that it is given.

    Raises: ValueError for weights that are damaged.
    """
    whole(folder / WEIGHTS, into, _way_out(folder), more=(OSError,))  # of HDF5, for a file that is cut


def _way_out(folder: Path) -> str:
    return f"bring it back, or delete {folder.parent} and train anew"


def write(work: Path, kind: str, save: Callable[[Path], None], state: State) -> Path:
    """Write a `checkpoint` or `best` folder and remove the others.

    Args: save: writes the weights to the path it is given.
    """
    final = work / f"{kind}-{state.step:08d}"
    partial = final.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save(partial / WEIGHTS)
    (partial / STATE).write_text(json.dumps(asdict(state), indent=1), encoding="utf8")
    for path in (*partial.iterdir(), partial):
        _sync(path)
    if final.exists():  # of a training that went on otherwise, or another one's
        shutil.rmtree(final)
    partial.rename(final)
    _sync(work)
    for elder in sorted(work.glob(f"{kind}-*")):
        if elder != final:
            shutil.rmtree(elder)
    return final


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
