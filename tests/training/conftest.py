"""What tests of training share: a tiny training, done once, and sounds that recordings are worsened by."""

from __future__ import annotations

import io

import numpy as np
import pytest

from speakerdb.audio import read


@pytest.fixture
def quiet():
    """A console that nobody reads."""
    from rich.console import Console

    return Console(file=io.StringIO())


@pytest.fixture(scope="session")
def voice(examples) -> np.ndarray:
    """Two voices of the examples, one after the other, at 16 kHz."""
    return np.concatenate([read(str(examples / f"{name}.wav"), 16_000).samples for name in ("ana_1", "ben_1")])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Corpora, teachers and lists of a training that takes seconds."""
    pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")
    from tiny_training import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory):
    """The folder of that training, run from its first step to its last; not to be changed."""
    from rich.console import Console
    from tiny_training import RECIPE

    from training.loop import train

    work = tmp_path_factory.mktemp("trained")
    train(RECIPE, tiny.material(), tiny.trials, work, Console(file=io.StringIO()))
    return work


@pytest.fixture(scope="session")
def folder(examples, tmp_path_factory):
    """Sounds to draw from: words and sentences of the examples' people, noises, and three rooms."""
    pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is an extra (speakerdb[train])")
    from training.rooms.impulse_responses import impulse_response
    from training.rooms.sounds import TABLE, write_sounds

    made, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    voices = [read(str(file), 16_000).samples for file in sorted(examples.glob("*_[12].wav"))]
    words, sentences = ([np.resize(voice, size) for voice in voices] for size in (16_000, 80_000))
    noises = [0.1 * rng.standard_normal(size).astype(np.float32) for size in (8_000, 30_000)]
    write_sounds(made, words + sentences, noises, [impulse_response(rng) for _ in range(3)])
    (made / TABLE).write_text("{}")
    return made
