"""The card of a trained bundle: how it was made, and figures measured on the exported graph itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from speakerdb.encoder.bundle import FORMAT
from speakerdb.features import FilterBank
from speakerdb.metrics import error_rates
from training.measure import ClipVectors, embed_archive, measure, model_scores
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


def choose_threshold(trials: Path, name: str, vectors: ClipVectors) -> dict[str, float | str] | None:
    """The distance at which a false match in a hundred happens, several clips enrolled, on a dev corpus.

    None where even the nearest trial of all is a false match: no distance does that.
    """
    models = model_scores(trials, name, vectors)
    rates = error_rates(models.target, models.nontarget)
    at = int(np.flatnonzero(rates.fmr <= CHOSEN_FMR)[0])
    if not np.isfinite(rates.thresholds[at]):
        return None
    return {
        "distance": round(-float(rates.thresholds[at]), 3),
        "origin": f"FMR {100 * CHOSEN_FMR:g} % on {name}, 3 clips enrolled "
        f"(FNMR {100 * float(rates.fnmr[at]):.1f} % there)",
    }
