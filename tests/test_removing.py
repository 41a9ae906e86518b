"""Forgetting: who is removed is found no more, and no byte is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from galleries import ALL, left_in, listed, pieces, ready, recording_of
from known_voices import QUALITY, voice
from sqlalchemy import text

from speakerdb import Gallery, settings
from speakerdb.embedding import average
from speakerdb.errors import (
    EmptyGallery,
    NoSuchEnrollment,
    NoSuchSpeaker,
    StateError,
)
from speakerdb.index import snapshot
from speakerdb.store import binding, database, fields, gallery_file, records, voiceprints
from speakerdb.store.records import NewEnrollment


def test_a_removed_speaker_is_found_no_more_and_may_come_back(people, clips):
    assert people.identify(*clips("ben_1")).speaker == "ben"
    removed = people.remove("ben")
    assert (removed.speaker, removed.enrollments, removed.speaker_removed, removed.log_erased) == (
        "ben",
        1,
        True,
        True,
    )
    found = people.identify(*clips("ben_1"), top=10, threshold=ALL)
    assert {candidate.speaker for candidate in found.candidates} == {"ana", "eva"}
    for use in (lambda: people.verify("ben", *clips("ben_1")), lambda: people.remove("ben")):
        with pytest.raises(NoSuchSpeaker):
            use()
    assert people.enroll("ben", clips("ben_1")).new_speaker
    assert people.identify(*clips("ben_1")).speaker == "ben"


def test_a_speaker_of_whom_a_row_is_damaged_can_still_be_removed(people):
    with people._existing().writing() as connection:
        connection.execute(text("UPDATE enrollment SET quality = 'x'"))
    assert people.remove("ana").enrollments == 2
    assert "ana" not in listed(people)


def test_two_whose_voices_cancel_out_are_not_made_one(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["a"])
        with gallery._writable().writing() as connection:
            new = NewEnrollment("b", "0" * 64, 2.5, QUALITY.to_json(), -voice("a"))
            speaker = records.add_speaker(connection, "ben")
            records.add_enrollment(connection, speaker, new)
            voiceprints.refresh(connection, speaker, added=1)
            binding.record_change(connection, [speaker])
        with pytest.raises(StateError, match="nobody's"):
            gallery.merge("ben", "ana")
        assert listed(gallery) == {"ana": 1, "ben": 1}


def test_a_removed_recording_is_taken_out_of_the_average(people, clips, exact):
    first, second = people.speakers(enrollments=True)[0].recordings
    people.identify(*clips("ana_3"))
    removed = people.remove_enrollment(first.id)
    assert (removed.speaker, removed.enrollments, removed.speaker_removed) == ("ana", 1, False)
    assert listed(people)["ana"] == 1
    distance = people.identify(*clips("ana_2")).distance
    assert distance == pytest.approx(exact("ana_2", ["ana_2"]), abs=1e-5)
    with pytest.raises(NoSuchEnrollment):
        people.remove_enrollment(first.id)
    assert people.remove_enrollment(second.id).speaker_removed
    assert "ana" not in listed(people)
    assert people.check().findings == []


@pytest.mark.parametrize("number", [0, -1, 99, 1 << 31, 1 << 62, 1 << 64, -(1 << 70)])
def test_a_recording_that_is_not_there_cannot_be_removed(people, number):
    with pytest.raises(NoSuchEnrollment):
        people.remove_enrollment(number)
    assert listed(people) == {"ana": 2, "ben": 1, "eva": 1}


def test_where_the_last_has_gone_nobody_can_be_found(people, clips):
    for name in ("ana", "ben", "eva"):
        people.remove(name)
    assert people.speakers() == []
    with pytest.raises(EmptyGallery):
        people.identify(*clips("ana_1"))
    with pytest.raises(EmptyGallery):
        people.nearest(voice("anybody"))
    assert people.check().findings == []
    assert people.rebuild().speakers == 0
    people.enroll("ana", clips("ana_1"))
    assert people.identify(*clips("ana_1")).speaker == "ana"


def test_no_id_is_used_twice_not_even_after_a_restart(gallery_folder, known_voices):
    seen: set[int] = set()
    speakers: set[int] = set()
    for turn in range(4):
        with Gallery.open(gallery_folder, encoder=known_voices) as gallery:
            gallery.enroll("stays", f"stays {turn}")
            new = [recording.id for recording in gallery.enroll("goes", [f"{turn} a", f"{turn} b"]).enrolled]
            store = gallery_file.open_existing(gallery_folder / database.FILE)
            with store.reading() as connection:
                speaker = records.speaker_id(connection, "goes")
            store.close()
            assert not seen & set(new)
            assert speaker not in speakers
            seen |= set(new)
            speakers.add(speaker)
            gallery.remove("goes")
    assert len(seen) == 8


def secrets_of(folder: Path, name: str) -> set[bytes]:
    """What must not be left of a speaker: vectors, name, hashes and names of the recordings."""
    store = gallery_file.open_existing(folder / database.FILE)
    with store.reading() as connection:
        speaker = records.speaker_id(connection, name)
        stored, vectors = next(voiceprints.parts(connection, [speaker])).vectors()
        secrets = [fields.to_blob(stored), *(fields.to_blob(vector) for vector in vectors), name.encode()]
        hashes = connection.exec_driver_sql("SELECT audio_sha256 FROM enrollment WHERE speaker_id = ?", (speaker,))
        secrets += [value.encode() for (value,) in hashes]
    store.close()
    assert len(secrets) == 3 + 2 * len(vectors) - 1
    return pieces(*secrets)


def test_what_is_looked_for_is_seen_while_it_is_there(people, clips):
    people.rename("ana", "ana of the long name")
    people.identify(*clips("ana_1"))
    secrets = secrets_of(people.folder, "ana of the long name")
    assert len(secrets) > 3 * 48
    seen = {line.split(": ")[1] for line in left_in(people.folder, secrets)}
    assert len(seen) == len(secrets)
    people.rebuild()
    assert [line for line in left_in(people.folder, secrets) if line.startswith(snapshot.FILE)]


def test_of_a_removed_speaker_no_byte_is_left_in_any_file(people, clips, encoder):
    folder = people.folder
    people.rename("ana", "ana of the long name")
    secrets = secrets_of(folder, "ana of the long name")
    people.identify(*clips("ana_1"))
    people.rebuild()  # a snapshot on disk, an index in memory
    with Gallery.open(folder, encoder=encoder) as other:  # and one elsewhere, which has not caught up
        other.identify(*clips("ana_1"))
        assert people.remove("ana of the long name").log_erased
        assert left_in(folder, secrets) == []
        people.enroll("kal", clips("kal_1"))
        people.identify(*clips("ana_1"))
        assert left_in(folder, secrets) == []
    assert left_in(folder, secrets) == []
    people.close()
    assert left_in(folder, secrets) == []
    with Gallery.open(folder, encoder=encoder) as again:
        again.identify(*clips("ana_1"))
        assert again.check().findings == []
    assert left_in(folder, secrets) == []


def test_of_a_removed_recording_and_the_average_with_it_no_byte_is_left(people, clips):
    store = gallery_file.open_existing(people.folder / database.FILE)
    with store.reading() as connection:
        stored, vectors = next(voiceprints.parts(connection, [1])).vectors()
        secrets = pieces(fields.to_blob(stored), fields.to_blob(vectors[0]))
        kept = pieces(fields.to_blob(vectors[1]))
    store.close()
    people.rebuild()
    assert left_in(people.folder, secrets)
    people.remove_enrollment(1)
    assert left_in(people.folder, secrets) == []
    people.identify(*clips("ana_2"))
    people.close()
    assert left_in(people.folder, secrets) == []
    assert left_in(people.folder, kept)


@pytest.mark.slow
def test_after_many_removals_from_a_large_gallery_nothing_is_left_of_anyone(gallery_folder, encoder, monkeypatch):
    rng = np.random.default_rng(0)  # with these names SQLite 3.40 leaves copies behind, if the file is not rewritten
    names = [f"person {rng.bytes(int(rng.integers(9, 31))).hex()}" for _ in range(300)]
    voices = {name: [voice(f"{name} {n}") for n in range(1 + i % 3)] for i, name in enumerate(names)}
    ready(gallery_folder, encoder, voices)
    store = gallery_file.open_existing(gallery_folder / database.FILE)
    for name in names[::2]:  # a second recording later: rows grow, pages split
        with store.writing() as connection:
            speaker = records.speaker_id(connection, name)
            voices[name].append(voice(f"{name} later"))
            records.add_enrollment(connection, speaker, recording_of(voices[name][-1]))
            voiceprints.refresh(connection, speaker, added=1)
            binding.record_change(connection, [speaker])
    store.close()

    def secrets(name: str) -> set[bytes]:
        hashes = [recording_of(vector).audio_sha256.encode() for vector in voices[name]]
        vectors = [fields.to_blob(vector) for vector in [*voices[name], average(voices[name])]]
        return pieces(*vectors, *hashes, name.encode())

    order = [names[i] for i in rng.permutation(len(names))]
    gone: set[bytes] = set()
    with Gallery.open(gallery_folder, encoder=encoder) as gallery:
        gallery.rebuild()
        assert len(left_in(gallery_folder, secrets(order[0]))) >= len(secrets(order[0]))
        with monkeypatch.context() as patch:  # most of them without writing the file anew: pages merge, are freed
            patch.setattr(settings, "REWRITE_BELOW_BYTES", 0)
            for name in order[:200]:
                assert gallery.remove(name).log_erased
                gone |= secrets(name)
        for name in order[200:210]:
            assert gallery.remove(name).log_erased
            gone |= secrets(name)
            assert left_in(gallery_folder, gone) == []
        found = {c.speaker for c in gallery.nearest(voice("anybody"), top=500)}
        assert found == set(order[210:])
        assert gallery.check().findings == []
    assert left_in(gallery_folder, gone) == []


def test_a_removal_without_the_memory_to_write_the_file_anew_still_empties_the_log(people, monkeypatch, gallery_folder):
    def no_memory(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr(database.Database, "_rewrite", no_memory)
    assert not people.remove("ana").log_erased
    assert (gallery_folder / f"{database.FILE}-wal").stat().st_size == 0
