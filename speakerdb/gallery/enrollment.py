"""Remembering voices: one speaker's recordings, or thousands of speakers' by a manifest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from speakerdb.audio import Source, Sources, channel_of, each, name_of
from speakerdb.encoder.encoder import Encoder
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import DifferentChannels, InputError, PossibleDuplicate, SeveralVoices, StorageError
from speakerdb.gallery.enrolling import write_enrollment
from speakerdb.gallery.naming import usable_name, usable_path
from speakerdb.gallery.opened import OpenGallery, Progress, identity_of, require_same
from speakerdb.gallery.results import Enrolled, EnrolledMany, RefusedRecording
from speakerdb.gallery.screening import outliers, pending, require_new
from speakerdb.store import binding, records
from speakerdb.store.found import Found

if TYPE_CHECKING:
    from speakerdb.gallery.bulk import Batch


class Enrollment(OpenGallery):
    """`enroll` and `enroll_manifest`."""

    def enroll(
        self,
        name: str,
        sources: Sources,
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
            force: enroll several voices, channels with different sounds, outliers and possible duplicates all the same.
        Returns: once it returns, the recordings are on disk.
        Raises: InputError for a recording or name that cannot be used, such as SeveralVoices; DuplicateEnrollment,
            ConflictingEnrollment for audio that is enrolled already; OutlierRecording; PossibleDuplicate, with
            `keep_going` too; StorageError. Nothing was written then.
        """
        speaker = usable_name(name)
        heard: list[Utterance] = []
        refused: list[RefusedRecording] = []
        recordings = list(each(sources))
        if not recordings:
            raise InputError("no recording was given")
        encoder = self.encoder
        for get in _heard(encoder, recordings, rate_hz, keep_audio, not force, progress):
            try:
                heard.append(get() if force else _one_voice(get()))
            except InputError as error:
                if not keep_going:
                    raise
                refused.append(RefusedRecording.of(error, str(error.fields.get("source", "")), speaker))
        if not heard and self._found() is None:  # nothing to write is no reason to make a gallery
            return Enrolled(speaker, False, [], refused, 0, 0.0, False)
        if heard and not force:
            heard = self._screened(speaker, heard, refused, encoder, keep_going)
        with self._writable().writing() as connection:
            _bind(connection, encoder)
            return write_enrollment(connection, speaker, heard, refused, keep_going)

    def enroll_manifest(
        self,
        manifest: str | os.PathLike[str],
        *,
        keep_audio: bool = False,
        force: bool = False,
        channel: int | None = None,
        progress: Progress | None = None,
    ) -> EnrolledMany:
        """Enroll many speakers: all cores, some speakers to a transaction; another call goes on where one was stopped.

        Args:
            manifest: a file of `SPEAKER<tab>PATH` lines, a Kaldi folder, or a folder a speaker (`read_manifest`).
            keep_audio, force: as `enroll`. channel: of each recording, from 1, instead of all averaged.
        Returns: what is on disk then, and each recording that is not, with its error.
        Raises: InputError for the manifest itself; StorageError, with the `recordings` of this call that are on disk.
        """
        from speakerdb.gallery.bulk import batches
        from speakerdb.gallery.manifest import passed_over, read_manifest

        source = usable_path(manifest)
        listed = [(one.speaker, channel_of(one.path, channel)) for one in read_manifest(source)]
        refused = list[RefusedRecording]()
        total, encoder = len(listed), self.encoder
        if self._found() is not None:
            with self._existing().reading() as connection:
                known = records.enrolled_sources(connection)
            listed = [(speaker, sound) for speaker, sound in listed if (speaker, name_of(sound)) not in known]
        speakers, warnings = set[str](), passed_over(source)
        recordings, seconds, heard_before = 0, 0.0, total - len(listed)
        sounds = (sound for _, sound in listed)
        futures = encoder.enrollments(sounds, keep_audio=keep_audio, other_voices=not force)
        told = _counted(futures, heard_before, total, progress)
        try:
            for batch in batches(listed, told, refused):
                fit = self._fit(batch, refused, encoder, force)
                if not fit:
                    continue
                with self._writable().writing() as connection:
                    _bind(connection, encoder)
                    done = [write_enrollment(connection, name, heard, refused, True) for name, heard in fit]
                speakers.update(one.speaker for one in done if one.enrolled)
                recordings += sum(len(one.enrolled) for one in done)
                seconds += sum(one.net_speech_s for one in done)
                warnings += [line for one in done for line in one.warnings]
        except StorageError as error:
            if recordings:
                error.add(f"{recordings} recordings are enrolled, the same call goes on", recordings=recordings)
            raise
        return EnrolledMany(len(speakers), recordings, seconds, heard_before, refused, warnings)

    def _fit(
        self, batch: Batch, refused: list[RefusedRecording], encoder: Encoder, force: bool
    ) -> list[tuple[str, list[Utterance]]]:
        """Speakers and those of their recordings that may be enrolled; the others are added to `refused`."""
        if force:
            return batch.heard
        fit, waiting = list[tuple[str, list[Utterance]]](), list[Found]()
        for speaker, heard in batch.heard:
            single = list[Utterance]()
            for utterance in heard:
                if wrong := _not_one_voice(utterance):
                    refused.append(RefusedRecording.of(wrong, utterance.name, speaker))
                else:
                    single.append(utterance)
            try:
                kept = self._screened(speaker, single, refused, encoder, True, waiting) if single else []
            except PossibleDuplicate as error:
                refused += [RefusedRecording.of(error, utterance.name, speaker) for utterance in single]
                continue
            if kept:
                fit.append((speaker, kept))
                waiting.append(pending(speaker, kept))
        return fit

    def _screened(
        self,
        speaker: str,
        heard: list[Utterance],
        refused: list[RefusedRecording],
        encoder: Encoder,
        keep_going: bool,
        waiting: Sequence[Found] = (),
    ) -> list[Utterance]:
        """The recordings that sound like their speaker's others. Raises: OutlierRecording; PossibleDuplicate.

        Args: waiting: other speakers who will be enrolled in the same transaction.
        """
        with contextlib.ExitStack() as stack:
            connection, identity = None, None
            if self._found() is not None:
                stack.enter_context(self._lock)
                connection = stack.enter_context(self._existing().reading())
                identity = binding.identity(connection)
                if identity is not None:
                    require_same(identity.encoder, encoder)
            judge = self._judge(encoder, connection)
            known = {u.sha256 for u in heard if connection and records.enrolled_for(connection, u.sha256)}
            found = outliers(connection, judge, speaker, heard, known)
            if found and not keep_going:
                raise found[min(found)]
            kept = [utterance for place, utterance in enumerate(heard) if place not in found]
            if kept and known.isdisjoint(u.sha256 for u in kept):  # else what is wrong is said when it is written
                require_new(connection, identity, self._view, judge, pending(speaker, kept), waiting)
        refused += [RefusedRecording.of(error, heard[place].name, speaker) for place, error in sorted(found.items())]
        return kept


def _heard(
    encoder: Encoder,
    recordings: list[Source],
    rate_hz: int | None,
    keep_audio: bool,
    other_voices: bool,
    progress: Progress | None,
) -> Iterator[Callable[[], Utterance]]:
    """What gives each recording's utterance, or raises what is wrong with it, in order."""
    if len(recordings) == 1:
        told = partial(progress, 0, 1) if progress else None
        yield partial(encoder.enrollment, recordings[0], rate_hz, told, keep_audio, other_voices)
        return
    for number, future in enumerate(encoder.enrollments(recordings, rate_hz, keep_audio, other_voices=other_voices)):
        if progress:
            progress(number, len(recordings), 1.0, 1.0)
        yield future.result


def _counted(
    futures: Iterator[Future[Utterance]], before: int, total: int, progress: Progress | None
) -> Iterator[Future[Utterance]]:
    for number, future in enumerate(futures, before):
        if progress:
            progress(number, total, 1.0, 1.0)
        yield future


def _bind(connection: Connection, encoder: Encoder) -> None:
    """Bind a new gallery to the encoder that has heard its first recordings; of another one, be sure that it did.

    Raises: EncoderMismatch where the gallery moved to another encoder meanwhile.
    """
    bound = binding.identity(connection)
    if bound is None:
        binding.bind(connection, identity_of(encoder.card))
    else:
        require_same(bound.encoder, encoder)


def _one_voice(utterance: Utterance) -> Utterance:
    if error := _not_one_voice(utterance):
        raise error
    return utterance


def _not_one_voice(utterance: Utterance) -> InputError | None:
    """Why a recording is not one person's, as far as it can be told from the recording alone."""
    if utterance.two_sounds:
        return DifferentChannels(utterance.name)
    return SeveralVoices(utterance.name, utterance.changes_s) if utterance.changes_s else None
