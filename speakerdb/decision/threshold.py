"""A threshold, its origin, and the tie rule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A distance up to which two voices count as one person's.

    Attributes:
        distance: 0 to 2; origin: one line that says where it was chosen.
        fmr: how often two strangers' voices come this near, where that is known.
        fpir: how often a stranger is taken for somebody of the gallery; None where no gallery is searched.
    """

    distance: float
    origin: str
    fmr: float | None = None
    fpir: float | None = None

    def accepts(self, distance: float) -> bool:
        """The tie rule, stated once: accept when distance ≤ threshold."""
        return distance <= self.distance
