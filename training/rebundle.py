"""A finished bundle → one with another graph, whose figures are measured anew."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto
from rich.console import Console

from speakerdb.encoder.bundle import Bundle
from training.card import Sets, all_figures, features, limits
from training.export import checked_clips, vectors_of, write_bundle
from training.last_steps import KEYS, parameters
from training.recipe import Recipe

Json = dict[str, Any]

OF_THE_VECTORS = ("cohort", "vectors_of")
"""What a card says of the vectors before, and is not measured anew here."""
SAME = 1e-5
"""Vectors that differ by less are the same ones, rounded otherwise."""


def write_changed(
    bundle: Bundle, graph: ModelProto, recipe: Recipe, sets: Sets, out: Path, version: str, how: Json, console: Console
) -> None:
    """Measure the graph and write it with the card, less what was true of the vectors before: it is not calibrated.

    Figures that cannot be measured anew are left out, with a line.

    Args: bundle: that it was made of. how: it was made, added to what the card says of the training.
    """
    card, before = bundle.card.raw, onnx.load_from_string(bundle.model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "encoder.onnx"
        onnx.save(graph, file)
        figures, threshold = all_figures(recipe, file, sets)
        for name, found in figures.items():
            console.print(f"{name}: {found}", highlight=False, soft_wrap=True)
        for name in sorted((card.get("figures") or {}).keys() - figures.keys()):
            lost = f"{name}: its figures are left out, since there are no pairs or no clips of it to measure them anew"
            console.print(lost, highlight=False, soft_wrap=True)
        changes: Json = {
            "version": version,
            "parameters": card["parameters"] - parameters(before) + parameters(graph),
            "features": features(recipe.front_end, file),
            "training": {**_without(card["training"], *KEYS), **how},
            "figures": figures,
            "threshold": threshold,
            "calibration": None,
            "limits": limits(recipe, threshold),
        }
        if _same_vectors(bundle.model, file, bundle.card.rate_hz):
            changes["vectors_of"] = bundle.card.vectors_of
        write_bundle(file, {**_without(card, *OF_THE_VECTORS), **changes}, out)


def _same_vectors(before: bytes, now: Path, rate_hz: int) -> bool:
    padded, lengths = checked_clips(rate_hz)
    [one, *_], [other, *_] = (vectors_of(graph, padded, lengths) for graph in (before, str(now)))
    return bool(np.abs(one - other).max() < SAME)


def _without(values: Json, *names: str) -> Json:
    return {name: value for name, value in values.items() if name not in names}
