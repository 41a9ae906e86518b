"""Encoded recordings → samples inside a tf.data pipeline, by tensorflow-io's native operations or by libsndfile.

tensorflow-io decodes MP3, FLAC, WAV and Vorbis in the graph. Whether its operations load depends on how it was built,
so one is tried: beside a TensorFlow that it was not built for, it imports and then fails. Where it does, and for Opus
and everything else, `speakerdb.audio` decodes in a NumPy function at the same place of the graph.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import tensorflow as tf

from speakerdb.audio import read

Decoder = Callable[[tf.Tensor], tf.Tensor]

TINY_FLAC_SAMPLES = 64
FULL_SCALE = 32768.0
IN_GRAPH = {("MP3", "MPEG_LAYER_III"): 1, ("FLAC", "PCM_16"): 2, ("WAV", "PCM_16"): 3, ("OGG", "VORBIS"): 4}
"""What tensorflow-io decodes as libsndfile does; 0 is all else."""


@lru_cache(maxsize=1)
def tensorflow_io() -> Any | None:
    """The module `tensorflow_io` where its native operations work, else None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow_io as tfio
        flac = io.BytesIO()
        soundfile.write(flac, np.zeros(TINY_FLAC_SAMPLES, np.int16), 16_000, format="FLAC", subtype="PCM_16")
        decoded = tfio.audio.decode_flac(flac.getvalue(), dtype=tf.int16)
        return tfio if decoded.shape == (TINY_FLAC_SAMPLES, 1) else None
    except (ImportError, NotImplementedError, AttributeError, tf.errors.OpError):
        return None  # it is not installed, or does not fit this TensorFlow: soundfile decodes


def decoder(rate_hz: int) -> Decoder:
    """A graph function: a scalar string, the file → float32 [samples], mono, −1 to 1, at `rate_hz`.

    It raises where the recording cannot be read; `tf.data.Dataset.ignore_errors` leaves such a one out.
    """
    return _decoder_in_graph(rate_hz) if tensorflow_io() else decoder_by_libsndfile(rate_hz)


def decoder_by_libsndfile(rate_hz: int) -> Decoder:
    """The same by `speakerdb.audio`, which is the only way where tensorflow-io does not work."""

    def decode(content: bytes) -> npt.NDArray[np.float32]:
        return read(content, rate_hz).samples

    def in_graph(content: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(decode, [content], tf.float32), [None])

    return in_graph


def _decoder_in_graph(rate_hz: int) -> Decoder:
    tfio = tensorflow_io()
    assert tfio is not None  # the caller asked
    otherwise = decoder_by_libsndfile(rate_hz)

    def resampled(samples: npt.NDArray[np.float32], source_rate_hz: np.int64) -> npt.NDArray[np.float32]:
        if source_rate_hz == rate_hz:
            return samples
        return soxr.resample(samples, int(source_rate_hz), rate_hz, quality="HQ").astype(np.float32)

    def mono(channels: tf.Tensor) -> tf.Tensor:
        scale = FULL_SCALE if channels.dtype == tf.int16 else 1.0
        return tf.reduce_mean(tf.cast(channels, tf.float32), axis=1) / scale

    def decode(content: tf.Tensor) -> tf.Tensor:
        kind, source_rate_hz = tf.numpy_function(_header, [content], [tf.int64, tf.int64])
        samples = tf.switch_case(
            tf.cast(kind, tf.int32),
            [
                lambda: otherwise(content),
                lambda: mono(tfio.audio.decode_mp3(content)),
                lambda: mono(tfio.audio.decode_flac(content, dtype=tf.int16)),
                lambda: mono(tfio.audio.decode_wav(content, dtype=tf.int16)),
                lambda: mono(tfio.audio.decode_vorbis(content)),
            ],
        )
        rate = tf.where(kind == 0, tf.constant(rate_hz, tf.int64), source_rate_hz)
        return tf.ensure_shape(tf.numpy_function(resampled, [samples, rate], tf.float32), [None])

    return decode


def _header(content: bytes) -> tuple[np.int64, np.int64]:
    """Which operation decodes it (see `IN_GRAPH`), and its sample rate."""
    try:
        info = soundfile.info(io.BytesIO(content))
    except soundfile.LibsndfileError:
        return np.int64(0), np.int64(0)
    return np.int64(IN_GRAPH.get((info.format, info.subtype), 0)), np.int64(info.samplerate)
