"""A gallery's folder, opened: its database, the view of its index, and the encoder that it is bound to."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Self

from sqlalchemy import Connection

from speakerdb.calibration import Calibration
from speakerdb.decision.criterion import Asked, Criterion, criterion
from speakerdb.decision.judging import Judge
from speakerdb.durable import clear
from speakerdb.encoder.bundle import Card, open_bundle
from speakerdb.encoder.encoder import Encoder
from speakerdb.encoder.registry import find_by_hash
from speakerdb.errors import (
    EmptyGallery,
    EncoderMismatch,
    NoSuchGallery,
    NoSuchSpeaker,
    StateError,
    StorageError,
    printable,
)
from speakerdb.gallery import saving
from speakerdb.gallery.view import IndexView
from speakerdb.store import binding, database, decisions, gallery_file, records
from speakerdb.store.binding import EncoderIdentity, GalleryIdentity
from speakerdb.store.database import Database
from speakerdb.store.recordings import Recordings, recordings

Progress = Callable[[int, int, float, float | None], None]
"""Called with the recording's number from 0, how many there are, its seconds done, and its seconds in all if known."""


class OpenGallery:
    """What all verbs stand on."""

    def __init__(self, folder: Path, encoder: Encoder | None, index: str) -> None:
        self.folder = folder
        self._path = folder / database.FILE
        self._index_folder = folder / saving.FOLDER
        self._asked_encoder = encoder
        self._encoder: Encoder | None = None
        self._view = IndexView(self._index_folder, index, self._existing)
        self._database: Database | None = None
        self._closed = False
        self._lock = threading.RLock()
        with _known:
            _galleries.add(self)
        with self._lock:  # a child that is made meanwhile would inherit the index's lock
            self._database = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Save the index and close the database; what is asked of the gallery afterwards is a StateError."""
        with self._lock:
            if self._closed:
                return
            try:
                if self._database is not None:
                    self._settle()
                    self._view.save()
            finally:
                self._closed = True
                self._view.forget()
                if self._database is not None:
                    self._database.close()

    def _settle(self) -> None:
        """The index as of now, where there is one in memory; what cannot be read now is told by who needs it."""
        with contextlib.suppress(StorageError), self._existing().reading() as connection:
            identity = binding.identity(connection)
            if identity is not None:
                self._view.settle(connection, identity)

    @property
    def encoder(self) -> Encoder:
        """The encoder in use: the one asked for, else the one that the gallery is bound to, else the shipped one.

        Raises: EncoderMismatch where the gallery is bound to another one than asked for, or to none that is here.
        """
        bound = self._identity()  # another process may have made the gallery, or moved it
        return self._encoder_of(bound)

    @property
    def calibration(self) -> Calibration | None:
        """What scores mean here: by this gallery's own trials, else by the encoder's; None where nobody found out."""
        return self._judge(self.encoder).calibration

    def _encoder_of(self, bound: GalleryIdentity | None) -> Encoder:
        """The encoder for a gallery that is bound so."""
        with self._lock:
            wanted = bound.encoder.sha256 if bound else None
            encoder = self._asked_encoder or self._encoder
            if encoder is None or (self._asked_encoder is None and wanted not in (None, encoder.card.vectors_of)):
                folder = find_by_hash(wanted) if wanted else None
                encoder = Encoder(open_bundle(folder)) if folder else Encoder.load()
            if bound:
                require_same(bound.encoder, encoder)
            self._encoder = encoder
            return encoder

    def _judge(self, encoder: Encoder, connection: Connection | None = None) -> Judge:
        """What scores are made by and mean, as of the connection's state."""
        own = None
        if connection is not None:
            own = decisions.calibration(connection)
        elif self._found() is not None:
            with self._existing().reading() as fresh:
                own = decisions.calibration(fresh)
        return judge_by(encoder, own)

    def _found(self) -> Database | None:
        """The database, where there is one by now: another process may have made it."""
        with self._lock:
            if self._closed:
                raise StateError(f"the gallery {printable(self.folder, 200)} was closed; open it again")
            if self._database is None:
                self._database = self._opened()
            return self._database

    def _opened(self) -> Database | None:
        found = gallery_file.open_existing(self._path)
        if found is not None:
            try:
                if not found.fixed:
                    saving.drop_foreign(self._index_folder, found)
                    with contextlib.suppress(OSError):
                        clear(self.folder)
            except BaseException:
                found.close()
                raise
        return found

    def _existing(self) -> Database:
        found = self._found()
        if found is None:
            raise NoSuchGallery(str(self.folder))
        return found

    def _writable(self) -> Database:
        with self._lock:
            if self._found() is None:
                self._database = gallery_file.create(self._path)
            return self._existing()

    def _identity(self) -> GalleryIdentity | None:
        found = self._found()
        if found is None:
            return None
        with found.reading() as connection:
            return binding.identity(connection)

    def _bound(self, connection: Connection, encoder: Encoder) -> GalleryIdentity:
        """The gallery's row, where its vectors are this encoder's. Raises: EmptyGallery; EncoderMismatch."""
        identity = require_identity(connection)
        require_same(identity.encoder, encoder)
        return identity

    def _recordings(self, connection: Connection, encoder: Encoder) -> Recordings:
        """All recordings, where their vectors are this encoder's. Raises: EmptyGallery; EncoderMismatch."""
        self._bound(connection, encoder)
        held = recordings(connection)
        if held is None:
            raise EmptyGallery
        return held


_known = threading.Lock()
_galleries: weakref.WeakSet[OpenGallery] = weakref.WeakSet()
_held: list[OpenGallery] = []


def _before_fork() -> None:
    """No thread is in the middle of anything when a child is made of this process."""
    _known.acquire()  # until the child is made, no other gallery is opened
    _held.extend(sorted(_galleries, key=id))
    for gallery in _held:
        gallery._lock.acquire()


def _after_fork() -> None:
    while _held:
        _held.pop()._lock.release()
    _known.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def line_for(
    asked: Asked, judge: Judge, encoder: Encoder, searched: int | None, probe_s: float = math.inf
) -> Criterion:
    """The line for what is asked. Args: as `criterion`."""
    card = encoder.card
    return criterion(asked, judge.calibration, card.threshold_distance, card.threshold_origin, searched, probe_s)


def judge_by(encoder: Encoder, own: Calibration | None) -> Judge:
    """Scores as the encoder makes them, and what they mean. Args: own: the gallery's calibration, where it has one."""
    return Judge(encoder.cohort, own or encoder.card.calibration)


def require_identity(connection: Connection) -> GalleryIdentity:
    """The gallery's row. Raises: EmptyGallery before the first enrollment."""
    identity = binding.identity(connection)
    if identity is None:
        raise EmptyGallery
    return identity


def require_speaker(connection: Connection, name: str) -> int:
    """The id of a speaker. Raises: NoSuchSpeaker."""
    speaker = records.speaker_id(connection, name)
    if speaker is None:
        raise NoSuchSpeaker(name)
    return speaker


def identity_of(card: Card) -> EncoderIdentity:
    """The encoder as a gallery remembers it: by its vectors."""
    return EncoderIdentity(card.name, card.version, card.vectors_of, card.dimension)


def require_same(bound: EncoderIdentity, encoder: Encoder) -> None:
    """Raises: EncoderMismatch where a gallery is bound to another encoder."""
    here = identity_of(encoder.card)
    if not here.gives_those_of(bound):
        raise EncoderMismatch(bound.shown, here.shown)
