"""The best checkpoint → a bundle: one ONNX graph from waveform to unit vector, checked against Keras, and its card.

The graph's inputs are `waveform` float32 [batch, samples] and `lengths` int64 [batch]. `lengths` has a default, so a
caller with clips of one length leaves it out; with it, what lies beyond a clip's length changes no vector.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
from keras import layers, ops
from rich.console import Console

from speakerdb.features import LOG_FLOOR, FilterBank, frame_kernel, mel_filters
from training.card import make_card
from training.networks.next_tdnn import build
from training.recipe import Recipe

OUTPUT = "embedding"
AGREEMENT = 1e-5
EVERY_SAMPLE = np.iinfo(np.int64).max


def waveform_model(network: keras.Model, bank: FilterBank) -> keras.Model:
    """The network with its front end: waveform [batch, samples] and lengths [batch] → unit vectors."""
    waveform = keras.Input((None,), dtype="float32", name="waveform")
    lengths = keras.Input((), dtype="int64", name="lengths")
    features, mask = LogMel(bank, name="log_mel")([waveform, lengths])
    return keras.Model([waveform, lengths], network([features, mask]), name="speakerdb_encoder")


class LogMel(layers.Layer):
    """Kaldi's log mel filter bank as one convolution and one product, and the mask of a clip's whole frames."""

    def __init__(self, bank: FilterBank, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.bank = bank
        self.kernel = frame_kernel(bank).astype(np.float32)[:, None, :]
        self.filters = mel_filters(bank).astype(np.float32)

    def call(self, inputs: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Features [batch, frames, bins] and mask [batch, frames, 1]."""
        waveform, lengths = inputs
        shift, length = self.bank.frame_shift_samples, self.bank.frame_length_samples
        spectrum = ops.conv(waveform[..., None], self.kernel, strides=shift, padding="valid")
        half = self.bank.fft_samples // 2 + 1
        power = spectrum[..., :half] ** 2 + spectrum[..., half:] ** 2
        energy = ops.matmul(power, self.filters)
        features = ops.log(ops.maximum(energy, LOG_FLOOR))
        ends = ops.cast(ops.arange(ops.shape(spectrum)[1]) * shift + length, "int64")
        mask = ops.cast(ends[None, :] <= lengths[:, None], "float32")
        return features, mask[..., None]

    def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> list[tuple[int | None, ...]]:
        """Frames are free."""
        batch = shapes[0][0]
        return [(batch, None, self.bank.bins), (batch, None, 1)]


def write_onnx(model: keras.Model, path: Path) -> None:
    """Export, name the free axes, and give `lengths` its default: every sample counts."""
    signature = [
        keras.InputSpec(shape=(None, None), dtype="float32", name="waveform"),
        keras.InputSpec(shape=(None,), dtype="int64", name="lengths"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        model.export(raw, format="onnx", input_signature=[signature], verbose=False)
        graph = onnx.load(raw)
    inputs = {value.name: value for value in graph.graph.input}
    _name_axes(inputs["waveform"], ["batch", "samples"])
    _name_axes(inputs["lengths"], ["lengths"])
    default = onnx.numpy_helper.from_array(np.array([EVERY_SAMPLE]), "lengths")
    graph.graph.initializer.append(default)
    output = graph.graph.output[0]
    for node in graph.graph.node:
        node.output[:] = [OUTPUT if name == output.name else name for name in node.output]
        node.input[:] = [OUTPUT if name == output.name else name for name in node.input]
    output.name = OUTPUT
    _name_axes(output, ["batch", None])
    graph.ir_version = max(graph.ir_version, 8)
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def disagreement(model: keras.Model, path: Path) -> float:
    """The largest difference between Keras and the ONNX graph, and between a clip alone and padded in a batch."""
    rng = np.random.default_rng(0)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    clips = [0.1 * rng.standard_normal(n).astype(np.float32) for n in (6_000, 16_000, 30_321, 80_000)]
    alone = [session.run(None, {"waveform": clip[None]})[0][0] for clip in clips]
    padded = np.zeros((len(clips), 80_000), np.float32)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    lengths = np.array([len(clip) for clip in clips])
    batch = session.run(None, {"waveform": padded, "lengths": lengths})[0]
    reference = np.asarray(model([padded, lengths]))
    return float(max(np.abs(batch - reference).max(), np.abs(batch - np.stack(alone)).max()))


def export_bundle(recipe: Recipe, work: Path, corpora: Path, trials: Path, out: Path, console: Console) -> None:
    """Write `encoder.onnx` and `card.json` to `out`. Raises ValueError where ONNX and Keras disagree."""
    network = build(recipe.network)
    network.load_weights(work / "best.weights.h5")
    model = waveform_model(network, FilterBank())
    out.mkdir(parents=True, exist_ok=True)
    write_onnx(model, out / "encoder.onnx")
    difference = disagreement(model, out / "encoder.onnx")
    console.print(f"ONNX against Keras, alone and in a padded batch: {difference:.1e}", highlight=False)
    if difference > AGREEMENT:
        raise ValueError(f"ONNX and Keras differ by {difference:.1e}, more than {AGREEMENT:.0e}")
    sha256 = hashlib.sha256((out / "encoder.onnx").read_bytes()).hexdigest()
    card = make_card(recipe, network.count_params(), sha256, out, work, corpora, trials, console)
    (out / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf8")


def _name_axes(value: onnx.ValueInfoProto, names: list[str | None]) -> None:
    for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
        if name:
            axis.Clear()
            axis.dim_param = name
