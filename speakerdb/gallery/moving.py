"""Moving a gallery to another encoder: every kept recording is embedded anew, then all vectors change at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from speakerdb.encoder.encoder import Encoder
from speakerdb.errors import AudioNotKept, EmptyGallery, EncoderMismatch, SpeakerdbError, StateError
from speakerdb.gallery.opened import identity_of
from speakerdb.gallery.reports import Moved
from speakerdb.store import binding, records, reembedding
from speakerdb.store.database import Database

COMMIT_RECORDINGS = 64
"""Staged in one transaction: what a command that is killed does twice."""

Told = Callable[[int, int, int], None]
"""Called with the recordings done before, how many there are, and those done since."""


def move(store: Database, encoder: Encoder, told: Told) -> Moved:
    """Embed what the new encoder has not yet heard, then switch in one transaction; until then the old one counts.

    Recordings that another process enrolls meanwhile are embedded as well.
    Raises: EmptyGallery before the first enrollment; AudioNotKept; InputError or EncoderDamaged for a sound that
        the encoder cannot use; StateError where another process moves the gallery to another encoder.
    """
    card = encoder.card
    identity = identity_of(card)
    with store.reading() as connection:
        found = binding.identity(connection)
        if found is None:
            raise EmptyGallery
        before = found.encoder
        total = reembedding.count_enrollments(connection)
    name = f"{before.name} {before.version}"
    if identity.gives_those_of(before):
        return Moved(name, name, total)
    if identity.sha256 == before.sha256:  # a card that names another's vectors, and has others
        raise EncoderMismatch(before.shown, identity.shown)
    done = set[int]()
    while True:
        with store.writing() as connection:
            found = binding.identity(connection)
            if found is not None and identity.gives_those_of(found.encoder):  # another process was faster
                return Moved(name, card.id, reembedding.count_enrollments(connection))
            missing = reembedding.without_audio(connection)
            if missing:
                raise AudioNotKept(len(missing), [source for _, source in missing[:3]])
            todo = reembedding.unstaged(connection, card.vectors_of, COMMIT_RECORDINGS)
            if not todo:
                total = reembedding.count_enrollments(connection)
                reembedding.switch(connection, identity)
                return Moved(name, card.id, total)
            if reembedding.staged_for_another(connection, card.vectors_of, done.intersection(todo)):
                raise StateError("another process is moving this gallery to another encoder; let it finish, or stop it")
            left = reembedding.count_unstaged(connection, card.vectors_of)
            total = reembedding.count_enrollments(connection)
        _stage(store, encoder, todo, partial(told, total - left, total))
        done.update(todo)


def _stage(store: Database, encoder: Encoder, todo: list[int], told: Callable[[int], None]) -> None:
    """Embed these recordings on all cores and keep their vectors beside those that count."""
    there: list[int] = []
    vectors = []
    for future in encoder.enrollments(_sounds(store, todo, there), least_speech_s=0.0, other_voices=False):
        try:
            vectors.append(future.result().vector)
        except SpeakerdbError as error:
            enrollment = there[len(vectors)]
            error.add(f"`speakerdb remove-enrollment {enrollment}` takes the recording out", enrollment=enrollment)
            raise
        told(len(vectors))
    with store.writing() as connection:
        for enrollment, vector in zip(there, vectors, strict=True):
            reembedding.stage(connection, enrollment, encoder.card.vectors_of, vector)


def _sounds(store: Database, enrollments: list[int], there: list[int]) -> Iterator[bytes]:
    """Kept sounds, one at a time, of those that nobody has removed meanwhile: their ids are appended to `there`."""
    for enrollment in enrollments:
        with store.reading() as connection:
            gone = records.enrollment_owner(connection, enrollment) is None
            sound = b"" if gone else reembedding.audio_of(connection, enrollment)
        if not gone:  # outside of the session, which would keep removals from leaving the log
            there.append(enrollment)
            yield sound
