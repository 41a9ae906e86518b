"""The best checkpoint → a bundle: one ONNX graph from waveform to unit vector, checked against Keras, and its card.

The graph's input is `waveform` float32 [batch, samples]. Those of other networks than `narrow-campplus` have `lengths`
int64 [batch], too, with a default, so that a caller with clips of one length leaves it out; with it, what lies beyond a
clip's length changes no vector. The first output is the vector; a `narrow-campplus` has a second (`training.windows`).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
from keras import layers, ops
from rich.console import Console

from speakerdb.encoder.bundle import parse_card
from speakerdb.encoder.runtime import LENGTHS
from training import checkpoints
from training.card import Sets, comparison, int8_card, make_card
from training.corpora.fingerprints import file_hash
from training.dev_pairs import lists_of
from training.front_ends import FrontEnd, SeedBank, heard_lines
from training.last_steps import of_last_steps, parameters, with_last_steps
from training.levelling import level
from training.loop import changed_since, require_same_sets
from training.material import features
from training.networks import build
from training.networks.bilstm_onnx import EVERY_SAMPLE, write_bilstm
from training.quantize import write_int8
from training.quick import quick
from training.recipe import Recipe
from training.records import complete, set_hash
from training.sessions import on_one_core
from training.simplify import rename, simplified
from training.spectra import ConvolvedSpectrum

Floats = npt.NDArray[np.float32]

OUTPUT = "embedding"
AGREEMENT = 1e-5
CHECKED_S = (0.05, 0.375, 1.0, 1.895, 5.0)
"""Clips on which the graph is checked against Keras; whole numbers of frames and others."""


def waveform_model(network: keras.Model, front_end: FrontEnd) -> keras.Model:
    """The network with its front end: waveform [batch, samples] and lengths [batch] → unit vectors."""
    waveform = keras.Input((None,), dtype="float32", name="waveform")
    lengths = keras.Input((), dtype="int64", name="lengths")
    features, mask = LogMel(front_end, name="log_mel")([waveform, lengths])
    return keras.Model([waveform, lengths], network([features, mask]), name="speakerdb_encoder")


class LogMel(layers.Layer):
    """A front end and the mask of a clip's frames."""

    def __init__(self, front_end: FrontEnd, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.front_end = front_end
        filters = front_end.filters()
        heard = heard_lines(front_end)
        self.filters = filters[heard].astype(np.float32)
        self.power = ConvolvedSpectrum(front_end, heard, name="power")

    def call(self, inputs: list[keras.KerasTensor]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Features [batch, frames, bins] and mask [batch, frames, 1]."""
        waveform, lengths = inputs
        shift, length = self.front_end.frame_shift_samples, self.front_end.frame_length_samples
        if self.front_end.pads_end:  # the last frames see zeros, whatever lies beyond the clip
            at = ops.cast(ops.arange(ops.shape(waveform)[1]), "int64")
            waveform = ops.where(at[None, :] < lengths[:, None], waveform, 0.0)
            waveform = ops.pad(waveform, [[0, 0], [0, length - 1]])
        power = self.power(waveform)
        features = self.front_end.log_energy(power, self.filters, ops)
        reach = 1 if self.front_end.pads_end else length
        ends = ops.cast(ops.arange(ops.shape(power)[1]) * shift + reach, "int64")
        mask = ops.cast(ends[None, :] <= lengths[:, None], "float32")
        return features, mask[..., None]

    def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> list[tuple[int | None, ...]]:
        """Frames are free."""
        batch = shapes[0][0]
        return [(batch, None, self.front_end.bins), (batch, None, 1)]


def write_graph(network: keras.Model, front_end: FrontEnd, path: Path) -> float:
    """Write a network with its front end as ONNX and check it.

    Returns: the largest difference from Keras. Raises: ValueError where that is more than `AGREEMENT`.
    """
    model = waveform_model(network, front_end)
    if network.name == "bilstm" and isinstance(front_end, SeedBank):
        write_bilstm(network, front_end, path)
    else:
        write_onnx(model, path)
        slowing = network.get_layer("slowed").slowing if network.name == "narrow_campplus" else None
        onnx.save(quick(onnx.load(path), front_end, slowing), path)
    difference = disagreement(model, path, front_end.rate_hz)
    if not difference <= AGREEMENT:
        raise ValueError(f"ONNX and Keras differ by {difference:.1e}, more than {AGREEMENT:.0e}; nothing was written")
    return difference


def write_onnx(model: keras.Model, path: Path) -> None:
    """Export, rewrite in fewer operations, name the free axes, and give `lengths` its default: every sample counts."""
    signature = [
        keras.InputSpec(shape=(None, None), dtype="float32", name="waveform"),
        keras.InputSpec(shape=(None,), dtype="int64", name="lengths"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="In the future `np.object`")  # Keras asks whether NumPy has it
            model.export(raw, format="onnx", input_signature=[signature], verbose=False)
        graph = onnx.load(raw)
    inputs = {value.name: value for value in graph.graph.input}
    _name_axes(inputs["waveform"], ["batch", "samples"])
    _name_axes(inputs["lengths"], ["lengths"])
    default = onnx.numpy_helper.from_array(np.array([EVERY_SAMPLE]), "lengths")
    graph.graph.initializer.append(default)
    output = graph.graph.output[0]
    for node in graph.graph.node:
        rename(node, lambda name: OUTPUT if name == output.name else name)
    output.name = OUTPUT
    _name_axes(output, ["batch", None])
    graph.ir_version = max(graph.ir_version, 8)
    onnx.save(simplified(graph), path)


def disagreement(model: keras.Model, path: Path, rate_hz: int) -> float:
    """The largest difference between Keras and the ONNX graph, of clips alone and, where it takes `lengths`, padded."""
    padded, lengths = checked_clips(rate_hz)
    reference = ops.convert_to_numpy(model([padded, lengths]))
    return max(float(np.abs(found - reference).max()) for found in vectors_of(str(path), padded, lengths))


def vectors_of(graph: str | bytes, padded: Floats, lengths: npt.NDArray[np.int64]) -> list[Floats]:
    """What a graph gives for clips: alone, and in a padded batch where it takes `lengths`; [clips, dimension] each.

    Args: graph: a file's path or its content.
    """
    session = on_one_core(graph)
    alone = [session.run(None, {"waveform": row[None, :size]})[0] for row, size in zip(padded, lengths, strict=True)]
    if LENGTHS not in {value.name for value in session.get_overridable_initializers()}:
        return [np.concatenate(alone)]
    return [np.concatenate(alone), session.run(None, {"waveform": padded, "lengths": lengths})[0]]


def checked_clips(rate_hz: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Noise of the lengths that are checked: float32 [clips, samples], padded, and the samples of each."""
    rng = np.random.default_rng(0)
    clips = [0.1 * rng.standard_normal(round(s * rate_hz)).astype(np.float32) for s in CHECKED_S]
    padded = np.zeros((len(clips), len(clips[-1])), np.float32)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    return padded, np.array([len(clip) for clip in clips])


def export_bundle(
    recipe: Recipe, work: Path, corpora: Path, trials: Path, out: Path, console: Console, int8: bool = False
) -> None:
    """Write `encoder.onnx` and `card.json` to `out`, once the graph is checked and the figures are measured.

    Args:
        work: the training's folder; shards and features lie beside it.
        int8: write a bundle with int8 weights beside, `out` with `-int8` at its end, both figures in its card.
    Raises: ValueError where ONNX and Keras disagree, or the recipe or a set is not what was trained by;
        FileNotFoundError without weights.
    """
    best, state = checkpoints.best_weights(work)
    changed = changed_since(state, recipe.to_json())
    if changed:
        raise ValueError(f"{work} holds a training with other settings ({', '.join(changed)}); export it by its recipe")
    shards = work.parent / "shards"
    require_same_sets(state, {name: set_hash(shards, name) for name in state.made_of if complete(shards, name)}, work)
    network = build(recipe.network)
    checkpoints.load(best, network.load_weights)
    if recipe.levelled:
        apart = level(network, [features(recipe, work.parent, name, console) for name in recipe.levelled])
        console.print(f"{' and '.join(recipe.levelled)}: means {apart:.2f} apart, levelled", highlight=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
        graph = Path(beside) / "encoder.onnx"
        difference = write_graph(network, recipe.front_end, graph)
        console.print(f"ONNX against Keras: {difference:.1e}", highlight=False, soft_wrap=True)
        size = network.count_params()
        if of_last_steps(recipe):
            finished = with_last_steps(onnx.load(graph), recipe, corpora, work.parent, console)
            onnx.save(finished, graph)
            size += parameters(finished)
        card = make_card(recipe, state, size, graph, work, corpora, trials, console)
        write_bundle(graph, card, out)
        if int8:
            small = Path(beside) / "int8.onnx"
            write_int8(graph, small)
            sets = Sets(shards, corpora, trials, lists_of(work))
            small_card = int8_card(card, recipe, graph, small, sets)
            for line in comparison(small_card):
                console.print(line, highlight=False, soft_wrap=True)
            write_bundle(small, small_card, out.with_name(f"{out.name}-int8"))


def write_bundle(graph: Path, card: dict[str, Any], out: Path) -> None:
    """Put a graph and its card, with the graph's hash, into a folder; whatever was there is replaced at the end.

    Raises: EncoderDamaged for a card that nobody could open; what was there stays.
    """
    card = {**card, "sha256": file_hash(graph)}
    parse_card(card, out)
    out.mkdir(parents=True, exist_ok=True)
    beside = {name: out / f"{name}.partial" for name in ("encoder.onnx", "card.json")}
    shutil.copyfile(graph, beside["encoder.onnx"])
    beside["card.json"].write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
    for name, path in beside.items():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(out / name)


def _name_axes(value: onnx.ValueInfoProto, names: list[str | None]) -> None:
    for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
        if name:
            axis.Clear()
            axis.dim_param = name
