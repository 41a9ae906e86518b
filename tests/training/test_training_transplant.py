"""What a network inherits: the teacher's pieces and frames, the least-squares fit, and crops with their frames."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

import keras
from tiny_teacher import HEIR, HIDDEN, LAST, write_teacher

from training.augment import Augmentation
from training.batches import CropLength, CropSampler
from training.cutting import STRIDE
from training.features_cache import CachedFeatures
from training.losses import frame_loss
from training.networks.narrow_campplus import FRONT, NarrowCampplus, build
from training.transplant import frames as frames_of
from training.transplant.campplus import read_campplus, relu, sigmoid, taps
from training.transplant.fit import fit_embedding, fit_upper, pooled
from training.transplant.frames import TENSOR, lower_graph, open_flushing, teacher_frames
from training.transplant.least_squares import eliminate, principal, ridge
from training.transplant.stages import put

REAL = Path(__file__).parents[3] / "shared" / "encoders" / "campplus_zh_en.onnx"


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher") / "campplus_tiny.onnx")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def features(lengths: list[int]) -> CachedFeatures:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    clips = [
        {"path": f"{i}.wav", "name": str(i), "speaker": f"s{i % 2}", "corpus": "tiny"} for i in range(len(lengths))
    ]
    return CachedFeatures(normal(starts[-1], 80).astype(np.float16), starts, clips)


def test_the_pieces_read_from_the_file_compute_what_the_file_does(graph):
    teacher, x = read_campplus(graph), normal(2, 40, 80)
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    [expected] = session.run(None, {"feats": x})
    [z] = open_flushing(lower_graph(graph)).run([TENSOR], {"feats": x})
    z = z.transpose(0, 2, 1)
    for layers, transit in ((teacher.second, teacher.second_transit), (teacher.third, teacher.third_transit)):
        for layer in layers:
            hidden = layer.bottleneck(z)
            z = np.concatenate([z, taps(hidden) @ layer.local * sigmoid(layer.gate_logits(hidden))[:, None]], axis=2)
        z = transit(z)
    z = relu(z)
    # The last normalisation's offset moves no distance between clips, and is not read.
    found = np.concatenate([z.mean(axis=1), z.std(axis=1)], axis=1) @ teacher.embedding
    assert np.abs((found[0] - found[1]) - (expected[0] - expected[1])).max() <= 1e-4


@pytest.mark.skipif(not REAL.exists(), reason="../shared/encoders has no CAM++")
def test_a_layer_read_from_campplus_itself_gives_what_it_gives():
    teacher, x = read_campplus(REAL), normal(1, 160, 80)
    assert (len(teacher.second), len(teacher.third), teacher.embedding.shape) == (24, 16, (1024, 192))
    model = onnx.shape_inference.infer_shapes(onnx.load(REAL))
    wanted = [TENSOR, "/xvector/block2/tdnnd1/cam_layer/Mul_1_output_0"]
    part = onnx.utils.Extractor(model).extract_model(["feats"], wanted)
    z, added = (v.transpose(0, 2, 1) for v in open_flushing(part.SerializeToString()).run(wanted, {"feats": x}))
    hidden = teacher.second[0].bottleneck(z)
    gate = sigmoid(teacher.second[0].gate_logits(hidden))[:, None]
    # Its taps lie two frames apart: on every second frame they are neighbours.
    assert np.abs(taps(hidden[:, ::2]) @ teacher.second[0].local * gate - added[:, ::2]).max() <= 1e-3


def test_a_file_that_is_not_campplus_is_an_error_that_names_it(tmp_path):
    other = onnx.helper.make_graph([], "other", [], [])
    onnx.save(onnx.helper.make_model(other), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx: no CAM\+\+"):
        read_campplus(tmp_path / "other.onnx")


def test_frames_are_the_teachers_every_second_one_and_computed_once(graph, tmp_path, quiet, monkeypatch):
    cached = features([21, 8, 40, 11])
    found = teacher_frames(cached, "tiny", "set", graph, tmp_path, quiet)
    assert [found.length(clip) for clip in range(4)] == [6, 2, 10, 3]
    heard = cached.of(2) - cached.of(2).mean(axis=0)
    [expected] = open_flushing(lower_graph(graph)).run([TENSOR], {"feats": heard[None]})
    assert np.abs(found.of(2) - expected[0].T[::2]).max() <= 1e-2  # kept as float16
    monkeypatch.setattr(frames_of, "_computed", None)
    again = teacher_frames(cached, "tiny", "set", graph, tmp_path, quiet)
    assert np.array_equal(again.frames, found.frames)


def test_frames_of_a_stopped_set_of_another_set_or_of_another_teacher_are_not_taken(
    graph, tmp_path, quiet, monkeypatch
):
    cached, computed = features([21, 8]), frames_of._computed

    def stopped(*given):
        yield from itertools.islice(computed(*given), 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(frames_of, "_computed", stopped)
    with pytest.raises(KeyboardInterrupt):
        teacher_frames(cached, "tiny", "set", graph, tmp_path, quiet)
    assert not (tmp_path / "tiny.json").exists()
    monkeypatch.setattr(frames_of, "_computed", computed)
    first = np.array(teacher_frames(cached, "tiny", "set", graph, tmp_path, quiet).frames)
    other = write_teacher(tmp_path / "campplus_other.onnx", seed=9)
    assert not np.array_equal(teacher_frames(cached, "tiny", "set", other, tmp_path, quiet).frames, first)
    people = replace(cached, frames=cached.frames[::-1].copy())  # as long as those before, as words are
    anew = teacher_frames(people, "tiny", "prepared anew", other, tmp_path, quiet)
    assert not np.array_equal(anew.frames, teacher_frames(cached, "tiny", "set", other, tmp_path, quiet).frames)


def test_frames_that_were_cut_are_computed_anew(graph, tmp_path, quiet):
    cached = features([21, 8])
    whole = np.array(teacher_frames(cached, "tiny", "set", graph, tmp_path, quiet).frames)
    array = tmp_path / "tiny.f16"
    array.write_bytes(array.read_bytes()[:-1])
    assert np.array_equal(teacher_frames(cached, "tiny", "set", graph, tmp_path, quiet).frames, whole)


def penalised(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
    """The least of |y − xw|² + penalty · |w|², and its w."""
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return float(np.square(y - x @ weights).sum() + penalty * np.square(weights).sum()), weights


@pytest.mark.parametrize("keep", [5, 4, 3])
def test_elimination_leaves_out_what_a_refit_of_all_misses_least(keep):
    x, y = normal(60, 10), normal(60, 3, seed=1)
    y += x[:, :3] + x[:, 5:8]  # of both taps of the first three channels
    kept, weights, offset = eliminate(x, y, taps=2, keep=keep)
    centred, wanted = (v - v.mean(axis=0) for v in (x.astype(float), y.astype(float)))
    penalty = 1e-4 * np.square(centred).sum(axis=0).mean()
    alive = list(range(5))
    while len(alive) > keep:
        costs = []
        for gone in alive:
            rest = [channel for channel in alive if channel != gone]
            costs.append(penalised(centred[:, rest + [5 + c for c in rest]], wanted, penalty)[0])
        alive.pop(int(np.argmin(costs)))
    rows = alive + [5 + channel for channel in alive]
    assert kept == alive
    assert np.abs(weights - penalised(centred[:, rows], wanted, penalty)[1]).max() <= 1e-4
    assert np.abs(offset - (y.mean(axis=0) - x.mean(axis=0)[rows] @ weights)).max() <= 1e-5


def test_of_many_channels_those_that_make_up_the_outputs_are_kept():
    x = normal(200, 12)
    y = x[:, [1, 7]] @ normal(2, 4, seed=2) + 5.0
    kept, weights, offset = eliminate(x, y, taps=1, keep=2)
    assert kept == [1, 7]
    assert np.abs(x[:, kept] @ weights + offset - y).max() <= 1e-2


def test_ridge_without_a_penalty_to_speak_of_is_least_squares_and_shrinks_with_one():
    x, truth = normal(50, 4), normal(4, 2, seed=1)
    weights, offset = ridge(x, x @ truth - 3.0, 1e-9)
    assert np.abs(weights - truth).max() <= 1e-4
    assert np.abs(offset + 3.0).max() <= 1e-4
    assert np.linalg.norm(ridge(x, x @ truth, 10.0)[0]) < np.linalg.norm(truth)


def test_principal_directions_are_orthonormal_and_those_of_most_variance():
    x = normal(500, 3) * np.array([1.0, 5.0, 0.1], np.float32)
    directions = principal(x + 7.0, 2)
    assert np.allclose(directions.T @ directions, np.eye(2), atol=1e-5)
    assert np.abs(directions[1, 0]) > 0.99


def frames(graph: Path, clips: int, length: int = 40) -> np.ndarray:
    x = np.cumsum(normal(clips, 2 * length, 80, seed=5), axis=1) / 6.0
    [z] = open_flushing(lower_graph(graph)).run([TENSOR], {"feats": x - x.mean(axis=1, keepdims=True)})
    return z.transpose(0, 2, 1)


def test_with_nothing_left_out_the_fit_is_the_teacher_but_for_its_gates(graph):
    whole = NarrowCampplus(
        **{**HEIR.__dict__, "grouped": 1, "bottleneck": HIDDEN, "rank": 16, "kept": LAST}  # 16: transit 2's channels
    )
    said: list[str] = []
    fit_upper(read_campplus(graph), frames(graph, 60), whole, said.append)
    explained = [float(line.split()[1]) for line in said]
    assert len(explained) == 4 + 1 + 2 + 1
    assert min(explained) >= 0.97


def test_a_narrow_fit_explains_most_and_the_network_computes_what_the_fit_does(graph):
    z, said = frames(graph, 60), []
    weights = fit_upper(read_campplus(graph), z, HEIR, said.append)
    assert np.mean([float(line.split()[1]) for line in said]) >= 0.6
    targets = normal(60, HEIR.dimension, seed=4)
    fit_embedding(pooled(weights, z, HEIR), targets / np.linalg.norm(targets, axis=1, keepdims=True), weights)

    network = build(HEIR)
    put(network, weights)
    both = keras.Model(network.inputs, [network.get_layer(FRONT).output, network.output])
    front, vectors = (np.asarray(v) for v in both([normal(3, 42, 80), np.ones((3, 42, 1), np.float32)]))
    expected = pooled(weights, front, HEIR) @ weights["embedding"][0] + weights["embedding"][1]
    assert np.abs(vectors - expected / np.linalg.norm(expected, axis=1, keepdims=True)).max() <= 1e-5


def test_the_frame_loss_is_the_mean_over_valid_frames_in_units_of_the_deviations():
    found, truth, deviations = normal(2, 3, 4), normal(2, 3, 4, seed=1), np.array([1.0, 2.0, 0.5, 4.0], np.float32)
    valid = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    rows = [((found[b, t] - truth[b, t]) / deviations) ** 2 for b, t in ((0, 0), (0, 1), (1, 0))]
    assert float(frame_loss(found, truth, valid, deviations)) == pytest.approx(np.mean(rows), rel=1e-5)
    assert float(frame_loss(found, truth, 0.0 * valid, deviations)) == 0.0


def test_a_crop_has_the_teachers_frames_of_its_own_place():
    cached = features([20, 57, 90, 41])
    # A made-up teacher whose every frame is the feature frame it begins at.
    starts = np.concatenate([[0], np.cumsum([-(-n // STRIDE) for n in (20, 57, 90, 41)])])
    taught = np.concatenate([cached.of(clip)[::STRIDE] for clip in range(4)]).astype(np.float16)
    teacher = CachedFeatures(taught, starts, cached.clips)
    lengths = [CropLength(frames=30, share=1.0, crops=4), CropLength(frames=38, share=1.0, crops=4)]
    sampler = CropSampler(cached, None, None, lengths, Augmentation(), 1, teacher)
    for step in range(6):
        batch = sampler.batch(step)
        count = -(-batch.features.shape[1] // STRIDE)
        assert batch.frames.shape == (4, count, 80)
        assert batch.truth[2:] == (batch.frames, batch.valid)
        known = batch.valid.astype(bool)
        assert np.array_equal(batch.frames[known], batch.features[:, ::STRIDE][known])
        whole = batch.features.shape[1] // STRIDE
        assert set(known.sum(axis=1)) <= {5, whole}  # 5: the clip of 20 frames, which the crop repeats
        assert not batch.frames[~known].any()


def test_a_speakers_target_is_the_direction_of_the_sum_of_its_clips():
    cached = features([20, 20, 20])
    targets = normal(3, 5)
    sampler = CropSampler(cached, targets, None, [CropLength(frames=10, share=1.0, crops=2)], Augmentation(), 1)
    expected = targets[0] + targets[2]
    assert np.abs(sampler.speaker_targets()[:, 0] - expected / np.linalg.norm(expected)).max() <= 1e-6
