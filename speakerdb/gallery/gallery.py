"""The gallery: remember this person, who is this, is it who they say?

Recordings are decoded and embedded before any transaction; then one short one checks and writes. What a method has
returned is on disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from speakerdb import settings
from speakerdb.audio import Source
from speakerdb.decision.threshold import Threshold, choose_threshold
from speakerdb.embedding import Vector, distances
from speakerdb.encoder.encoder import Encoder
from speakerdb.encoder.registry import find_by_hash
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import (
    EmptyGallery,
    EncoderMismatch,
    InputError,
    NameTaken,
    NoSuchEnrollment,
    NoSuchGallery,
    NoSuchSpeaker,
    printable,
)
from speakerdb.gallery.check import check_gallery
from speakerdb.gallery.enrolling import write_enrollment
from speakerdb.gallery.naming import usable_name
from speakerdb.gallery.results import (
    Candidate,
    CheckReport,
    ComparedPair,
    Comparison,
    Enrolled,
    EnrollmentInfo,
    Identification,
    Rebuilt,
    RefusedRecording,
    Removed,
    Renamed,
    SpeakerInfo,
    Verification,
)
from speakerdb.gallery.view import IndexView
from speakerdb.store import database, records
from speakerdb.store.database import Database
from speakerdb.store.records import EncoderIdentity, GalleryIdentity

Progress = Callable[[int, int, float, float | None], None]
"""Called with the recording's number from 0, how many there are, its seconds done, and its seconds in all if known."""


class Gallery:
    """People and their voices in one folder. Made by `Gallery.open`; safe for use from several threads."""

    def __init__(self, folder: Path, encoder: Encoder | None, index: str) -> None:
        self.folder = folder
        self._path = folder / database.FILE
        self._asked_encoder = encoder
        self._encoder: Encoder | None = None
        self._encoder_is_bound = False
        self._view = IndexView(folder, index)
        self._database = self._opened()
        self._lock = threading.RLock()

    @staticmethod
    def open(
        folder: str | os.PathLike[str] | None = None,
        encoder: str | os.PathLike[str] | Encoder | None = None,
        index: str = "auto",
    ) -> Gallery:
        """Open a gallery; the folder is made by the first enrollment.

        Args:
            folder: where it lies; `SPEAKERDB_GALLERY` or the user's data folder where left out.
            encoder: a bundle's name or folder; left out, the one that the gallery is bound to.
            index: `auto`, `faiss-flat` or `numpy`.
        Raises: StorageError where the database is damaged or newer than the program; EncoderDamaged where there is no
            such bundle; InputError for what is no path; ValueError for another index.
        """
        if folder is not None and "\0" in str(folder):
            raise InputError(f"{printable(folder)}: not a folder's path", path=str(folder))
        if encoder is not None and not isinstance(encoder, Encoder):
            encoder = Encoder.load(encoder)
        return Gallery(settings.gallery_folder() if folder is None else Path(folder), encoder, index)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Save the index and close the database; the gallery must not be used afterwards."""
        with self._lock:
            if self._database is not None:
                try:
                    self._view.save(self._generation)
                finally:
                    self._database.close()

    @property
    def encoder(self) -> Encoder:
        """The encoder in use: the one asked for, else the one that the gallery is bound to, else the shipped one.

        Raises: EncoderMismatch where the gallery is bound to another one than asked for, or to none that is here.
        """
        with self._lock:
            encoder = self._encoder
            if encoder is None or not self._encoder_is_bound:  # another process may have bound the gallery by now
                bound = self._identity()
                wanted = bound.encoder.sha256 if bound else None
                if self._asked_encoder is not None:
                    encoder = self._asked_encoder
                elif encoder is None or wanted not in (None, encoder.card.sha256):
                    encoder = Encoder.load(find_by_hash(wanted) if wanted else None)
                if bound:
                    _require_same(bound.encoder, encoder)
                self._encoder, self._encoder_is_bound = encoder, bound is not None
            return encoder

    def enroll(
        self,
        name: str,
        sources: Source | Iterable[Source],
        *,
        rate_hz: int | None = None,
        keep_going: bool = False,
        progress: Progress | None = None,
    ) -> Enrolled:
        """Remember recordings as a speaker's, all or none.

        Args:
            sources: one recording or several (path, bytes, binary file, or array with `rate_hz`).
            keep_going: enroll what can be enrolled and report the rest in `refused`.
        Returns: once it returns, the recordings are on disk.
        Raises: InputError for a recording or name that cannot be used; DuplicateEnrollment, ConflictingEnrollment
            for audio that is enrolled already; StorageError. Nothing was written then.
        """
        speaker = usable_name(name)
        heard: list[Utterance] = []
        refused: list[RefusedRecording] = []
        recordings = _several(sources)
        for number, source in enumerate(recordings):
            told = partial(progress, number, len(recordings)) if progress else None
            try:
                heard.append(self.encoder.enrollment(source, rate_hz, told))
            except InputError as error:
                if not keep_going:
                    raise
                refused.append(RefusedRecording(str(error.fields.get("source", "")), error.to_json()))
        if not recordings:
            raise InputError("no recording was given")
        if not heard and self._found() is None:  # nothing to write is no reason to make a gallery
            return Enrolled(speaker, False, [], refused, 0)
        with self._writable().writing() as session:
            self._bind(session)
            return write_enrollment(session, speaker, heard, refused, keep_going)

    def identify(
        self,
        source: Source,
        *,
        rate_hz: int | None = None,
        top: int = settings.TOP,
        threshold: float | None = None,
        progress: Progress | None = None,
    ) -> Identification:
        """Who speaks here? Nobody known, where nobody is within the threshold.

        Args: top: how many candidates to list; threshold: a distance 0 to 2, the encoder's own where left out.
        Raises: InputError; NoSuchGallery or EmptyGallery; StateError where there is no threshold.
        """
        if top < 1:
            raise InputError(f"{top} candidates; at least 1")
        limit = self._threshold(threshold)
        with self._existing().reading() as session:
            if not records.anybody(session):
                raise EmptyGallery
        probe = self.encoder.probe(source, rate_hz, partial(progress, 0, 1) if progress else None)
        candidates = self.candidates(probe.vector, top)
        nearest = candidates[0]
        speaker = nearest.speaker if limit.accepts(nearest.distance) else None
        return Identification(probe.name, speaker, nearest.distance, limit, candidates, probe.quality, probe.warnings)

    def candidates(self, vector: Vector, top: int = settings.TOP) -> list[Candidate]:
        """The speakers nearest to a unit vector with exact distances, nearest first; no decision.

        Args: vector: float32 [dimension], unit length, of this gallery's encoder.
        Raises: EmptyGallery; NoSuchGallery.
        """
        with self._existing().reading() as session:
            identity = records.identity(session)
            if identity is None:
                raise EmptyGallery
            with self._lock:
                nearest = self._view.nearest(session, identity, vector, top)
        if not nearest:
            raise EmptyGallery
        exact = distances(vector, np.stack([voiceprint for _, voiceprint in nearest]))
        found = [Candidate(name, float(exact[i])) for i, (name, _) in enumerate(nearest)]
        return sorted(found, key=lambda candidate: candidate.distance)[:top]

    def verify(
        self,
        name: str,
        source: Source,
        *,
        rate_hz: int | None = None,
        threshold: float | None = None,
        progress: Progress | None = None,
    ) -> Verification:
        """Is it who they say? Reads the one voiceprint; no index is needed.

        Raises: NoSuchSpeaker; InputError; StateError where there is no threshold.
        """
        speaker = usable_name(name)
        limit = self._threshold(threshold)
        with self._existing().reading() as session:
            stored = records.voiceprint(session, _require(session, speaker))
        probe = self.encoder.probe(source, rate_hz, partial(progress, 0, 1) if progress else None)
        distance = float(distances(probe.vector, stored[None])[0])
        accepted = limit.accepts(distance)
        return Verification(probe.name, speaker, accepted, distance, limit, probe.quality, probe.warnings)

    def compare(
        self, sources: Iterable[Source], *, rate_hz: int | None = None, threshold: float | None = None
    ) -> Comparison:
        """The distance of every pair of recordings; nothing is read from or written to the gallery but its encoder."""
        limit = self._threshold(threshold)
        heard = [self.encoder.probe(source, rate_hz) for source in _several(sources)]
        if len(heard) < 2:
            raise InputError("a comparison needs two recordings or more")
        pairs = []
        for i, first in enumerate(heard):
            for second in heard[i + 1 :]:
                distance = float(distances(first.vector, second.vector[None])[0])
                pairs.append(ComparedPair(first.name, second.name, distance, limit.accepts(distance)))
        return Comparison(pairs, limit, [line for utterance in heard for line in utterance.warnings])

    def speakers(self, *, enrollments: bool = False) -> list[SpeakerInfo]:
        """Everyone enrolled, by name; with `enrollments` their recordings too. Empty before the first enrollment."""
        if self._found() is None:
            return []
        with self._existing().reading() as session:
            return [
                SpeakerInfo(
                    name,
                    count,
                    net_speech_s,
                    created,
                    [EnrollmentInfo(**vars(row)) for row in records.enrollments_of(session, speaker)]
                    if enrollments
                    else [],
                )
                for speaker, name, created, count, net_speech_s in records.speakers(session)
            ]

    def rename(self, before: str, after: str) -> Renamed:
        """Give a speaker another name. Raises: NoSuchSpeaker; NameTaken; InputError for an unusable name."""
        old, new = usable_name(before), usable_name(after)
        with self._existing().writing() as session:
            speaker = _require(session, old)
            if old != new and records.speaker_id(session, new) is not None:
                raise NameTaken(new)
            records.rename_speaker(session, speaker, new)
        return Renamed(old, new)

    def remove(self, name: str) -> Removed:
        """Forget a speaker: rows, vectors, index, and SQLite's log. Raises: NoSuchSpeaker."""
        speaker_name = usable_name(name)
        store = self._existing()
        with self._view.erased(), store.writing() as session:
            speaker = _require(session, speaker_name)
            count = len(records.enrollments_of(session, speaker))
            records.remove_speaker(session, speaker)
            records.record_change(session, [speaker])
        return Removed(speaker_name, count, True, store.erase_deleted())

    def remove_enrollment(self, enrollment: int) -> Removed:
        """Forget one recording by its id; with the last one the speaker goes too. Raises: NoSuchEnrollment."""
        store = self._existing()
        with self._view.erased(), store.writing() as session:
            owner = records.enrollment_owner(session, enrollment)
            if owner is None:
                raise NoSuchEnrollment(enrollment)
            speaker, name = owner
            records.remove_enrollment(session, enrollment)
            left = records.refresh_voiceprint(session, speaker)
            if not left:
                records.remove_speaker(session, speaker)
            records.record_change(session, [speaker])
        return Removed(name, 1, not left, store.erase_deleted())

    def check(self) -> CheckReport:
        """Go through database, voiceprints, index and files; changes nothing but SQLite's log, which it cuts."""
        store = self._existing()
        with self._lock:
            return check_gallery(self.folder, store, self._view)

    def rebuild(self) -> Rebuilt:
        """Make the index anew from the database and save it."""
        store = self._existing()
        with self._lock:
            with self._view.erased(), store.reading() as session:
                identity = records.identity(session)
                if identity is None:
                    raise EmptyGallery
                self._view.forget()
                index = self._view.caught_up(session, identity)
            self._view.save(self._generation)
            return Rebuilt(len(index), self._view.kind)

    def _threshold(self, asked: float | None) -> Threshold:
        card = self.encoder.card
        return choose_threshold(asked, card.threshold_distance, card.threshold_origin)

    def _found(self) -> Database | None:
        """The database, where there is one by now: another process may have made it."""
        with self._lock:
            if self._database is None:
                self._database = self._opened()
            return self._database

    def _opened(self) -> Database | None:
        found = database.open_existing(self._path)
        if found is not None:
            try:
                with found.reading() as session:
                    generation = records.generation(session)
                self._view.drop_later(generation)
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
                self._database = database.create(self._path)
            return self._existing()

    def _identity(self) -> GalleryIdentity | None:
        found = self._found()
        if found is None:
            return None
        with found.reading() as session:
            return records.identity(session)

    def _generation(self) -> int:
        with self._existing().reading() as session:
            return records.generation(session)

    def _bind(self, session: Session) -> None:
        bound = records.identity(session)
        if bound is None:
            card = self.encoder.card
            records.bind(session, EncoderIdentity(card.name, card.version, card.sha256, card.dimension))
        else:
            _require_same(bound.encoder, self.encoder)


def _require(session: Session, name: str) -> int:
    speaker = records.speaker_id(session, name)
    if speaker is None:
        raise NoSuchSpeaker(name)
    return speaker


def _require_same(bound: EncoderIdentity, encoder: Encoder) -> None:
    card = encoder.card
    if bound.sha256 != card.sha256:
        raise EncoderMismatch(f"{bound.name} {bound.version} ({bound.sha256[:8]})", f"{card.id} ({card.sha256[:8]})")


def _several(sources: Source | Iterable[Source]) -> list[Source]:
    single = isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike | np.ndarray)
    single = single or hasattr(sources, "read")
    return [sources] if single else list(sources)  # type: ignore[list-item,arg-type]
