"""Speakers whom nobody recorded: every clip played faster or slower, which moves pitch and formants together.

A virtual set is named SET@SPEED. Its clips are made from the set's shards when they are needed; their people are others
than the set's (SPEAKER@SPEED), so that the network learns to tell them apart.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import soundfile
import soxr

from speakerdb.audio import read
from speakerdb.errors import AudioUnreadable
from training.corpora import Clip
from training.recipe_values import Bounds, Count
from training.records import read_index, read_shards

Speed = Annotated[float, Bounds(0.25, 4.0, "a speed from 0.25 to 4")]

LEAST_S = 0.5
"""Shorter ones are left out: sped up, a word is over before it is known whose it is."""


@dataclass(frozen=True)
class Virtual:
    """Which virtual sets a recipe makes.

    Attributes:
        speeds: 0.9 plays a clip slower and lower. originals: how often the clips as recorded count beside them.
    """

    speeds: list[Speed] = field(default_factory=list)
    originals: Count = 1

    def sets(self, train: Iterable[str]) -> list[str]:
        """Names of all sets to train on: the recorded ones, then the virtual ones."""
        recorded = list(train)
        return [*recorded * self.originals, *(f"{name}@{speed:g}" for name in recorded for speed in self.speeds)]


def recorded_set(name: str) -> str:
    """The set that a virtual set is made of; a recorded set itself."""
    return name.partition("@")[0]


def clips_of(shards: Path, name: str, rate_hz: int) -> Iterator[Clip]:
    """The clips of a set, recorded or virtual; these as WAV of floats at `rate_hz`."""
    recorded, _, speed = name.partition("@")
    clips = read_shards(shards, recorded)
    return at_speed(clips, float(speed), rate_hz) if speed else clips


def clip_count(shards: Path, name: str) -> int:
    """How many clips a set has at most."""
    return len(read_index(shards, recorded_set(name)))


def at_speed(clips: Iterable[Clip], speed: float, rate_hz: int) -> Iterator[Clip]:
    """Clips played at another speed; those that cannot be read or become too short are left out."""
    for clip in clips:
        try:
            samples = read(clip.audio, rate_hz).samples
        except AudioUnreadable:
            continue
        played = soxr.resample(samples, rate_hz * speed, rate_hz)
        if len(played) < LEAST_S * rate_hz:
            continue
        file = io.BytesIO()
        soundfile.write(file, played, rate_hz, format="WAV", subtype="FLOAT")
        yield replace(
            clip,
            path=f"{clip.name}@{speed:g}.wav",
            speaker=f"{clip.speaker}@{speed:g}",
            seconds=len(played) / rate_hz,
            audio=file.getvalue(),
        )
