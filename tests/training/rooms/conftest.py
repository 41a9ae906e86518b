"""A finished graph, and sounds to teach it rooms by. All tests of this folder want PyTorch and pyroomacoustics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speakerdb.audio import read
from speakerdb.encoder.registry import find_bundle

RATE_HZ = 16_000


@pytest.fixture(scope="session")
def graph():
    """The shipped graph as its training left it."""
    import onnx

    from training.last_steps import without_last_steps

    return without_last_steps(onnx.load(find_bundle() / "encoder.onnx"))


@pytest.fixture(scope="session")
def folder(examples: Path, tmp_path_factory) -> Path:
    """Sounds to draw from: words and sentences of the examples' people, noises, and three rooms."""
    from training.rooms.impulse_responses import impulse_response
    from training.rooms.sounds import TABLE, write_sounds

    made, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    voices = [read(str(file), RATE_HZ).samples for file in sorted(examples.glob("*_[12].wav"))]
    words = [("speech_commands-train", voice[:16_000]) for voice in voices]
    sentences = [
        (f"{name}-train", np.tile(voice, 4)[:80_000]) for voice in voices for name in ("common_voice", "other")
    ]
    noises = [0.1 * rng.standard_normal(size).astype(np.float32) for size in (8_000, 30_000)]
    write_sounds(made, words + sentences, noises, [impulse_response(rng) for _ in range(3)])
    (made / TABLE).write_text("{}")
    return made


@pytest.fixture(scope="session")
def front_end(graph) -> bytes:
    """What makes features of waveforms."""
    from training.rooms.learn import front_end_of

    return front_end_of(graph)
