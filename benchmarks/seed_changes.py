"""What each change to the seed's training does to the dev EER, on the same data, network and number of steps.

    python -m benchmarks.seed_changes --work WORK --train cv-corpus-6.1-sample-train --dev cv-corpus-6.1-sample-dev \
        --trials ../shared/trials [--steps 300] [--crops 32]

WORK is that of `python -m training prepare`; a variant trains in `WORK/seed-changes/VARIANT` and a stopped run goes on.
A dev set `cv-corpus-…-dev` is judged by the pairs drawn from it (seeded), the same ones for every variant.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from training.checkpoints import best_weights
from training.commands.places import Places
from training.commands.train import train_recipe
from training.front_ends import FRONT_ENDS
from training.recipe import Recipe

SEED = "as the seed: any clips, their first 5 s, 48 kHz"


def variants(seed: Recipe, crops: int) -> dict[str, Recipe]:
    """Title → recipe: each has one change more than the one before, the last has another change in its place."""
    (length,) = seed.lengths
    length = replace(length, crops=crops)
    crop = replace(seed, lengths=[length])
    return {
        SEED: replace(seed, lengths=[replace(length, clips_per_speaker=1, from_start=True)]),
        "and 4 clips of each speaker in a batch": replace(seed, lengths=[replace(length, from_start=True)]),
        "and crops from anywhere (the recipe)": crop,
        "the recipe at 16 kHz": replace(crop, front_end=FRONT_ENDS["seed-16k"]),
    }


def main() -> None:
    """Train every variant and print a line of each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--train", required=True)
    options.add_argument("--dev", required=True)
    options.add_argument("--trials", type=Path, default=Path("../shared/trials"))
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--crops", type=int, default=32)
    given = options.parse_args()
    seed = Recipe.load("seed").with_corpora([given.train], [given.dev]).with_steps(given.steps)
    seed = replace(seed, optimization=replace(seed.optimization, patience=0, evaluate_steps=given.steps // 3))
    print(f"{given.steps} steps of {given.crops} crops of 5 s; EER in % on the pairs of {given.dev}")
    for number, (title, recipe) in enumerate(variants(seed, given.crops).items()):
        at = Places(given.work, given.work, given.trials, given.work)
        named = replace(recipe, name=f"seed-changes/{number}")
        train_recipe(named, at, Console(stderr=True))
        _, best = best_weights(given.work / named.name)
        print(f"{best.best['mean']:6.2f}  at step {best.best_step:5d}  {title}", flush=True)


if __name__ == "__main__":
    main()
