"""The commands of `python -m training`, one file each: from a corpus to an encoder bundle."""

from __future__ import annotations

import click

from training.commands.build import build
from training.commands.calibrate import calibrate
from training.commands.describe import describe
from training.commands.evaluate import evaluate
from training.commands.export import export
from training.commands.further import further
from training.commands.import_seed import import_seed
from training.commands.last_steps import last_steps
from training.commands.originals import originals
from training.commands.prepare import prepare
from training.commands.speech import speech
from training.commands.train import train
from training.commands.trials import trials


@click.group()
def training() -> None:
    """Train a speaker encoder: archives → shards → features → network → ONNX bundle."""


OF_A_TRAINING = (originals, describe, prepare, train, export, build)
OF_A_BUNDLE = (further, last_steps, calibrate, import_seed, evaluate)
for command in (*OF_A_TRAINING, *OF_A_BUNDLE, trials, speech):
    training.add_command(command)
