"""How the error rate grows as clips get shorter: the same pairs, every clip cut to its middle."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from speakerdb.audio import Samples
from speakerdb.embedding import Vector
from training.evaluation.run import Encoder, Job, evaluate

CUT_S = (1.0, 2.0, 3.0, 5.0)


def cut_eer(job: Job, encoder: Encoder, cut_s: float, console: Console, out: Path | None = None) -> float:
    """The EER of pairs in percent, with the middle `cut_s` of each clip; shorter clips stay whole."""

    def encode(samples: Samples) -> Vector:
        return encoder.encode(middle(samples, round(cut_s * encoder.rate_hz)))

    sha256 = hashlib.sha256(f"{encoder.sha256} {cut_s}".encode()).hexdigest()  # vectors of another kind
    pairs = replace(job.lists, models_file=None, model_trials_file=None, gallery_file=None, probes_file=None)
    cut = replace(encoder, encode=encode, sha256=sha256)
    return evaluate(Job(pairs, job.source), cut, console, out=out).report.figures["eer"]


def middle(samples: Samples, length: int) -> Samples:
    """So many samples around the middle; all, where there are no more."""
    start = max(0, (len(samples) - length) // 2)
    return samples[start : start + length]
