"""A finished bundle → one with another graph, whose figures are measured anew."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto
from rich.console import Console

from speakerdb.encoder.bundle import Card
from training.card import Sets, all_figures
from training.export import write_bundle
from training.recipe import Recipe

OF_THE_VECTORS = ("cohort", "vectors_of")
"""What a card says of the vectors before, and is not measured anew here."""


def write_changed(
    card: Card, graph: ModelProto, recipe: Recipe, sets: Sets, out: Path, changes: dict[str, Any], console: Console
) -> None:
    """Measure the graph and write it with the card, less what was true of the vectors before: it is not calibrated.

    Args: card: of the bundle that it was made of. changes: to the card; those of `training` are added to what it says.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "encoder.onnx"
        onnx.save(graph, file)
        figures, threshold = all_figures(recipe, file, sets)
        for name, found in figures.items():
            console.print(f"{name}: {found}", highlight=False, soft_wrap=True)
        kept = {key: value for key, value in card.raw.items() if key not in OF_THE_VECTORS}
        measured = {"figures": figures, "threshold": threshold, "calibration": None}
        training = {**card.raw["training"], **changes.pop("training", {})}
        write_bundle(file, {**kept, **changes, "training": training, **measured}, out)
