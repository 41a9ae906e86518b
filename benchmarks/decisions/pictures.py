"""Costs beside the least, rates observed beside rates asked for, and who is missed in galleries of every size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decisions import FMRS, FPIRS, SIZES, TEST


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
