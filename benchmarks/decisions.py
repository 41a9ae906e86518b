"""Whether LLRs, false match rates and false identification rates are what they say, on people nobody was chosen by.

    python -m benchmarks.decisions speakerdb-16k --work ../work --out decisions

Trials of the test sets' speakers: 1, 3 or 8 recordings enrolled, probes of 1, 2 and 3 s, whole, and two joined.
Searches: the lists' galleries, filled up to 100, 1,000 and 3,000 people with speakers of train, dev and the other test
set who are not in the cohort; probes of the lists. `--out` gets `decisions.json` and three pictures. What is heard is
kept in `--work`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from speakerdb.calibration import Basis, Calibration
from speakerdb.decision.criterion import per_comparison
from speakerdb.embedding import Vectors, average
from speakerdb.encoder.bundle import Bundle, open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.metrics import act_dcf, cllr, min_cllr, min_dcf
from speakerdb.trials import read_models, read_probes
from training.calibration.calibrate import all_scores, choose_cohort, conditions
from training.calibration.conditions import Condition
from training.calibration.heard import WHOLE, Heard, heard

TEST = ("common_voice-test", "speech_commands-test")
COHORT = ("common_voice-train", "speech_commands-train")
FURTHER = ("librispeech-train", "speechocean762-train", "common_voice-dev", "speech_commands-dev")
"""People to fill galleries with, beside those whom the cohort was drawn from and who were not drawn."""
FMRS = (0.05, 0.01, 0.003, 0.001)
FPIRS = (0.1, 0.03, 0.01, 0.003)
SIZES = (100, 300, 1000, 3000)
DRAWS = 10
"""Galleries of each size, filled with other people."""


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
    found["searches"] = []
    for name, other in (TEST, TEST[::-1]):
        whole = heard(given.corpora / f"{name}.tar", bundle, WHOLE, work, console)
        search = Search.of(name, whole, given.trials, np.concatenate([*fillers, voiceprints(other)]), bundle)
        found["searches"] += search.figures(calibration)
    (given.out / "decisions.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")
    for table in (llr_table(found["llr"]), fmr_table(found["fmr"]), search_table(found["searches"])):
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


@dataclass(frozen=True)
class Search:
    """The open-set list of one set, as scores of its probes beside its own people and beside all others.

    Attributes: own: [people, probes]; others: [fillers, probes]; speaker: [probes], a row of `own`, −1 for strangers;
        speech_s: [probes], net.
    """

    name: str
    own: npt.NDArray[np.float64]
    others: npt.NDArray[np.float64]
    speaker: npt.NDArray[np.int64]
    speech_s: npt.NDArray[np.float64]

    @staticmethod
    def of(name: str, whole: Heard, trials: Path, fillers: Vectors, bundle: Bundle) -> Search:
        """Clips without speech are left out, as the program refuses them."""
        row_of = {clip: row for row, clip in enumerate(whole.clips)}
        people, prints = [], []
        for person in read_models(trials / f"{name}-gallery.txt"):
            rows = [row_of[clip] for clip in person.clips if clip in row_of]
            if rows:
                people.append(person.name)
                prints.append(average(whole.vectors[rows]))
        probes = [p for p in read_probes(trials / f"{name}-probes.txt") if p.clip in row_of]
        probes = [p for p in probes if p.speaker is None or p.speaker in people]
        vectors = whole.vectors[[row_of[p.clip] for p in probes]]
        speaker = np.array([-1 if p.speaker is None else people.index(p.speaker) for p in probes])
        own = all_scores(np.stack(prints), vectors, bundle.cohort)
        speech_s = whole.speech_s[[row_of[p.clip] for p in probes]]
        return Search(name, own, all_scores(fillers, vectors, bundle.cohort), speaker, speech_s)

    def figures(self, calibration: Calibration) -> list[dict[str, Any]]:
        """A row for each size of gallery and each FPIR asked for."""
        rng, found = np.random.default_rng(0), []
        strangers = self.speaker < 0
        mated = self.own[self.speaker[~strangers], np.flatnonzero(~strangers)]
        for size in SIZES:
            drawn = [rng.choice(len(self.others), size - len(self.own), replace=False) for _ in range(DRAWS)]
            tops = [np.maximum(self.own.max(axis=0), self.others[rows].max(axis=0)) for rows in drawn]
            for rate in FPIRS:
                fmr = per_comparison(rate, size)
                limits = np.array([calibration.searched_by(probe_s).score_at(fmr) for probe_s in self.speech_s])
                fpir = float(np.mean([np.mean((top >= limits)[strangers]) for top in tops]))
                hits = [np.mean((mated >= limits[~strangers]) & (mated >= top[~strangers])) for top in tops]
                row = {"set": self.name, "size": size, "asked": rate, "fpir": round(fpir, 5)}
                found.append(row | {"fnir": round(1.0 - float(np.mean(hits)), 4)})
        return found


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


def search_table(rows: list[dict[str, Any]]) -> Table:
    """A row a set and size: FPIR observed (FNIR) at each FPIR asked for, in percent."""
    table = Table(title="identify: FPIR observed, and (FNIR), %, at the FPIR asked for", title_justify="left")
    for column in ("set", "people", *(f"{100 * rate:g} %" for rate in FPIRS)):
        table.add_column(column, justify="right" if column != "set" else "left")
    for name in TEST:
        for size in SIZES:
            own = [row for row in rows if (row["set"], row["size"]) == (name, size)]
            table.add_row(name, f"{size:,}", *(f"{100 * row['fpir']:.2f} ({100 * row['fnir']:.1f})" for row in own))
    return table


def draw_llr(file: Path, rows: list[dict[str, Any]]) -> None:
    """Cost beside the least cost, a point a condition; on the line nothing is lost."""
    figure, axes = _figure(1, 2, (9, 4.2))
    for part, act, least, title in (
        (axes[0], "cllr", "min_cllr", "Cllr, bits"),
        (axes[1], "act_dcf_0.05", "min_dcf_0.05", "detection cost, p 0.05"),
    ):
        for kind, marker in zip(dict.fromkeys(row["probe"] for row in rows), "ov^sD", strict=False):
            own = [row for row in rows if row["probe"] == kind]
            name = f"probe of {kind} s" if kind.isdigit() else f"{kind} probe"
            part.scatter([r[least] for r in own], [r[act] for r in own], marker=marker, label=name)
        top = 1.1 * max(row[act] for row in rows)
        part.plot([0, top], [0, top], color="black", linewidth=1, label="calibrated")
        part.plot([0, top / 1.1], [0, top], color="black", linewidth=1, linestyle=":", label="10 % above")
        part.set(xlabel=f"least {title}", ylabel=title, xlim=(0, top), ylim=(0, top))
        part.legend(fontsize=8)
    figure.savefig(file, dpi=120)


def draw_fmr(file: Path, rows: list[dict[str, Any]]) -> None:
    """FMR observed over FMR asked, a line a condition, within the factor of two."""
    figure, axes = _figure(1, 1, (6, 4.5))
    for row in rows:
        style = "-" if row["set"] == TEST[0] else "--"
        axes.loglog(FMRS, [max(row["observed"][f"{r:g}"], 1e-5) for r in FMRS], style, color="#0072B2", alpha=0.5)
    _factor_of_two(axes, FMRS)
    axes.set(xlabel="FMR asked for", ylabel="FMR observed", title="a line a condition; dashed: one-second words")
    figure.savefig(file, dpi=120)


def draw_fnir(file: Path, rows: list[dict[str, Any]]) -> None:
    """FNIR over the gallery's size at an FPIR of 0.3 and 1 %, and FPIR observed beside FPIR asked."""
    figure, axes = _figure(1, 2, (10, 4.2))
    for name, colour in zip(TEST, ("#0072B2", "#D55E00"), strict=True):
        for rate, style in ((0.01, "-o"), (0.003, "--s")):
            own = [row for row in rows if row["set"] == name and row["asked"] == rate]
            label = f"{name}, FPIR {100 * rate:g} %"
            axes[0].semilogx([r["size"] for r in own], [100 * r["fnir"] for r in own], style, color=colour, label=label)
        for size, style in zip(SIZES, ("-", "--", "-.", ":"), strict=True):
            own = [row for row in rows if row["set"] == name and row["size"] == size]
            axes[1].loglog(
                [r["asked"] for r in own], [max(r["fpir"], 1e-4) for r in own], style, color=colour, label=f"{size:,}"
            )
    axes[0].set(xlabel="people in the gallery", ylabel="FNIR, %", ylim=(0, None))
    _factor_of_two(axes[1], FPIRS)
    axes[1].set(xlabel="FPIR asked for", ylabel="FPIR observed")
    for part in axes:
        part.legend(fontsize=8)
    figure.savefig(file, dpi=120)


def _factor_of_two(axes: Any, rates: tuple[float, ...]) -> None:
    """The line where asked is observed, and the band of a factor of two."""
    ends = np.array([min(rates), max(rates)])
    axes.loglog(ends, ends, color="black", linewidth=1)
    axes.fill_between(ends, ends / 2, ends * 2, color="#999999", alpha=0.25)
    axes.grid(alpha=0.3)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("set", "enrolled", "probe, s"):
        table.add_column(column)
    return table


def _condition(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["set"], str(row["enrolled"]), row["probe"]


if __name__ == "__main__":
    main()
