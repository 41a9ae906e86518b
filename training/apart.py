"""Nobody whom an encoder was trained on is among those by whom it is judged: a leak, which makes every figure too good.

Asked wherever sets are trained on, measured on or calibrated on, as far as they are at hand, prepared or as archives.
A folder's speakers are named within it alone, so that their names tell nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.evaluation.clips import OfCorpus, OfShards, named_set
from training.evaluation.run import Job

NAMED = 3
"""Speakers in an error."""


def require_strangers(
    train: Iterable[str], judged: Mapping[str, set[str]], shards: Path | None, corpora: Path | None
) -> None:
    """Raise ValueError where somebody of a train set is among those of another, with names of some of them.

    Args: train: names of sets. judged: by the set's or list's name, who speaks in it. shards, corpora: where sets lie.
    """
    for first, trained_on in people_of(train, shards, corpora).items():
        for second, people in judged.items():
            if shared := sorted(trained_on & people):
                some = ", ".join(shared[:NAMED])
                raise ValueError(f"{first} and {second} share {len(shared)} speakers, {some} among them")


def people_of(sets: Iterable[str], shards: Path | None, corpora: Path | None) -> dict[str, set[str]]:
    """Everybody in those of these sets that are at hand."""
    found = {name: named_set(name, shards, corpora) for name in dict.fromkeys(sets)}
    return {name: source.speakers() for name, source in found.items() if source is not None}


def people_in(job: Job) -> set[str]:
    """Everybody in the lists of a set; nobody is known where they are of a folder, or of scores alone."""
    if not isinstance(job.source, OfCorpus | OfShards):
        return set()
    return {found.speaker for found in job.source.facts(job.lists.clips()).values()} - {""}


def train_sets_of(card: Mapping[str, Any]) -> list[str]:
    """The sets that a card names as trained on; none where it does not say so in our form."""
    said = card.get("training")
    data = said.get("data") if isinstance(said, dict) else None
    return list(data) if isinstance(data, dict) else []
