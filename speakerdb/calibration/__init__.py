"""Distances → scores that mean the same for every voice, log-likelihood ratios, and rates of false matches.

    distance ─▶ cohort (score normalisation) ─▶ score ─┬▶ tail:  how often a stranger's score reaches it (FMR)
                                                       └▶ model: LLR, with the seconds of speech on both sides

`calibration.fit` chooses the numbers from trials: `python -m training calibrate` for a bundle, `speakerdb calibrate`
for a gallery.
"""

from speakerdb.calibration.cohort import Cohort, Norms, cosine_at, normalised, unnormalised
from speakerdb.calibration.model import Basis, Calibration, LlrMap
from speakerdb.calibration.tail import Tail

__all__ = [
    "Basis",
    "Calibration",
    "Cohort",
    "LlrMap",
    "Norms",
    "Tail",
    "cosine_at",
    "normalised",
    "unnormalised",
]
