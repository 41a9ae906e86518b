"""What a training writes down: a line a report in log.csv, a line a look in dev.csv, both drawn in curves.png."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from rich.console import Console

LEAST_ROWS = 3
"""Rows from which a curve is worth drawing."""


class Journal:
    """The log of one training; rows after the step that a stopped run resumes at are dropped.

    Args: work: the training's folder. steps: of the whole training. step: where it stands.
    """

    def __init__(self, work: Path, console: Console, steps: int, step: int) -> None:
        self._work, self._console, self._steps = work, console, steps
        self._first, self._began, self._looking_s = step, time.monotonic(), 0.0
        self._last, self._last_at = step, self._began
        for name in ("log.csv", "dev.csv"):
            if cut := _drop_after(work / name, step):
                self.say(f"{work / name}: damaged or cut, {cut} lines left out")
        if step:
            self.say(f"going on from step {step}")

    def report(self, step: int, values: dict[str, float]) -> None:
        """Losses of the last steps, the rate, and the time left."""
        now = time.monotonic()
        rate = (step - self._last) / max(now - self._last_at, 1e-9)
        self._last, self._last_at = step, now
        row = {name: round(value, 5) for name, value in values.items()}
        _append(self._work / "log.csv", {"step": step, **row, "batches_per_s": round(rate, 3)})
        done_s = now - self._began - self._looking_s
        left_s = done_s / (step - self._first) * (self._steps - step)
        losses = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        self.say(f"step {step}/{self._steps}  {losses}  {rate:.2f} batches/s  {_span(left_s)} left")

    def look(self, step: int, rates: dict[str, float], took_s: float) -> None:
        """Dev EERs in percent."""
        self._looking_s += took_s
        self._last_at += took_s
        row = {name: round(rate, 3) for name, rate in rates.items()}
        _append(self._work / "dev.csv", {"step": step, **row})
        self.say(f"step {step}/{self._steps}  dev EER %  " + "  ".join(f"{n} {r:.2f}" for n, r in row.items()))
        draw_curves(self._work)

    def say(self, line: str) -> None:
        """A line on the console."""
        self._console.print(line, highlight=False, soft_wrap=True)


def draw_curves(work: Path) -> Path | None:
    """Draw log.csv and dev.csv as curves.png; None where there is too little to draw."""
    log, dev = (_read(work / name)[0] for name in ("log.csv", "dev.csv"))
    if len(log) < LEAST_ROWS and len(dev) < LEAST_ROWS:
        return None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axes, rows, title in ((left, log, "loss"), (right, dev, "EER on the dev lists, %")):
        names = [name for name in (rows[0] if rows else {}) if name not in ("step", "batches_per_s")]
        for name in names:
            bold = name in ("loss", "mean")
            steps = [row["step"] for row in rows]
            axes.plot(steps, [row[name] for row in rows], label=name, linewidth=2.5 if bold else 1.2)
        axes.set(xlabel="step", title=title)
        axes.grid(alpha=0.3)
        if names:
            axes.legend()
    path = work / "curves.png"
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _read(path: Path) -> tuple[list[dict[str, float]], int]:
    """The rows that are whole, and how many lines are none: a power cut leaves a part of one, or zeros."""
    lines = path.read_text(encoding="utf8", errors="replace").splitlines(keepends=True) if path.exists() else []
    names = lines[0].strip().split(",") if lines else []
    rows = [row for line in lines[1:] if (row := _row(names, line))]
    return rows, len(lines) - len(rows) - ("step" in names)


def _row(names: list[str], line: str) -> dict[str, float] | None:
    if "step" not in names or not line.endswith("\n"):  # "0.12" may have been "0.1234"
        return None
    try:
        return dict(zip(names, map(float, line.split(",")), strict=True))
    except ValueError:
        return None


def _drop_after(path: Path, step: int) -> int:
    """Drop rows after a step; how many lines were dropped for being no rows."""
    rows, cut = _read(path)
    path.unlink(missing_ok=True)
    for row in rows:
        if row["step"] <= step:
            _append(path, {**row, "step": int(row["step"])})
    return cut


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
