"""Which split a speaker belongs to, and that nobody belongs to two."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from training.corpora.clip import SPLITS, Row


def parse_shares(text: str) -> tuple[int, int, int]:
    """Per cent for train, dev and test, as in `80/10/10`. Raises ValueError for anything else."""
    try:
        train, dev, test = (int(part) for part in text.split("/"))
    except ValueError:
        raise ValueError(f"{text!r}: three numbers are needed, such as 80/10/10") from None
    if min(train, dev, test) < 0 or train + dev + test != 100 or not train:
        raise ValueError(f"{text!r}: per cent of speakers for train, dev and test, 100 together, train not 0")
    return train, dev, test


def split_by_speaker(rows: Iterable[Row], shares: tuple[int, int, int]) -> list[Row]:
    """Every clip in the split that its speaker's name falls into, whatever its tables say.

    The name alone decides (SHA-256), without the corpus's before it, so a speaker falls into the same split in every
    corpus and every run.
    """
    train, dev, _ = shares
    splits = {}
    result = []
    for row in rows:
        if row.speaker not in splits:
            name = row.speaker.removeprefix(f"{row.corpus}/")
            at = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % 100
            splits[row.speaker] = SPLITS[0 if at < train else 1 if at < train + dev else 2]
        result.append(replace(row, split=splits[row.speaker]))
    return result


def check_apart(speakers: dict[str, dict[str, str]]) -> None:
    """Raise ValueError where a speaker stands in two splits: a leak, which makes every figure too good.

    Args: speakers: by the set's name, each of its speakers with the split.
    """
    home: dict[str, tuple[str, str]] = {}
    for name, split_of in speakers.items():
        for speaker, split in split_of.items():
            other, found = home.setdefault(speaker, (name, split))
            if found != split:
                raise ValueError(
                    f"{other} and {name} share the speaker {speaker}, who may be in one split alone; "
                    "--split-by-speaker 80/10/10 makes new splits"
                )
