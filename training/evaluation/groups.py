"""EER by language, by sex and by the clips' length: pairs whose two clips belong to the same group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.metrics import equal_error_rate
from training.evaluation.clips import Facts
from training.evaluation.figures import ScoredTrials

LENGTH_EDGES_S = (1.0, 2.0, 3.0, 5.0)
"""A pair counts by its shorter clip: up to 1 s (a one-second word is 1.00 s), to 2 s, to 3, to 5, and longer."""
LENGTH_NAMES = ("0–1 s", "1–2 s", "2–3 s", "3–5 s", "over 5 s")


def by_groups(pairs: ScoredTrials, facts: Mapping[str, Facts], seconds: Mapping[str, float]) -> dict[str, Any]:
    """by_language, by_sex and by_length: group → targets, nontargets and the EER in percent, None without both.

    Args: facts: of every clip; a clip of which a fact is not known belongs to no group. seconds: of every clip, or
        empty, and then there is no by_length.
    """
    table = pairs.table
    found = {}
    for what in ("language", "sex"):
        first = np.array([getattr(facts[clip], what) for clip in table.firsts])[table.first]
        second = np.array([getattr(facts[clip], what) for clip in table.seconds])[table.second]
        groups = np.where(first == second, first, "")
        found[f"by_{what}"] = {str(group): _group(pairs, groups == group) for group in np.unique(groups[groups != ""])}
    if seconds:
        shorter = np.minimum(
            np.array([seconds[clip] for clip in table.firsts])[table.first],
            np.array([seconds[clip] for clip in table.seconds])[table.second],
        )
        bins = np.digitize(shorter, LENGTH_EDGES_S, right=True)
        found["by_length"] = {
            LENGTH_NAMES[number]: _group(pairs, bins == number) for number in np.unique(bins).tolist()
        }
    return found


def _group(pairs: ScoredTrials, chosen: npt.NDArray[np.bool_]) -> dict[str, float | int | None]:
    target = pairs.values[chosen & pairs.table.target]
    nontarget = pairs.values[chosen & ~pairs.table.target]
    both = len(target) and len(nontarget)
    rate = round(100 * equal_error_rate(target, nontarget).rate, 2) if both else None
    return {"targets": len(target), "nontargets": len(nontarget), "eer": rate}
