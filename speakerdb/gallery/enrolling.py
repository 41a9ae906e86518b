"""The rules of enrolling, inside one transaction: what is new, what is refused, what is averaged."""

from __future__ import annotations

from sqlalchemy import Connection

from speakerdb import settings
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import ConflictingEnrollment, DuplicateEnrollment, StateError, printable
from speakerdb.gallery.results import Enrolled, EnrolledRecording, RefusedRecording
from speakerdb.store import binding, records, voiceprints
from speakerdb.store.records import NewEnrollment


def write_enrollment(
    connection: Connection, name: str, heard: list[Utterance], refused: list[RefusedRecording], keep_going: bool
) -> Enrolled:
    """Check and insert inside a transaction; an error rolls all of it back.

    Args: name: usable; heard: embedded recordings; refused: those passed over so far, added to with `keep_going`.
    Raises: DuplicateEnrollment, ConflictingEnrollment.
    """
    accepted: list[Utterance] = []
    for utterance in heard:
        try:
            _require_new(connection, name, utterance, accepted)
            accepted.append(utterance)
        except StateError as error:
            if not keep_going:
                raise
            refused.append(RefusedRecording.of(error, utterance.name, name))
    speaker = records.speaker_id(connection, name)
    if not accepted:
        have = records.enrolled_speech(connection, [speaker])[speaker] if speaker is not None else None
        total, total_s = (have.recordings, have.net_speech_s) if have else (0, 0.0)
        return Enrolled(name, False, [], refused, total, total_s, _complete(total_s))
    new_speaker = speaker is None
    speaker = records.add_speaker(connection, name) if speaker is None else speaker
    enrolled = []
    for utterance in accepted:
        new = NewEnrollment(
            printable(utterance.name, 1000),
            utterance.sha256,
            utterance.quality.net_speech_s,
            utterance.quality.to_json(),
            utterance.vector,
            utterance.audio,
        )
        row = records.add_enrollment(connection, speaker, new)
        enrolled.append(EnrolledRecording(row, new.source, new.net_speech_s, utterance.quality.grade))
    total = voiceprints.refresh(connection, speaker, added=len(enrolled))
    binding.record_change(connection, [speaker])
    warnings = [line for utterance in accepted for line in utterance.warnings]
    total_s = records.enrolled_speech(connection, [speaker])[speaker].net_speech_s
    return Enrolled(name, new_speaker, enrolled, refused, total, total_s, _complete(total_s), warnings)


def _complete(seconds: float) -> bool:
    return seconds >= settings.COMPLETE_SPEECH_S


def _require_new(connection: Connection, name: str, utterance: Utterance, accepted: list[Utterance]) -> None:
    """Raise where the very audio is enrolled already, or stands twice in this call."""
    owner = records.enrolled_for(connection, utterance.sha256)
    twice = any(utterance.sha256 == other.sha256 for other in accepted)
    if owner == name or twice:
        raise DuplicateEnrollment(utterance.name, name, twice)
    if owner is not None:
        raise ConflictingEnrollment(utterance.name, name, owner)
