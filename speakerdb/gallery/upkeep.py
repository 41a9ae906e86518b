"""Who is enrolled, and the gallery's own state: the verbs that take no recording."""

from __future__ import annotations

import contextlib
import operator
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from sqlalchemy import Connection

from speakerdb import durable
from speakerdb.encoder.encoder import Encoder
from speakerdb.errors import InputError, NameTaken, NoSuchEnrollment, NoSuchGallery, printable
from speakerdb.gallery import saving
from speakerdb.gallery.naming import lasting_path, real_path, require_outside, usable_name
from speakerdb.gallery.opened import OpenGallery, Progress, require_speaker
from speakerdb.gallery.reports import BackedUp, Merged, Moved, Removed, Renamed
from speakerdb.gallery.results import EnrollmentInfo, SpeakerInfo
from speakerdb.store import binding, database, gallery_file, records, voiceprints
from speakerdb.store.fields import duration
from speakerdb.store.recordings import move_recording


class Upkeep(OpenGallery):
    """Listing, renaming, moving, removing; copying, and changing the encoder."""

    def speakers(self, *, enrollments: bool = False) -> list[SpeakerInfo]:
        """Everyone enrolled, by name; with `enrollments` their recordings too. Empty before the first enrollment."""
        if self._found() is None:
            return []
        with self._existing().reading() as connection:
            return [
                SpeakerInfo(
                    name,
                    count,
                    duration(net_speech_s, count),
                    created,
                    [EnrollmentInfo(**vars(row)) for row in records.enrollments_of(connection, speaker)]
                    if enrollments
                    else [],
                )
                for speaker, name, created, count, net_speech_s in records.speakers(connection)
            ]

    def rename(self, before: str, after: str) -> Renamed:
        """Give a speaker another name. Raises: NoSuchSpeaker; NameTaken; InputError for an unusable name."""
        old, new = usable_name(before), usable_name(after)
        with self._existing().writing() as connection:
            speaker = require_speaker(connection, old)
            if old != new and records.speaker_id(connection, new) is not None:
                raise NameTaken(new)
            records.rename_speaker(connection, speaker, new)
        return Renamed(old, new)

    def remove(self, name: str) -> Removed:
        """Forget a speaker: rows, vectors, index, and SQLite's log. Raises: NoSuchSpeaker."""
        speaker_name, store = usable_name(name), self._existing()
        known = partial(require_speaker, name=speaker_name)
        with self._erased(known) as cleared, store.writing() as connection:
            speaker = known(connection)
            enrolled = records.count_enrollments(connection, speaker)
            records.remove_speaker(connection, speaker)
            binding.record_change(connection, [speaker])
        return Removed(speaker_name, enrolled, True, store.erase_deleted() and cleared)

    def remove_enrollment(self, enrollment: int) -> Removed:
        """Forget one recording by its id; with the last one the speaker goes too. Raises: NoSuchEnrollment."""
        store, number = self._existing(), _number(enrollment)
        owner = partial(_owner, enrollment=number)
        with self._erased(owner) as cleared, store.writing() as connection:
            speaker, name = owner(connection)
            records.remove_enrollment(connection, number)
            left = voiceprints.refresh(connection, speaker, added=-1)
            if not left:
                records.remove_speaker(connection, speaker)
            binding.record_change(connection, [speaker])
        return Removed(name, 1, not left, store.erase_deleted() and cleared)

    def merge(self, name: str, into: str) -> Merged:
        """Give all recordings of a speaker to another one, who is the same person. Raises: NoSuchSpeaker."""
        source, target = usable_name(name), usable_name(into)
        if source == target:
            raise InputError("a speaker cannot be merged with itself")

        def own(connection: Connection) -> list[int]:
            require_speaker(connection, target)
            return [row.id for row in records.enrollments_of(connection, require_speaker(connection, source))]

        return self._moved(own, target)

    def move_enrollments(self, enrollments: Iterable[int], to: str) -> Merged:
        """Give recordings, by their ids, to another speaker, who may be new; all or none.

        A speaker who has none left is gone. Raises: NoSuchEnrollment; InputError for an unusable name.
        """
        if not isinstance(enrollments, Iterable):
            raise InputError(f"{printable(repr(enrollments), 100)}: not a list of ids of recordings")
        name, moved = usable_name(to), sorted({_number(enrollment) for enrollment in enrollments})
        if not moved:
            raise InputError("no recording was named")
        return self._moved(lambda _: moved, name)

    def _moved(self, chosen: Callable[[Connection], list[int]], name: str) -> Merged:
        """Give recordings to the speaker of that name. Args: chosen: their ids, as of the transaction that moves."""
        store = self._existing()

        def owned(connection: Connection) -> tuple[list[int], list[tuple[int, str]]]:
            moved = chosen(connection)
            return moved, [_owner(connection, enrollment) for enrollment in moved]

        with self._erased(owned), store.writing() as connection:
            moved, owners = owned(connection)
            known = records.speaker_id(connection, name)
            target = records.add_speaker(connection, name) if known is None else known
            givers = Counter(owner for owner in owners if owner[0] != target)
            for enrollment, (owner, _) in zip(moved, owners, strict=True):
                if owner != target:
                    move_recording(connection, enrollment, target)
            total = voiceprints.refresh(connection, target, added=givers.total())
            emptied = []
            for (giver, giver_name), gone in givers.items():
                if not voiceprints.refresh(connection, giver, added=-gone):
                    records.remove_speaker(connection, giver)
                    emptied.append(giver_name)
            binding.record_change(connection, [target, *(giver for giver, _ in givers)])
        store.erase_deleted()
        return Merged(name, givers.total(), sorted(emptied), total)

    def use_encoder(self, encoder: str | os.PathLike[str] | Encoder, *, progress: Progress | None = None) -> Moved:
        """Move to another encoder: embed every kept recording anew, and change all vectors at once.

        What was embedded stays where the call is interrupted; the next one goes on from there.
        Args: encoder: a bundle's name or folder.
        Raises: AudioNotKept where a recording was enrolled without `keep_audio`; EncoderDamaged; StorageError.
        """
        from speakerdb.gallery.moving import move

        new = encoder if isinstance(encoder, Encoder) else Encoder.load(encoder)

        def told(before: int, total: int, done: int) -> None:
            if progress:
                progress(before + done - 1, total, 1.0, 1.0)

        done = move(self._existing(), new, told)
        with self._lock:
            self._encoder, self._asked_encoder = new, self._asked_encoder and new
        return done

    def backup(self, folder: str | os.PathLike[str]) -> BackedUp:
        """Copy the gallery, while it is in use, into a new folder that is a gallery then, whole or not at all.

        The index is not copied: it is made anew by the first search there.
        Raises: StateError where the folder holds a gallery already; GalleryDamaged; StorageError.
        """
        from speakerdb.store.backup import backup

        target = lasting_path(folder)
        if real_path(target) != real_path(self.folder):  # which holds a gallery already
            require_outside(self.folder, target)
        size = backup(self._existing(), target)
        copy = gallery_file.open_existing(target / database.FILE)
        if copy is None:
            raise NoSuchGallery(str(target))
        try:
            with copy.reading() as connection:
                listed = records.speakers(connection)
        finally:
            copy.close()
        return BackedUp(str(target), len(listed), sum(row[3] for row in listed), size)

    @contextlib.contextmanager
    def _erased(self, require: Callable[[Connection], object]) -> Iterator[bool]:
        """Somebody's voice goes inside: no snapshot may hold it, nor a copy that was being made (False: one may).

        Searches go on meanwhile; other processes' writers may be waited for.
        Args: require: raises where there is nobody to remove; then the snapshot stays.
        """
        with self._existing().reading() as connection:
            require(connection)
            identity = binding.required_identity(connection)
        cleared = durable.clear(self.folder)
        with self._lock:
            self._view.keep(identity)
        with saving.erased(self._index_folder):
            yield cleared


def _number(enrollment: int) -> int:
    """An id as Python's own number, which SQLite takes. Raises: InputError for what is none."""
    try:
        if not isinstance(enrollment, bool):
            return operator.index(enrollment)
    except TypeError:
        pass
    raise InputError(f"{printable(enrollment, 100)!r}: not the id of a recording")


def _owner(connection: Connection, enrollment: int) -> tuple[int, str]:
    found = records.enrollment_owner(connection, enrollment)
    if found is None:
        raise NoSuchEnrollment(enrollment)
    return found
