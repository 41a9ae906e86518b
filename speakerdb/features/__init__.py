"""Samples → what an encoder's graph takes, as its card's `features` say.

`waveform`: the samples themselves; the graph computes its own features (all encoders trained here).
`kaldi-fbank`: Kaldi's log mel filter bank through kaldi-native-fbank, for published encoders.
`ge2e-windows`: Resemblyzer's windows of mel power.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.features.ge2e import RATE_HZ as GE2E_RATE_HZ
from speakerdb.features.ge2e import ge2e_windows
from speakerdb.features.kaldi import USUAL, WINDOWS, kaldi_fbank

USUAL_RATE_HZ, USUAL_BINS = 16_000, 80

KINDS = ("waveform", "kaldi-fbank", "ge2e-windows")


def graph_input(samples: npt.NDArray[np.float32], features: dict[str, Any]) -> npt.NDArray[np.float32]:
    """What the graph of a published encoder takes of one clip.

    Args: samples: float32 [samples], −1 to 1, at the encoder's rate. features: of its card, checked.
    Returns: float32 [1, samples], [1, frames, bins] or [windows, frames, bins], as `kind` says.
    Raises: as `kaldi_fbank`.
    """
    if features["kind"] == "kaldi-fbank":
        return kaldi_fbank(samples, features)[None]
    return ge2e_windows(samples) if features["kind"] == "ge2e-windows" else samples[None]


def unusual(features: dict[str, Any], rate_hz: int) -> dict[str, Any]:
    """What decides a graph's vectors besides the graph, as far as it is not the usual: empty for most cards.

    Args: features: of its card, checked. rate_hz: of its samples.
    """
    usual = {"kind": features["kind"], "rate_hz": USUAL_RATE_HZ, "bins": USUAL_BINS, **USUAL}
    found = {name: value for name, value in {"rate_hz": rate_hz, **features}.items() if usual.get(name) != value}
    return {"kind": features["kind"], **found} if found else {}


def check_features(features: dict[str, Any], rate_hz: int) -> None:
    """Whether a card's `features` can be computed from samples at its rate.

    Raises: KeyError or TypeError for a parameter that is missing or of another type, ValueError for one out of range.
    """
    kind = features["kind"]
    if kind not in KINDS:
        raise ValueError(f"features of kind {kind!r} are not known here")
    if kind == "ge2e-windows" and rate_hz != GE2E_RATE_HZ:
        raise ValueError(f"{kind} are made of samples at {GE2E_RATE_HZ} Hz, not {rate_hz}")
    if kind != "kaldi-fbank":
        return
    features = USUAL | features
    if features["rate_hz"] != rate_hz:
        raise ValueError(f"samples at {rate_hz} Hz, features at {features['rate_hz']} Hz")
    if type(features["bins"]) is not int or not 1 <= features["bins"] <= 1_024:
        raise ValueError(f"{features['bins']!r} bins")
    if features["window"] not in WINDOWS:
        raise ValueError(f"window {features['window']!r}; there are {', '.join(WINDOWS)}")
    low, high = features["low_hz"], features["high_hz"]
    if not 0.0 <= low < (high if high > 0.0 else rate_hz / 2 + high) <= rate_hz / 2:
        raise ValueError(f"a filter bank from {low} to {high} Hz at {rate_hz} Hz")
    if not 0.0 < features["scale"] <= 1e6:
        raise ValueError(f"samples scaled by {features['scale']!r}")
