"""An exported graph → the one that ships: the same vectors in fewer operations, and windows where they are wanted."""

from __future__ import annotations

from onnx import ModelProto

from speakerdb.encoder.runtime import LENGTHS
from training.front_ends import FrontEnd, KaldiBank
from training.halved_spectra import with_halved_spectra
from training.in_blocks import in_blocks
from training.one_length import of_one_length
from training.simplify import simplified
from training.slowing import Slowing
from training.windows import with_windows, without_windows


def quick(model: ModelProto, front_end: FrontEnd, slowing: Slowing | None) -> ModelProto:
    """What each network's graph can be rewritten to. Args: slowing: of a `narrow-campplus`, None of others."""
    if isinstance(front_end, KaldiBank):
        model = with_halved_spectra(model, front_end)
    return model if slowing is None else with_windows(in_blocks(of_one_length(model, slowing)))


def of_today(model: ModelProto, front_end: FrontEnd, slowing: Slowing) -> ModelProto:
    """The graph of a `narrow-campplus` that was exported for padded batches, as it would be exported now.

    Args: model: without last steps; one that takes no `lengths` is given back as it is.
    """
    if LENGTHS not in {value.name for value in model.graph.input}:
        return model
    return quick(simplified(without_windows(model)), front_end, slowing)
