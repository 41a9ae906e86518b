"""The pretrained weights of SpeechIdentity → a bundle: its TensorFlow variables, read by name and shape.

The seed is https://github.com/douglas125/SpeechIdentity (MIT), its English Common Voice 7.0 model of epoch 110.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from rich.console import Console

from speakerdb.encoder.bundle import FORMAT
from training.card import features, least_source_rate
from training.export import write_bundle, write_graph
from training.front_ends import FRONT_ENDS
from training.networks.bilstm import Bilstm, build

FRONT_END = FRONT_ENDS["seed-48k"]
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
LAYERS = ("first_forward", "first_backward", "second_forward", "second_backward", "embedding")
VARIABLES = (
    *(f"variables/{number}" for number in range(12)),
    "layer_with_weights-2/kernel",
    "layer_with_weights-2/bias",
)
"""The checkpoint's tensors in the order of the layers' weights: kernel, recurrent kernel and bias of each LSTM."""

THRESHOLD = {
    "distance": 0.83,
    "origin": "the seed's README: specificity 98.3 %, sensitivity 60.2 % on English Common Voice dev",
}
LIMITS = [
    "For recordings made at 44.1 kHz or more: its bins reach up to 10 kHz, and with less its distances mean little.",
    "Trained on English sentences read aloud, the first 5 s of each, one microphone a speaker for the most part.",
    "Not proof against recordings played back, nor against synthetic copies of a voice.",
]


def import_seed(folder: Path, out: Path, console: Console) -> None:
    """Write the bundle `seed-48k 110`.

    Args: folder: with `variables.index` and its data, of the seed's SavedModel.
    Raises: ValueError naming the folder where the variables are missing, damaged or others.
    """
    network = build(Bilstm())
    load_weights(network, read_variables(folder))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
        graph = Path(beside) / "encoder.onnx"
        difference = write_graph(network, FRONT_END, graph)
        console.print(f"ONNX against Keras: {difference:.1e}", highlight=False, soft_wrap=True)
        write_bundle(graph, card(network, graph), out)


def read_variables(folder: Path) -> list[npt.NDArray[np.float32]]:
    """The checkpoint's 14 tensors, in the order of the layers' weights. Raises: ValueError naming the folder."""
    if not (folder / "variables.index").is_file():
        raise ValueError(f"{folder}: no variables.index; name the folder of the seed's variables")
    try:
        checkpoint = tf.train.load_checkpoint(str(folder / "variables"))
        missing = [name for name in VARIABLES if not checkpoint.has_tensor(name + SUFFIX)]
        if missing:
            raise ValueError(f"no {missing[0]} among its variables")
        return [checkpoint.get_tensor(name + SUFFIX) for name in VARIABLES]
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:  # IndexError: the data ends too soon
        raise ValueError(f"{folder}: the variables cannot be read ({str(error).splitlines()[0][:160]})") from error


def load_weights(network: keras.Model, variables: list[npt.NDArray[np.float32]]) -> None:
    """Give a network the seed's weights. Raises: ValueError for another number or shape of tensors."""
    weights = [weight for name in LAYERS for weight in network.get_layer(name).weights]
    expected = [tuple(weight.shape) for weight in weights]
    found = [tuple(value.shape) for value in variables]
    if found != expected:
        raise ValueError(f"not the seed's variables: {len(found)} tensors {found}; expected {expected}")
    for weight, value in zip(weights, variables, strict=True):
        if not np.isfinite(value).all():
            raise ValueError(f"{weight.path}: its values are not finite")
        weight.assign(value)


def card(network: keras.Model, graph: Path) -> dict[str, Any]:
    """The bundle's card but the graph's hash."""
    return {
        "format": FORMAT,
        "name": "seed-48k",
        "version": "110",
        "licence": "MIT, SpeechIdentity's authors",
        "dimension": Bilstm().dimension,
        "rate_hz": FRONT_END.rate_hz,
        **least_source_rate(FRONT_END),
        "features": features(FRONT_END, graph),
        "least_speech_s": {"enroll": 1.0, "probe": 0.3},
        "threshold": THRESHOLD,
        "calibration": None,
        "parameters": network.count_params(),
        "training": {
            "command": "python -m training import-seed",
            "data": {"English Common Voice 7.0": {"licence": "CC0"}},
            "teachers": {},
        },
        "figures": {},
        "figures_note": "the seed's README: AUC 0.953 on English Common Voice dev; not measured here",
        "limits": LIMITS,
    }
