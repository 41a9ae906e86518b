"""From a bundle to one that has learnt rooms."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from rich.console import Console

from speakerdb.encoder.bundle import open_bundle
from training.card import Sets, all_figures
from training.export import write_bundle
from training.recipe import Recipe
from training.rooms.copies import make_copies
from training.rooms.graph_network import GraphNetwork
from training.rooms.learn import Course, learn
from training.windows import with_windows

OF_THE_VECTORS = ("cohort", "vectors_of")
"""What a card says of the vectors before, and is not measured anew here."""


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

    Args: work: copies and checkpoints, in `rooms`; shards where there are any. share: of the new weights in the mean.
    Raises: EncoderDamaged; ValueError for a recipe without noise or a graph that cannot be learnt further.
    """
    card = open_bundle(bundle).card
    if recipe.noise is None:
        raise ValueError("rooms: the recipe names no noise")
    graph = onnx.load(bundle / "encoder.onnx")
    features = GraphNetwork(graph).features
    copies = make_copies(bundle / "encoder.onnx", features, corpora, recipe.train, recipe.noise, work / "rooms")
    network = learn(graph, copies, Course(), work / "rooms", console)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "encoder.onnx"
        changed = network.mean_with(share)
        onnx.save(changed if len(changed.graph.output) > 1 else with_windows(changed), file)
        figures, threshold = all_figures(recipe, file, Sets(work / "shards", corpora, trials, trials))
        for name, found in figures.items():
            console.print(f"{name}: {found}", highlight=False, soft_wrap=True)
        how = {"command": f"python -m training rooms, after {card.id}", "share": share, **vars(Course())}
        training = {**card.raw["training"], "rooms": how}
        kept = {key: value for key, value in card.raw.items() if key not in OF_THE_VECTORS}
        measured = {"figures": figures, "threshold": threshold, "calibration": None}
        write_bundle(file, {**kept, "version": version, "training": training, **measured}, out)
