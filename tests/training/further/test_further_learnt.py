"""The graph in PyTorch, a course of a few steps in two processes, and the command."""

from __future__ import annotations

import io
import multiprocessing
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
pytest.importorskip("torch", reason="PyTorch is an extra (speakerdb[further])")
pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is an extra (speakerdb[train])")

import onnx
import torch
from click.testing import CliRunner
from graph_runs import outputs

from speakerdb.audio import read
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from training.batches import CropLength
from training.commands import training
from training.commands.outcome import Refused, errors_as_exit_codes
from training.cutting import Cutting
from training.further import bundle
from training.further.bundle import Material
from training.further.course import Further
from training.further.crops import Crops
from training.further.graph_network import GraphNetwork
from training.further.learn import Learner, checkpoint_of, learnt
from training.further.targets import Targets
from training.kept import write_arrays
from training.last_steps import without_last_steps
from training.recipe import Recipe

RATE_HZ = 16_000
pytestmark = pytest.mark.filterwarnings("ignore:CUDA initialization")  # PyTorch for GPUs, where there is none


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
    assert network.mean_with(0.7).SerializeToString() == graph.SerializeToString()
    with torch.no_grad():
        for weight in network.weights.values():
            weight += 1.0
    first, *_, last = (name.removeprefix("weight_") for name in network.weights)
    assert network.of_front(first) and not network.of_front(last)
    changed, before = (
        {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
        for model in (network.mean_with(0.5), graph)
    )
    for name in (first, last):
        np.testing.assert_allclose(changed[name], before[name] + 0.5, atol=1e-6)


def test_the_front_is_what_comes_before_the_inherited_blocks(graph) -> None:
    network = GraphNetwork(graph)
    sizes = {name: network.weights[f"weight_{name}"].numel() for name in network.front}
    assert (sum(sizes.values()), sum(weight.numel() for weight in network.weights.values())) == (515_128, 1_737_176)


def test_products_of_bfloat16_give_nearly_the_same_vectors(graph, voice) -> None:
    network = GraphNetwork(graph)
    *_, features = outputs(graph, voice[None, :32_000], [network.features])
    with torch.no_grad():
        exact = network(torch.tensor(features))
        with torch.autocast("cpu", torch.bfloat16):
            quick = network(torch.tensor(features)).float()
    assert torch.nn.functional.cosine_similarity(exact, quick).min() >= 0.999


def test_the_command_writes_what_was_learnt_and_says_how_it_came_about(tmp_path, monkeypatch) -> None:
    def learnt(graph, *_) -> GraphNetwork:
        network = GraphNetwork(graph)
        with torch.no_grad():
            for weight in network.weights.values():
                weight *= 1.5
        return network

    done, at = [], "training.further.bundle."
    command = sys.modules["training.commands.further"]  # the package's name of it is the command itself
    monkeypatch.setattr(command, "prepare_recipe", lambda *_: done.append("prepare"))
    for name in ("make_sounds", "make_lessons", "_learn_in_processes"):
        monkeypatch.setattr(at + name, lambda *_, name=name: done.append(name))
    monkeypatch.setattr(at + "_made_of", lambda *_: "")
    monkeypatch.setattr(at + "open_teacher", lambda path: lambda _: done.append(path.name))
    monkeypatch.setattr(at + "_targets", lambda *_: Targets(*np.zeros((2, 1, 192), np.float32), np.zeros(1, bool)))
    monkeypatch.setattr(at + "learnt", learnt)
    monkeypatch.setattr(at + "levelled", lambda graph, *_: (graph, 0.5))
    monkeypatch.setattr(at + "with_last_steps", lambda graph, *_: graph)
    for name, content in (("further/targets", ""), ("rooms/sounds.json", "{}")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    out, nowhere = tmp_path / "out", str(tmp_path / "nowhere")
    places = ["--corpora", nowhere, "--trials", nowhere, "--work", str(tmp_path), "--out", str(out), "--version", "9"]
    ended = CliRunner().invoke(training, ["further", str(find_bundle()), *places])
    assert ended.exit_code == 0, ended.output
    assert done == ["prepare", "campplus_zh_en.onnx", "ge2e.onnx", "make_sounds", "make_lessons", "_learn_in_processes"]
    card, shipped = open_bundle(out).card, open_bundle(find_bundle()).card
    said = card.raw["training"]["further"]
    assert said["command"] == f"python -m training further, after {shipped.id}"
    assert said["steps"] == Recipe.load("third").further.steps
    assert (card.version, card.calibration) == ("9", None)
    assert "cohort" not in card.raw
    network = GraphNetwork(without_last_steps(onnx.load(find_bundle() / "encoder.onnx")))
    after = GraphNetwork(onnx.load(out / "encoder.onnx")).weights
    for name, weight in network.weights.items():
        assert torch.allclose(after[name], 1.35 * weight, atol=1e-5)  # 0.7 of a half more


def test_a_course_is_kept_by_all_that_it_depends_on(graph, tmp_path) -> None:
    how = Further(steps=4, rate=1e-3)
    file = checkpoint_of(graph, how, "these", tmp_path)
    assert checkpoint_of(graph, replace(how, share=0.5), "these", tmp_path) == file  # asked for afterwards
    others = [
        checkpoint_of(graph, replace(how, steps=5), "these", tmp_path),
        checkpoint_of(graph, how, "those", tmp_path),
        checkpoint_of(onnx.ModelProto(), how, "these", tmp_path),
    ]
    assert len({file, *others}) == 4


@pytest.fixture
def material(graph, front_end, written, targets, folder: Path, tmp_path: Path) -> Material:
    """All that two processes draw crops from, in a work folder."""
    work = tmp_path / "work"
    shutil.copytree(written.folder, work / "further")
    shutil.copytree(folder, work / "rooms")
    write_arrays(work / "further" / "targets-a.npz", **vars(targets))
    (work / "graph.onnx").write_bytes(graph.SerializeToString())
    (work / "front-end.onnx").write_bytes(front_end)
    lengths = [CropLength(98, 1.0, 6, {"speech_commands": 0.5, "common_voice": 0.5})]
    files = (work / "further" / "targets-a.npz", work / "graph.onnx", work / "front-end.onnx")
    how = Further(steps=4, rate=1e-3, warmup_steps=0)
    return Material(work, written.names, *files, lengths, Cutting(joined=["speech_commands"]), how)


@pytest.mark.slow
def test_a_course_that_was_stopped_goes_on_to_the_same_weights(graph, material, quiet, monkeypatch) -> None:
    whole, stopped = (material.work / f"{name}.pt" for name in ("whole", "stopped"))
    bundle._learn_in_processes(material, whole, quiet)
    assert "step 4 of 4: cosine" in quiet.file.getvalue()
    (material.work / "meeting").unlink(missing_ok=True)
    bundle._learn_in_processes(replace(material, how=replace(material.how, steps=2)), stopped, quiet)
    (material.work / "meeting").unlink(missing_ok=True)
    # What a course of two steps has kept is not what one of four has kept there: the rate falls sooner.
    before, after = (learnt(graph, file, material.how).state_dict() for file in (stopped, whole))
    assert any(not torch.equal(before[name], after[name]) for name in after)
    file = material.work / "again.pt"
    monkeypatch.setattr("training.further.learn.KEPT_AFTER", 2)
    with monkeypatch.context() as patched:
        patched.setattr("training.further.learn.Learner.save", stop_after(Learner.save, 1))
        with pytest.raises(KeyboardInterrupt):
            bundle._learn_in_processes(material, file, quiet)
    (material.work / "meeting").unlink(missing_ok=True)
    assert torch.load(file, weights_only=True)["step"] == 2
    bundle._learn_in_processes(material, file, quiet)
    for weight, other in zip(
        *(learnt(graph, one, material.how).state_dict().values() for one in (whole, file)), strict=True
    ):
        torch.testing.assert_close(weight, other, atol=1e-6, rtol=0)


def stop_after(save, times: int):
    """Whoever keeps so often is interrupted."""
    left = [times]

    def keeps(learner, file) -> None:
        save(learner, file)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    return keeps


@pytest.mark.slow
def test_a_process_beside_that_dies_ends_the_course(material, quiet, monkeypatch) -> None:
    def killed(crops, step, process):
        for one in multiprocessing.active_children():
            one.kill()
        return draws(crops, step, process)

    draws = Crops.batch
    monkeypatch.setattr(Crops, "batch", killed)
    with pytest.raises(Refused, match="a process beside this one was ended"), errors_as_exit_codes():
        bundle._learn_in_processes(material, material.work / "killed.pt", quiet)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_course_begins_anew_where_what_it_kept_was_cut(graph, material, quiet) -> None:
    material, file = replace(material, how=replace(material.how, steps=1)), material.work / "kept.pt"
    bundle._learn_in_processes(material, file, quiet)
    whole = learnt(graph, file, material.how).state_dict()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    quiet.file = io.StringIO()
    bundle._learn_in_processes(material, file, quiet)
    assert quiet.file.getvalue().startswith(f"{file}: damaged or cut (")
    for weight, other in zip(learnt(graph, file, material.how).state_dict().values(), whole.values(), strict=True):
        torch.testing.assert_close(weight, other, atol=1e-6, rtol=0)
