"""Teaching a finished graph rooms: the graph in PyTorch, what befalls crops, and a course of a few steps."""

from __future__ import annotations

import multiprocessing
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
pytest.importorskip("torch", reason="PyTorch is an extra (speakerdb[rooms])")
pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is an extra (speakerdb[rooms])")

import onnx
import torch
from click.testing import CliRunner
from rich.console import Console

from speakerdb.audio import read
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from training.commands import training
from training.commands.outcome import Refused, errors_as_exit_codes
from training.last_steps import without_last_steps
from training.rooms import channels
from training.rooms.crops import Crops, made_beside
from training.rooms.graph_network import GraphNetwork
from training.rooms.impulse_responses import BEFORE_DIRECT, impulse_response
from training.rooms.learn import Course, front_end_of, learn
from training.rooms.sounds import TABLE, Sounds, make_sounds, write_sounds
from training.rooms.worsening import Worsening, in_room
from training.sessions import on_one_core

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def graph():
    return without_last_steps(onnx.load(find_bundle() / "encoder.onnx"))


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
    return on_one_core(whole.SerializeToString()).run(names, {"waveform": samples[None]})


@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_the_graph_in_pytorch_gives_the_graphs_vectors(graph, voice, seconds: float) -> None:
    network = GraphNetwork(graph)
    features, expected = outputs(graph, [network.features, "embedding"], voice[: round(seconds * RATE_HZ)])
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


def test_a_room_begins_with_the_direct_sound_and_dies_away() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        echoes = impulse_response(rng)
        assert np.abs(echoes).argmax() <= BEFORE_DIRECT and np.abs(echoes).max() == 1.0
        first, last = np.square(echoes[: len(echoes) // 4]).sum(), np.square(echoes[-len(echoes) // 4 :]).sum()
        assert last < 0.02 * first


@pytest.fixture(scope="module")
def folder(examples: Path, tmp_path_factory) -> Path:
    """Sounds to draw from: words and sentences of the examples' people, noises, and three rooms."""
    made, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    voices = [read(str(file), RATE_HZ).samples for file in sorted(examples.glob("*_[12].wav"))]
    words = [("speech_commands-train", voice[:16_000]) for voice in voices]
    sentences = [
        (f"{name}-train", np.tile(voice, 4)[:80_000]) for voice in voices for name in ("common_voice", "other")
    ]
    noises = [0.1 * rng.standard_normal(size).astype(np.float32) for size in (8_000, 30_000)]
    write_sounds(made, words + sentences, noises, [impulse_response(rng) for _ in range(3)])
    (made / TABLE).write_text("{}")
    return made


@pytest.fixture(scope="module")
def sounds(folder: Path) -> Sounds:
    return Sounds.opened(folder)


@pytest.fixture(scope="module")
def front_end(graph) -> bytes:
    return front_end_of(graph)


@pytest.fixture(scope="module")
def crops(sounds, front_end) -> Crops:
    return Crops(sounds, front_end, 1)


def lag(after: np.ndarray, before: np.ndarray) -> int:
    """Samples by which the one comes later than the other, or earlier."""
    size = 1 << 17
    alike = np.abs(np.fft.irfft(np.fft.rfft(after, size) * np.conj(np.fft.rfft(before, size))))
    return min(int(alike.argmax()), size - int(alike.argmax()))


def test_a_worsened_crop_keeps_its_length_and_place(sounds) -> None:
    voice = np.random.default_rng(0).standard_normal(40_000)  # nothing in it is like anything later
    for seed in range(40):
        heard = Worsening(sounds).worsened(voice, np.random.default_rng(seed))
        assert heard.shape == voice.shape and np.isfinite(heard).all()
        assert lag(heard, voice) <= 16  # samples: a millisecond


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
@pytest.mark.parametrize(
    "how",
    [
        {"format": "WAV", "subtype": "GSM610"},
        {"format": "WAV", "subtype": "ALAW"},
        {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": channels.COMPRESSION[0]},
        {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": channels.COMPRESSION[1]},
        {"format": "OGG", "subtype": "OPUS", "compression_level": channels.COMPRESSION[1]},
    ],
    ids=lambda how: f"{how['subtype']} {how.get('compression_level', '')}",
)
def test_codecs_delay_nothing_and_bear_silence(how, rate_hz: int) -> None:
    voice = 30.0 * np.random.default_rng(0).standard_normal(40_001)
    heard = channels.encoded(voice, rate_hz, **how)
    assert heard.shape == voice.shape and lag(heard, voice) <= 1
    silence = channels.encoded(np.zeros(16_000), rate_hz, **how)
    assert silence.shape == (16_000,) and np.abs(silence).max() <= 1e-9


def test_what_was_said_before_a_crop_echoes_in_it() -> None:
    said = np.zeros(16_000)
    said[1_000] = 1.0
    echoes = np.zeros(9_000)
    echoes[BEFORE_DIRECT], echoes[8_000 + BEFORE_DIRECT] = 1.0, 0.5
    heard = in_room(said, echoes)
    assert np.flatnonzero(np.abs(heard) > 1e-6).tolist() == [1_000, 9_000]
    assert np.square(heard).mean() == pytest.approx(np.square(said).mean())


def test_a_crop_is_of_the_clip_and_ends_in_silence_where_that_does(crops, sounds) -> None:
    for seed in range(20):
        clean, heard = crops.pair(len(sounds.clips) - 1, 32_000, np.random.default_rng(seed))
        assert clean.shape == heard.shape == (32_000,) and clean[-100:].any()
    clean, heard = crops.pair(0, 32_000, np.random.default_rng(0))  # a word, one second
    assert clean.shape == heard.shape == (32_000,) and clean[:1_000].any() and not clean[-8_000:].any()


@pytest.mark.parametrize("speed", [1.0, 1.25])
def test_a_crop_comes_with_what_was_said_just_before_it(front_end, sounds, tmp_path, monkeypatch, speed: float) -> None:
    monkeypatch.setattr("training.rooms.crops.SPEED_SHARE", 1.0)
    monkeypatch.setattr("training.rooms.crops.SPEED", (speed, speed))
    rising = np.arange(80_000) / 80_000
    write_sounds(tmp_path, [("a", rising)], [sounds.noises[0]], [sounds.rooms[0].astype(np.float32)])
    of_rising, befores = Crops(Sounds.opened(tmp_path), front_end, 1), set()
    for seed in range(12):
        samples, before = of_rising._cut(0, 16_000, np.random.default_rng(seed))
        assert len(samples) == before + 16_000
        steps = np.diff(samples[200:-200:400]) * 80_000
        np.testing.assert_allclose(steps, 400 * speed, atol=60)  # float16 of up to 1 steps by 40 of these
        befores.add(before)
    assert max(befores) in (9_599, 9_600)


def test_a_crop_that_nothing_else_befalls_differs_in_level_alone(crops, sounds, monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.crops.SENTENCES_ALONE_SHARE", 1.0)
    clean, heard = crops.pair(len(sounds.clips) - 1, 16_000, np.random.default_rng(0))
    factor = np.abs(heard).max() / np.abs(clean).max()
    assert 0.1 <= factor <= 2.0
    np.testing.assert_allclose(heard, clean * factor, atol=1e-12)


def test_a_batch_has_a_clean_crop_for_each_worsened_one(crops) -> None:
    shapes = set()
    for step in range(8):
        heard, clean = crops.batch(step)
        assert heard.shape == clean.shape and heard.dtype == clean.dtype == np.float32
        assert np.isfinite(heard).all() and np.isfinite(clean).all()
        assert not np.array_equal(heard, clean)
        shapes.add(clean.shape[1:])
    assert len(shapes) >= 2 and shapes <= {(196, 80), (198, 80), (298, 80), (448, 80)}


def test_a_batch_is_a_function_of_seed_and_step(crops, sounds, front_end) -> None:
    again = Crops(sounds, front_end, 1)
    again.batch(4)  # what was drawn before changes nothing
    for one, other in zip(again.batch(2), crops.batch(2), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(crops.batch(2)[0], Crops(sounds, front_end, 2).batch(2)[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_beside_make_the_same_batches_in_order(crops, folder, front_end, monkeypatch, workers: int) -> None:
    monkeypatch.setattr("training.rooms.workers.WORKERS", workers)
    for step, made in enumerate(made_beside(folder, front_end, 1, range(2, 5)), 2):
        for one, other in zip(made, crops.batch(step), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not multiprocessing.active_children()


def test_what_a_process_beside_raises_is_raised(tmp_path, front_end) -> None:
    with pytest.raises(FileNotFoundError, match="clips"):
        next(made_beside(tmp_path, front_end, 1, range(3)))
    assert not multiprocessing.active_children()


def test_a_process_beside_that_dies_ends_the_course(folder, front_end) -> None:
    batches = made_beside(folder, front_end, 1, range(100))
    next(batches)
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(Refused, match="a process beside this one was ended"), errors_as_exit_codes():
        list(batches)
    assert not multiprocessing.active_children()


def test_processes_beside_end_when_the_course_is_left(folder, front_end) -> None:
    batches = made_beside(folder, front_end, 1, range(100))
    next(batches)
    batches.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("sets", [["a"] * 3, ["speech_commands-train"] * 3, ["speech_commands-train", "a", "a"]])
def test_few_clips_of_few_sets_make_batches_too(sets: list[str], sounds, front_end, tmp_path) -> None:
    longest = sounds.clips[len(sounds.clips) - 1]
    room = [sounds.rooms[0].astype(np.float32)]
    write_sounds(tmp_path, [(name, longest[:24_000]) for name in sets], [longest], room)
    few = Crops(Sounds.opened(tmp_path), front_end, 1)
    for step in range(4):
        assert few.batch(step)[0].shape == (3, 196, 80)  # none is long enough for anything but a second


def test_silence_stays_finite(sounds, front_end, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.crops.SENTENCES_ALONE_SHARE", 0.0)
    write_sounds(tmp_path, [("a", np.zeros(80_000))] * 9, [np.zeros(8_000)], [sounds.rooms[0]])
    silent = Crops(Sounds.opened(tmp_path), front_end, 1)
    for step in range(6):
        assert all(np.isfinite(part).all() for part in silent.batch(step))
    for seed in range(40):
        assert np.isfinite(silent.pair(0, 16_000, np.random.default_rng(seed))[1]).all()


@pytest.mark.parametrize(("clips", "noises"), [([], [np.ones(9)]), ([("a", np.ones(9))], [])])
def test_nothing_to_learn_from_is_an_error(clips, noises, tmp_path) -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        write_sounds(tmp_path, clips, noises, [np.ones(9)])


def archive(corpora: Path, name: str, files: list[Path]) -> None:
    corpora.mkdir(exist_ok=True)
    with tarfile.open(corpora / f"{name}.tar", "w") as tar:
        for file in files:
            tar.add(file, f"someone/{file.name}")
    rows = [f"someone/{file.name}\tsomeone\n" for file in files]
    (corpora / f"{name}.tsv").write_text("path\tspeaker\n" + "".join(rows), encoding="utf8")


def test_sounds_are_made_once_and_anew_where_others_are_asked_for(tmp_path, examples, quiet, monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.sounds.ROOMS", 2)
    corpora, made = tmp_path / "corpora", tmp_path / "made"
    for name, clips in {"some-train": ["ana_1", "ben_1"], "more-train": ["eva_1"], "noise": ["rms_1"]}.items():
        archive(corpora, name, [examples / f"{clip}.wav" for clip in clips])
    make_sounds(corpora, ["some-train"], "noise", made, quiet)
    found = Sounds.opened(made)
    assert found.sets.tolist() == ["some-train"] * 2 and (len(found.noises), len(found.rooms)) == (1, 2)
    np.testing.assert_allclose(found.clips[1], read(str(examples / "ben_1.wav"), RATE_HZ).samples, atol=1e-3)
    np.testing.assert_array_equal(found.rooms[1], impulse_response(np.random.default_rng([7, 1])))
    before = (made / "clips.npy").stat().st_mtime_ns
    make_sounds(corpora, ["some-train"], "noise", made, quiet)
    assert (made / "clips.npy").stat().st_mtime_ns == before
    make_sounds(corpora, ["some-train", "more-train"], "noise", made, quiet)
    assert Sounds.opened(made).sets.tolist() == ["some-train"] * 2 + ["more-train"]


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
    assert not {"known_voices", "warped_views"} & card.raw["training"].keys() and "cohort" not in card.raw
    network = GraphNetwork(without_last_steps(onnx.load(find_bundle() / "encoder.onnx")))
    after = GraphNetwork(onnx.load(out / "encoder.onnx")).weights
    first, *_, last = network.weights
    assert torch.allclose(after[first], network.weights[first] + 0.25, atol=1e-5)
    assert torch.allclose(after[last], network.weights[last] + 0.75, atol=1e-5)


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


def weights_of(*networks: GraphNetwork) -> list[list[torch.Tensor]]:
    return [list(network.parameters()) for network in networks]
