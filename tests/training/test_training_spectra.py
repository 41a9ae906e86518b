"""The exported graph's power spectra: those of the front ends' own kernels, of the lines that a mel filter hears."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from graph_runs import outputs
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.front_ends import FRONT_ENDS
from training.halved_spectra import with_halved_spectra
from training.spectra import ConvolvedSpectrum

KALDI = FRONT_ENDS["kaldi-16k"]


def heard(front_end) -> np.ndarray:
    return np.flatnonzero(front_end.filters().any(axis=1))


def power(front_end, waveform: np.ndarray) -> np.ndarray:
    """In float64, frame by frame, with the whole kernel."""
    length, shift = front_end.frame_length_samples, front_end.frame_shift_samples
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(float), length)[::shift]
    real, imaginary = np.split(frames @ front_end.kernel(), 2, axis=1)
    return (real**2 + imaginary**2)[:, heard(front_end)]


def mel_graph() -> onnx.ModelProto:
    """A graph whose mel filters are multiplied by anything."""
    nodes = [
        helper.make_node("Unsqueeze", ["waveform", "axis"], ["power"]),
        helper.make_node("MatMul", ["power", "filters"], ["mel"]),
        helper.make_node("Max", ["mel", "floor"], ["floored"]),
        helper.make_node("Log", ["floored"], ["logarithm"]),
    ]
    constants = {
        "axis": np.array([2]),
        "filters": KALDI.filters()[heard(KALDI)].astype(np.float32),
        "floor": np.float32(1e-7),
    }
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("logarithm", TensorProto.FLOAT, ["batch", "frames", 80])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    model.ir_version = 8
    return model


def halved(waveforms: np.ndarray) -> np.ndarray:
    return outputs(with_halved_spectra(mel_graph(), KALDI), waveforms, ["spectra.power"])[1]


def noise(samples: int) -> np.ndarray:
    """With an offset, which has to go, and much more at low frequencies than at high ones, as speech has."""
    return (0.2 + 0.01 * np.cumsum(np.random.default_rng(1).standard_normal(samples))).astype(np.float32)


# One frame, and from the last sample before a frame more to the first one after it.
@pytest.mark.parametrize("samples", [400, 401, 559, 560, 561, 719, 720, 16_000, 16_117])
def test_half_the_multiplications_give_the_same_power(samples):
    waveform = noise(samples)
    found, expected = halved(waveform[None])[0], power(KALDI, waveform)
    assert found.shape == expected.shape == (KALDI.frames(samples), 255)
    assert np.abs(found - expected).max() <= 2e-6 * expected.max()


def test_clips_of_a_batch_do_not_see_each_other():
    both = np.stack([noise(2_000), noise(2_000)[::-1]])
    together, alone = halved(both), halved(both[1:])[0]
    assert np.abs(together[1] - alone).max() <= 1e-6 * alone.max()


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="every 240"):
        with_halved_spectra(mel_graph(), replace(KALDI, frame_shift_samples=240))


def test_a_graph_with_halved_spectra_is_given_back_as_it_is():
    once = with_halved_spectra(mel_graph(), KALDI)
    onnx.checker.check_model(once, full_check=True)
    assert with_halved_spectra(once, KALDI) is once


@pytest.mark.parametrize("name", ["seed-16k", "kaldi-16k"])
def test_a_convolution_gives_the_power_of_any_front_end(name):
    front_end, waveform = FRONT_ENDS[name], noise(4_000)
    found = np.asarray(ConvolvedSpectrum(front_end, heard(front_end))(waveform[None]))[0]
    expected = power(front_end, waveform)
    assert np.abs(found - expected).max() <= 1e-5 * expected.max()
