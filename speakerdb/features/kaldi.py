"""Kaldi's log mel filter bank through kaldi-native-fbank: what graphs of WeSpeaker and 3D-Speaker take."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.errors import EncoderDamaged

WINDOWS = ("povey", "hamming", "hanning", "rectangular", "blackman")

USUAL: dict[str, Any] = {"window": WINDOWS[0], "low_hz": 20.0, "high_hz": 0.0, "scale": 32_768.0, "subtract_mean": True}
"""What a card that does not say otherwise means."""


def kaldi_fbank(samples: npt.NDArray[np.float32], card: dict[str, Any]) -> npt.NDArray[np.float32]:
    """The filter bank that a published encoder's card asks for, computed by kaldi-native-fbank.

    Args:
        samples: float32 [samples], −1 to 1.
        card: the card's `features`: `bins`, `rate_hz`, `low_hz`, `high_hz`, `window`, `scale`, `subtract_mean`.
    Returns: float32 [frames, bins]; no frames where the samples are fewer than one frame has.
    Raises: ValueError for parameters that Kaldi refuses; EncoderDamaged where kaldi-native-fbank is not installed.
    """
    try:
        import kaldi_native_fbank
    except ImportError as error:
        raise EncoderDamaged("kaldi-fbank", "needs kaldi-native-fbank: pip install 'speakerdb[kaldi]'") from error
    card = USUAL | card
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = card["rate_hz"]
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.frame_opts.window_type = card["window"]
    options.mel_opts.num_bins = card["bins"]
    options.mel_opts.low_freq = card["low_hz"]
    options.mel_opts.high_freq = card["high_hz"]
    options.energy_floor = 0.0
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(card["rate_hz"], (samples * card["scale"]).tolist())
    fbank.input_finished()
    if fbank.num_frames_ready == 0:
        return np.zeros((0, card["bins"]), np.float32)
    frames = np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)]).astype(np.float32)
    return frames - frames.mean(axis=0) if card["subtract_mean"] else frames
