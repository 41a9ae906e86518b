"""A report as a table, as JSON and as pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from speakerdb import plots
from speakerdb.trials import write_scores
from training.evaluation.figures import Report, ScoredTrials
from training.evaluation.groups import LENGTH_NAMES

TITLES = {
    "eer": "EER, %",
    "min_dcf_0.01": "minDCF, p 0.01",
    "min_dcf_0.05": "minDCF, p 0.05",
    "auc": "AUC",
    "sensitivity_at_specificity_98.3": "sensitivity at specificity 98.3 %, %",
    "sensitivity": "sensitivity at the threshold, %",
    "specificity": "specificity at the threshold, %",
    "eer_models": "EER, several clips enrolled, %",
    "tpir_at_fpir_1": "TPIR at FPIR 1 %, %",
    "rank_1": "rank 1, %",
}
SHOWN_TARGETS = 30
"""Fewer target pairs say nothing of a group: 30 errors are what a rate wants, after Doddington's rule."""

PICTURES = {
    "boxes": plots.draw_boxes,
    "histogram": plots.draw_histogram,
    "roc": plots.draw_roc,
    "operation": plots.draw_operation,
}


def table_of(reports: Sequence[Report]) -> Table:
    """A column a list: figures with their intervals, then the EER of groups that are large enough."""
    table = Table(
        title="in brackets: 95 % of draws of speakers; groups: EER, %, of n target pairs", title_justify="left"
    )
    table.add_column()
    for report in reports:
        table.add_column(report.name, overflow="fold")
    for name, title in TITLES.items():
        if any(name in report.figures for report in reports):
            table.add_row(title, *(_figure(report, name) for report in reports))
    table.add_row("pairs, one speaker and two", *(f"{r.counts['targets']}, {r.counts['nontargets']}" for r in reports))
    for what in ("by_length", "by_sex", "by_language"):
        for group in _groups(reports, what):
            table.add_row(f"{what.replace('_', ' ')}: {group}", *(_group(r, what, group) for r in reports))
    return table


def _figure(report: Report, name: str) -> str:
    if name not in report.figures:
        return ""
    value = f"{report.figures[name]:g}"
    low_high = report.intervals.get(name)
    return f"{value} [{low_high[0]:g}, {low_high[1]:g}]".replace("[", "\\[") if low_high else value


def _groups(reports: Sequence[Report], what: str) -> list[str]:
    """Groups with enough pairs in one of the reports: by length, else the largest first."""
    sizes: dict[str, int] = {}
    for report in reports:
        for group, found in report.groups.get(what, {}).items():
            if found["eer"] is not None and found["targets"] >= SHOWN_TARGETS:
                sizes[group] = max(sizes.get(group, 0), found["targets"])
    if what == "by_length":
        return [name for name in LENGTH_NAMES if name in sizes]
    return sorted(sizes, key=lambda group: -sizes[group])


def _group(report: Report, what: str, group: str) -> str:
    found = report.groups.get(what, {}).get(group)
    if found is None or found["eer"] is None or found["targets"] < SHOWN_TARGETS:
        return ""
    return f"{found['eer']:g} of {found['targets']}"


def write_report(folder: Path, encoder: dict[str, str], reports: Sequence[Report]) -> None:
    """report.json: every list's figures, and whose they are."""
    content = {"format": "speakerdb-evaluation/1", **encoder, "lists": [report.to_json() for report in reports]}
    (folder / "report.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf8")


def write_trials(folder: Path, report: Report, what: str, trials: ScoredTrials) -> None:
    """Scores of pairs or models, in a form that `--from-scores` reads."""
    write_scores(folder / f"{report.name}-{what}-scores.txt", trials.table, trials.values)


def draw(folder: Path, report: Report, pairs: ScoredTrials, models: ScoredTrials | None, axis: plots.Axis) -> None:
    """The pictures of a list."""
    scores = (pairs.scores.target, pairs.scores.nontarget)
    threshold = report.threshold.score if report.threshold else None
    for name, picture in PICTURES.items():
        picture(folder / f"{report.name}-{name}.png", report.name, scores, threshold, axis)
    systems = {"one clip enrolled": scores}
    if models is not None:
        systems["several clips enrolled"] = (models.scores.target, models.scores.nontarget)
    plots.draw_det(folder / f"{report.name}-det.png", report.name, systems)
