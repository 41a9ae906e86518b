"""The gallery: remember this person, who is this, is it who they say?

Recordings are decoded and embedded before any transaction; then one short one checks and writes. What a method has
returned is on disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from speakerdb import settings
from speakerdb.audio import Source
from speakerdb.calibration import Basis
from speakerdb.decision.criterion import Asked
from speakerdb.decision.judging import Judgement
from speakerdb.embedding import Vector, distances
from speakerdb.encoder.encoder import Encoder
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import EmptyGallery, InputError, SeveralVoices, printable
from speakerdb.gallery.deciding import basis_of, identification, ranked, verification
from speakerdb.gallery.enrolling import write_enrollment
from speakerdb.gallery.learning import Learning
from speakerdb.gallery.naming import usable_name
from speakerdb.gallery.opened import Progress, line_for, require_same, require_speaker
from speakerdb.gallery.results import (
    Candidate,
    ComparedPair,
    Comparison,
    Enrolled,
    Identification,
    Neighbour,
    RefusedRecording,
    Verification,
)
from speakerdb.gallery.screening import outliers, require_new
from speakerdb.store import records
from speakerdb.store.records import EncoderIdentity, GalleryIdentity


class Gallery(Learning):
    """People and their voices in one folder. Made by `Gallery.open`; safe for use from several threads."""

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

    def enroll(
        self,
        name: str,
        sources: Source | Iterable[Source],
        *,
        rate_hz: int | None = None,
        keep_going: bool = False,
        keep_audio: bool = False,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Enrolled:
        """Remember recordings as a speaker's, all or none; several are heard at a time, on all cores.

        Args:
            sources: one recording or several (path, bytes, binary file, or array with `rate_hz`).
            keep_going: enroll what can be enrolled and report the rest in `refused`.
            keep_audio: keep the sounds themselves in the gallery, too, so that it can move to another encoder.
            force: enroll several voices, outliers and possible duplicates all the same.
        Returns: once it returns, the recordings are on disk.
        Raises: InputError for a recording or name that cannot be used, such as SeveralVoices; DuplicateEnrollment,
            ConflictingEnrollment for audio that is enrolled already; OutlierRecording; PossibleDuplicate, with
            `keep_going` too; StorageError. Nothing was written then.
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
                heard.append(_one_voice(get(), force))
            except InputError as error:
                if not keep_going:
                    raise
                refused.append(RefusedRecording(str(error.fields.get("source", "")), error.to_json()))
        if not heard and self._found() is None:  # nothing to write is no reason to make a gallery
            return Enrolled(speaker, False, [], refused, 0, 0.0, False)
        if heard and not force:
            heard = self._screened(speaker, heard, refused, encoder, keep_going)
        with self._writable().writing() as session:
            _bind(session, encoder)
            return write_enrollment(session, speaker, heard, refused, keep_going)

    def _screened(
        self, speaker: str, heard: list[Utterance], refused: list[RefusedRecording], encoder: Encoder, keep_going: bool
    ) -> list[Utterance]:
        """The recordings that sound like their speaker's others. Raises: OutlierRecording; PossibleDuplicate."""
        if self._found() is None:
            found = outliers(None, self._judge(encoder), speaker, heard)
        else:
            with self._lock, self._existing().reading() as session:
                judge, identity = self._judge(encoder, session), records.identity(session)
                found = outliers(session, judge, speaker, heard)
                kept = [utterance for place, utterance in enumerate(heard) if place not in found]
                if kept and identity is not None and (keep_going or not found):
                    require_same(identity.encoder, encoder)
                    require_new(session, identity, self._view, judge, speaker, kept)
        if found and not keep_going:
            raise found[min(found)]
        refused += [RefusedRecording(heard[place].name, error.to_json()) for place, error in sorted(found.items())]
        return [utterance for place, utterance in enumerate(heard) if place not in found]

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
            line_for(asked, self._judge(encoder, session), encoder, 1)
        probe = encoder.probe(source, rate_hz, partial(progress, 0, 1) if progress else None)
        candidates, gallery = self._candidates(probe.vector, probe.quality.net_speech_s, top, encoder, asked)
        return identification(probe, candidates, margin, top, gallery)

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
    ) -> tuple[list[tuple[Candidate, Judgement]], GalleryIdentity]:
        """The index's nearest, scored exactly, from the likeliest on; and which gallery it was."""
        with self._existing().reading() as session:
            identity = self._bound(session, encoder)  # it may have moved to another encoder while this one listened
            nearest = self._found_near(session, identity, vector, max(top, settings.RESCORED))
            enrolled = records.enrolled_speech(session, [speaker for speaker, _, _ in nearest])
            judge = self._judge(encoder, session)
            line = line_for(asked, judge, encoder, records.count_speakers(session))
        found = [(name, speaker, enrolled[speaker], voiceprint) for speaker, name, voiceprint in nearest]
        return ranked(judge, line, vector, probe_s, found), identity

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
            identity, judge = self._bound(session, encoder), self._judge(encoder, session)
            line = line_for(asked, judge, encoder, None)
            row = require_speaker(session, speaker)
            stored, enrolled = records.voiceprint(session, row), records.enrolled_speech(session, [row])[row]
        probe = encoder.probe(source, rate_hz, partial(progress, 0, 1) if progress else None)
        [judged] = judge.judge(probe.vector, stored[None], basis_of(probe.quality.net_speech_s, [enrolled]), line)
        return verification(probe, speaker, row, enrolled, judged, identity)

    def compare(
        self,
        sources: Iterable[Source],
        *,
        rate_hz: int | None = None,
        threshold: float | None = None,
        fmr: float | None = None,
    ) -> Comparison:
        """The distance of every pair of recordings; of the gallery its encoder and calibration are used, no voice."""
        encoder = self.encoder
        judge = self._judge(encoder)
        line = line_for(Asked(threshold, fmr), judge, encoder, None)
        heard = [encoder.probe(source, rate_hz) for source in _several(sources)]
        if len(heard) < 2:
            raise InputError("a comparison needs two recordings or more")
        pairs = []
        for i, first in enumerate(heard):
            for second in heard[i + 1 :]:
                basis = Basis(first.quality.net_speech_s, [second.quality.net_speech_s], [1])
                [found] = judge.judge(first.vector, second.vector[None], basis, line)
                limit, same = found.threshold.distance, found.side == "near"
                pairs.append(ComparedPair(first.name, second.name, found.distance, found.llr, limit, same))
        return Comparison(pairs, line.origin, line.fmr, [text for utterance in heard for text in utterance.warnings])


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
        require_same(bound.encoder, encoder)


def _one_voice(utterance: Utterance, force: bool) -> Utterance:
    if utterance.changes_s and not force:
        raise SeveralVoices(utterance.name, utterance.changes_s)
    return utterance


def _several(sources: Source | Iterable[Source]) -> list[Source]:
    single = isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike | np.ndarray)
    single = single or hasattr(sources, "read")
    return [sources] if single else list(sources)  # type: ignore[list-item,arg-type]
