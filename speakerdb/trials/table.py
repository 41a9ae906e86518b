"""A list of trials as columns: what a list of many millions takes in memory is 9 bytes a trial."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vector, is_unit, paired_distances
from speakerdb.errors import InputError, printable
from speakerdb.trials.lists import iter_trials

BLOCK = 4096
"""Trials scored at once: their vectors are all that is in memory of a file of vectors."""


@dataclass(frozen=True, eq=False)
class TrialTable:
    """Trials in the list's order.

    Attributes:
        target: bool [trials]. first, second: int32 [trials], rows of `firsts` and `seconds`.
        firsts, seconds: each name once: clips or models that are enrolled, and clips that are tested.
    """

    target: npt.NDArray[np.bool_]
    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    firsts: list[str]
    seconds: list[str]

    @staticmethod
    def of(trials: Iterable[tuple[bool, str, str]]) -> TrialTable:
        """From label, enrolled name and tested clip of each trial."""
        target, first, second = array("b"), array("i"), array("i")
        firsts: dict[str, int] = {}
        seconds: dict[str, int] = {}
        for label, enrolled, tested in trials:
            target.append(label)
            first.append(firsts.setdefault(enrolled, len(firsts)))
            second.append(seconds.setdefault(tested, len(seconds)))
        return TrialTable(
            np.array(target, dtype=np.bool_),
            np.array(first, dtype=np.int32),
            np.array(second, dtype=np.int32),
            list(firsts),
            list(seconds),
        )

    @staticmethod
    def read(path: str | Path, enrolled: str = "CLIP") -> TrialTable:
        """A list of pairs, or with `enrolled` MODEL of model trials. Raises: InputError as `read_pairs`."""
        return TrialTable.of(iter_trials(path, enrolled))

    def scores(self, enrolled: Mapping[str, Vector], tested: Mapping[str, Vector]) -> npt.NDArray[np.float64]:
        """−distance of each trial, −2 to 0, in the list's order.

        Args: enrolled, tested: name → float32 [dimension], unit length; looked up block by block.
        Raises: InputError for a name without a vector; ValueError for a vector that is not of unit length.
        """
        found = np.empty(len(self.target), np.float64)
        for start in range(0, len(found), BLOCK):
            block = slice(start, start + BLOCK)
            found[block] = -paired_distances(
                _rows(self.firsts, self.first[block], enrolled), _rows(self.seconds, self.second[block], tested)
            )
        return found


def unit_vector(name: str, vectors: Mapping[str, Vector]) -> Vector:
    """The vector of a name. Raises: as `TrialTable.scores`."""
    vector: Vector = _rows([name], np.zeros(1, np.int32), vectors)[0]
    return vector


def _rows(names: list[str], rows: npt.NDArray[np.int32], vectors: Mapping[str, Vector]) -> npt.NDArray[np.float32]:
    """Vectors of these rows: float32 [rows, dimension]."""
    distinct, places = np.unique(rows, return_inverse=True)
    missing = next((names[row] for row in distinct if names[row] not in vectors), None)
    if missing is not None:
        raise InputError(f"no vector for the clip {printable(missing)!r}", clip=missing)
    found = np.stack([vectors[names[row]] for row in distinct])
    fitting = is_unit(found)
    if not fitting.all():
        name = names[distinct[int(np.argmin(fitting))]]
        raise ValueError(f"the vector of {printable(name)!r} is not of unit length")
    placed: npt.NDArray[np.float32] = found[places]
    return placed
