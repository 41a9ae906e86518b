"""The graph in PyTorch, a course of a few steps, and the command."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
pytest.importorskip("torch", reason="PyTorch is an extra (speakerdb[rooms])")
pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is an extra (speakerdb[train])")

import onnx
import torch
from click.testing import CliRunner
from graph_runs import outputs
from rich.console import Console

from speakerdb.audio import read
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from training.commands import training
from training.last_steps import KEYS, without_last_steps
from training.rooms.crops import made_beside
from training.rooms.graph_network import GraphNetwork
from training.rooms.learn import Course, learn

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def voice(examples: Path) -> np.ndarray:
    return read(str(examples / "ana_1.wav"), RATE_HZ).samples


@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_the_graph_in_pytorch_gives_the_graphs_vectors(graph, voice, seconds: float) -> None:
    network = GraphNetwork(graph)
    expected, *_, features = outputs(graph, voice[None, : round(seconds * RATE_HZ)], [network.features])
    found = network(torch.tensor(features)).detach().numpy()
    assert np.abs(found - expected).max() <= 1e-5


def test_nothing_learnt_leaves_the_graph_as_it_was_and_a_share_of_it_lies_between(graph) -> None:
    network = GraphNetwork(graph)
    assert network.mean_with(0.7, 0.7).SerializeToString() == graph.SerializeToString()
    with torch.no_grad():
        for weight in network.weights.values():
            weight += 1.0
    first, *_, last = (name.removeprefix("weight_") for name in network.weights)
    assert first in network.front and last not in network.front
    mean = {value.name: onnx.numpy_helper.to_array(value) for value in network.mean_with(0.5, 0.1).graph.initializer}
    before = {value.name: onnx.numpy_helper.to_array(value) for value in graph.graph.initializer}
    np.testing.assert_allclose(mean[first], before[first] + 0.5, atol=1e-6)
    np.testing.assert_allclose(mean[last], before[last] + 0.1, atol=1e-6)


def test_the_front_is_what_comes_before_the_inherited_blocks(graph) -> None:
    network = GraphNetwork(graph)
    sizes = {name: network.weights[f"weight_{name}"].numel() for name in network.front}
    assert (sum(sizes.values()), sum(weight.numel() for weight in network.weights.values())) == (515_128, 1_737_176)


def test_the_command_writes_the_mean_of_the_weights_and_says_how_it_came_about(tmp_path, monkeypatch) -> None:
    def learnt(graph, *_) -> GraphNetwork:
        network = GraphNetwork(graph)
        with torch.no_grad():
            for weight in network.weights.values():
                weight += 1.0
        return network

    monkeypatch.setattr("training.rooms.bundle.make_sounds", lambda *_: None)
    monkeypatch.setattr("training.rooms.bundle.learn", learnt)
    out, nowhere = tmp_path / "out", str(tmp_path / "nowhere")
    places = ["--corpora", nowhere, "--trials", nowhere, "--work", str(tmp_path), "--out", str(out), "--version", "9"]
    shares = ["--share-of-front", "0.25", "--share-of-blocks", "0.75"]
    done = CliRunner().invoke(training, ["rooms", str(find_bundle()), *places, *shares])
    assert done.exit_code == 0, done.output
    card, shipped = open_bundle(out).card, open_bundle(find_bundle()).card
    said = card.raw["training"]["rooms"]
    assert said["command"] == f"python -m training rooms, after {shipped.id}"
    assert (said["share_of_front"], said["share_of_blocks"], said["steps"]) == (0.25, 0.75, Course().steps)
    assert (card.version, card.calibration) == ("9", None)
    assert not card.raw["training"].keys() & set(KEYS) and "cohort" not in card.raw
    network = GraphNetwork(without_last_steps(onnx.load(find_bundle() / "encoder.onnx")))
    after = GraphNetwork(onnx.load(out / "encoder.onnx")).weights
    first, *_, last = network.weights
    assert torch.allclose(after[first], network.weights[first] + 0.25, atol=1e-5)
    assert torch.allclose(after[last], network.weights[last] + 0.75, atol=1e-5)


def test_what_comes_of_a_bundle_is_measured_by_the_lists_that_its_training_drew(tmp_path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("training.rooms.bundle.make_sounds", lambda *_: None)
    monkeypatch.setattr("training.rooms.bundle.learn", lambda graph, *_: GraphNetwork(graph))
    monkeypatch.setattr("training.rooms.bundle.write_changed", lambda *given: asked.append(given[3]))
    places = ["--trials", str(tmp_path / "given"), "--work", str(tmp_path), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(training, ["rooms", str(find_bundle()), *places, "--version", "9"])
    assert done.exit_code == 0, done.output
    assert [(sets.trials, sets.drawn) for sets in asked] == [(tmp_path / "given", tmp_path / "third" / "trials")]


@pytest.mark.slow
def test_a_course_that_was_stopped_goes_on_to_the_same_weights(graph, folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.learn.KEPT_AFTER", 2)
    how, quiet = Course(steps=4), Console(quiet=True)
    whole = learn(graph, folder, how, tmp_path / "whole", quiet)

    def stops(*given):
        batches = made_beside(*given)
        yield from (next(batches) for _ in range(3))
        batches.close()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("training.rooms.learn.made_beside", stops)
        learn(graph, folder, how, tmp_path / "stopped", quiet)
    found = learn(graph, folder, how, tmp_path / "stopped", quiet)
    changed = [
        torch.equal(weight, before) for weight, before in zip(*weights_of(found, GraphNetwork(graph)), strict=True)
    ]
    assert not all(changed)
    for weight, other in zip(*weights_of(found, whole), strict=True):
        torch.testing.assert_close(weight, other, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_course_begins_anew_where_what_it_kept_was_cut(graph, folder, tmp_path, quiet) -> None:
    whole = learn(graph, folder, Course(steps=1), tmp_path, quiet)
    [file] = tmp_path.glob("learnt-*.pt")
    content = file.read_bytes()
    for size in (0, 1, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        quiet.file = io.StringIO()
        found = learn(graph, folder, Course(steps=1), tmp_path, quiet)
        assert quiet.file.getvalue().startswith(f"{file}: damaged or cut (")
        for weight, other in zip(*weights_of(found, whole), strict=True):
            torch.testing.assert_close(weight, other, atol=1e-6, rtol=0)


def weights_of(*networks: GraphNetwork) -> list[list[torch.Tensor]]:
    return [list(network.parameters()) for network in networks]
