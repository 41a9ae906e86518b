"""Encoders side by side on the lists, in one run: error rates, searches, clips cut short, and CPU time.

    speakerdb encoder add campplus ../shared/encoders/campplus_zh_en.onnx --features kaldi-fbank
    speakerdb encoder add ge2e ../shared/encoders/ge2e.onnx --features ge2e-windows
    python -m benchmarks.accuracy speakerdb-16k campplus ge2e --out accuracy

An encoder is a bundle's name or folder. Whole clips, the graph alone, no voice activity detection. Cut clips are the
middle of each clip; those that are shorter stay whole. `--out` gets the vectors, so that a stopped run goes on,
`accuracy.json`, and a DET plot a list.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from speakerdb import plots
from speakerdb.encoder.bundle import Bundle, open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.runtime import Runtime
from training.evaluation.cut import CUT_S, cut_eer
from training.evaluation.run import Encoder, Evaluated, evaluate, named_job

LISTS = ("common_voice-test", "speech_commands-test")
CUT_LIST = LISTS[0]
TIMED_S = 1.0, 4.1
"""The length of a word, and the mean one of a clip of Common Voice's lists."""
TIMED_RUNS = 30
SHOWN = {
    "eer": "EER, %",
    "min_dcf_0.01": "minDCF, p 0.01",
    "min_dcf_0.05": "minDCF, p 0.05",
    "eer_models": "EER, 3 or 4 clips enrolled, %",
    "tpir_at_fpir_1": "TPIR at FPIR 1 %, %",
    "rank_1": "rank 1, %",
}


def main() -> None:
    """Measure every encoder on every list, and print a table a list."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("encoders", nargs="+", help="names or folders of bundles")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    options.add_argument("--trials", type=Path, default=Path("../shared/trials"))
    options.add_argument("--no-cuts", action="store_true", help="whole clips alone")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    bundles = {name: open_bundle(find_bundle(name)) for name in given.encoders}
    encoders = {name: Encoder.of(bundle) for name, bundle in bundles.items()}
    found: dict[str, Any] = {name: {"sha256": bundle.card.sha256} for name, bundle in bundles.items()}
    for name, milliseconds in cpu_times(bundles).items():
        found[name]["cpu_ms"] = milliseconds
    (given.out / "cut").mkdir(exist_ok=True)
    for list_name in LISTS:
        job = named_job(list_name, given.trials, None, given.corpora)
        whole = {name: evaluate(job, encoder, console, out=given.out) for name, encoder in encoders.items()}
        for name, evaluated in whole.items():
            found[name][list_name] = {key: evaluated.report.figures[key] for key in SHOWN}
        draw(given.out / f"{list_name}-det.png", list_name, whole)
        if list_name == CUT_LIST and not given.no_cuts:
            for name, encoder in encoders.items():
                found[name]["cut"] = {
                    f"{cut:g} s": cut_eer(job, encoder, cut, console, given.out / "cut") for cut in CUT_S
                }
    (given.out / "accuracy.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf8")
    for table in tables(found):
        Console(width=110).print(table)


def cpu_times(bundles: dict[str, Bundle]) -> dict[str, dict[str, float]]:
    """Milliseconds of one clip of each length, waveform to vector, on one thread: medians of runs that take turns.

    BLAS, which GE2E's features call, is held to one thread: others would go on spinning while the next one is timed.
    """
    runtimes = {name: Runtime(bundle, threads=1) for name, bundle in bundles.items()}
    found: dict[str, dict[str, float]] = {name: {} for name in bundles}
    for seconds in TIMED_S:
        rng = np.random.default_rng(1)
        clips = {
            name: (0.1 * rng.normal(size=round(seconds * bundle.card.rate_hz))).astype(np.float32)
            for name, bundle in bundles.items()
        }
        taken: dict[str, list[float]] = {name: [] for name in bundles}
        with threadpool_limits(1):
            for _ in range(TIMED_RUNS):
                for name, runtime in runtimes.items():
                    began = time.process_time()
                    runtime.vectors([clips[name]])
                    taken[name].append(1000 * (time.process_time() - began))
        for name, values in taken.items():
            found[name][f"{seconds:g} s"] = round(statistics.median(values[1:]), 2)
    return found


def draw(file: Path, title: str, whole: dict[str, Evaluated]) -> None:
    """One clip against one, a line an encoder."""
    scores = {name: (found.pairs.scores.target, found.pairs.scores.nontarget) for name, found in whole.items()}
    plots.draw_det(file, title, scores)


def tables(found: dict[str, Any]) -> list[Table]:
    """A table of figures a list, and one of cut clips and CPU time; a column an encoder."""
    made = []
    for list_name in LISTS:
        table = _table(list_name, found)
        for key, title in SHOWN.items():
            table.add_row(title, *(f"{figures[list_name][key]:g}" for figures in found.values()))
        made.append(table)
    table = _table("what it costs", found)
    for cut in next(iter(found.values())).get("cut", {}):
        table.add_row(f"EER, {CUT_LIST}, clips cut to {cut}, %", *(f"{row['cut'][cut]:g}" for row in found.values()))
    for length, own in next(iter(found.values()))["cpu_ms"].items():
        taken = [row["cpu_ms"][length] for row in found.values()]
        table.add_row(f"CPU time of {length}, one thread, ms", *(f"{milliseconds:.1f}" for milliseconds in taken))
        table.add_row("of it, times the first one's", *(f"{milliseconds / own:.1f}" for milliseconds in taken))
    return [*made, table]


def _table(title: str, found: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column()
    for name in found:
        table.add_column(Path(name).name, justify="right")
    return table


if __name__ == "__main__":
    main()
