"""`check`: is everything in the gallery's folder what it should be?"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from speakerdb.durable import left_over
from speakerdb.embedding import average
from speakerdb.errors import GalleryReadOnly, printable
from speakerdb.gallery.opened import require_identity
from speakerdb.gallery.reports import CheckReport
from speakerdb.gallery.view import FOLDER, IndexView
from speakerdb.index import snapshot
from speakerdb.index.protocol import VectorIndex
from speakerdb.store import decisions, integrity, records, reembedding, voiceprints
from speakerdb.store.binding import GalleryIdentity
from speakerdb.store.database import Database
from speakerdb.store.fields import DamagedRow
from speakerdb.store.voiceprints import Parts

AVERAGE_TOLERANCE = 1e-6
ALIKE = 10
"""How many are looked at; where all of them are as near as itself, a voice may stand behind them."""

ROUNDING = 1e-5
"""Of a voice's cosine with itself in float32; in bytes it is 1, since what is searched with is rounded alike."""

SEARCHED = 1000
"""Speakers whose voiceprint is looked up in the index; all, in a gallery that is no larger."""


def check_gallery(folder: Path, store: Database, view: IndexView) -> CheckReport:
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
            faults = list(index_faults(connection, view.caught_up(connection, identity)))
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
    if stored.shape != (dimension,) or parts.averaged != len(vectors):
        return f"the voiceprint of speaker {shown} does not fit its enrollments"
    if np.abs(stored - average(np.stack(vectors))).max() > AVERAGE_TOLERANCE:
        return f"the voiceprint of speaker {shown} is not the average of its enrollments"
    return None


def index_faults(connection: Connection, index: VectorIndex) -> Iterator[str]:
    """Speakers that the index has lost or kept, or holds under another's vector."""
    listed = [row[0] for row in records.speakers(connection)]
    if len(index) != len(listed):
        yield f"the index holds {len(index)} speakers, the database {len(listed)}; run `speakerdb rebuild`"
    chosen = listed[:: max(1, len(listed) // SEARCHED)]
    prints = voiceprints.of_speakers(connection, chosen)
    if not prints:
        return
    found, cosines = index.search(np.stack(list(prints.values())), ALIKE)
    itself, alike = found == np.array(list(prints))[:, None], cosines > 1.0 - ROUNDING
    for speaker, held in zip(prints, (itself & alike).any(axis=1) | alike[:, ALIKE - 1 :].any(axis=1), strict=True):
        if not held:
            yield f"the index does not find speaker {speaker} by its voiceprint; run `speakerdb rebuild`"


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
