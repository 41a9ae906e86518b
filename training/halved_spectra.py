"""A graph of Kaldi's frames → one that takes half of the multiplications for their power spectra.

Kaldi's window is symmetric, so the sums and differences of samples as far from a frame's middle on either side hold
the spectrum: the real part is the transform of the sums by cosines of the distance from the middle, the imaginary
one that of the differences by sines. Taking the middle for the origin turns phases, and power has none. Two
products of 200 rows take the place of one of 400.

Pre-emphasis is applied to the whole waveform: a frame's first sample then has the one before it taken off instead
of itself, but the window is 0 there. What is left of the frame's mean, m · (1 − a) for a pre-emphasis of a, is
(Σ g − a · (last sample − sample before the first)) / length, with g the pre-emphasised frame; its transform is
that of the window, so the first part is folded into the sums' matrix, and the second is one more row, for which the
differences' has zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from speakerdb.features.filter_bank import FilterBank, povey_window
from training.front_ends import KaldiBank, heard_lines
from training.graph_parts import Step, add_constants, copied, mel_product, replace
from training.simplify import Graph

Matrix = npt.NDArray[np.float64]
PREFIX = "spectra."
END = np.iinfo(np.int64).max


def with_halved_spectra(model: ModelProto, bank: KaldiBank) -> ModelProto:
    """The graph with these operations for the power that its mel filters take; one that has them as it is.

    Args: model: it is not changed.
    Raises: ValueError for frames whose halves do not lie in three hops; as `mel_product`.
    """
    hop, length = bank.frame_shift_samples, bank.frame_length_samples
    if not hop < length // 2 < 2 * hop < length:
        raise ValueError(f"frames of {length} samples every {hop}: their halves do not lie in three hops")
    power = mel_product(model).input[0]
    if power.startswith(PREFIX):
        return model
    changed = copied(model)
    add_constants(changed, PREFIX, _constants(bank, heard_lines(bank)))
    replace(changed, power, PREFIX, _steps(power))
    return Graph(changed).model()


def _constants(bank: FilterBank, lines: npt.NDArray[np.intp]) -> dict[str, npt.NDArray[Any] | np.generic]:
    hop, length = bank.frame_shift_samples, bank.frame_length_samples
    tail, ahead = 3 * hop - length, length // 2 - hop
    cosines, sines = halved_kernels(bank, lines)
    whole = {
        "zeroth": [0],
        "first": [1],
        "tail": [tail],
        "hop": [hop],
        "around": [0, 1, 0, tail],
        "in_hops": [0, -1, hop],
        "backwards": list(range(hop - 1, -1, -1)),
        "both": [1, 2],
        "last_from": [2, hop - tail - 1],
        "last_to": [END, hop - tail],
        "first_from": [0, 0],
        "first_to": [-2, 1],
        "but_two": [-2],
        "next_from": [1, 0],
        "next_to": [-1, ahead],
        "third_from": [2, tail],
        "third_to": [END, hop],
        "middle_from": [1, 0],
        "middle_to": [-1, hop - ahead],
    }
    return {
        "cosines": cosines.astype(np.float32),
        "sines": sines.astype(np.float32),
        "preemphasis": np.float32(bank.preemphasis),
        **{name: np.array(values, np.int64) for name, values in whole.items()},
    }


def _steps(power: str) -> list[Step]:
    """Hops are a frame's shift; a frame is one, the next, and the beginning of a third."""
    return [
        ("Shape", ["waveform"], ".samples", {"start": 1}),
        ("Add", [".samples", ".tail"], ".with_tail", {}),
        ("Div", [".with_tail", ".hop"], ".hop_count", {}),
        ("Mul", [".hop_count", ".hop"], ".whole", {}),
        ("Add", [".whole", ".first"], ".whole_and_one", {}),
        ("Pad", ["waveform", ".around"], ".held", {}),
        ("Slice", [".held", ".zeroth", ".whole", ".first"], ".before", {}),
        ("Slice", [".held", ".first", ".whole_and_one", ".first"], ".now", {}),
        ("Mul", [".before", ".preemphasis"], ".taken_off", {}),
        ("Sub", [".now", ".taken_off"], ".emphasised", {}),
        ("Reshape", [".emphasised", ".in_hops"], ".hops", {}),
        ("Reshape", [".now", ".in_hops"], ".hops_now", {}),
        ("Reshape", [".before", ".in_hops"], ".hops_before", {}),
        ("Slice", [".hops_now", ".last_from", ".last_to", ".both"], ".last", {}),
        ("Slice", [".hops_before", ".first_from", ".first_to", ".both"], ".before_first", {}),
        ("Neg", [".before_first"], ".less_before_first", {}),
        ("Slice", [".hops", ".zeroth", ".but_two", ".first"], ".left_hop", {}),
        ("Slice", [".hops", ".next_from", ".next_to", ".both"], ".left_next", {}),
        ("Concat", [".left_hop", ".left_next", ".last"], ".left", {"axis": 2}),
        *_TURNED,
        ("Slice", [".turned", ".third_from", ".third_to", ".both"], ".right_third", {}),
        ("Slice", [".turned", ".middle_from", ".middle_to", ".both"], ".right_middle", {}),
        ("Concat", [".right_third", ".right_middle", ".less_before_first"], ".right", {"axis": 2}),
        ("Add", [".left", ".right"], ".sums", {}),
        ("Sub", [".left", ".right"], ".differences", {}),
        ("MatMul", [".sums", ".cosines"], ".real", {}),
        ("MatMul", [".differences", ".sines"], ".imaginary", {}),
        ("Mul", [".real", ".real"], ".real_squared", {}),
        ("Mul", [".imaginary", ".imaginary"], ".imaginary_squared", {}),
        ("Add", [".real_squared", ".imaginary_squared"], f".{power}", {}),
    ]


_TURNED: list[Step] = [
    ("Transpose", [".hops"], ".columns", {"perm": [0, 2, 1]}),
    ("Gather", [".columns", ".backwards"], ".columns_turned", {"axis": 1}),
    ("Transpose", [".columns_turned"], ".turned", {"perm": [0, 2, 1]}),
]
"""Each hop backwards: rows are moved as one, where a slice of negative steps takes three times as long."""


def halved_kernels(bank: FilterBank, lines: npt.NDArray[np.intp]) -> tuple[Matrix, Matrix]:
    """The matrices of sums and of differences, float64 [length / 2 + 1, lines] each, their last rows for the samples at
    the ends."""
    length = bank.frame_length_samples
    half = length // 2
    window = povey_window(bank)[:half]
    from_middle = np.arange(half) - (length - 1) / 2.0
    angles = 2.0 * np.pi * np.outer(from_middle, lines) / bank.fft_samples
    cosines = window[:, None] * np.cos(angles)
    mean = -2.0 * cosines.sum(axis=0, keepdims=True) / length  # the window's transform: both halves
    sums = np.concatenate([cosines + mean, -bank.preemphasis * mean])
    differences = np.concatenate([window[:, None] * np.sin(angles), np.zeros_like(mean)])
    return bank.scale * sums, bank.scale * differences
