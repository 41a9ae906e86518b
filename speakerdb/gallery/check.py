"""`check`: is everything in the gallery's folder what it should be?"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from speakerdb.durable import left_over
from speakerdb.embedding import average
from speakerdb.errors import GalleryReadOnly, printable
from speakerdb.gallery.opened import require_identity
from speakerdb.gallery.reports import CheckReport
from speakerdb.gallery.saving import FOLDER
from speakerdb.index import snapshot
from speakerdb.index.protocol import VectorIndex
from speakerdb.store import decisions, integrity, records, reembedding, voiceprints
from speakerdb.store.binding import GalleryIdentity
from speakerdb.store.database import Database
from speakerdb.store.fields import DamagedRow
from speakerdb.store.forking import GATE
from speakerdb.store.voiceprints import Parts

AVERAGE_TOLERANCE = 1e-6
ALIKE = 10
"""How many are looked at; where all of them are as near as itself, a voice may stand behind them."""

ROUNDING = 1e-5
"""Of a voice's cosine with itself in float32; in bytes it is 1, since what is searched with is rounded alike."""

SEARCHED = 1000
"""Speakers whose voiceprint is looked up in the index; all, in a gallery that is no larger."""

AT_ONCE = 100
"""Of them; other searches wait for so many at most."""


CaughtUp = Callable[[], AbstractContextManager[tuple[Connection, VectorIndex]]]
"""The index at a connection's state, held by nobody else until the block ends."""


def check_gallery(folder: Path, store: Database, caught_up: CaughtUp) -> CheckReport:
    """Go through database, voiceprints, index and files; changes nothing but SQLite's log, which it cuts.

    Raises: EmptyGallery before the first enrollment.
    """
    findings = []
    with contextlib.suppress(GalleryReadOnly):  # where nothing can be written nobody was removed, either
        if not store.truncate_wal():
            findings.append(
                "the log could not be cut, another process is reading: who was removed may still be in the file; "
                "run `speakerdb check` again"
            )
    with store.reading() as connection:
        identity = require_identity(connection)
        findings += integrity.faults(connection)
        listed = records.speakers(connection)
        faults = [*stored_faults(connection, identity), *kept_faults(connection)]
    if not faults:  # an index of damaged vectors says nothing
        faults = list(index_faults(caught_up, [row[0] for row in listed]))
    with GATE.passed():  # a child would inherit the locks that are tried
        findings += [*faults, *file_faults(folder)]
    encoder = f"{identity.encoder.name} {identity.encoder.version}"
    enrollments = sum(row[3] for row in listed)
    return CheckReport(identity.uuid, encoder, identity.generation, len(listed), enrollments, findings)


def stored_faults(connection: Connection, identity: GalleryIdentity) -> Iterator[str]:
    """Voiceprints that are missing, damaged, or not the average of their speaker's enrollments."""
    names = {row[0]: row[1] for row in records.speakers(connection)}
    for parts in voiceprints.parts(connection, list(names)):
        fault = _fault(parts, identity.encoder.dimension, repr(printable(names[parts.speaker])))
        if fault:
            yield fault


def kept_faults(connection: Connection) -> Iterator[str]:
    """The gallery's own calibration and kept sounds that are not what was written."""
    try:
        decisions.calibration(connection)
    except DamagedRow as error:
        yield f"{error}; `speakerdb calibrate --reset` takes it out"
    for enrollment in reembedding.kept(connection):
        try:
            reembedding.audio_of(connection, enrollment)
        except DamagedRow as error:
            yield f"{error}; `speakerdb remove-enrollment {enrollment}` takes the recording out"


def _fault(parts: Parts, dimension: int, shown: str) -> str | None:
    if not parts.enrollments:
        return f"speaker {shown} has no enrollment; `speakerdb remove` takes the name out"
    try:
        stored, vectors = parts.vectors()
    except DamagedRow as error:
        return f"speaker {shown} is damaged ({error})"
    if stored is None:
        return f"speaker {shown} has no voiceprint"
    if {vector.shape for vector in (stored, *vectors)} != {(dimension,)} or parts.averaged != len(vectors):
        return f"the voiceprint of speaker {shown} does not fit its enrollments"
    if np.abs(stored - average(np.stack(vectors))).max() > AVERAGE_TOLERANCE:
        return f"the voiceprint of speaker {shown} is not the average of its enrollments"
    return None


def index_faults(caught_up: CaughtUp, speakers: list[int]) -> Iterator[str]:
    """Speakers that the index has lost or kept, or holds under another's vector."""
    with caught_up() as (connection, index):
        held, known = len(index), records.count_speakers(connection)
    if held != known:
        yield f"the index holds {held} speakers, the database {known}; run `speakerdb rebuild`"
    chosen = speakers[:: max(1, len(speakers) // SEARCHED)]
    for start in range(0, len(chosen), AT_ONCE):
        for speaker in _not_found(caught_up, chosen[start : start + AT_ONCE]):
            yield f"the index does not find speaker {speaker} by its voiceprint; run `speakerdb rebuild`"


def _not_found(caught_up: CaughtUp, speakers: list[int]) -> list[int]:
    """Who of these speakers, where they are there by now, is not found by their voiceprint."""
    with caught_up() as (connection, index):
        prints = voiceprints.of_speakers(connection, speakers)
        if not prints:
            return []
        found, cosines = index.search(np.stack(list(prints.values())), ALIKE)
    itself, alike = found == np.array(list(prints))[:, None], cosines > 1.0 - ROUNDING
    held = (itself & alike).any(axis=1) | alike[:, ALIKE - 1 :].any(axis=1)
    return [speaker for speaker, there in zip(prints, held, strict=True) if not there]


def file_faults(folder: Path) -> Iterator[str]:
    """Files that others may read, and files that do not belong."""
    for left in left_over(folder):
        yield f"{printable(left, 200)} is left from a gallery's making that was cut off; delete it"
    if snapshot.cut_off(folder / FOLDER):
        partial = printable(folder / FOLDER / snapshot.PARTIAL, 200)
        yield f"{partial} is left from a write that was cut off; run `speakerdb rebuild`"
    if os.name == "nt":
        return  # access there is not in the mode
    for path in [folder, *_within(folder)]:
        try:
            mode = stat.S_IMODE(path.lstat().st_mode)
        except FileNotFoundError:  # another process made it, and it has its name by now
            continue
        if mode & 0o077:
            wanted = "700" if path.is_dir() else "600"
            yield f"{printable(path, 200)} can be read by others (mode {mode:03o}); chmod {wanted} it"


def _within(folder: Path) -> list[Path]:
    """All that is in a folder; what goes meanwhile is passed over."""
    return sorted(Path(here) / name for here, folders, files in os.walk(folder) for name in (*folders, *files))
