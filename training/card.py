"""The card of a trained bundle: how it was made, and figures measured on the exported graph itself."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rich.console import Console

from speakerdb.audio import read
from speakerdb.encoder.bundle import FORMAT
from speakerdb.metrics import equal_error_rate, error_rates, roc_auc, sensitivity_at_specificity
from speakerdb.trials import Scores, read_pairs, score_pairs
from training.checkpoints import State
from training.front_ends import FrontEnd
from training.measure import ClipVectors, measure, model_scores
from training.quantize import seconds_a_run
from training.recipe import Recipe
from training.records import complete, read_index, read_shards

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
UNKNOWN = "unknown: stated by the user"
CHOSEN_FMR = 0.01
SPECIFICITY = 0.983
"""At which the seed states its sensitivity."""

LISTS = ("pairs", "gallery", "probes", "models", "models-trials")


@dataclass(frozen=True)
class Sets:
    """Where the sets to measure on lie: shards or archives, and lists given or drawn."""

    shards: Path
    corpora: Path
    trials: Path
    drawn: Path


def make_card(
    recipe: Recipe,
    state: State,
    parameters: int,
    graph: Path,
    work: Path,
    corpora: Path,
    trials: Path,
    console: Console,
) -> dict[str, Any]:
    """The card as JSON values but the graph's hash; measures dev (choosing the threshold) and test (reporting).

    Args: state: where the weights were found. work: the training's folder, with the pairs it was judged by.
    """
    figures, threshold = all_figures(recipe, graph, Sets(work.parent / "shards", corpora, trials, work / "trials"))
    for name, found in figures.items():
        console.print(f"{name}: {found}", highlight=False)
    limits = recipe.limits if threshold else [*recipe.limits, "No threshold was chosen: name one with --threshold."]
    return {
        "format": FORMAT,
        **recipe.bundle,
        "dimension": recipe.network.dimension,
        "rate_hz": recipe.front_end.rate_hz,
        **least_source_rate(recipe.front_end),
        "features": features(recipe.front_end),
        "least_speech_s": {"enroll": 1.0, "probe": 0.3},
        "threshold": threshold,
        "calibration": None,
        "parameters": parameters,
        "training": {
            "command": f"python -m training train --recipe {recipe.name}, then export",
            "step": state.step,
            "chosen_by": {"mean dev EER, %": state.best},
            "data": {name: described(recipe, name, work.parent / "shards") for name in material(recipe)},
            "teachers": {name: TEACHERS.get(name, UNKNOWN) for name in recipe.teachers.files},
            "recipe": recipe.to_json(),
        },
        "figures": figures,
        "figures_note": "whole clips, no voice activity detection, no score normalisation; EER and rates in %",
        "limits": limits,
    }


def all_figures(recipe: Recipe, graph: Path, sets: Sets) -> tuple[dict[str, Any], dict[str, float | str] | None]:
    """The figures of every dev and test set that has clips and pairs, and the threshold, from the first dev set."""
    figures, threshold = {}, None
    for name in [*recipe.dev, *(dev.replace("-dev", "-test") for dev in recipe.dev if dev.endswith("-dev"))]:
        vectors = embed_set(graph, recipe.front_end, name, sets.shards, sets.corpora)
        found = measured(name, vectors, sets.trials, sets.drawn) if vectors else None
        if found is not None:
            figures[name] = found
            if threshold is None and name in recipe.dev:
                threshold = choose_threshold(name, vectors, sets.trials, sets.drawn)
    return figures, threshold


def int8_card(card: dict[str, Any], recipe: Recipe, graph: Path, small: Path, sets: Sets) -> dict[str, Any]:
    """The card of the int8 graph: its own figures and threshold, and the float graph's beside.

    Raises: ValueError where there is nothing to measure on: an int8 bundle says what it costs, or is not written.
    """
    figures, threshold = all_figures(recipe, small, sets)
    if not figures:
        raise ValueError("int8: no dev set with clips and pairs to measure what it costs; nothing was written")
    rate_hz = recipe.front_end.rate_hz
    cost = {
        "float": {"figures": card["figures"], "cpu_s_for_5_s": round(seconds_a_run(graph, rate_hz), 4)},
        "int8": {"figures": figures, "cpu_s_for_5_s": round(seconds_a_run(small, rate_hz), 4)},
    }
    changed = {"version": f"{card['version']}-int8", "figures": figures, "threshold": threshold}
    return {**card, **changed, "int8": {"how": "dynamic: weights of products and LSTMs", **cost}}


def comparison(card: dict[str, Any]) -> list[str]:
    """A line a set and one for the time: float beside int8."""
    plain, small = card["int8"]["float"], card["int8"]["int8"]
    lines = [
        f"{name}: EER float {plain['figures'][name]['eer']:.2f} %, int8 {found['eer']:.2f} %"
        for name, found in small["figures"].items()
    ]
    times = [1000 * part["cpu_s_for_5_s"] for part in (plain, small)]
    return [*lines, f"CPU time for 5 s, one core: float {times[0]:.1f} ms, int8 {times[1]:.1f} ms"]


def features(front_end: FrontEnd) -> dict[str, Any]:
    """What the graph takes and gives, and the front end inside it with every parameter."""
    return {
        "kind": "waveform",
        "input": "waveform: float32 [batch, samples], -1 to 1",
        "lengths": "lengths: int64 [batch], optional: valid samples of each row; the rest is padding",
        "output": "embedding: float32 [batch, dimension], unit length",
        "inside": {"type": "log mel filter bank, its level taken off over the clip", **asdict(front_end)},  # type: ignore[call-overload]
    }


def least_source_rate(front_end: FrontEnd) -> dict[str, int]:
    """Below which rate a recording lacks what the highest bins hear: for a front end of more than 44.1 kHz."""
    return {"least_source_rate_hz": 44_100} if front_end.rate_hz > 44_100 else {}


def material(recipe: Recipe) -> list[str]:
    """The sets that were trained on."""
    return [*recipe.train, *([recipe.noise] if recipe.noise else [])]


def described(recipe: Recipe, name: str, shards: Path) -> dict[str, Any]:
    """A set's licence and, where its shards are still there, how much it is."""
    licence = recipe.licences.get(name) or LICENCES.get(name, UNKNOWN)
    if not complete(shards, name):
        return {"licence": licence}
    rows = read_index(shards, name)
    hours = sum(row.seconds for row in rows) / 3600
    return {
        "licence": licence,
        "hours": round(hours, 3),
        "speakers": len({row.speaker for row in rows}),
        "clips": len(rows),
    }


def embed_set(graph: Path, front_end: FrontEnd, name: str, shards: Path, corpora: Path) -> ClipVectors:
    """Vectors of whole clips by path, one at a time from the graph alone: what any other program would get.

    Returns: empty where the set is neither prepared nor an archive.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return {
        path: session.run(None, {"waveform": read(audio, front_end.rate_hz).samples[None]})[0][0]
        for path, audio in clips(name, shards, corpora)
    }


def clips(name: str, shards: Path, corpora: Path) -> Iterator[tuple[str, bytes]]:
    """Paths and audio of a set, from its shards or its archive."""
    archive = corpora / f"{name}.tar"
    if complete(shards, name):
        yield from ((clip.path, clip.audio) for clip in read_shards(shards, name))
    elif archive.exists():
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    yield member.name, content.read()


def measured(name: str, vectors: ClipVectors, trials: Path, drawn: Path) -> dict[str, float] | None:
    """All figures where a set has all lists; those of pairs where it has only these, given or drawn; else None."""
    if has_models(trials, name):
        return measure(trials, name, vectors)
    scores = pair_scores(name, vectors, trials, drawn)
    if scores is None:
        return None
    at = sensitivity_at_specificity(scores.target, scores.nontarget, SPECIFICITY)
    return {
        "eer": round(100.0 * equal_error_rate(scores.target, scores.nontarget).rate, 2),
        "auc": round(roc_auc(scores.target, scores.nontarget), 4),
        "sensitivity_at_specificity_98.3": round(100.0 * at.sensitivity, 2),
    }


def choose_threshold(name: str, vectors: ClipVectors, trials: Path, drawn: Path) -> dict[str, float | str] | None:
    """The distance at which a false match in a hundred happens on a dev corpus.

    With several clips enrolled, where there are lists of such trials; else by pairs of clips. None where even the
    nearest trial of all is a false match: no distance does that.
    """
    models = has_models(trials, name)
    scores = model_scores(trials, name, vectors) if models else pair_scores(name, vectors, trials, drawn)
    if scores is None:
        return None
    rates = error_rates(scores.target, scores.nontarget)
    at = int(np.flatnonzero(rates.fmr <= CHOSEN_FMR)[0])
    if not np.isfinite(rates.thresholds[at]):
        return None
    how = "3 clips enrolled" if models else "one clip against one"
    return {
        "distance": round(-float(rates.thresholds[at]), 3),
        "origin": f"FMR {100 * CHOSEN_FMR:g} % on {name}, {how} (FNMR {100 * float(rates.fnmr[at]):.1f} % there)",
    }


def has_models(trials: Path, name: str) -> bool:
    """Whether there are all lists of a set."""
    return all((trials / f"{name}-{kind}.txt").exists() for kind in LISTS)


def pair_scores(name: str, vectors: ClipVectors, *folders: Path) -> Scores | None:
    """Scores of a set's pairs by the first list there is."""
    for folder in folders:
        path = folder / f"{name}-pairs.txt"
        if path.exists():
            return score_pairs(read_pairs(path), vectors)
    return None
