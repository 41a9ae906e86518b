"""Trials as users make them: so many recordings enrolled, a probe of so many seconds.

A voiceprint is the average of recordings drawn from a speaker's. It is tried against another recording of the speaker,
and against four of others, half of them of the same language where five others or more speak it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speakerdb.calibration import Basis, Cohort
from speakerdb.calibration.fit import Trials
from speakerdb.decision.judging import Judge
from speakerdb.embedding import average
from training.calibration.heard import Heard

DRAWS = 40
"""Voiceprints drawn of each speaker."""

STRANGERS = 4
"""Trials of others for each voiceprint."""

LEAST_ALIKE = 5
"""Others of a speaker's language: fewer would be tried again and again, and a figure be about them alone."""


@dataclass(frozen=True)
class Condition:
    """Trials under one condition: which set, how many recordings enrolled, what kind of probe.

    Attributes: speakers, spoken_by: of each trial, who is enrolled, and who speaks in the probe.
    """

    name: str
    enrolled: int
    probe: str
    trials: Trials
    speakers: npt.NDArray[np.str_]
    spoken_by: npt.NDArray[np.str_]


def condition(
    name: str, enrolled: Heard, probes: Heard, count: int, probe: str, cohort: Cohort | None, seed: int = 0
) -> Condition:
    """Draw the trials of one condition.

    Args: enrolled: whole recordings; probes: what is asked about, cut or joined from the same clips.
    Raises: ValueError where no speaker has recordings enough.
    """
    rng = np.random.default_rng([seed, count, len(probes.speakers)])
    row_of = {clip: row for row, path in enumerate(probes.clips) for clip in path.split("\t")}
    prints, enrolled_s, print_of, probe_of, target, owners = [], [], [], [], [], []
    for speaker in np.unique(enrolled.speakers):
        own = np.flatnonzero(enrolled.speakers == speaker)
        if len(own) < count:
            continue
        for _ in range(DRAWS):
            chosen = rng.choice(own, count, replace=False)
            used = set(enrolled.clips[chosen])
            mates = [r for r in _rows(enrolled.clips[own], row_of) if not used & set(probes.clips[r].split("\t"))]
            drawn = [(int(rng.choice(mates)), True)] if mates else []
            drawn += [(row, False) for row in _strangers(probes, speaker, enrolled.languages[own[0]], rng)]
            for row, same in drawn:
                print_of.append(len(prints))
                probe_of.append(row)
                target.append(same)
                owners.append(speaker)
            prints.append(average(enrolled.vectors[chosen]))
            enrolled_s.append(enrolled.speech_s[chosen].sum())
    if not prints:
        raise ValueError(f"{name}: nobody has {count} recordings")
    judge = Judge(cohort, None)
    scores = judge.scores_of_pairs(np.stack(prints), np.array(print_of), probes.vectors, np.array(probe_of))
    basis = Basis(probes.speech_s[probe_of], np.array(enrolled_s)[print_of], np.full(len(scores), count))
    trials = Trials(scores, basis, np.array(target))
    return Condition(name, count, probe, trials, np.array(owners), probes.speakers[probe_of])


def _rows(clips: npt.NDArray[np.str_], row_of: dict[str, int]) -> list[int]:
    return sorted({row_of[clip] for clip in clips if clip in row_of})


def _strangers(probes: Heard, speaker: str, language: str, rng: np.random.Generator) -> list[int]:
    """Rows of others' probes, half of them of the language."""
    others = np.flatnonzero(probes.speakers != speaker)
    alike = others[probes.languages[others] == language]
    if not language or len(set(probes.speakers[alike])) < LEAST_ALIKE:
        alike = others
    return [int(rng.choice(alike if i % 2 else others)) for i in range(STRANGERS)]
