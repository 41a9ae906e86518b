"""The command line: `python -m training --help`."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: its notices are not ours

from training.commands import training

training(prog_name="python -m training")
