"""A graph without the masks of padded batches, beside the one that has them and beside slowing written out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from graph_runs import outputs
from random_networks import randomized
from test_training_narrow_campplus import SMALL

from training.export import waveform_model, write_onnx
from training.front_ends import FRONT_ENDS
from training.graph_parts import copied
from training.networks.narrow_campplus import build
from training.one_length import of_one_length
from training.quick import of_today, quick
from training.slowing import Slowing, between

BANK = FRONT_ENDS["kaldi-16k"]
SLOWED_UNDER = 31_600
"""Samples of 196 frames."""


@pytest.fixture(scope="module")
def for_batches(tmp_path_factory) -> onnx.ModelProto:
    """A network as it is exported, with `lengths`."""
    path = tmp_path_factory.mktemp("graph") / "encoder.onnx"
    write_onnx(waveform_model(randomized(build(SMALL)), BANK), path)
    return onnx.load(path)


@pytest.fixture(scope="module")
def alike(for_batches) -> onnx.ModelProto:
    return of_one_length(for_batches, SMALL.slowing)


def test_a_clip_has_the_vector_that_it_had(for_batches, alike, voice):
    for samples in (2_000, 6_000, 15_999, SLOWED_UNDER - 160, SLOWED_UNDER, 48_000):
        before, after = (outputs(model, voice[None, :samples])[0] for model in (for_batches, alike))
        assert np.abs(before - after).max() <= 2e-6


def test_clips_of_a_batch_have_the_vectors_that_they_have_alone(alike, voice):
    for samples in (8_000, 40_000):
        clips = [voice[at : at + samples] for at in (0, 4_000, 8_000)]
        alone = np.concatenate([outputs(alike, clip[None])[0] for clip in clips])
        assert np.abs(outputs(alike, np.stack(clips))[0] - alone).max() <= 2e-6


def test_nothing_is_left_that_only_padding_needs(for_batches, alike):
    onnx.checker.check_model(alike, full_check=True)
    assert [value.name for value in alike.graph.input] == ["waveform"]
    assert not {"LessOrEqual", "Greater", "Not"} & {node.op_type for node in alike.graph.node}
    assert len(alike.graph.node) < len(for_batches.graph.node) - 70


def test_the_graph_that_was_given_stays_as_it_was_and_one_without_lengths_is_given_back(for_batches, alike):
    before = for_batches.SerializeToString()
    of_one_length(for_batches, SMALL.slowing)
    assert for_batches.SerializeToString() == before
    assert of_one_length(alike, SMALL.slowing) is alike


def test_the_graph_of_another_network_is_refused(for_batches):
    other = copied(for_batches)
    for node in other.graph.node:
        node.op_type = "Identity" if node.op_type == "Gather" else node.op_type
    with pytest.raises(ValueError, match="of another network than narrow-campplus"):
        of_one_length(other, SMALL.slowing)


@pytest.mark.parametrize("slowing", [Slowing(196, 0.5), Slowing(164, 0.6), Slowing()])
@pytest.mark.parametrize("frames", [6, 98, 99, 163, 164, 200])
def test_short_clips_are_heard_in_frames_between_their_own(for_batches, voice, slowing, frames):
    model = of_one_length(for_batches, slowing)
    mel, heard = next((node.input[0], node.output[0]) for node in model.graph.node if node.op_type == "Resize")
    _, given, found = outputs(model, voice[None, : 400 + 160 * (frames - 1)], [mel, heard])
    count = slowing.length(frames)
    assert given.shape[1] == frames and found.shape[1] == count
    # places of float32 up to 200 are right to 1e-5, and frames differ by 20
    assert np.abs(found[0] - between(given[0], count, frames / count)).max() <= 5e-4


def test_a_graph_exported_for_batches_becomes_what_an_export_writes_now(for_batches, voice):
    now = quick(for_batches, BANK, SMALL.slowing)
    assert [value.name for value in now.graph.output] == ["embedding", "windows"]
    assert of_today(now, BANK, SMALL.slowing) is now
    again = of_today(for_batches, BANK, SMALL.slowing)
    assert len(again.graph.node) == len(now.graph.node)
    assert np.abs(outputs(again, voice[None])[0] - outputs(now, voice[None])[0]).max() <= 2e-6
