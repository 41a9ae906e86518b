"""Graphs as ours were up to 0.9: they take padded batches, and make windows whether anybody wants them or not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are made with onnx (the extra train)")

from tiny_graphs import graph_for_batches

from speakerdb.encoder.bundle import Bundle, open_bundle, parse_card
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.runtime import Runtime


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    folder = find_bundle()
    raw = {**open_bundle(folder).card.raw, "dimension": 2}
    return Runtime(Bundle(folder, parse_card(raw, folder), graph_for_batches()))


def clips() -> list[np.ndarray]:
    """More than a batch holds, of many lengths, not sorted by them; the longer, the more of a clip lies above 0."""
    rng = np.random.default_rng(0)
    lengths = rng.permutation(np.linspace(400, 60_000, 21).astype(int))
    return [(rng.standard_normal(length) + length / 60_000).astype(np.float32) for length in lengths]


def by_hand(clip: np.ndarray) -> np.ndarray:
    both = np.array([clip.clip(min=0).sum(dtype=float), len(clip)])
    return both / np.linalg.norm(both)


def test_clips_of_many_lengths_have_their_own_vectors_in_their_own_places(runtime):
    found = runtime.vectors(clips())
    assert np.abs(found - np.array([by_hand(clip) for clip in clips()])).max() <= 1e-5


@pytest.mark.parametrize(("seconds", "windows"), [(1.5, 0), (2.0, 1), (4.9, 3)])
def test_a_clips_windows_are_those_that_end_within_it(runtime, seconds, windows):
    clip = np.resize(clips()[0], round(16_000 * seconds))
    vector, found = runtime.vector_and_windows(clip)
    assert np.abs(vector - by_hand(clip)).max() <= 1e-5
    assert found.shape == (windows, 2)
    assert np.abs(found - vector).max(initial=0.0) <= 1e-6
