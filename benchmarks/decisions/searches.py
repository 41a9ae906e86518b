"""Probes of the lists in galleries of any size: how often a stranger gets a name, and an enrolled person none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.decisions import FPIRS
from speakerdb.calibration import Calibration
from speakerdb.decision.criterion import per_comparison
from speakerdb.embedding import Vectors, average
from speakerdb.encoder.bundle import Bundle
from speakerdb.trials import read_models, read_probes
from training.calibration.calibrate import all_scores
from training.calibration.heard import Heard

DRAWS = 10
"""Galleries of each size, filled with other people."""


@dataclass(frozen=True)
class Search:
    """The open-set list of one set, as scores of its probes beside its own people and beside all others.

    Attributes: own: [people, probes]; others: [fillers, probes]; speaker: [probes], a row of `own`, −1 for strangers;
        speech_s: [probes], net.
    """

    name: str
    own: npt.NDArray[np.float64]
    others: npt.NDArray[np.float64]
    speaker: npt.NDArray[np.int64]
    speech_s: npt.NDArray[np.float64]

    @staticmethod
    def of(name: str, whole: Heard, trials: Path, fillers: Vectors, bundle: Bundle) -> Search:
        """Clips without speech are left out, as the program refuses them."""
        row_of = {clip: row for row, clip in enumerate(whole.clips)}
        people, prints = [], []
        for person in read_models(trials / f"{name}-gallery.txt"):
            rows = [row_of[clip] for clip in person.clips if clip in row_of]
            if rows:
                people.append(person.name)
                prints.append(average(whole.vectors[rows]))
        probes = [p for p in read_probes(trials / f"{name}-probes.txt") if p.clip in row_of]
        probes = [p for p in probes if p.speaker is None or p.speaker in people]
        vectors = whole.vectors[[row_of[p.clip] for p in probes]]
        speaker = np.array([-1 if p.speaker is None else people.index(p.speaker) for p in probes])
        own = all_scores(np.stack(prints), vectors, bundle.cohort)
        speech_s = whole.speech_s[[row_of[p.clip] for p in probes]]
        return Search(name, own, all_scores(fillers, vectors, bundle.cohort), speaker, speech_s)

    @property
    def most(self) -> int:
        """People there are to fill a gallery with."""
        return len(self.own) + len(self.others)

    def figures(self, calibration: Calibration, sizes: Sequence[int], draws: int = DRAWS) -> list[dict[str, Any]]:
        """A row for each size of gallery and each FPIR asked for."""
        rng, found = np.random.default_rng(0), []
        strangers = self.speaker < 0
        mated = self.own[self.speaker[~strangers], np.flatnonzero(~strangers)]
        for size in sizes:
            drawn = [rng.choice(len(self.others), size - len(self.own), replace=False) for _ in range(draws)]
            tops = [np.maximum(self.own.max(axis=0), self.others[rows].max(axis=0)) for rows in drawn]
            for rate in FPIRS:
                fmr = per_comparison(rate, size)
                limits = np.array([calibration.searched_by(probe_s).score_at(fmr) for probe_s in self.speech_s])
                fpir = float(np.mean([np.mean((top >= limits)[strangers]) for top in tops]))
                hits = [np.mean((mated >= limits[~strangers]) & (mated >= top[~strangers])) for top in tops]
                row = {"set": self.name, "size": size, "asked": rate, "fpir": round(fpir, 5)}
                found.append(row | {"fnir": round(1.0 - float(np.mean(hits)), 4)})
        return found
