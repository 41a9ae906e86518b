"""Who is this, is it who they say? A recording is heard first; then one short transaction reads what it is held to."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
import numpy.typing as npt

from speakerdb import settings
from speakerdb.audio import Source, Sources, each
from speakerdb.calibration import Basis
from speakerdb.decision.criterion import Asked
from speakerdb.decision.judging import Judge, Judgement
from speakerdb.embedding import Vector, distances, is_unit
from speakerdb.encoder.encoder import Encoder
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import EmptyGallery, EncoderMismatch, InputError, NoSuchSpeaker, printable
from speakerdb.gallery.answers import Candidate, ComparedPair, Comparison, Identification, Neighbour, Verification
from speakerdb.gallery.deciding import candidates, identification, judgements, verification, warnings_of
from speakerdb.gallery.feedback import KEPT
from speakerdb.gallery.naming import usable_name
from speakerdb.gallery.opened import OpenGallery, Progress, identity_of, judge_by, line_for, require_identity
from speakerdb.store import decisions, records
from speakerdb.store.binding import GalleryIdentity
from speakerdb.store.found import named, speakers


class Asking(OpenGallery):
    """`identify`, `verify`, `nearest`, `compare`: a recording, or two, at a time."""

    def identify(
        self,
        source: Source | Utterance,
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
            source: a recording, or what `Encoder.probe` of the gallery's encoder has heard of one.
            top: how many candidates to list.
            threshold: a distance 0 to 2; or fpir: how often a stranger may be given a name, whatever the gallery's
                size; left out, an FPIR of 1 %, or the threshold of an encoder that is not calibrated.
            margin: distances this near to the threshold, or to the second candidate's, are inconclusive.
        Raises: InputError; NoSuchGallery or EmptyGallery; StateError where there is nothing to decide by.
        """
        top = require_some(top)
        asked = Asked(threshold, fpir=fpir, margin=margin)
        if isinstance(source, Utterance):
            probe = source
        else:
            encoder = self.encoder
            self._answerable(asked, encoder)
            probe = _heard(encoder, source, rate_hz, progress)
        found, gallery = self._candidates(probe, top, asked)
        return identification(probe, found, margin, top, gallery)

    def _answerable(self, asked: Asked, encoder: Encoder) -> None:
        """Raise, before a recording is heard, what would be raised after it."""
        with self._existing().reading() as connection:
            if not records.anybody(connection):
                raise EmptyGallery
            line_for(asked, self._judge(encoder, connection), encoder, 1)

    def nearest(self, vector: npt.ArrayLike, top: int = settings.TOP) -> list[Neighbour]:
        """The speakers nearest to a unit vector by exact distance, nearest first; no decision, and no cohort.

        Args: vector: float32 [dimension], unit length, of this gallery's encoder.
        Raises: InputError for another vector, or for no candidate at all; EmptyGallery; NoSuchGallery.
        """
        top = require_some(top)
        with self._lock, self._existing().reading() as connection:
            identity = require_identity(connection)
            query = _unit(vector, identity.encoder.dimension)
            near = self._view.nearest(connection, identity, query, top)
            apart = distances(query, near.voiceprints)
            rows = np.argsort(apart, kind="stable")[:top].tolist()
            found = speakers(connection, near, rows)
        return [Neighbour(one.speaker, float(apart[i])) for one, i in zip(found, rows, strict=True)]

    def _candidates(
        self, probe: Utterance, top: int, asked: Asked
    ) -> tuple[list[tuple[Candidate, Judgement]], GalleryIdentity]:
        """The likeliest of the index's nearest, scored exactly, as many as are told of; and which gallery it was.

        The session outlasts the lock: who the likeliest are is read when they are known, and of the same state.
        """
        with contextlib.ExitStack() as session:
            with self._lock:  # before the session, so that no state is older than the index's
                connection = session.enter_context(self._existing().reading())
                identity = require_identity(connection)
                encoder = self._encoder_of(identity)
                require_vector_of(encoder, probe)  # the gallery may have moved while it was heard
                near = self._view.nearest(connection, identity, probe.vector, top)
            judge = self._judge(encoder, connection)
            scores = judge.scores(probe.vector, near.voiceprints)
            rows = scores.order()[: max(top, KEPT)]
            found = speakers(connection, near, rows)
        probe_s = probe.quality.net_speech_s
        line = line_for(asked, judge, encoder, near.searched, probe_s)
        return candidates(judge, line, scores.of(rows), probe_s, found), identity

    def verify(
        self,
        name: str,
        source: Source | Utterance,
        *,
        rate_hz: int | None = None,
        threshold: float | None = None,
        fmr: float | None = None,
        margin: float = 0.0,
        progress: Progress | None = None,
    ) -> Verification:
        """Is it who they say? Reads the one voiceprint; no index is needed.

        Args:
            source: as `identify`.
            threshold: a distance 0 to 2; or fmr: how often a stranger may be accepted; left out, an FMR of 1 %, or the
                threshold of an encoder that is not calibrated.
            margin: distances this near to the threshold are inconclusive.
        Raises: NoSuchSpeaker; InputError; StateError where there is nothing to decide by.
        """
        speaker, asked = usable_name(name), Asked(threshold, fmr, margin=margin)
        with self._existing().reading() as connection:
            identity = require_identity(connection)
            own, claimed = decisions.calibration(connection), named(connection, speaker)
        encoder = self._encoder_of(identity)
        judge = judge_by(encoder, own)
        line = line_for(asked, judge, encoder, None)
        if claimed is None:
            raise NoSuchSpeaker(speaker)
        probe = _heard(encoder, source, rate_hz, progress)
        scores = judge.scores(probe.vector, claimed.voiceprint[None])
        [judged] = judgements(judge, line, scores, probe.quality.net_speech_s, [claimed])
        return verification(probe, claimed, judged, identity)

    def compare(
        self,
        sources: Sources,
        *,
        rate_hz: int | None = None,
        threshold: float | None = None,
        fmr: float | None = None,
    ) -> Comparison:
        """The distance of every pair of recordings; of the gallery its encoder and calibration are used, no voice.

        By another encoder, where the gallery was opened with one, nothing of it is used.
        """
        encoder, judge = self._comparing()
        line = line_for(Asked(threshold, fmr), judge, encoder, None)
        heard = [encoder.probe(source, rate_hz) for source in each(sources)]
        if len(heard) < 2:
            raise InputError("a comparison needs two recordings or more")
        pairs = []
        for i, first in enumerate(heard):
            for second in heard[i + 1 :]:
                basis = Basis(first.quality.net_speech_s, [second.quality.net_speech_s], [1])
                [found] = judge.judge(judge.scores(first.vector, second.vector[None]), basis, line)
                limit, same = found.threshold.distance, found.side == "near"
                pairs.append(ComparedPair(first.name, second.name, found.distance, found.llr, limit, same))
        return Comparison(
            pairs, line.origin, line.fmr, [text for utterance in heard for text in warnings_of(utterance)]
        )

    def _comparing(self) -> tuple[Encoder, Judge]:
        """What pairs of recordings are compared by."""
        asked, bound = self._asked_encoder, self._identity()
        if asked and bound and not identity_of(asked.card).gives_those_of(bound.encoder):
            return asked, judge_by(asked, None)
        encoder = self._encoder_of(bound)
        return encoder, self._judge(encoder)


def require_some(top: int) -> int:
    """How many candidates, as Python's own number: NumPy's small ones overflow. Raises: InputError where it is none."""
    if not isinstance(top, int | np.integer) or top < 1:
        raise InputError(f"{top!r} candidates; at least 1")
    return int(top)


def _unit(vector: npt.ArrayLike, dimension: int) -> Vector:
    """A vector that a program gives. Raises: InputError where it is none of unit length and this dimension."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        given: Vector = np.asarray(vector, np.float32)
        if given.shape == (dimension,) and is_unit(given):
            return given
    raise InputError(f"a vector of unit length is needed, float32 [{dimension}]")


def _heard(encoder: Encoder, source: Source | Utterance, rate_hz: int | None, progress: Progress | None) -> Utterance:
    """A recording as the encoder hears it, or as it has heard it already."""
    if not isinstance(source, Utterance):
        return encoder.probe(source, rate_hz, partial(progress, 0, 1) if progress else None)
    require_vector_of(encoder, source)
    return source


def require_vector_of(encoder: Encoder, heard: Utterance) -> None:
    """Raises: EncoderMismatch where another encoder heard it; InputError where its vector cannot be this one's."""
    card, name = encoder.card, printable(heard.name, 200)
    if heard.heard_by not in ("", card.vectors_of):
        raise EncoderMismatch(identity_of(card).shown, f"the one that heard {name} ({heard.heard_by[:8]})")
    if heard.vector.shape != (card.dimension,) or not is_unit(heard.vector):
        raise InputError(f"{name}: its vector is not one of {card.id}")
