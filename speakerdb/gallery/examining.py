"""Is the gallery well? `check` asks of its files, `doctor` of its profiles, and `rebuild` makes its index anew.

Each may take long and holds no lock meanwhile, but for a moment whenever it asks the index.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator

from sqlalchemy import Connection

from speakerdb import settings
from speakerdb.embedding import Vector
from speakerdb.gallery import saving
from speakerdb.gallery.opened import OpenGallery, require_identity
from speakerdb.gallery.reports import CheckReport, Diagnosis, Rebuilt
from speakerdb.index.protocol import VectorIndex
from speakerdb.store import records
from speakerdb.store.found import Found, speakers


class Examining(OpenGallery):
    """Checking, examining, rebuilding."""

    def check(self) -> CheckReport:
        """Go through database, voiceprints, index and files; changes nothing but SQLite's log, which it cuts."""
        from speakerdb.gallery.check import check_gallery

        return check_gallery(self.folder, self._existing(), self._caught_up)

    @contextlib.contextmanager
    def _caught_up(self) -> Iterator[tuple[Connection, VectorIndex]]:
        """The index at the connection's state, which no other thread asks or changes meanwhile."""
        with self._lock, self._existing().reading() as connection:
            yield connection, self._view.caught_up(connection, require_identity(connection))

    def doctor(self) -> Diagnosis:
        """Profiles that are likely to give wrong answers, each with the command that mends it; changes nothing.

        Raises: EmptyGallery; EncoderMismatch.
        """
        from speakerdb.gallery.doctor import NEIGHBOURS, examine

        encoder = self.encoder
        with self._existing().reading() as connection:
            held = self._recordings(connection, encoder)
            judge = self._judge(encoder, connection)
            names = records.all_names_of(connection, held.people.tolist())

        def near(speaker: int, voice: Vector) -> list[Found]:
            with self._lock, self._existing().reading() as fresh:
                found = self._view.nearest(fresh, self._bound(fresh, encoder), voice, NEIGHBOURS + 1)
                others = [row for row, other in enumerate(found.ids) if other != speaker]
                return speakers(fresh, found, others[:NEIGHBOURS])

        complaints = list(examine(judge, held, names, near, self._option()))
        return Diagnosis(len(held.people), len(held.ids), judge.calibration is not None, complaints)

    def _option(self) -> str:
        """What a command needs to act on this gallery: nothing where it would anyway."""
        usual = settings.gallery_folder().absolute() == self.folder.absolute()
        return "" if usual else f" --gallery {shlex.quote(str(self.folder))}"

    def rebuild(self) -> Rebuilt:
        """Make the index anew from the database and save it; nobody waits while it is made, nor while it is saved.

        Raises: EmptyGallery; StorageError.
        """
        with self._existing().reading() as connection:
            require_identity(connection)
        with saving.erased(self._index_folder):
            pass  # what may be wrong is no longer there for others
        new = self._view.made_beside()
        with self._lock:
            store = self._existing()
            with store.reading() as connection:
                index = self._view.replaced(new, connection, require_identity(connection))
            rebuilt, taken = Rebuilt(len(index), index.kind), self._view.taken()
        if taken is not None and saving.write(
            self._index_folder, taken, store
        ):  # without the lock: it waits for other writers
            with self._lock:
                self._view.written(taken)
        return rebuilt
