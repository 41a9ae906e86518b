"""Score files: `ENROLLED TESTED SCORE`, with a label behind or without, as Kaldi's and VoxCeleb's tools write them."""

from __future__ import annotations

import bisect
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from speakerdb.errors import InputError, printable
from speakerdb.trials.lists import KALDI_LABELS, LABELS, fields_of, malformed, require_fields
from speakerdb.trials.table import TrialTable

FORM = "CLIP CLIP SCORE …"
ALL_LABELS = LABELS | KALDI_LABELS


def write_scores(path: str | Path, trials: TrialTable, scores: npt.NDArray[np.float64]) -> None:
    """Write one line a trial in the list's order, each score with all its digits.

    Raises: InputError for a name with white space, which no line can hold; nothing is written then.
    """
    require_fields(*trials.firsts, *trials.seconds)
    with Path(path).open("w", encoding="utf-8") as file:
        for first, second, score in zip(trials.first, trials.second, scores, strict=True):
            file.write(f"{trials.firsts[first]} {trials.seconds[second]} {float(score)!r}\n")


def read_scores(path: str | Path, trials: TrialTable) -> npt.NDArray[np.float64]:
    """The score of each trial, whatever the file's order; lines of other trials count for nothing.

    Returns: float64 [trials], finite.
    Raises: InputError, naming file and line, for a malformed line, a score that is no finite number, a label that the
        list contradicts, or two scores of one trial; naming the trial for one without a score.
    """
    firsts = {name: row for row, name in enumerate(trials.firsts)}
    seconds = {name: row for row, name in enumerate(trials.seconds)}
    keys = trials.first.astype(np.int64) * len(seconds) + trials.second
    distinct, at_first, places = np.unique(keys, return_index=True, return_inverse=True)
    found = np.full(len(distinct), np.nan)
    for number, (first, second, text, *label) in fields_of(path, FORM):
        score = _finite(text)
        if score is None:
            raise malformed(path, number, f"{printable(text)!r} is not a score")
        if label and (len(label) > 1 or label[0] not in ALL_LABELS):
            raise malformed(path, number, f"{printable(' '.join(label))!r} is not a label (target, nontarget, 1, 0)")
        if first not in firsts or second not in seconds:
            continue
        key = firsts[first] * len(seconds) + seconds[second]
        row = bisect.bisect_left(distinct, key)
        if row == len(distinct) or distinct[row] != key:
            continue
        if label and ALL_LABELS[label[0]] != trials.target[at_first[row]]:
            raise malformed(path, number, f"{label[0]}, where the list says otherwise")
        if not np.isnan(found[row]) and found[row] != score:
            raise malformed(path, number, "a second score of this trial, another than the first")
        found[row] = score
    missing = np.flatnonzero(np.isnan(found[places]))
    if len(missing):
        trial = int(missing[0])
        names = f"{trials.firsts[trials.first[trial]]} {trials.seconds[trials.second[trial]]}"
        raise InputError(f"{printable(path, 200)}: no score for {len(missing)} trials, {printable(names)!r} among them")
    scores: npt.NDArray[np.float64] = found[places]
    return scores


def _finite(text: str) -> float | None:
    try:
        score = float(text)
    except ValueError:
        return None
    return score if math.isfinite(score) else None
