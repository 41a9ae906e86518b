"""Decoding in a tf.data graph: the same samples whichever way is taken."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train or tfio)")

import tensorflow as tf
from tiny_corpus import EXAMPLES

from speakerdb import audio
from training.decoding import decoder, decoder_by_libsndfile, tensorflow_io

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "wav of floats": ("WAV", "FLOAT"),
}


def encoded(kind: str, channels: int = 1, rate_hz: int = 48_000) -> bytes:
    """Two seconds of a voice at 48 kHz, the second channel half as loud."""
    recording = audio.read(str(EXAMPLES / "ana_1.wav"), rate_hz).samples[: 2 * rate_hz]
    file, (form, subtype) = io.BytesIO(), FORMATS[kind]
    soundfile.write(file, np.stack([recording, 0.5 * recording], axis=1)[:, :channels], rate_hz, subtype, format=form)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_recording_is_decoded_in_the_graph_as_outside_of_it(kind, channels):
    content = encoded(kind, channels)
    data = tf.data.Dataset.from_tensors(tf.constant(content)).map(decoder_by_libsndfile(16_000))
    [found] = data.as_numpy_iterator()
    assert np.array_equal(found, audio.read(content, 16_000).samples)


@pytest.mark.skipif(tensorflow_io() is None, reason="tensorflow-io's operations do not load here; make test-tfio")
@pytest.mark.parametrize("rate_hz", [48_000, 16_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", FORMATS)
def test_both_ways_give_the_same_samples(kind, channels, rate_hz):
    content = encoded(kind, channels)
    ways = [decoder(rate_hz), decoder_by_libsndfile(rate_hz)]
    native, plain = (next(tf.data.Dataset.from_tensors(content).map(way).as_numpy_iterator()) for way in ways)
    assert len(native) == len(plain)
    # Two MP3 decoders round in their own ways, and differently on each processor: 0.04 of a 16-bit step at most in
    # released MP3 files here, 0.17 elsewhere. Less than half a step is what no 16-bit file would show.
    assert np.abs(native - plain).max() < 0.5 / 32_768


@pytest.mark.skipif(tensorflow_io() is None, reason="tensorflow-io's operations do not load here; make test-tfio")
@pytest.mark.parametrize("content", [b"", b"no sound at all", b"RIFF\x00\x00\x00\x00WAVEfmt ", b"\xff\xfb\x90\x00" * 3])
def test_what_is_no_sound_is_an_error_that_can_be_ignored(content):
    data = tf.data.Dataset.from_tensors(tf.constant(content)).map(decoder(16_000))
    assert list(data.ignore_errors().as_numpy_iterator()) == []


def test_the_way_is_chosen_by_trying():
    pytest.importorskip("tensorflow")
    found = tensorflow_io()
    assert found is None or found.audio.decode_flac  # never a module whose operations fail
