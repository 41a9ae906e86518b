"""What a recipe adds to a graph untrained: views of short clips, offsets of channels, a step away from known voices.

They are made of what the graph says itself of train sets' clips, so they are made anew wherever its weights change, and
each is made of the graph with those before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import ModelProto
from rich.console import Console

from training import channel_offsets, known_voices, warped_views
from training.networks.narrow_campplus import NarrowCampplus
from training.quick import of_today
from training.recipe import Recipe

KEYS = warped_views.IN_A_CARD, channel_offsets.IN_A_CARD, known_voices.IN_A_CARD
"""Where a card says how they were made, among what it says of the training."""


def with_last_steps(model: ModelProto, recipe: Recipe, corpora: Path, work: Path, console: Console) -> ModelProto:
    """The graph with the steps that the recipe asks for, and no others; it may have had them before.

    Args: corpora: the train sets' archives. work: where vectors are kept as they come.
    Raises: ValueError where an archive is missing, or for a graph that a step cannot be added to.
    """
    found, rate_hz = as_exported(model, recipe), recipe.front_end.rate_hz
    if recipe.warped is not None:
        if not isinstance(recipe.network, NarrowCampplus):
            raise ValueError("warped: only a narrow-campplus hears short clips slowly")
        archive, slowing = corpora / f"{recipe.warped}.tar", recipe.network.slowing
        found = warped_views.with_views(found, recipe.front_end, slowing, archive, work, console)
    if recipe.channels:
        if recipe.noise is None:
            raise ValueError("channels: the recipe names no noise")
        sets = recipe.channels
        found = channel_offsets.with_step(found, rate_hz, sets, recipe.noise, corpora, work, console)
    if recipe.known is not None:
        archive = corpora / f"{recipe.known}.tar"
        found = known_voices.with_step(found, rate_hz, archive, work, console)
    return found


def without_last_steps(model: ModelProto) -> ModelProto:
    """The graph as its training left it; the model given is not changed."""
    return warped_views.without_views(channel_offsets.without_step(known_voices.without_step(model)))


def as_exported(model: ModelProto, recipe: Recipe) -> ModelProto:
    """The recipe's graph as an export would write it now, before last steps; the model given is not changed."""
    found, network = without_last_steps(model), recipe.network
    return of_today(found, recipe.front_end, network.slowing) if isinstance(network, NarrowCampplus) else found


def parameters(model: ModelProto) -> int:
    """Numbers that the steps add to a graph's."""
    return sum(step.parameters(model) for step in (warped_views, channel_offsets, known_voices))


def of_last_steps(recipe: Recipe) -> dict[str, Any]:
    """What a card says of them."""
    return {
        **(warped_views.in_a_card(recipe.warped) if recipe.warped else {}),
        **(channel_offsets.in_a_card(recipe.channels) if recipe.channels else {}),
        **(known_voices.in_a_card(recipe.known) if recipe.known else {}),
    }
