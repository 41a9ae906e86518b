"""The card of a trained bundle: how it was made, and figures measured on the exported graph itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.console import Console

from speakerdb.encoder.bundle import FORMAT
from speakerdb.encoder.runtime import LENGTHS, WINDOWS_WANTED
from speakerdb.metrics import error_rates
from training.apart import people_of, require_strangers
from training.checkpoints import State
from training.dev_pairs import lists_of
from training.evaluation.clips import named_set
from training.evaluation.cut import CUT_S, cut_eer
from training.evaluation.lists import Lists
from training.evaluation.report import SHOWN_TARGETS
from training.evaluation.run import Encoder, Evaluated, Job, evaluate
from training.front_ends import FrontEnd
from training.last_steps import of_last_steps
from training.quantize import seconds_a_run
from training.recipe import Recipe
from training.records import complete, read_index

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
INHERITED = {
    "campplus_zh_en.onnx": "CAM++ zh-en common advanced, 3D-Speaker, Apache-2.0: blocks 2 and 3, narrowed",
}
INT8_COST, INT8_COST_PERCENT = 0.1, 1.0
"""How much worse an int8 graph's EER may be, in %: a tenth, and a point, which small lists do not tell apart."""
UNKNOWN = "unknown: stated by the user"
OPTIONAL = {
    LENGTHS: "lengths: int64 [batch], optional: valid samples of each row; the rest is padding",
    WINDOWS_WANTED: "windows_wanted: bool, optional: whether the output windows has any; it has none by default",
}
"""What a graph may take besides the waveform."""
CHOSEN_FMR = 0.01


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

    Args:
        state: where the weights were found, and the steps that they were trained by, which `--steps` may have changed.
        work: the training's folder, with the pairs it was judged by.
    """
    figures, threshold = all_figures(recipe, graph, Sets(work.parent / "shards", corpora, trials, lists_of(work)))
    for name, found in figures.items():
        console.print(f"{name}: {found}", highlight=False, soft_wrap=True)
    return {
        "format": FORMAT,
        **recipe.bundle,
        "dimension": recipe.network.dimension,
        "rate_hz": recipe.front_end.rate_hz,
        **least_source_rate(recipe.front_end),
        "features": features(recipe.front_end, graph),
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
            **descent(recipe),
            **of_last_steps(recipe),
            "recipe": {**recipe.to_json(), "optimization": state.settings["optimization"]},
        },
        "figures": figures,
        "figures_note": "whole clips, no voice activity detection, no score normalisation; EER and rates in %",
        "limits": limits(recipe, threshold),
    }


def limits(recipe: Recipe, threshold: dict[str, float | str] | None) -> list[str]:
    """What a card says that a bundle is not good for."""
    return [*recipe.limits, *([] if threshold else ["No threshold was chosen: name one with --threshold."])]


def all_figures(recipe: Recipe, graph: Path, sets: Sets) -> tuple[dict[str, Any], dict[str, float | str] | None]:
    """The figures of every dev and test set that has clips and pairs, and the threshold, from the first dev set."""
    figures, threshold = {}, None
    judged = people_of(recipe.judged, sets.shards, sets.corpora)
    require_strangers(recipe.train, judged, sets.shards, sets.corpora)
    for name in recipe.judged:
        lists = Lists.named(name, sets.trials, sets.drawn)
        source = named_set(name, sets.shards, sets.corpora)
        if lists is None or source is None:
            continue
        encoder = Encoder.of_graph(graph.read_bytes(), recipe.front_end.rate_hz, recipe.network.dimension)
        job = Job(lists, source)
        found = evaluate(job, encoder, Console(stderr=True))
        figures[name] = {**found.report.figures, **parts_of(found, job, encoder)}
        if threshold is None and name in recipe.dev:
            threshold = choose_threshold(lists, found)
    return figures, threshold


def int8_card(card: dict[str, Any], recipe: Recipe, graph: Path, small: Path, sets: Sets) -> dict[str, Any]:
    """The card of the int8 graph: its own figures and threshold, and the float graph's beside.

    Raises: ValueError where there is nothing to measure on, since an int8 bundle says what it costs, or is not
        written; and where it costs too much.
    """
    figures, threshold = all_figures(recipe, small, sets)
    if not figures:
        raise ValueError("int8: no dev set with clips and pairs to measure what it costs; nothing was written")
    for name, found in figures.items():
        plain = card["figures"][name]["eer"]
        if found["eer"] > (1.0 + INT8_COST) * plain + INT8_COST_PERCENT:
            lost = f"{name}: EER {plain:.2f} % before, {found['eer']:.2f} % after"
            raise ValueError(f"int8: {lost}; this network does not bear it, and only the float bundle was written")
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


def features(front_end: FrontEnd, graph: Path) -> dict[str, Any]:
    """What the graph takes and gives, and the front end inside it with every parameter."""
    takes = [value.name for value in onnx.load(graph).graph.input]
    return {
        "kind": "waveform",
        "input": "waveform: float32 [batch, samples], -1 to 1",
        **{name: OPTIONAL[name] for name in takes if name in OPTIONAL},
        "output": "embedding: float32 [batch, dimension], unit length",
        "inside": {"type": "log mel filter bank, its level taken off over the clip", **asdict(front_end)},  # type: ignore[call-overload]
    }


def least_source_rate(front_end: FrontEnd) -> dict[str, int]:
    """Below which rate a recording lacks what the highest bins hear: for a front end of more than 44.1 kHz."""
    return {"least_source_rate_hz": 44_100} if front_end.rate_hz > 44_100 else {}


def descent(recipe: Recipe) -> dict[str, Any]:
    """Whose weights the network's descend from, where they do, and by what licence."""
    if recipe.transplant is None:
        return {}
    return {"descends_from": {recipe.transplant.graph: INHERITED.get(recipe.transplant.graph, UNKNOWN)}}


def material(recipe: Recipe) -> list[str]:
    """The sets that were trained on."""
    return [*recipe.train, *([recipe.noise] if recipe.noise else [])]


def described(recipe: Recipe, name: str, shards: Path) -> dict[str, Any]:
    """A set's licence and, where its shards are still there, how much it is."""
    licence = recipe.licences.get(name) or LICENCES.get(name, UNKNOWN)
    if not complete(shards, name):
        return {"licence": licence}
    rows = read_index(shards, name)
    hours = {"hours": round(sum(row.seconds for row in rows) / 3600, 3)} if all(row.seconds for row in rows) else {}
    speakers = {row.speaker for row in rows if row.speaker}
    return {"licence": licence, **hours, **({"speakers": len(speakers)} if speakers else {}), "clips": len(rows)}


def parts_of(found: Evaluated, job: Job, encoder: Encoder) -> dict[str, Any]:
    """The EER of clips cut short, where clips are longer than that, and of groups with targets enough."""
    longer = [cut for cut in CUT_S if cut < found.median_s]
    cuts = {f"{cut:g}": cut_eer(job, encoder, cut, Console(stderr=True)) for cut in longer}
    groups = {
        what: {name: group for name, group in found.report.groups.get(what, {}).items() if enough(group)}
        for what in ("by_sex", "by_language")
    }
    return {"eer_cut_to_s": cuts, **groups}


def enough(group: dict[str, Any]) -> bool:
    """Whether a group's EER says anything."""
    return group["eer"] is not None and group["targets"] >= SHOWN_TARGETS


def choose_threshold(lists: Lists, found: Evaluated) -> dict[str, float | str] | None:
    """The distance at which a false match in a hundred happens on a dev corpus.

    With several clips enrolled, where there are lists of such trials; else by pairs of clips. None where even the
    nearest trial of all is a false match: no distance does that.
    """
    enrolled = sorted({len(model.clips) for model in lists.models})
    how = f"{' or '.join(map(str, enrolled))} clips enrolled" if enrolled else "one clip against one"
    scores = (found.models or found.pairs).scores
    rates = error_rates(scores.target, scores.nontarget)
    at = int(np.flatnonzero(rates.fmr <= CHOSEN_FMR)[0])
    if not np.isfinite(rates.thresholds[at]):
        return None
    return {
        "distance": round(-float(rates.thresholds[at]), 3),
        "origin": f"FMR {100 * CHOSEN_FMR:g} % on {lists.name}, {how} (FNMR {100 * float(rates.fnmr[at]):.1f} % there)",
    }
