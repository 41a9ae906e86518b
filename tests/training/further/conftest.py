"""A finished graph, and few clips to teach it further by. These tests want PyTorch and pyroomacoustics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from speakerdb.encoder.registry import find_bundle

DIMENSION = 192


@pytest.fixture(scope="session")
def graph():
    """The shipped graph as its training left it."""
    onnx = pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
    from training.last_steps import without_last_steps

    return without_last_steps(onnx.load(find_bundle() / "encoder.onnx"))


@pytest.fixture(scope="session")
def front_end(graph) -> bytes:
    """What makes features of waveforms."""
    pytest.importorskip("torch", reason="PyTorch is an extra (speakerdb[further])")
    from training.further.bundle import front_end_of

    return front_end_of(graph)


@dataclass(frozen=True)
class Written:
    """Lessons on disk, and their names: words and sentences of one speaker each, as recorded and in another voice."""

    folder: object
    names: list[str]


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Written:
    """Four speakers of three words and of two sentences, a rising line each, in two sets of recorded clips and two
    virtual ones."""
    from training.kept import write_arrays
    from training.rooms.sounds import Pieces

    made, names = tmp_path_factory.mktemp("lessons"), list[str]()
    for corpus, seconds, count in (("speech_commands", 1.0, 3), ("common_voice", 4.5, 2)):
        for suffix in ("", "@voice0"):
            name = f"{corpus}-train{suffix}"
            speakers = np.repeat([f"{corpus}{number}{suffix}" for number in range(4)], count)
            paths = np.array([f"{speaker}/{clip}.wav" for clip, speaker in enumerate(speakers)])
            length = round(seconds * 16_000)
            pieces = [(0.2 * np.linspace(0.0, 1.0, length) + 0.1).astype(np.float16) for _ in paths]
            Pieces.written(made, name, pieces)
            names_of = np.array([path.removesuffix(".wav") for path in paths])
            corpora = np.full(len(paths), corpus)
            columns = {"paths": paths, "names": names_of, "speakers": speakers, "corpora": corpora}
            write_arrays(made / f"{name}.npz", made_of=np.array("test"), **columns)
            names.append(name)
    return Written(made, names)


@pytest.fixture(scope="session")
def targets(written):
    """Of each clip a direction of its own, and a share of its speaker's."""
    from training.further.lessons import Lessons
    from training.further.targets import Targets

    lessons, rng = Lessons.opened(written.folder, written.names), np.random.default_rng(0)
    voices = rng.standard_normal((int(lessons.speakers.max()) + 1, DIMENSION))
    parts = (voices[lessons.speakers] + 0.1 * rng.standard_normal((len(lessons), DIMENSION)) for _ in range(2))
    first, second = (part.astype(np.float32) / np.float32(np.sqrt(DIMENSION)) for part in parts)
    return Targets(first, second, lessons.corpora == "speech_commands")
