"""The rules of an import, inside one transaction: who is new, who is there already, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, get_args

from sqlalchemy import Connection

from speakerdb import settings
from speakerdb.errors import InputError, StateError, printable
from speakerdb.store import binding, importing, records, voiceprints
from speakerdb.store.archive_reading import Archive, Archived
from speakerdb.store.importing import Newcomer

OnConflict = Literal["fail", "skip", "rename", "merge"]
POLICIES = get_args(OnConflict)
BATCH_RECORDINGS = 2000
BATCH_BYTES = 64 << 20
"""Of recordings, and of sounds, looked up and written at a time; whole speakers, so it may be more."""

Person = tuple[str, list[Archived]]


@dataclass
class Tally:
    """What an import has done so far; given: names that are not free, those of the archive and those made of them."""

    speakers: int = 0
    recordings: int = 0
    merged: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    already: int = 0
    known_as: dict[str, str] = field(default_factory=dict)
    changed: list[int] = field(default_factory=list)
    given: set[str] = field(default_factory=set)


def take_in(connection: Connection, archive: Archive, on_conflict: OnConflict) -> Tally:
    """Write an archive's people; an error rolls all of it back.

    Raises: StateError, with `fail`, for a name or a sound that is enrolled already; InputError for the archive.
    """
    tally = Tally(given=set(archive.names))
    for batch in _batches(archive):
        taken = importing.ids_by_name(connection, [name for name, _ in batch])
        hashes = [archived.line.audio_sha256 for _, recordings in batch for archived in recordings]
        owners = importing.owners_by_sound(connection, hashes)
        if on_conflict == "fail":
            _require_new(batch, taken, owners)
        newcomers = []
        for name, recordings in batch:
            new = [archived for archived in recordings if archived.line.audio_sha256 not in owners]
            if name in taken and on_conflict == "skip":
                tally.skipped.append(name)
                continue
            tally.already += len(recordings) - len(new)
            if not new and name not in taken:
                tally.known_as[name] = owners[recordings[0].line.audio_sha256]
            if new:
                newcomers.append(_newcomer(connection, name, new, taken.get(name), on_conflict, tally))
        _write(connection, newcomers, tally)
    binding.record_change(connection, tally.changed)
    return tally


def _newcomer(
    connection: Connection,
    name: str,
    new: list[Archived],
    known: int | None,
    on_conflict: OnConflict,
    tally: Tally,
) -> Newcomer:
    if known is None:
        return Newcomer(name, None, new)
    if on_conflict == "merge":
        tally.merged.append(name)
        return Newcomer(name, known, new)
    tally.renamed[name] = _free_name(connection, name, tally.given)
    tally.given.add(tally.renamed[name])
    return Newcomer(tally.renamed[name], None, new)


def _write(connection: Connection, newcomers: list[Newcomer], tally: Tally) -> None:
    try:
        ids = importing.write_all(connection, newcomers)
        for one, speaker in zip(newcomers, ids, strict=True):
            if one.id is not None:
                voiceprints.refresh(connection, speaker, added=len(one.recordings))
    except ValueError as error:  # of averages
        raise InputError(f"the archive's recordings of a speaker are nobody's: {error}") from error
    tally.changed += ids
    tally.speakers += sum(one.id is None for one in newcomers)
    tally.recordings += sum(len(one.recordings) for one in newcomers)


def _batches(archive: Archive) -> Iterator[list[Person]]:
    """Whole speakers, some at a time."""
    batch: list[Person] = []
    size = held = 0
    for name, recordings in groupby(archive.recordings(), key=lambda archived: archived.line.speaker):
        batch.append((name, list(recordings)))
        size += len(batch[-1][1])
        held += sum(len(archived.audio or b"") for archived in batch[-1][1])
        if size >= BATCH_RECORDINGS or held >= BATCH_BYTES:
            yield batch
            batch, size, held = [], 0, 0
    if batch:
        yield batch


def _require_new(batch: list[Person], taken: dict[str, int], owners: dict[str, str]) -> None:
    how = "say what to do with `--on-conflict skip`, `rename` or `merge`; nothing was imported"
    if taken:
        shown = ", ".join(repr(printable(name)) for name in sorted(taken)[:3]) + (", …" if len(taken) > 3 else "")
        raise StateError(f"enrolled already: {shown}; {how}", speakers=sorted(taken)[:100])
    if owners:
        owner = next(iter(owners.values()))
        raise StateError(f"{len(owners)} recordings are enrolled already, for {printable(owner)!r} among others; {how}")


def _free_name(connection: Connection, name: str, given: set[str]) -> str:
    """`ana` → `ana (2)`, or the next number that is free."""
    number = 2
    while True:
        candidate = f"{name} ({number})"
        if len(candidate.encode()) > settings.MAX_NAME_BYTES:
            raise StateError(
                f"{printable(name)!r} is enrolled already, and has no room for a number behind it; rename it"
            )
        if candidate not in given and records.speaker_id(connection, candidate) is None:
            return candidate
        number += 1


def policy(on_conflict: str) -> OnConflict:
    """One of the four. Raises: InputError."""
    for known in POLICIES:
        if on_conflict == known:
            found: OnConflict = known
            return found
    raise InputError(f"no way to go on by {printable(on_conflict)!r}; there are {', '.join(POLICIES)}")
