"""Teaching a finished graph rooms: the graph in PyTorch, the copies, and a course of a few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
pytest.importorskip("torch", reason="PyTorch is an extra (speakerdb[rooms])")
pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is an extra (speakerdb[rooms])")

import onnx
import onnxruntime
import torch
from rich.console import Console

from speakerdb.audio import read
from speakerdb.encoder.registry import find_bundle
from training.known_voices import without_step
from training.rooms.copies import BEFORE_DIRECT, Copies, impulse_response, worsened
from training.rooms.graph_network import GraphNetwork
from training.rooms.learn import Course, Crops, learn

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def graph():
    return without_step(onnx.load(find_bundle() / "encoder.onnx"))


@pytest.fixture(scope="module")
def voice(examples: Path) -> np.ndarray:
    return read(str(examples / "ana_1.wav"), RATE_HZ).samples


def outputs(model, names: list[str], samples: np.ndarray) -> list[np.ndarray]:
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    known = {value.name for value in whole.graph.output}
    whole.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(names, {"waveform": samples[None]})


@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_the_graph_in_pytorch_gives_the_graphs_vectors(graph, voice, seconds: float) -> None:
    network = GraphNetwork(graph)
    features, expected = outputs(graph, [network.features, "embedding"], voice[: round(seconds * RATE_HZ)])
    found = network(torch.tensor(features)).detach().numpy()
    assert np.abs(found - expected).max() <= 1e-5


def test_nothing_learnt_leaves_the_graph_as_it_was_and_half_of_it_lies_between(graph) -> None:
    network = GraphNetwork(graph)
    assert network.mean_with(0.7).SerializeToString() == graph.SerializeToString()
    with torch.no_grad():
        for weight in network.weights.values():
            weight += 1.0
    name = next(iter(network.weights)).removeprefix("weight_")
    half = {value.name: onnx.numpy_helper.to_array(value) for value in network.mean_with(0.5).graph.initializer}
    before = {value.name: onnx.numpy_helper.to_array(value) for value in graph.graph.initializer}
    np.testing.assert_allclose(half[name], before[name] + 0.5, atol=1e-6)


def test_a_room_begins_with_the_direct_sound_and_dies_away() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        echoes = impulse_response(rng)
        assert np.abs(echoes).argmax() <= BEFORE_DIRECT and np.abs(echoes).max() == 1.0
        first, last = np.square(echoes[: len(echoes) // 4]).sum(), np.square(echoes[-len(echoes) // 4 :]).sum()
        assert last < 0.02 * first


def test_a_copy_has_the_clips_length_and_place() -> None:
    rng = np.random.default_rng(0)
    voice = rng.standard_normal(40_000).astype(np.float32)  # nothing in it is like anything later
    rooms, noises = [impulse_response(rng) for _ in range(3)], [rng.standard_normal(8_000).astype(np.float32)]
    for seed in range(6):
        copy = worsened(voice, rooms, noises, np.random.default_rng(seed))
        assert copy.shape == voice.shape and np.isfinite(copy).all()
        moved = np.fft.irfft(np.fft.rfft(copy, 1 << 17) * np.conj(np.fft.rfft(voice, 1 << 17)))
        lag = int(np.abs(moved).argmax())
        assert min(lag, (1 << 17) - lag) <= 16  # samples: a millisecond


@pytest.fixture
def copies() -> Copies:
    rng = np.random.default_rng(0)
    lengths = np.array([196, 196, 320, 400])
    features = [rng.normal(size=(lengths.sum(), 80)).astype(np.float16) for _ in range(3)]
    return Copies(features, lengths, np.array(["speech_commands-train"] * 2 + ["common_voice-train"] * 2))


def test_a_crop_and_its_copy_are_of_the_same_frames(copies) -> None:
    copies = Copies([copies.features[0]] * 3, copies.lengths, copies.sets)
    for step in range(12):
        heard, clean = Crops(copies, 1).batch(step)
        assert torch.equal(heard, clean) and heard.shape[1] in (196, 200, 300)


@pytest.mark.slow
def test_a_course_that_was_stopped_goes_on_to_the_same_weights(graph, copies, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.learn.KEPT_AFTER", 2)
    how, quiet = Course(steps=4), Console(quiet=True)
    whole = learn(graph, copies, how, tmp_path / "whole", quiet)
    drawn = Crops.batch

    def stops(self: Crops, step: int):
        if step == 3:
            raise KeyboardInterrupt
        return drawn(self, step)

    monkeypatch.setattr(Crops, "batch", stops)
    with pytest.raises(KeyboardInterrupt):
        learn(graph, copies, how, tmp_path / "stopped", quiet)
    monkeypatch.setattr(Crops, "batch", drawn)
    found = learn(graph, copies, how, tmp_path / "stopped", quiet)
    for name, weight in whole.weights.items():
        torch.testing.assert_close(found.weights[name], weight, atol=1e-5, rtol=0)
