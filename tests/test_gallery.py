"""Listing, checking and rebuilding a gallery; what happens to its files behind its back."""

from __future__ import annotations

import errno
import importlib.util
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from galleries import ready, recording_of
from known_voices import KnownVoices, voice

from speakerdb import Gallery, settings
from speakerdb.embedding import Vector, normalize
from speakerdb.errors import (
    GalleryDamaged,
    GalleryFull,
    InputError,
    StorageError,
)
from speakerdb.index import snapshot
from speakerdb.store import binding, database, fields, gallery_file, records, voiceprints


def test_speakers_are_listed_by_name_with_their_recordings(people, clips):
    entries = people.speakers(enrollments=True)
    assert [entry.speaker for entry in entries] == ["ana", "ben", "eva"]
    ana = entries[0]
    assert [Path(recording.source).stem for recording in ana.recordings] == ["ana_1", "ana_2"]
    assert ana.net_speech_s == pytest.approx(sum(recording.net_speech_s for recording in ana.recordings))
    assert ana.recordings[0].quality["net_speech_s"] == pytest.approx(ana.recordings[0].net_speech_s, abs=1e-3)
    assert people.speakers()[0].recordings == []
    json.dumps([entry.to_json() for entry in entries])


def test_more_people_of_one_voice_than_check_looks_at_are_no_finding(gallery_folder, encoder):
    centre = voice("centre")
    twins = {f"twin {n}": [normalize(centre + np.float32(1e-5) * voice(f"twin {n}"))] for n in range(12)}
    ready(gallery_folder, encoder, twins)
    with Gallery.open(gallery_folder, encoder=encoder) as gallery:
        assert gallery.check().findings == []


def test_a_sound_gallery_has_no_findings(people, encoder):
    report = people.check()
    assert report.findings == []
    assert (report.speakers, report.enrollments, report.generation) == (3, 4, 3)
    assert report.encoder == encoder.card.id


def test_check_names_a_file_that_others_may_read(people):
    (people.folder / "gallery.sqlite").chmod(0o644)
    (people.folder / "index").mkdir(0o700, exist_ok=True)
    (people.folder / "index" / snapshot.PARTIAL).touch(0o600)
    partial, readable = people.check().findings
    assert "can be read by others (mode 644); chmod 600 it" in readable
    assert "is left from a write that was cut off; run `speakerdb rebuild`" in partial
    people.rebuild()
    (people.folder / "gallery.sqlite").chmod(0o600)
    assert people.check().findings == []


def test_a_rebuilding_that_the_disk_refuses_is_none(people, monkeypatch):
    def full(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as disk, pytest.raises(GalleryFull):
        disk.setattr(Path, "replace", full)
        people.rebuild()
    assert not (people.folder / "index" / snapshot.FILE).exists()
    people.rebuild()
    assert (people.folder / "index" / snapshot.FILE).exists()


def test_a_snapshot_that_is_being_written_is_no_fault(people):
    with snapshot.erased(people.folder / "index"):  # holds the lock, as who writes one does
        (people.folder / "index" / snapshot.PARTIAL).touch(0o600)
        with Gallery.open(people.folder, index="numpy") as other:
            assert other.check().findings == []
        assert (people.folder / "index" / snapshot.PARTIAL).exists()


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM enrollment WHERE speaker_id = 1", "speaker 'ana' has no enrollment"),
        (
            "DELETE FROM enrollment WHERE id = 1",
            "the voiceprint of speaker 'ana' does not fit its enrollments",
        ),
        ("DELETE FROM voiceprint WHERE speaker_id = 2", "speaker 'ben' has no voiceprint"),
        (
            "UPDATE voiceprint SET count = 7 WHERE speaker_id = 3",
            "of speaker 'eva' does not fit its enrollments",
        ),
        ("UPDATE enrollment SET vector_crc32 = 1 WHERE id = 3", "speaker 'ben' is damaged"),
        ("UPDATE enrollment SET speaker_id = 99 WHERE id = 3", "foreign key of enrollment"),
    ],
)
def test_check_names_what_does_not_agree(people, statement, finding):
    store = gallery_file.open_existing(people.folder / database.FILE)
    with store.migrating() as connection:
        connection.exec_driver_sql(statement)
        if "99" in statement:  # `migrating` itself would refuse it
            connection.exec_driver_sql("INSERT INTO speaker VALUES (99, 'q', 0, '')")
    if "99" in statement:
        with store._engine.connect() as connection:
            raw = connection.connection.driver_connection
            raw.execute("PRAGMA foreign_keys = OFF")
            raw.execute("DELETE FROM speaker WHERE id = 99")
            raw.execute("PRAGMA foreign_keys = ON")
    store.close()
    findings = people.check().findings
    assert [line for line in findings if finding in line], findings


def test_check_names_whose_vectors_are_of_another_length(people):
    store = gallery_file.open_existing(people.folder / database.FILE)
    longer = fields.to_blob(normalize(np.ones(256)))
    with store.writing() as connection:
        values = (longer, fields.blob_crc32(longer, 1))
        connection.exec_driver_sql("UPDATE enrollment SET vector = ?, vector_crc32 = ? WHERE id = 1", values)
    store.close()
    assert people.check().findings == ["the voiceprint of speaker 'ana' does not fit its enrollments"]


def test_check_sees_a_voiceprint_that_is_not_the_average(people):
    store = gallery_file.open_existing(people.folder / database.FILE)
    with store.writing() as connection:
        records.add_enrollment(connection, 2, recording_of(voice("somebody else")))
        voiceprints.refresh(connection, 2, added=1)
        records.remove_enrollment(connection, 3)
        connection.exec_driver_sql("UPDATE voiceprint SET count = 1 WHERE speaker_id = 2")
    store.close()
    assert "the voiceprint of speaker 'ben' is not the average of its enrollments" in people.check().findings


def test_check_sees_an_index_that_holds_other_voices(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", "ana 1")
        gallery.enroll("ben", "ben 1")
        gallery.rebuild()
    put_into_the_index(gallery_folder, 2, voice("somebody else"))
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        assert gallery.check().findings == [
            "the index does not find speaker 2 by its voiceprint; run `speakerdb rebuild`"
        ]
        gallery.rebuild()
        assert gallery.check().findings == []


def put_into_the_index(folder: Path, speaker: int, vector: Vector) -> None:
    """Of the NumPy kind, as a gallery would save it."""
    store = gallery_file.open_existing(folder / database.FILE)
    with store.writing() as connection:
        found = binding.identity(connection)
        bound = snapshot.Binding(found.uuid, found.encoder.sha256, found.encoder.dimension, "numpy")
        index, generation = snapshot.load(folder / "index", bound, found.snapshot)
        index.add(np.array([speaker]), vector[None])

        @contextmanager
        def owned(number: int) -> Iterator[None]:
            yield
            binding.own_snapshot(connection, number)

        taken = snapshot.taken(index, bound, generation)
        assert snapshot.save(folder / "index", taken, lambda: generation, owned)
    store.close()


@pytest.fixture
def nobody_reads_everything(monkeypatch) -> None:
    """Reading all voiceprints fails, as it must not be needed."""

    def refuse(connection: object) -> None:
        raise AssertionError("all voiceprints were read")

    monkeypatch.setattr(voiceprints, "in_batches", refuse)


def three_voices(folder: Path, encoder: KnownVoices) -> Path:
    with Gallery.open(folder, encoder=encoder, index="numpy") as gallery:
        for name in ("ana", "ben", "eva"):
            gallery.enroll(name, f"{name} 1")
        gallery.identify("ana 1")
    return folder / "index" / snapshot.FILE


def test_the_index_is_kept_from_one_run_to_the_next(gallery_folder, known_voices, nobody_reads_everything, monkeypatch):
    with monkeypatch.context() as patch:
        patch.undo()
        patch.setattr(voiceprints, "in_batches", IN_BATCHES)
        file = three_voices(gallery_folder, known_voices)
    assert file.exists()
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        assert gallery.identify("ben 1").speaker == "ben"


IN_BATCHES = voiceprints.in_batches


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "folder", "of another gallery", "a file"])
def test_an_index_that_cannot_be_believed_is_made_anew(gallery_folder, tmp_path, known_voices, damage):
    file = three_voices(gallery_folder, known_voices)
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    if damage == "of another gallery":
        shutil.copy(three_voices(tmp_path / "others", known_voices), file)
    elif damage == "a file":
        shutil.rmtree(file.parent)
        file.parent.touch(0o600)
    elif damage in ("missing", "folder"):
        file.unlink()
        if damage == "folder":
            file.mkdir(0o700)
    else:
        file.write_bytes({"empty": b"", "cut": bytes(content[:-9]), "flipped": bytes(content)}[damage])
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        found = gallery.identify("ben 1", top=5)
        assert (found.speaker, len(found.candidates)) == ("ben", 3)
        gallery.enroll("ben", "ben 2")
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        assert gallery.identify("ben 2", threshold=1.2).speaker == "ben"


def test_a_removal_where_the_index_cannot_be_deleted_is_an_error_and_removes_nobody(gallery_folder, known_voices):
    file = three_voices(gallery_folder, known_voices)
    file.unlink()
    file.mkdir(0o700)
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for use in (lambda: gallery.remove("ana"), lambda: gallery.remove_enrollment(1), gallery.rebuild):
            with pytest.raises(StorageError):
                use()
        assert gallery.identify("ana 1").speaker == "ana"


def test_an_old_snapshot_brought_back_catches_up(gallery_folder, known_voices):
    file = three_voices(gallery_folder, known_voices)
    old = file.read_bytes()
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.remove("ana")
        gallery.enroll("ben", "ben 2")
        gallery.enroll("kal", "kal 1")
        gallery.identify("ben 1")
    file.write_bytes(old)
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        found = gallery.identify("kal 1", top=9)
        assert found.speaker == "kal"
        assert {candidate.speaker for candidate in found.candidates} == {"ben", "eva", "kal"}


def test_a_database_brought_back_from_a_backup_is_not_searched_by_a_later_index(gallery_folder, tmp_path, known_voices):
    three_voices(gallery_folder, known_voices)
    shutil.copy(gallery_folder / "gallery.sqlite", tmp_path / "backup")
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for name in ("lost 1", "lost 2"):
            gallery.enroll(name, name)
        gallery.identify("lost 1")
    shutil.copy(tmp_path / "backup", gallery_folder / "gallery.sqlite")
    for name in ("new 1", "new 2", "new 3"):  # past the generation at which the index stands
        with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
            gallery.enroll(name, name)
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for name in ("new 1", "new 2", "new 3"):
            assert gallery.identify(name).speaker == name
        assert len(gallery.identify("new 1", top=20).candidates) == 6
        assert gallery.check().findings == []


def test_rebuilding_says_how_many(gallery_folder, known_voices):
    three_voices(gallery_folder, known_voices).unlink()
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        rebuilt = gallery.rebuild()
        assert (rebuilt.speakers, rebuilt.kind) == (3, "numpy")
    assert (gallery_folder / "index" / snapshot.FILE).exists()


def test_an_unknown_kind_of_index_is_refused(gallery_folder):
    with pytest.raises(InputError, match="'hnsw'; known"):
        Gallery.open(gallery_folder, index="hnsw")


@pytest.mark.parametrize("kind", ["faiss-flat", "faiss-ivf"])
def test_without_faiss_an_index_of_its_is_refused_when_the_gallery_is_opened(gallery_folder, monkeypatch, kind):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "faiss" else found(name))
    with pytest.raises(InputError, match=r"needs FAISS, .* run: pip install 'speakerdb\[cpu\]', or choose numpy"):
        Gallery.open(gallery_folder, index=kind)


def test_a_gallery_that_is_damaged_meanwhile_can_still_be_closed(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", "ana 1")
        gallery.identify("ana 1")
        store = gallery_file.open_existing(gallery_folder / database.FILE)
        with store.migrating() as connection:
            connection.exec_driver_sql("DROP TABLE gallery")
        store.close()
        with pytest.raises(GalleryDamaged):
            gallery.identify("ana 1")


def test_a_voiceprint_whose_speaker_is_gone_is_nobody(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for name in ("ana", "ben"):
            gallery.enroll(name, f"{name} 1", force=True)
        assert gallery.identify("ben 1").candidates[0].speaker == "ben"
        changed = sqlite3.connect(gallery_folder / database.FILE)  # where foreign keys are not enforced
        changed.execute("DELETE FROM speaker WHERE name = 'ben'")
        changed.commit()
        changed.close()
        for ask in (gallery.identify, lambda name: gallery.nearest(voice(name))):
            with pytest.raises(GalleryDamaged, match="a voiceprint has no speaker"):
                ask("ben 1")


def test_what_is_listed_does_not_change_what_is_decided(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        for number in range(40):
            gallery.enroll(f"voice {number}", f"voice {number}", force=True)
        whole = gallery.identify("voice 7", top=40)
        assert len(whole.candidates) == 40
        for top in (1, 2, 5):
            fewer = gallery.identify("voice 7", top=top)
            # The decision's scores are rounded by how many voices are multiplied at once.
            assert fewer == replace(whole, candidates=whole.candidates[:top], decision=fewer.decision)


def test_threads_may_share_a_gallery(gallery_folder, known_voices):
    errors: list[BaseException] = []
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("first", "first")

        def work(number: int) -> None:
            try:
                for turn in range(4):
                    name = f"{number} {turn}"
                    gallery.enroll(name, name)
                    assert gallery.identify(name).speaker == name
                    assert gallery.verify("first", "first").accepted
                gallery.remove(f"{number} 0")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(gallery.speakers()) == 1 + 4 * 3
        assert len(gallery.identify("first", top=50).candidates) == 13
        assert gallery.check().findings == []


def test_closing_waits_for_no_writer_and_leaves_the_snapshot_that_was_there(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", "ana 1")
        gallery.rebuild()
    saved = (gallery_folder / "index" / snapshot.FILE).read_bytes()
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ben", "ben 1")
        gallery.identify("ben 1")
        writer = sqlite3.connect(gallery_folder / database.FILE, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        gallery.close()
    with Gallery.open(gallery_folder, encoder=known_voices, index="numpy") as gallery:
        assert gallery.identify("ben 1").candidates[0].speaker == "ben"
    assert time.monotonic() - began < settings.BUSY_TIMEOUT_S / 4
    writer.close()
    assert [path.name for path in (gallery_folder / "index").iterdir() if path.name != snapshot.LOCK] == [snapshot.FILE]
    assert (gallery_folder / "index" / snapshot.FILE).read_bytes() == saved
