"""Whether LLRs, false match rates and false identification rates are what they say, on people nobody was chosen by.

    python -m benchmarks.decisions speakerdb-16k --work ../work --out decisions

Trials of the test sets' speakers: 1, 3 or 8 recordings enrolled, probes of 1, 2 and 3 s, whole, and two joined.
Searches: the lists' galleries, filled up to 100, 300, 1,000 and 3,000 people with speakers of train, dev and the other
test set who are not in the cohort, and, *unheard*, with the dev set of the same corpus, so that the encoder was trained
on nobody; probes of the lists. `--out` gets `decisions.json` and three pictures. What is heard is kept in `--work`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.decisions import FMRS, FPIRS, SIZES, TEST
from benchmarks.decisions.pictures import draw_fmr, draw_fnir, draw_llr
from benchmarks.decisions.searches import Search
from speakerdb.calibration import Basis, Calibration
from speakerdb.embedding import Vectors
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.metrics import act_dcf, cllr, min_cllr, min_dcf
from training.calibration.calibrate import choose_cohort, conditions
from training.calibration.conditions import Condition
from training.calibration.heard import WHOLE, heard

COHORT = ("common_voice-train", "speech_commands-train")
FURTHER = ("librispeech-train", "speechocean762-train", "common_voice-dev", "speech_commands-dev")
"""People to fill galleries with, beside those whom the cohort was drawn from and who were not drawn."""
UNHEARD = {"common_voice-test": "common_voice-dev", "speech_commands-test": "speech_commands-dev"}
"""People of the same corpus whom the encoder was not trained on."""


def main() -> None:
    """Measure and print everything, a table a question."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("bundle", help="a calibrated bundle's name or folder")
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument(
        "--one-person",
        nargs=2,
        metavar="ID",
        help="two ids that are held for one person: what is counted between them is left out of LLRs and FMRs",
    )
    options.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    options.add_argument("--trials", type=Path, default=Path("../shared/trials"))
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    bundle = open_bundle(find_bundle(given.bundle))
    if bundle.card.calibration is None:
        raise SystemExit(f"{given.bundle} is not calibrated; run: python -m training calibrate {given.bundle}")
    work = given.work / "heard"
    found: dict[str, Any] = {"sha256": bundle.card.sha256}
    tested = {name: conditions(given.corpora / f"{name}.tar", bundle, bundle.cohort, work, console) for name in TEST}
    if given.one_person:
        tested = {name: [between_others(one, given.one_person) for one in found] for name, found in tested.items()}
    calibration = bundle.card.calibration
    found["llr"] = [llr_figures(one, calibration) for name in TEST for one in tested[name]]
    found["fmr"] = [fmr_figures(one, calibration) for name in TEST for one in tested[name]]

    def voiceprints(name: str) -> Vectors:
        return heard(given.corpora / f"{name}.tar", bundle, WHOLE, work, console).voiceprints()

    _, spare = choose_cohort({name: voiceprints(name) for name in COHORT})
    fillers = [*spare.values(), *map(voiceprints, FURTHER)]
    found["searches"], found["unheard"] = [], []
    for name, other in (TEST, TEST[::-1]):
        whole = heard(given.corpora / f"{name}.tar", bundle, WHOLE, work, console)
        search = Search.of(name, whole, given.trials, np.concatenate([*fillers, voiceprints(other)]), bundle)
        found["searches"] += search.figures(calibration, SIZES)
        search = Search.of(name, whole, given.trials, voiceprints(UNHEARD[name]), bundle)
        found["unheard"] += search.figures(calibration, [search.most], draws=1)
    (given.out / "decisions.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")
    searches = (search_table(found[kind], kind) for kind in ("searches", "unheard"))
    for table in (llr_table(found["llr"]), fmr_table(found["fmr"]), *searches):
        Console(width=110).print(table)
    draw_llr(given.out / "calibration.png", found["llr"])
    draw_fmr(given.out / "fmr.png", found["fmr"])
    draw_fnir(given.out / "gallery-size.png", found["searches"])


def between_others(one: Condition, ids: list[str]) -> Condition:
    """The condition without trials between two ids."""
    between = (one.speakers != one.spoken_by) & np.isin(one.speakers, ids) & np.isin(one.spoken_by, ids)
    kept, trials = ~between, one.trials
    basis = Basis(*(np.asarray(values)[kept] for values in trials.basis))
    trials = replace(trials, scores=trials.scores[kept], basis=basis, target=trials.target[kept])
    return replace(one, trials=trials, speakers=one.speakers[kept], spoken_by=one.spoken_by[kept])


def llr_figures(one: Condition, calibration: Calibration) -> dict[str, Any]:
    """What the LLRs of one condition cost, and what they would cost at best."""
    trials = one.trials
    llr = calibration.llr(trials.scores, trials.basis)
    target, nontarget = llr[trials.target], llr[~trials.target]
    figures: dict[str, Any] = {"set": one.name, "enrolled": one.enrolled, "probe": one.probe, "targets": len(target)}
    figures |= {"cllr": cllr(target, nontarget), "min_cllr": min_cllr(target, nontarget)}
    for p in (0.01, 0.05):
        figures |= {
            f"act_dcf_{p}": act_dcf(target, nontarget, p),
            f"min_dcf_{p}": min_dcf(target, nontarget, p).cost,
        }
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def fmr_figures(one: Condition, calibration: Calibration) -> dict[str, Any]:
    """The share of strangers accepted at each FMR asked for, and of targets rejected."""
    trials = one.trials
    limits = {rate: calibration.tail.score_at(rate) for rate in FMRS}
    strangers, targets = trials.scores[~trials.target], trials.scores[trials.target]
    return {
        "set": one.name,
        "enrolled": one.enrolled,
        "probe": one.probe,
        "observed": {f"{rate:g}": round(float(np.mean(strangers >= at)), 5) for rate, at in limits.items()},
        "fnmr": {f"{rate:g}": round(float(np.mean(targets < at)), 4) for rate, at in limits.items()},
    }


def llr_table(rows: list[dict[str, Any]]) -> Table:
    """A row a condition."""
    table = _table("LLRs: what they cost, and the least that their order allows")
    for column in ("Cllr", "least", "actDCF .05", "minDCF .05", "actDCF .01", "minDCF .01"):
        table.add_column(column, justify="right")
    names = ("cllr", "min_cllr", "act_dcf_0.05", "min_dcf_0.05", "act_dcf_0.01", "min_dcf_0.01")
    for row in rows:
        table.add_row(*_condition(row), *(f"{row[name]:.3f}" for name in names))
    ratio = [
        f"{np.mean([row[a] for row in rows]) / np.mean([row[b] for row in rows]):.2f}"
        for a, b in zip(names[::2], names[1::2], strict=True)
    ]
    table.add_row("mean, ratio", "", "", *(text for value in ratio for text in (value, "")))
    return table


def fmr_table(rows: list[dict[str, Any]]) -> Table:
    """A row a condition: FMR observed (FNMR) at each FMR asked for, in percent."""
    table = _table("verify: FMR observed, and (FNMR), %, at the FMR asked for")
    for rate in FMRS:
        table.add_column(f"{100 * rate:g} %", justify="right")
    for row in rows:
        cells = [f"{100 * row['observed'][f'{r:g}']:.2f} ({100 * row['fnmr'][f'{r:g}']:.1f})" for r in FMRS]
        table.add_row(*_condition(row), *cells)
    return table


def search_table(rows: list[dict[str, Any]], kind: str) -> Table:
    """A row a set and size: FPIR observed (FNIR) at each FPIR asked for, in percent."""
    title = f"identify ({kind}): FPIR observed, and (FNIR), %, at the FPIR asked for"
    table = Table(title=title, title_justify="left")
    for column in ("set", "people", *(f"{100 * rate:g} %" for rate in FPIRS)):
        table.add_column(column, justify="right" if column != "set" else "left")
    for name, size in dict.fromkeys((row["set"], row["size"]) for row in rows):
        own = [row for row in rows if (row["set"], row["size"]) == (name, size)]
        table.add_row(name, f"{size:,}", *(f"{100 * row['fpir']:.2f} ({100 * row['fnir']:.1f})" for row in own))
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("set", "enrolled", "probe, s"):
        table.add_column(column)
    return table


def _condition(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["set"], str(row["enrolled"]), row["probe"]


if __name__ == "__main__":
    main()
