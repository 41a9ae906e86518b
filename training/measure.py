"""The figures of an exported encoder on trial lists: what any other program would get from the graph alone."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from speakerdb.audio import read
from speakerdb.features import FilterBank
from speakerdb.metrics import (
    equal_error_rate,
    min_dcf,
    rank_one_rate,
    roc_auc,
    sensitivity_at_specificity,
    tpir_at_fpir,
)
from speakerdb.trials import (
    Scores,
    read_model_trials,
    read_models,
    read_pairs,
    read_probes,
    score_models,
    score_open_set,
    score_pairs,
)

ClipVectors = dict[str, npt.NDArray[np.float32]]


def embed_archive(model: Path, archive: Path) -> ClipVectors:
    """Vectors of whole clips by path, one at a time from the graph alone: what any other program would get."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return {
        path: session.run(None, {"waveform": read(audio, FilterBank().rate_hz).samples[None]})[0][0]
        for path, audio in _members(archive)
    }


def measure(trials: Path, name: str, vectors: ClipVectors) -> dict[str, float]:
    """The figures of PEERS.md on one corpus's lists."""
    pairs = score_pairs(read_pairs(trials / f"{name}-pairs.txt"), vectors)
    models = model_scores(trials, name, vectors)
    found = score_open_set(
        read_models(trials / f"{name}-gallery.txt"), read_probes(trials / f"{name}-probes.txt"), vectors
    )
    tpir = tpir_at_fpir(found.mated_scores, found.mated_ranks, found.nonmated_scores, 0.01)
    return {
        "eer": _percent(equal_error_rate(pairs.target, pairs.nontarget).rate),
        "auc": round(roc_auc(pairs.target, pairs.nontarget), 4),
        "sensitivity_at_specificity_98.3": _percent(
            sensitivity_at_specificity(pairs.target, pairs.nontarget, 0.983).sensitivity
        ),
        "min_dcf_0.05": round(min_dcf(pairs.target, pairs.nontarget, 0.05).cost, 3),
        "min_dcf_0.01": round(min_dcf(pairs.target, pairs.nontarget, 0.01).cost, 3),
        "eer_models": _percent(equal_error_rate(models.target, models.nontarget).rate),
        "tpir_at_fpir_1": _percent(tpir.tpir),
        "rank_1": _percent(rank_one_rate(found.mated_ranks)),
    }


def model_scores(trials: Path, name: str, vectors: ClipVectors) -> Scores:
    """Scores of one corpus's several-clip trials."""
    models = read_models(trials / f"{name}-models.txt")
    return score_models(models, read_model_trials(trials / f"{name}-models-trials.txt"), vectors)


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                yield member.name, content.read()


def _percent(share: float) -> float:
    return round(100.0 * share, 2)
