"""The gallery: remember this person, who is this, is it who they say?

Recordings are decoded and embedded before any transaction; then one short one checks and writes. What a method has
returned is on disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from speakerdb import settings
from speakerdb.audio import Source
from speakerdb.calibration import Calibration
from speakerdb.decision.criterion import Asked, Criterion, criterion
from speakerdb.decision.judging import Judge, Judgement
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
from speakerdb.gallery.deciding import identification, ranked, verification
from speakerdb.gallery.enrolling import write_enrollment
from speakerdb.gallery.moving import move
from speakerdb.gallery.naming import usable_name
from speakerdb.gallery.results import (
    Candidate,
    CheckReport,
    ComparedPair,
    Comparison,
    Enrolled,
    EnrollmentInfo,
    Identification,
    Moved,
    Neighbour,
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
        bound = self._identity()  # another process may have made the gallery, or moved it
        return self._encoder_of(bound)

    @property
    def calibration(self) -> Calibration | None:
        """What distances mean here; None where nobody has found out."""
        return self.encoder.card.calibration

    def _encoder_of(self, bound: GalleryIdentity | None) -> Encoder:
        """The encoder for a gallery that is bound so."""
        with self._lock:
            wanted = bound.encoder.sha256 if bound else None
            encoder = self._asked_encoder or self._encoder
            if encoder is None or (self._asked_encoder is None and wanted not in (None, encoder.card.sha256)):
                encoder = Encoder.load(find_by_hash(wanted) if wanted else None)
            if bound:
                _require_same(bound.encoder, encoder)
            self._encoder = encoder
            return encoder

    def enroll(
        self,
        name: str,
        sources: Source | Iterable[Source],
        *,
        rate_hz: int | None = None,
        keep_going: bool = False,
        keep_audio: bool = False,
        progress: Progress | None = None,
    ) -> Enrolled:
        """Remember recordings as a speaker's, all or none; several are heard at a time, on all cores.

        Args:
            sources: one recording or several (path, bytes, binary file, or array with `rate_hz`).
            keep_going: enroll what can be enrolled and report the rest in `refused`.
            keep_audio: keep the sounds themselves in the gallery, too, so that it can move to another encoder.
        Returns: once it returns, the recordings are on disk.
        Raises: InputError for a recording or name that cannot be used; DuplicateEnrollment, ConflictingEnrollment
            for audio that is enrolled already; StorageError. Nothing was written then.
        """
        speaker = usable_name(name)
        heard: list[Utterance] = []
        refused: list[RefusedRecording] = []
        recordings = _several(sources)
        if not recordings:
            raise InputError("no recording was given")
        encoder = self.encoder
        for get in _heard(encoder, recordings, rate_hz, keep_audio, progress):
            try:
                heard.append(get())
            except InputError as error:
                if not keep_going:
                    raise
                refused.append(RefusedRecording(str(error.fields.get("source", "")), error.to_json()))
        if not heard and self._found() is None:  # nothing to write is no reason to make a gallery
            return Enrolled(speaker, False, [], refused, 0)
        with self._writable().writing() as session:
            _bind(session, encoder)
            return write_enrollment(session, speaker, heard, refused, keep_going)

    def identify(
        self,
        source: Source,
        *,
        rate_hz: int | None = None,
        top: int = settings.TOP,
        threshold: float | None = None,
        fpir: float | None = None,
        margin: float = 0.0,
        progress: Progress | None = None,
    ) -> Identification:
        """Who speaks here? Nobody known, where nobody is within the threshold.

        Args:
            top: how many candidates to list.
            threshold: a distance 0 to 2; or fpir: how often a stranger may be given a name, whatever the gallery's
                size; left out, an FPIR of 1 %, or the threshold of an encoder that is not calibrated.
            margin: distances this near to the threshold, or to the second candidate's, are inconclusive.
        Raises: InputError; NoSuchGallery or EmptyGallery; StateError where there is nothing to decide by.
        """
        if top < 1:
            raise InputError(f"{top} candidates; at least 1")
        asked = Asked(threshold, fpir=fpir, margin=margin)
        encoder = self.encoder
        with self._existing().reading() as session:
            if not records.anybody(session):
                raise EmptyGallery
            _line(asked, encoder, 1)
        probe = encoder.probe(source, rate_hz, partial(progress, 0, 1) if progress else None)
        candidates = self._candidates(probe.vector, probe.quality.net_speech_s, top, encoder, asked)
        return identification(probe, candidates, margin, top)

    def nearest(self, vector: Vector, top: int = settings.TOP) -> list[Neighbour]:
        """The speakers nearest to a unit vector by exact distance, nearest first; no decision, and no cohort.

        Args: vector: float32 [dimension], unit length, of this gallery's encoder.
        Raises: EmptyGallery; NoSuchGallery.
        """
        with self._existing().reading() as session:
            found = self._found_near(session, records.identity(session), vector, top)
        apart = distances(vector, np.stack([voiceprint for _, _, voiceprint in found]))
        neighbours = [Neighbour(name, float(apart[i])) for i, (_, name, _) in enumerate(found)]
        return sorted(neighbours, key=lambda neighbour: neighbour.distance)[:top]

    def _candidates(
        self, vector: Vector, probe_s: float, top: int, encoder: Encoder, asked: Asked
    ) -> list[tuple[Candidate, Judgement]]:
        """The index's nearest, scored exactly, from the likeliest on."""
        with self._existing().reading() as session:
            identity = records.identity(session)
            if identity is not None:  # the gallery may have moved to another encoder while this one listened
                _require_same(identity.encoder, encoder)
            nearest = self._found_near(session, identity, vector, max(top, settings.RESCORED))
            enrolled = records.enrolled_speech(session, [speaker for speaker, _, _ in nearest])
            line = _line(asked, encoder, records.count_speakers(session))
        found = [(name, enrolled[speaker], voiceprint) for speaker, name, voiceprint in nearest]
        return ranked(_judge(encoder), line, vector, probe_s, found)

    def _found_near(
        self, session: Session, identity: GalleryIdentity | None, vector: Vector, count: int
    ) -> list[tuple[int, str, Vector]]:
        if identity is None:
            raise EmptyGallery
        with self._lock:
            nearest = self._view.nearest(session, identity, vector, count)
        if not nearest:
            raise EmptyGallery
        return nearest

    def verify(
        self,
        name: str,
        source: Source,
        *,
        rate_hz: int | None = None,
        threshold: float | None = None,
        fmr: float | None = None,
        margin: float = 0.0,
        progress: Progress | None = None,
    ) -> Verification:
        """Is it who they say? Reads the one voiceprint; no index is needed.

        Args:
            threshold: a distance 0 to 2; or fmr: how often a stranger may be accepted; left out, an FMR of 1 %, or the
                threshold of an encoder that is not calibrated.
            margin: distances this near to the threshold are inconclusive.
        Raises: NoSuchSpeaker; InputError; StateError where there is nothing to decide by.
        """
        speaker, asked = usable_name(name), Asked(threshold, fmr, margin=margin)
        with self._existing().reading() as session:
            encoder = self._encoder_of(records.identity(session))
            line = _line(asked, encoder, None)
            row = _require(session, speaker)
            stored, enrolled = records.voiceprint(session, row), records.enrolled_speech(session, [row])[row]
        probe = encoder.probe(source, rate_hz, partial(progress, 0, 1) if progress else None)
        [judged] = _judge(encoder).judge(
            probe.vector, probe.quality.net_speech_s, stored[None], [enrolled.net_speech_s], line
        )
        return verification(probe, speaker, enrolled, judged)

    def compare(
        self,
        sources: Iterable[Source],
        *,
        rate_hz: int | None = None,
        threshold: float | None = None,
        fmr: float | None = None,
    ) -> Comparison:
        """The distance of every pair of recordings; nothing is read from or written to the gallery but its encoder."""
        encoder = self.encoder
        line, judge = _line(Asked(threshold, fmr), encoder, None), _judge(encoder)
        heard = [encoder.probe(source, rate_hz) for source in _several(sources)]
        if len(heard) < 2:
            raise InputError("a comparison needs two recordings or more")
        pairs = []
        for i, first in enumerate(heard):
            for second in heard[i + 1 :]:
                [found] = judge.judge(
                    first.vector,
                    first.quality.net_speech_s,
                    second.vector[None],
                    [second.quality.net_speech_s],
                    line,
                )
                limit, same = found.threshold.distance, found.side == "near"
                pairs.append(ComparedPair(first.name, second.name, found.distance, found.llr, limit, same))
        return Comparison(pairs, line.origin, line.fmr, [text for utterance in heard for text in utterance.warnings])

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
            left = records.refresh_voiceprint(session, speaker, added=-1)
            if not left:
                records.remove_speaker(session, speaker)
            records.record_change(session, [speaker])
        return Removed(name, 1, not left, store.erase_deleted())

    def use_encoder(self, encoder: str | os.PathLike[str] | Encoder, *, progress: Progress | None = None) -> Moved:
        """Move to another encoder: embed every kept recording anew, and change all vectors at once.

        What was embedded stays where the call is interrupted; the next one goes on from there.
        Args: encoder: a bundle's name or folder.
        Raises: AudioNotKept where a recording was enrolled without `keep_audio`; EncoderDamaged; StorageError.
        """
        new = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder)

        def told(before: int, total: int, done: int) -> None:
            if progress:
                progress(before + done - 1, total, 1.0, 1.0)

        done = move(self._existing(), new, told)
        with self._lock:
            self._encoder, self._asked_encoder = new, self._asked_encoder and new
        return done

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


def _heard(
    encoder: Encoder, recordings: list[Source], rate_hz: int | None, keep_audio: bool, progress: Progress | None
) -> Iterator[Callable[[], Utterance]]:
    """What gives each recording's utterance, or raises what is wrong with it, in order."""
    if len(recordings) == 1:
        told = partial(progress, 0, 1) if progress else None
        yield partial(encoder.enrollment, recordings[0], rate_hz, told, keep_audio)
        return
    for number, future in enumerate(encoder.enrollments(recordings, rate_hz, keep_audio)):
        if progress:
            progress(number, len(recordings), 1.0, 1.0)
        yield future.result


def _bind(session: Session, encoder: Encoder) -> None:
    """Bind a new gallery to the encoder that has heard its first recordings; of another one, be sure that it did.

    Raises: EncoderMismatch where the gallery moved to another encoder meanwhile.
    """
    bound = records.identity(session)
    if bound is None:
        card = encoder.card
        records.bind(session, EncoderIdentity(card.name, card.version, card.sha256, card.dimension))
    else:
        _require_same(bound.encoder, encoder)


def _line(asked: Asked, encoder: Encoder, searched: int | None) -> Criterion:
    card = encoder.card
    return criterion(asked, card.calibration, card.threshold_distance, card.threshold_origin, searched)


def _judge(encoder: Encoder) -> Judge:
    return Judge(encoder.cohort, encoder.card.calibration)


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
