"""From a bundle to one that has learnt rooms."""

from __future__ import annotations

from pathlib import Path

import onnx
from rich.console import Console

from speakerdb.encoder.bundle import open_bundle
from training.card import Sets
from training.known_voices import without_step
from training.rebundle import write_changed
from training.recipe import Recipe
from training.rooms.copies import make_copies
from training.rooms.graph_network import GraphNetwork
from training.rooms.learn import Course, learn
from training.windows import with_windows


def taught(
    bundle: Path,
    recipe: Recipe,
    work: Path,
    corpora: Path,
    trials: Path,
    out: Path,
    version: str,
    share: float,
    console: Console,
) -> None:
    """Learn, take the mean of the weights, measure and write; a stopped run goes on.

    The step of `training.known_voices` is left out, since voices that the network knows have moved by then.
    Args: work: copies and checkpoints, in `rooms`; shards where there are any. share: of the new weights in the mean.
    Raises: EncoderDamaged; ValueError for a recipe without noise or a graph that cannot be learnt further.
    """
    opened = open_bundle(bundle)
    if recipe.noise is None:
        raise ValueError("rooms: the recipe names no noise")
    graph = without_step(onnx.load_from_string(opened.model))
    features = GraphNetwork(graph).features
    copies = make_copies(bundle / "encoder.onnx", features, corpora, recipe.train, recipe.noise, work / "rooms")
    network = learn(graph, copies, Course(), work / "rooms", console)
    changed = network.mean_with(share)
    with_both = changed if len(changed.graph.output) > 1 else with_windows(changed)
    how = {"command": f"python -m training rooms, after {opened.card.id}", "share": share, **vars(Course())}
    sets = Sets(work / "shards", corpora, trials, trials)
    write_changed(opened, with_both, recipe, sets, out, version, {"rooms": how}, console)
