"""The lists of one evaluation: pairs, and where there are any, models with their trials, a gallery with its probes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from speakerdb.trials import Model, Probe, TrialTable, read_models, read_probes


@dataclass(frozen=True)
class Lists:
    """Their files, read when they are asked for.

    Attributes: name: what the report and its files are called by.
    """

    name: str
    pairs_file: Path
    models_file: Path | None = None
    model_trials_file: Path | None = None
    gallery_file: Path | None = None
    probes_file: Path | None = None

    @staticmethod
    def named(name: str, *folders: Path) -> Lists | None:
        """`NAME-pairs.txt` in the first folder that has it, with what lies beside it; None where none has it."""
        for folder in folders:
            if (folder / f"{name}-pairs.txt").exists():
                return Lists(
                    name,
                    folder / f"{name}-pairs.txt",
                    *_both(folder / f"{name}-models.txt", folder / f"{name}-models-trials.txt"),
                    *_both(folder / f"{name}-gallery.txt", folder / f"{name}-probes.txt"),
                )
        return None

    @cached_property
    def pairs(self) -> TrialTable:
        """Clip against clip."""
        return TrialTable.read(self.pairs_file)

    @cached_property
    def models(self) -> list[Model]:
        """Who is enrolled with several clips; empty without a list."""
        return read_models(self.models_file) if self.models_file else []

    @cached_property
    def model_trials(self) -> TrialTable | None:
        """Clip against model."""
        return TrialTable.read(self.model_trials_file, "MODEL") if self.model_trials_file else None

    @cached_property
    def gallery(self) -> list[Model]:
        """Who is enrolled for the searches; empty without a list."""
        return read_models(self.gallery_file) if self.gallery_file else []

    @cached_property
    def probes(self) -> list[Probe]:
        """The searches; empty without a list."""
        return read_probes(self.probes_file) if self.probes_file else []

    def clips(self) -> list[str]:
        """Every clip that a list names, once each, in the order of the lists."""
        found = dict.fromkeys([*self.pairs.firsts, *self.pairs.seconds])
        for model in [*self.models, *self.gallery]:
            found |= dict.fromkeys(model.clips)
        if self.model_trials is not None:
            found |= dict.fromkeys(self.model_trials.seconds)
        return list(found | dict.fromkeys(probe.clip for probe in self.probes))


def _both(first: Path, second: Path) -> tuple[Path | None, Path | None]:
    return (first, second) if first.exists() and second.exists() else (None, None)
