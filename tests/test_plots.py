"""Pictures: written for any scores that have both classes, with what they are said to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib (the extra plot)")

from matplotlib.image import imread

from speakerdb import plots

SCORES = (-np.linspace(0.4, 1.1, 50), -np.linspace(0.9, 1.6, 200))
OF_ONE_LIST = [plots.draw_boxes, plots.draw_histogram, plots.draw_roc, plots.draw_operation]


def ink(file: Path, color: str) -> int:
    """Pixels near a colour."""
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return int((np.abs(imread(file)[..., :3] - wanted).max(axis=-1) < 0.02).sum())


@pytest.mark.parametrize("draw", OF_ONE_LIST)
def test_the_threshold_stands_in_every_picture_that_has_one(tmp_path: Path, draw) -> None:
    draw(tmp_path / "without.png", "list", SCORES)
    draw(tmp_path / "with.png", "list", SCORES, -1.0)
    assert ink(tmp_path / "with.png", plots.CHOSEN) > ink(tmp_path / "without.png", plots.CHOSEN)


@pytest.mark.parametrize("draw", OF_ONE_LIST)
def test_one_trial_of_each_class_and_all_scores_equal_are_drawn(tmp_path: Path, draw) -> None:
    draw(tmp_path / "one.png", "list", ([-0.5], [-1.0]))
    draw(tmp_path / "tied.png", "list", ([-1.0] * 3, [-1.0] * 3), -1.0, plots.SCORE)
    assert imread(tmp_path / "one.png").shape[2] == imread(tmp_path / "tied.png").shape[2] == 4


def test_a_det_has_a_line_of_its_own_for_every_system(tmp_path: Path) -> None:
    other = (SCORES[0] + 0.1, SCORES[1])
    plots.draw_det(tmp_path / "det.png", "list", {"one": SCORES, "other": other})
    assert all(ink(tmp_path / "det.png", color) > 100 for color in plots.LINES[:2])


@pytest.mark.parametrize("name", ["_ana", "王芳", "$x_$"])
def test_a_voice_of_any_name_stands_in_the_legend_and_nothing_is_said_of_its_letters(
    tmp_path: Path, recwarn, monkeypatch, name: str
) -> None:
    save, drawn = plots._save, []
    monkeypatch.setattr(plots, "_save", lambda figure, file: drawn.append(figure) or save(figure, file))
    quantiles = {"target": [4.0, 6.0, 8.0], "nontarget": [-8.0, -6.0, -4.0]}
    plots.draw_decision(tmp_path / "a.png", name, quantiles, {name: 5.0}, None)
    assert not recwarn.list
    legend = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert f"{name.replace('$', chr(92) + '$')}, LLR +5.0" in [text.strip() for text in legend]


def test_importing_pictures_imports_no_matplotlib() -> None:
    import subprocess
    import sys

    code = "import sys, speakerdb.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
