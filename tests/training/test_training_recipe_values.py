"""Recipes broken by hand: each is refused in a line by the command that reads it, with the exit code of bad input."""

from __future__ import annotations

import copy
import datetime
import math
import re
import tomllib

import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.commands import training
from training.optimization import Optimization
from training.optimizers import rate
from training.recipe import RECIPES, _parse

BROKEN = [
    # In `third`, what is replaced, by what, and what is said of it.
    ("steps = 14000", 'steps = "many"', "optimization.steps is 'many'; a whole number from 1 on belongs there"),
    ("steps = 14000", "steps = 14000.0", "optimization.steps is 14000.0; a whole number"),
    ("steps = 14000", "steps = -5", "optimization.steps is -5; a whole number from 1 on"),
    ("steps = 14000", "steps = true", "optimization.steps is True; a whole number"),
    ("steps = 14000", f"steps = {10**30}", "optimization.steps is 1000"),
    ("steps = 14000\n", "", "optimization.steps is missing"),
    ("steps = 14000", "step = 14000", "optimization knows no step"),
    ("steps = 14000", "steps = [14000]", "optimization.steps is [14000]"),
    ("report_steps = 100\nevaluate_steps = 1000", "report_steps = 0", "optimization.report_steps is 0"),
    ("evaluate_steps = 1000", "evaluate_steps = 0", "optimization.evaluate_steps is 0"),
    ("learning_rate = 1e-3", "learning_rate = nan", "optimization.learning_rate is nan; a number from 0 on"),
    ("learning_rate = 1e-3", "learning_rate = inf", "optimization.learning_rate is inf"),
    ("learning_rate = 1e-3", 'learning_rate = "1e-3"', "optimization.learning_rate is '1e-3'"),
    ("inherited_share = 0.4", "inherited_share = 4", "optimization.inherited_share is 4; a number from 0 to 1"),
    ("constant = true\ndecay_steps = 5000", "constant = 1", "optimization.constant is 1; true or false"),
    ('optimizer = "muon"\nsteps = 14000', "optimizer = 3\nsteps = 14000", "optimization.optimizer is 3; a text"),
    ('optimizer = "muon"\nsteps = 14000', 'optimizer = "x"\nsteps = 14000', "optimization: optimizer 'x'"),
    ("steps = 1600", "steps = -1", "transplant.front.steps is -1"),
    ("[transplant.front]", "[front]", "a recipe knows no front"),
    ("[losses]", "[bosses]", "a recipe knows no bosses"),
    ("[[lengths]]\nframes = 98", "[lengths]\nframes = 98", "line"),
    ("[corpora]", "[corpora", "line"),
    ('train = ["common_voice-train", ', 'train = "common_voice-train" #', "corpora.train is 'common_voice-train'"),
    ('noise = "noise"', 'noise = ["noise"]', "corpora.noise is ['noise']; a text"),
    ('noise = "noise"', "noise = 2020-01-01", "corpora.noise is datetime.date(2020, 1, 1); a text"),
    ('known = "common_voice-train"', "known = true", "corpora.known is True; a text"),
    ('kind = "kaldi-16k"', 'kind = "kaldi"', "front_end.kind is 'kaldi'; one of kaldi-16k, seed-16k, seed-48k"),
    ('kind = "kaldi-16k"', 'kind = ["kaldi-16k"]', "front_end.kind is ['kaldi-16k']; a text"),
    ('kind = "narrow-campplus"', "kind = {}", "network.kind is {}; one of bilstm, narrow-campplus, next-tdnn"),
    ('kind = "narrow-campplus"\n', "", "network.kind is None"),
    ("grouped = 2", "grouped = 0", "network.grouped is 0"),
    ("slowest = 0.5", "slowest = 0", "network: slowest is the share"),
    ("blocks = 3", "blocks = 3\nbins = 40", "network.bins is 40; the front end gives 80"),
    ("second_weight = 0.4", "second_weight = -0.4", "teachers.second_weight is -0.4"),
    ("speeds = [0.8, 0.9, 1.1, 1.2]", "speeds = [0.8, 0.0]", "virtual.speeds[2] is 0.0; a speed from 0.25 to 4"),
    ("originals = 2", "originals = -2", "virtual.originals is -2"),
    ("tempo = [0.85, 1.18]", "tempo = [1.18, 0.85]", "cutting.tempo is [1.18, 0.85]; the smaller number first"),
    ("tempo = [0.85, 1.18]", "tempo = 1.18", "cutting.tempo is 1.18; a list of 2 numbers"),
    ("noise_snr_db = [0.0, 20.0]", "noise_snr_db = [0.0]", "augmentation.noise_snr_db is [0.0]"),
    ("mask_share = 0.4", "mask_share = 1.4", "augmentation.mask_share is 1.4; a number from 0 to 1"),
    ("mask_share = 0.4", "mask_share = 0.4\nmask_bins = 81", "augmentation.mask_bins is 81; the front end gives 80"),
    ("shares = { speech_commands = 0.5", "shares = { speech_commands = 5", "speaker_means.shares.speech_commands is 5"),
    ("frames = 98", "frames = 0", "lengths[1].frames is 0"),
    ("crops = 112", "crops = 1", "the losses relational and triplet want two crops in a batch"),
    ("share = 0.34", "share = -0.34", "lengths[1].share is -0.34"),
    ("corpora = { common_voice = 0.75, speechocean762", "corpora = { x = 0 } # {", "lengths[5].corpora is {'x': 0.0}"),
    ("cosine = 1.0", "cosine = nan", "losses.cosine is nan"),
    ('version = "0.13"', "version = 0.13", "bundle.version is 0.13; a text"),
    ('version = "0.13"\n', "", "bundle.version is missing"),
    ('version = "0.13"', 'version = "0.13"\nmade = 2026-11-30', "bundle.made is datetime.date(2026, 11, 30)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"), BROKEN, ids=[f"{at}: {said[:40]}" for at, (*_, said) in enumerate(BROKEN)]
)
def test_a_broken_recipe_is_one_line_and_exit_code_3(tmp_path, old, new, said):
    text = (RECIPES / "third.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    done = CliRunner().invoke(training, ["train", "--recipe", str(tmp_path / "mine.toml"), "--work", str(tmp_path)])
    assert done.exit_code == 3, done.output
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: mine.toml: ") and said in line and len(line) < 200


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"", b"bundle = 3", b"lengths = [1]", b"a = " + b"[" * 5000], ids=range(5)
)
def test_a_file_that_is_no_recipe_is_one_line_too(tmp_path, content):
    (tmp_path / "mine.toml").write_bytes(content)
    done = CliRunner().invoke(training, ["train", "--recipe", str(tmp_path / "mine.toml"), "--work", str(tmp_path)])
    assert done.exit_code == 3, done.output
    assert done.stderr.startswith("Error: mine.toml: ") and done.stderr.count("\n") == 1


ANYTHING = ["x", "", [], ["x"], {}, -1, 0, 1.5, math.nan, -math.inf, True, 10**400, datetime.date(2026, 11, 30), [[[]]]]


def places(values, at=()):
    """Where anything stands in nested tables and lists."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))


def test_anything_in_any_place_of_a_recipe_is_taken_or_told_in_a_line():
    shipped = tomllib.loads((RECIPES / "third.toml").read_text())
    refused = 0
    for at in places(shipped):
        for one in ANYTHING:
            broken = within = copy.deepcopy(shipped)
            for key in at[:-1]:
                within = within[key]
            within[at[-1]] = one
            try:
                _parse("mine", broken)
            except ValueError as error:
                refused += 1
                assert re.fullmatch(r"[^\n]{9,200}", str(error)), (at, one)
    assert refused > 2_000


def test_a_rate_that_would_never_fall_is_told_in_a_line():
    with pytest.raises(ValueError, match="200 steps to warm up, of 7, leave none for the rate to fall in"):
        rate(Optimization(steps=7, learning_rate=1e-3, warmup_steps=200))
