"""The narrow CAM++: its size, its front's rate, what padding changes (nothing), and that it exports."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

import keras
import onnx
from random_networks import features, randomized, run

from training.export import AGREEMENT, write_graph
from training.front_ends import FRONT_ENDS
from training.networks import NETWORKS
from training.networks.narrow_campplus import FRONT, NarrowCampplus, build
from training.networks.slowed import Slowed
from training.slowing import Slowing, between
from training.warped_views import heard_thrice, without_views

SMALL = NarrowCampplus(
    head_channels=4,
    width=12,
    blocks=2,
    kernel=5,
    hidden=16,
    context=4,
    teacher_channels=16,
    second_layers=4,
    third_layers=2,
    growth=4,
    bottleneck=6,
    rank=8,
    kept=10,
    dimension=12,
)


@pytest.fixture(scope="module")
def network():
    return randomized(build(SMALL))


def test_the_shipped_size_has_at_most_two_million_parameters():
    assert 1_700_000 < build(NarrowCampplus()).count_params() <= 2_000_000


def test_a_recipe_names_it():
    size, make = NETWORKS["narrow-campplus"]
    assert (size, make) == (NarrowCampplus, build)


def test_each_block_of_the_teacher_ends_in_as_many_channels_as_its_layers_add_up_to(network):
    assert network.get_layer("second_transit_scale").scale.shape == (16 + 4 * 4,)
    assert network.get_layer("third_transit_scale").scale.shape == (16 + 2 * 4,)
    assert NarrowCampplus().second_channels == NarrowCampplus().third_channels == 1024  # as CAM++'s transits have


@pytest.mark.parametrize(
    ("frames", "heard"), [(11, 22), (12, 24), (13, 26), (98, 196), (99, 196), (165, 196), (197, 197)]
)
def test_the_front_gives_a_frame_for_every_four_begun_of_those_heard(network, frames, heard):
    front = keras.Model(network.inputs, network.get_layer(FRONT).output)
    assert run(front, features(frames)).shape == (1, -(-heard // 4), 16)


@pytest.mark.parametrize(("frames", "heard"), [(6, 10), (30, 50), (98, 163), (120, 164), (164, 164), (200, 200)])
def test_a_short_clip_is_heard_in_more_frames_between_its_own(frames, heard):
    slowing = Slowing(least_frames=164, slowest=0.6)
    crops = features(frames)
    padded = np.concatenate([crops, np.full((1, 40, 80), 7.0, np.float32)], axis=1)
    mask = np.concatenate([np.ones((1, frames, 1)), np.zeros((1, 40, 1))], axis=1).astype(np.float32)
    assert slowing.length(frames) == heard
    for given, valid in ((crops, mask[:, :frames]), (padded, mask)):
        found, counted = (np.asarray(part) for part in Slowed(slowing)([given, valid]))
        assert counted[0, :, 0].tolist() == [1.0] * heard + [0.0] * (found.shape[1] - heard)
        expected = [np.interp(np.arange(heard) * frames / heard, np.arange(frames), crops[0, :, b]) for b in range(80)]
        # places of float32 up to 200 are right to 1e-5, and frames of these differ by 20
        assert np.abs(found[0, :heard] - np.array(expected).T).max() <= 5e-4
        assert np.abs(found[0, :heard] - between(crops[0], heard, frames / heard)).max() <= 5e-4


# From 11 frames on, the least that speech detection lets through; every remainder of four.
@pytest.mark.parametrize("frames", [11, 20, 21, 22, 98])
@pytest.mark.parametrize("padding", [1, 2, 3, 4, 33])
def test_padded_frames_change_no_vector_whatever_is_in_them(network, frames, padding):
    crops = features(frames)
    mask = np.concatenate([np.ones((1, frames, 1)), np.zeros((1, padding, 1))], axis=1).astype(np.float32)
    alone = run(network, crops)
    for garbage in (np.zeros((1, padding, 80)), 50.0 * features(padding, seed=9), np.full((1, padding, 80), -16.0)):
        padded = np.concatenate([crops, garbage.astype(np.float32)], axis=1)
        assert np.abs(run(network, padded, mask) - alone).max() <= 1e-5


def test_the_vectors_have_unit_length_and_a_louder_recording_the_same(network):
    crops = features(60)
    vectors = run(network, crops)
    assert vectors.shape == (1, 12)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1.0).max() <= 1e-6
    for gain in (-6.0, 3.0):
        assert np.abs(run(network, crops + np.float32(gain)) - vectors).max() <= 1e-4


def test_the_gates_let_what_a_block_of_the_front_adds_through_unweighted_at_first():
    fresh = build(SMALL)
    for index in range(SMALL.blocks):
        kernel, bias = fresh.get_layer(f"block{index}_gate").get_weights()
        assert not kernel.any()
        assert np.all(bias == 1.0)


@pytest.mark.parametrize(("change", "message"), [({"grouped": 3}, "whole groups of 3"), ({"bins": 84}, "84 bins")])
def test_a_size_that_cannot_be_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        NarrowCampplus(**change)


def test_the_exported_graph_says_what_keras_says_and_can_hear_short_clips_thrice(network, tmp_path):
    front_end, graph = FRONT_ENDS["kaldi-16k"], tmp_path / "encoder.onnx"
    assert write_graph(network, front_end, graph) <= AGREEMENT
    thrice = heard_thrice(onnx.load(graph), front_end, np.eye(SMALL.dimension)[::-1], 31_600)
    onnx.checker.check_model(thrice, full_check=True)
    assert without_views(thrice).SerializeToString() == graph.read_bytes()
