"""What a graph that is being changed says of a train set's clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto
from rich.console import Console

from speakerdb.embedding import Vector, Vectors, average
from training.corpora import open_corpus
from training.evaluation.clips import OfCorpus
from training.evaluation.embed import embed_clips
from training.evaluation.embeddings import Embeddings
from training.evaluation.run import Encoder


def clips_of(model: ModelProto, rate_hz: int, archive: Path, work: Path, console: Console) -> dict[str, list[Vector]]:
    """Unit vectors of a set's clips, whole: speakers sorted, a speaker's clips in the table's order.

    Args: rate_hz: of its waveform. archive: the set's. work: where vectors are kept as they come, a file a graph.
    Raises: ValueError where there is no such archive.
    """
    dimension = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    encoder = Encoder.of_graph(model.SerializeToString(), rate_hz, dimension)
    corpus = open_corpus(str(archive))
    source, rows = OfCorpus(corpus), corpus.rows()
    stem = work / "last-steps" / f"{corpus.name}-{encoder.sha256[:12]}"
    vectors = Embeddings(stem, encoder.sha256, dimension, source.fingerprint())
    embed_clips([row.path for row in rows], source, encoder.encode, rate_hz, vectors, console, corpus.name)
    of_speaker: dict[str, list[Vector]] = {}
    for row in rows:
        of_speaker.setdefault(row.speaker, []).append(vectors[row.path])
    return dict(sorted(of_speaker.items()))


def voices_of(model: ModelProto, rate_hz: int, archive: Path, work: Path, console: Console) -> Vectors:
    """Voiceprints of a set's speakers: float32 [speakers, dimension]; arguments and errors as of `clips_of`."""
    return np.stack([average(np.stack(own)) for own in clips_of(model, rate_hz, archive, work, console).values()])
