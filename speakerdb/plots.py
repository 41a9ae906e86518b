"""Pictures of scores: what to look at before a figure is believed. Needs matplotlib (the extra `plot`).

Each function takes scores (−distance, higher is more alike) and writes one PNG. Colours are Okabe and Ito's, which
colour-blind people tell apart; targets and nontargets differ in place or line style too.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from speakerdb.errors import printable
from speakerdb.metrics import equal_error_rate, error_rates, roc_auc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scores = tuple[npt.ArrayLike, npt.ArrayLike]
"""Of targets and of nontargets: float [targets] and [nontargets], at least one each."""

SAME, DIFFERENT, CHOSEN, QUIET = "#0072B2", "#D55E00", "#000000", "#999999"
CLASSES = ("one speaker", "two speakers")
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DET_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
BINS = 60


@dataclass(frozen=True)
class Axis:
    """How scores are shown: under which name, and with which sign."""

    label: str
    sign: float

    def shown(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Scores as they stand on the axis."""
        return self.sign * np.asarray(scores, dtype=np.float64)

    def at(self, score: float) -> float:
        """One score."""
        return self.sign * score


DISTANCE = Axis("distance (0 one voice, 2 opposite)", -1.0)
SCORE = Axis("score", 1.0)


def draw_boxes(file: Path, title: str, scores: Scores, threshold: float | None = None, axis: Axis = DISTANCE) -> None:
    """Distances of one speaker's pairs beside those of two speakers': median, quartiles, 5 to 95 %, and the rest."""
    figure, axes = _figure(title, (6.0, 6.0))
    names = [f"{name}\n{len(np.asarray(part)):,}" for name, part in zip(CLASSES, scores, strict=True)]
    drawn = axes.boxplot(
        [axis.shown(part) for part in scores],
        tick_labels=names,
        whis=(5, 95),
        widths=0.55,
        patch_artist=True,
        flierprops={"marker": ".", "markersize": 2, "markeredgecolor": QUIET},
        medianprops={"color": "black", "linewidth": 1.5},
    )
    for box, color in zip(drawn["boxes"], (SAME, DIFFERENT), strict=True):
        box.set(facecolor=color, alpha=0.7)
    axes.set(ylabel=axis.label)
    if threshold is not None:
        axes.axhline(axis.at(threshold), color=CHOSEN, linestyle="--", label=_threshold(threshold, axis))
        axes.legend(loc="best")
    _save(figure, file)


def draw_histogram(
    file: Path, title: str, scores: Scores, threshold: float | None = None, axis: Axis = DISTANCE
) -> None:
    """How often each distance comes, each class scaled to an area of one."""
    figure, axes = _figure(title, (8.0, 5.0))
    shown = [axis.shown(part) for part in scores]
    edges = np.histogram_bin_edges(np.concatenate(shown), bins=BINS).tolist()
    for values, name, color in zip(shown, CLASSES, (SAME, DIFFERENT), strict=True):
        label = f"{name} ({len(values):,} pairs)"
        axes.hist(values, edges, density=True, alpha=0.45, color=color, label=label)
        axes.hist(values, edges, density=True, histtype="step", color=color)
    if threshold is not None:
        axes.axvline(axis.at(threshold), color=CHOSEN, linestyle="--", label=_threshold(threshold, axis))
    axes.set(xlabel=axis.label, ylabel="density")
    axes.legend()
    _save(figure, file)


def draw_roc(file: Path, title: str, scores: Scores, threshold: float | None = None, axis: Axis = DISTANCE) -> None:
    """Sensitivity against false matches, with the area below and the point of equal errors."""
    figure, axes = _figure(title, (6.0, 6.0))
    rates, equal = error_rates(*scores), equal_error_rate(*scores)
    area = f"AUC {roc_auc(*scores):.4f}"
    axes.plot(100 * rates.fmr, 100 * (1 - rates.fnmr), color=SAME, label=area)
    axes.plot([0, 100], [100, 0], color=QUIET, linewidth=0.8, linestyle=":")
    axes.plot(100 * equal.rate, 100 * (1 - equal.rate), "o", color=DIFFERENT, label=f"EER {100 * equal.rate:.2f} %")
    if threshold is not None:
        at = int(np.searchsorted(rates.thresholds, threshold, side="left"))
        point = (100 * rates.fmr[at], 100 * (1 - rates.fnmr[at]))
        axes.plot(*point, "s", color=CHOSEN, label=_threshold(threshold, axis))
    axes.set(xlabel="false match rate, %", ylabel="sensitivity, %", xlim=(-1, 101), ylim=(-1, 101), aspect="equal")
    axes.legend(loc="lower right")
    _save(figure, file)


def draw_operation(
    file: Path, title: str, scores: Scores, threshold: float | None = None, axis: Axis = DISTANCE
) -> None:
    """Sensitivity and specificity as the threshold moves: what one gains and pays at every point of operation."""
    figure, axes = _figure(title, (8.0, 5.0))
    rates, equal = error_rates(*scores), equal_error_rate(*scores)
    at = axis.shown(rates.thresholds[1:-1])
    axes.plot(at, 100 * (1 - rates.fnmr[1:-1]), color=SAME, label="sensitivity: one speaker, accepted")
    axes.plot(at, 100 * (1 - rates.fmr[1:-1]), "--", color=DIFFERENT, label="specificity: two speakers, rejected")
    axes.plot(axis.at(equal.threshold), 100 * (1 - equal.rate), "o", color=QUIET, label="equal errors")
    if threshold is not None:
        axes.axvline(axis.at(threshold), color=CHOSEN, linestyle=":", label=_threshold(threshold, axis))
    axes.set(xlabel=f"threshold, {axis.label}", ylabel="%", ylim=(-2, 102))
    figure.legend(loc="outside lower center", ncols=2)
    _save(figure, file)


def draw_det(file: Path, title: str, systems: Mapping[str, Scores]) -> None:
    """Misses against false matches on axes of normal deviates, one line a system: straight where scores are normal.

    After Martin, Doddington, Kamm, Ordowski & Przybocki, "The DET curve in assessment of detection task performance",
    Eurospeech 1997. A rate of 0 has no place on such axes, so the ends of a curve are left out.
    """
    from statistics import NormalDist

    figure, axes = _figure(title, (6.5, 6.5))
    deviate = np.vectorize(NormalDist().inv_cdf, otypes=[float])
    for number, (name, scores) in enumerate(systems.items()):
        rates, equal = error_rates(*scores), equal_error_rate(*scores)
        inner = (rates.fmr > 0) & (rates.fmr < 1) & (rates.fnmr > 0) & (rates.fnmr < 1)
        label, color = f"{name}: EER {100 * equal.rate:.2f} %", LINES[number % len(LINES)]
        style = ("-", "--", "-.", ":")[number % 4]
        axes.plot(deviate(rates.fmr[inner]), deviate(rates.fnmr[inner]), style, color=color, label=label)
    ticks = deviate(DET_TICKS)
    names = [f"{100 * tick:g}" for tick in DET_TICKS]
    ends = (ticks[0], deviate(0.5))
    axes.plot(ends, ends, color=QUIET, linewidth=0.8, linestyle=":")
    axes.set(xlabel="false match rate, %", ylabel="false non-match rate, %", xlim=ends, ylim=ends, aspect="equal")
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.legend(loc="upper right")
    _save(figure, file)


def _threshold(threshold: float, axis: Axis) -> str:
    return f"threshold {axis.at(threshold):g}"


def draw_decision(
    file: Path,
    title: str,
    quantiles: Mapping[str, Sequence[float]],
    marks: Mapping[str, float],
    threshold: float | None,
) -> None:
    """One answer among trials: the LLRs of one speaker's and of two speakers' pairs, and where the probe stands.

    Args:
        quantiles: LLRs at equal shares from 0 to 1, `target` and `nontarget`.
        marks: LLRs by name, the one that was decided on first. threshold: an LLR.
    """
    figure, axes = _figure(title, (7.5, 4.0))
    points = [*marks.values(), *(value for values in quantiles.values() for value in (values[1], values[-2]))]
    edges = np.linspace(min(points) - 1.0, max(points) + 1.0, BINS + 1)
    kinds = (("target", CLASSES[0], SAME), ("nontarget", CLASSES[1], DIFFERENT))
    for kind, name, colour in kinds:
        shares = np.linspace(0.0, 1.0, 20_000)
        drawn = np.interp(shares, np.linspace(0.0, 1.0, len(quantiles[kind])), quantiles[kind])
        counts, _ = np.histogram(drawn, edges)
        axes.fill_between(edges[:-1], counts / counts.max(), step="post", color=colour, alpha=0.35, label=name)
    for (name, llr), colour, style in zip(marks.items(), (CHOSEN, QUIET), ("-", "-."), strict=False):
        axes.axvline(llr, color=colour, linestyle=style, linewidth=2, label=f"{_plain(name)}, LLR {llr:+.1f}")
    if threshold is not None:
        axes.axvline(threshold, color=CHOSEN, linestyle=":", label=f"threshold, LLR {threshold:+.1f}")
    axes.set(xlabel="log-likelihood ratio: two speakers ← 0 → one speaker", yticks=[], ylim=(0, 1.15))
    axes.set_ylabel("trials")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, frameon=False)
    _save(figure, file)


def _plain(text: str) -> str:
    """A name of a file or a person, in which matplotlib would look for formulas, and which it hides after a `_`."""
    shown = printable(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _figure(title: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure of its own, which touches no state of pyplot's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes: Any = figure.subplots()
    axes.set_title(_plain(title))
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Figure, file: Path) -> None:
    with warnings.catch_warnings():  # of letters that are in no font: they are boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, dpi=120)
