"""Speakers whom nobody recorded: every clip played faster or slower, or in another voice (`training.other_voices`).

A virtual set is named SET@SPEED, or SET@voiceN. Its clips are made from the set's shards when they are needed; its
people are others than the set's (SPEAKER@SPEED), so that the network learns to tell them apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import soundfile
import soxr

from speakerdb.audio import Samples, read
from speakerdb.errors import AudioUnreadable
from training.corpora import Clip
from training.other_voices import OtherVoice
from training.recipe_values import Bounds, Count
from training.records import read_index, read_shards

Speed = Annotated[float, Bounds(0.25, 4.0, "a speed from 0.25 to 4")]

LEAST_S = 0.5
"""Shorter ones are left out: sped up, a word is over before it is known whose it is."""
VOICE = "voice"


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


def in_other_voices(train: Iterable[str], voices: int) -> list[str]:
    """Names of the sets of so many other voices of each speaker."""
    return [f"{name}@{VOICE}{number}" for name in train for number in range(voices)]


def recorded_set(name: str) -> str:
    """The set that a virtual set is made of; a recorded set itself."""
    return name.partition("@")[0]


def clips_of(shards: Path, name: str, rate_hz: int) -> Iterator[Clip]:
    """The clips of a set, recorded or virtual; these as WAV of floats at `rate_hz`."""
    recorded, _, how = name.partition("@")
    clips = read_shards(shards, recorded)
    if how.startswith(VOICE):
        return in_another_voice(clips, int(how.removeprefix(VOICE)), rate_hz)
    return at_speed(clips, float(how), rate_hz) if how else clips


def clip_count(shards: Path, name: str) -> int:
    """How many clips a set has at most."""
    return len(read_index(shards, recorded_set(name)))


def at_speed(clips: Iterable[Clip], speed: float, rate_hz: int) -> Iterator[Clip]:
    """Clips played at another speed; those that cannot be read or become too short are left out."""
    return _changed(clips, f"{speed:g}", rate_hz, lambda _, samples: soxr.resample(samples, rate_hz * speed, rate_hz))


def in_another_voice(clips: Iterable[Clip], number: int, rate_hz: int) -> Iterator[Clip]:
    """Clips in the n-th other voice of their speakers; likewise."""
    return _changed(
        clips,
        f"{VOICE}{number}",
        rate_hz,
        lambda clip, samples: OtherVoice.drawn(clip.speaker, number).of(samples, rate_hz),
    )


def _changed(
    clips: Iterable[Clip], how: str, rate_hz: int, change: Callable[[Clip, Samples], Samples]
) -> Iterator[Clip]:
    for clip in clips:
        try:
            samples = read(clip.audio, rate_hz).samples
        except AudioUnreadable:
            continue
        changed = change(clip, samples)
        if len(changed) < LEAST_S * rate_hz:
            continue
        file = io.BytesIO()
        soundfile.write(file, changed, rate_hz, format="WAV", subtype="FLOAT")
        yield replace(
            clip,
            path=f"{clip.name}@{how}.wav",
            speaker=f"{clip.speaker}@{how}",
            seconds=len(changed) / rate_hz,
            audio=file.getvalue(),
        )
