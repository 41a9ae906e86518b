"""From a bundle to one that has learnt rooms."""

from __future__ import annotations

from pathlib import Path

import onnx
from rich.console import Console

from speakerdb.encoder.bundle import open_bundle
from training.card import Sets
from training.dev_pairs import lists_of
from training.last_steps import as_exported
from training.rebundle import write_changed
from training.recipe import Recipe
from training.rooms.graph_network import GraphNetwork
from training.rooms.learn import Course, learn
from training.rooms.sounds import make_sounds


def taught(
    bundle: Path,
    recipe: Recipe,
    work: Path,
    corpora: Path,
    trials: Path,
    out: Path,
    version: str,
    shares: dict[str, float],
    console: Console,
) -> None:
    """Learn, take the mean of the weights, measure and write; a stopped run goes on.

    Steps of `training.last_steps` are left out, since what the network says of voices has moved by then.
    Args: work: sounds and checkpoints, in `rooms`; shards where there are any. shares: of the new weights, as
        `GraphNetwork.mean_with` takes them.
    Raises: EncoderDamaged; ValueError for a recipe without noise or a graph that cannot be learnt further.
    """
    opened = open_bundle(bundle)
    if recipe.noise is None:
        raise ValueError("rooms: the recipe names no noise")
    graph = as_exported(onnx.load_from_string(opened.model), recipe)
    _ = GraphNetwork(graph).front  # refuses what cannot be learnt further before minutes are spent
    sounds = work / "rooms"
    make_sounds(corpora, recipe.train, recipe.noise, sounds, console)
    network = learn(graph, sounds, Course(), sounds, console)
    changed = network.mean_with(**shares)
    how = {"command": f"python -m training rooms, after {opened.card.id}", **shares, **vars(Course())}
    sets = Sets(work / "shards", corpora, trials, lists_of(work / recipe.name))
    write_changed(opened, changed, recipe, sets, out, version, {"rooms": how}, console)
