"""The pairs that a training is judged by while it runs: given ones, or pairs drawn from the dev corpus's speakers.

They lie in the training's own folder, so that it is clear afterwards what the weights were chosen by.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speakerdb.trials import Pair, read_pairs, write_pairs
from training.checkpoints import FRONT_STAGE, newest

TARGETS, NONTARGETS = 1_000, 4_000
PER_SPEAKER = 10
"""Target pairs of one speaker at most: nobody's voice shall decide alone."""


def lists_of(training: Path) -> Path:
    """The folder in a training's own with the lists that it is judged by, and what is made of its bundle, too."""
    return training / "trials"


def gather_pairs(trials: Path, work: Path, dev: dict[str, list[dict[str, str]]], seed: int) -> Path:
    """The folder with `NAME-pairs.txt` of each dev corpus: copied from `trials`, or drawn where there is none.

    A training that has begun, or its front, is judged by the lists that it began with.
    Args: dev: the clips' rows (path, speaker) by corpus.
    Raises: ValueError for a corpus without a list that has no two speakers, or none with two clips; for a list that
        names a clip whose features there are not.
    """
    folder = lists_of(work)
    folder.mkdir(parents=True, exist_ok=True)
    begun = any(newest(folder, "checkpoint") for folder in (work, work / FRONT_STAGE))
    for name, rows in dev.items():
        given, taken = trials / f"{name}-pairs.txt", folder / f"{name}-pairs.txt"
        if begun and taken.exists():
            continue
        if given.exists():
            shutil.copyfile(given, taken)
        else:
            write_pairs(taken, draw_pairs(name, rows, seed))
        missing = {clip for pair in read_pairs(taken) for clip in (pair.first, pair.second)} - {r["path"] for r in rows}
        if missing:
            raise ValueError(f"{given}: no clip {min(missing)} in {name}, or it cannot be read ({len(missing)} such)")
    return folder


def draw_pairs(name: str, rows: Sequence[dict[str, str]], seed: int) -> list[Pair]:
    """At most 1,000 pairs of one speaker and 4,000 of two, the same ones for the same seed.

    Raises: ValueError for a corpus that has no two speakers, or none with two clips.
    """
    rng = np.random.default_rng(seed)
    clips_of: dict[str, list[str]] = {}
    for row in rows:
        clips_of.setdefault(row["speaker"], []).append(row["path"])
    several = [clips for clips in clips_of.values() if len(clips) > 1]
    if not several or len(clips_of) < 2:
        raise ValueError(f"{name}: pairs need two speakers, and one of them with two clips")
    pairs = set()
    for clips in several:
        for first, second in _some_pairs(len(clips), rng):
            pairs.add((1, *sorted((clips[first], clips[second]))))
    targets = sorted(pairs)
    if len(targets) > TARGETS:
        targets = [targets[i] for i in sorted(rng.choice(len(targets), size=TARGETS, replace=False))]
    speakers, nontargets = list(clips_of), set()
    for _ in range(NONTARGETS):
        first, second = rng.choice(len(speakers), size=2, replace=False)
        chosen = [clips_of[speakers[i]][rng.integers(len(clips_of[speakers[i]]))] for i in (first, second)]
        nontargets.add((0, *sorted(chosen)))
    return [Pair(bool(label), first, second) for label, first, second in [*targets, *sorted(nontargets)]]


def _some_pairs(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Pairs of so many clips: all of them where they are few."""
    if count * (count - 1) // 2 <= PER_SPEAKER:
        return list(itertools.combinations(range(count), 2))
    return [tuple(rng.choice(count, size=2, replace=False)) for _ in range(PER_SPEAKER)]
