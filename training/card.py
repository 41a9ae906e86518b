"""The card of a trained bundle: how it was made, and figures measured on the exported graph itself."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from rich.console import Console

from speakerdb.audio import read
from speakerdb.encoder.bundle import FORMAT
from speakerdb.features import FilterBank
from speakerdb.metrics import (
    equal_error_rate,
    error_rates,
    min_dcf,
    rank_one_rate,
    roc_auc,
    sensitivity_at_specificity,
    tpir_at_fpir,
)
from speakerdb.trials import (
    read_model_trials,
    read_models,
    read_pairs,
    read_probes,
    score_models,
    score_open_set,
    score_pairs,
)
from training.recipe import Recipe

LICENCES = {
    "common_voice-train": "Mozilla Common Voice 6.1, CC0",
    "speech_commands-train": "Google Speech Commands 0.01, CC BY 4.0",
    "librispeech-train": "LibriSpeech train-clean-100, CC BY 4.0",
    "speechocean762-train": "speechocean762, its train half, free for any use",
    "noise": "ESC-10, CC BY 3.0; Speech Commands' background noises, CC BY 4.0",
}
TEACHERS = {
    "campplus-train.npz": "CAM++ zh-en common advanced, 3D-Speaker, Apache-2.0",
    "ge2e-train.npz": "GE2E, Resemblyzer, Apache-2.0",
}
CHOSEN_FMR = 0.01
CHOSEN_ON = "common_voice-dev"


def make_card(
    recipe: Recipe,
    parameters: int,
    sha256: str,
    bundle: Path,
    work: Path,
    corpora: Path,
    trials: Path,
    console: Console,
) -> dict[str, Any]:
    """The card as JSON values; measures dev (choosing the threshold) and test (reporting)."""
    figures, threshold = {}, None
    for name in [*recipe.dev, *(dev.replace("-dev", "-test") for dev in recipe.dev)]:
        vectors = embed_archive(bundle / "encoder.onnx", corpora / f"{name}.tar")
        figures[name] = measure(trials, name, vectors)
        console.print(f"{name}: {figures[name]}", highlight=False)
        if name == CHOSEN_ON:
            threshold = choose_threshold(trials, name, vectors)
    return {
        "format": FORMAT,
        **recipe.bundle,
        "sha256": sha256,
        "dimension": recipe.network.dimension,
        "rate_hz": FilterBank().rate_hz,
        "features": {
            "kind": "waveform",
            "input": "waveform: float32 [batch, samples], -1 to 1",
            "lengths": "lengths: int64 [batch], optional: valid samples of each row; the rest is padding",
            "output": "embedding: float32 [batch, dimension], unit length",
            "inside": {"type": "Kaldi log mel filter bank, mean over the clip subtracted", **asdict(FilterBank())},
        },
        "least_speech_s": {"enroll": 1.0, "probe": 0.3},
        "threshold": threshold,
        "calibration": None,
        "parameters": parameters,
        "training": {
            "command": f"python -m training build --recipe {recipe.name}",
            "step": json.loads((work / "best.json").read_text())["step"],
            "data": {name: LICENCES[name] for name in [*recipe.train, recipe.noise]},
            "teachers": {name: TEACHERS[name] for name in recipe.teachers},
            "recipe": recipe.to_json(),
        },
        "figures": figures,
        "figures_note": "whole clips, no voice activity detection, no score normalisation; EER and rates in %",
        "limits": recipe.limits,
    }


def embed_archive(model: Path, archive: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Vectors of whole clips by path, one at a time from the graph alone: what any other program would get."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return {
        path: session.run(None, {"waveform": read(audio, FilterBank().rate_hz).samples[None]})[0][0]
        for path, audio in _members(archive)
    }


def measure(trials: Path, name: str, vectors: dict[str, npt.NDArray[np.float32]]) -> dict[str, float]:
    """The figures of PEERS.md on one corpus's lists."""
    pairs = score_pairs(read_pairs(trials / f"{name}-pairs.txt"), vectors)
    models = score_models(
        read_models(trials / f"{name}-models.txt"), read_model_trials(trials / f"{name}-models-trials.txt"), vectors
    )
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


def choose_threshold(
    trials: Path, name: str, vectors: dict[str, npt.NDArray[np.float32]]
) -> dict[str, float | str]:
    """The distance at which a false match in a hundred happens, several clips enrolled, on a dev corpus."""
    models = score_models(
        read_models(trials / f"{name}-models.txt"), read_model_trials(trials / f"{name}-models-trials.txt"), vectors
    )
    rates = error_rates(models.target, models.nontarget)
    at = int(np.flatnonzero(rates.fmr <= CHOSEN_FMR)[0])
    return {
        "distance": round(-float(rates.thresholds[at]), 3),
        "origin": f"FMR {100 * CHOSEN_FMR:g} % on {name}, 3 clips enrolled "
        f"(FNMR {100 * float(rates.fnmr[at]):.1f} % there)",
    }


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                yield member.name, content.read()


def _percent(share: float) -> float:
    return round(100.0 * share, 2)
