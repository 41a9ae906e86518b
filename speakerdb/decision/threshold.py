"""The threshold, its origin, and the tie rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from speakerdb.errors import InputError, StateError


@dataclass(frozen=True)
class Threshold:
    """A distance up to which two voices count as one person's.

    Attributes: distance: 0 to 2; origin: one line that says where it was chosen.
    """

    distance: float
    origin: str

    def accepts(self, distance: float) -> bool:
        """The tie rule, stated once: accept when distance ≤ threshold."""
        return distance <= self.distance


def choose_threshold(asked: float | None, card_distance: float | None, card_origin: str) -> Threshold:
    """What the user asked for, else the encoder's own.

    Raises: InputError for a distance outside 0 to 2; StateError where neither is there: a threshold is not guessed.
    """
    if asked is not None:
        if not (math.isfinite(asked) and 0.0 <= asked <= 2.0):
            raise InputError(f"a threshold of {asked:g}; distances lie between 0 and 2")
        return Threshold(asked, "given by the caller")
    if card_distance is None:
        raise StateError("the encoder has no threshold of its own; give one with --threshold")
    return Threshold(card_distance, card_origin)
