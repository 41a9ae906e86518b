"""Moving a gallery to another encoder: all or nothing, resumed where it was killed, and never two encoders mixed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_graphs import pooling_graph
from twelve_people import change

from speakerdb import Encoder, Gallery
from speakerdb.embedding import average
from speakerdb.encoder import encoder as encoder_module
from speakerdb.encoder.adding import add_encoder
from speakerdb.errors import (
    AudioNotKept,
    EmptyGallery,
    EncoderMismatch,
    GalleryDamaged,
    NoSuchGallery,
    StateError,
    StorageError,
)
from speakerdb.store.database import FILE

pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")

PEOPLE = {"ana": ["ana_1", "ana_2"], "ben": ["ben_1"], "eva": ["eva_1", "eva_2", "eva_3"]}
FAR = 2.0


@pytest.fixture
def other(tmp_path: Path, encoders_folder: Path) -> Encoder:
    """An encoder that was added: 16 numbers, and no threshold."""
    add_encoder("other", pooling_graph(tmp_path / "other.onnx"), {"kind": "kaldi-fbank"})
    return Encoder.load("other")


@pytest.fixture(scope="module")
def kept_once(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "people"
    with Gallery.open(folder) as gallery:
        for name, clips in PEOPLE.items():
            gallery.enroll(name, [examples / f"{clip}.wav" for clip in clips], keep_audio=True)
        gallery.identify(examples / "ana_4.wav")
    return folder


@pytest.fixture
def kept(kept_once: Path, gallery_folder: Path) -> Path:
    """A gallery whose recordings were kept, with a snapshot of its index; the test's own."""
    shutil.copytree(kept_once, gallery_folder)
    return gallery_folder


def rows(folder: Path, statement: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
        return connection.execute(statement).fetchall()


def assert_of(folder: Path, encoder: Encoder, examples: Path) -> None:
    """Every stored vector is this encoder's of its recording, every voiceprint the average."""
    for name, clips in PEOPLE.items():
        vectors = [encoder.enrollment(examples / f"{clip}.wav").vector for clip in clips]
        found = rows(folder, f"SELECT vector FROM enrollment e JOIN speaker s ON e.speaker_id = s.id "
                             f"WHERE s.name = '{name}' ORDER BY e.id")  # fmt: skip
        for (blob,), vector in zip(found, vectors, strict=True):
            assert np.abs(np.frombuffer(blob, "<f4") - vector).max() < 1e-5
        [(blob,)] = rows(folder, f"SELECT vector FROM voiceprint v JOIN speaker s ON v.speaker_id = s.id "
                                 f"WHERE s.name = '{name}'")  # fmt: skip
        assert np.abs(np.frombuffer(blob, "<f4") - average(np.stack(vectors))).max() < 1e-5


def test_a_recording_that_another_process_removes_meanwhile_does_not_stop_a_move(kept, other):
    removed = []
    with Gallery.open(kept) as gallery, Gallery.open(kept) as second:

        def told(*_: object) -> None:
            if not removed:
                removed.append(second.remove("eva"))

        assert gallery.use_encoder("other", progress=told).enrollments == 3
        assert [one.speaker for one in gallery.speakers()] == ["ana", "ben"]
        assert gallery.check().findings == []


def test_of_two_that_move_a_gallery_to_the_same_encoder_the_later_finds_it_there(kept, other):
    moved = []
    with Gallery.open(kept) as gallery, Gallery.open(kept) as second:

        def told(*_: object) -> None:
            if not moved:
                moved.append(None)
                moved.append(second.use_encoder("other"))

        moved.append(gallery.use_encoder("other", progress=told))
        assert [one.after for one in moved[1:]] == [other.card.id] * 2
        assert gallery.check().findings == []


def test_after_moving_every_vector_is_the_new_encoders(kept, other, examples):
    told = []
    with Gallery.open(kept) as gallery:
        before = gallery.encoder.card.id
        moved = gallery.use_encoder("other", progress=lambda *call: told.append(call))
        assert (moved.before, moved.after, moved.enrollments) == (before, other.card.id, 6)
        assert gallery.encoder.card.sha256 == other.card.sha256
        found = gallery.identify(examples / "eva_1.wav", threshold=FAR)
        assert gallery.check().findings == []
    assert [call[:2] for call in told] == [(number, 6) for number in range(6)]
    assert_of(kept, other, examples)
    assert rows(kept, "SELECT count(*) FROM staged_vector") == [(0,)]
    assert rows(kept, "SELECT name FROM encoder") == [("other",)]
    with Gallery.open(kept) as gallery:  # bound to it, and its index is of the new vectors
        again = gallery.identify(examples / "eva_1.wav", threshold=FAR)
        assert [candidate.distance for candidate in again.candidates] == pytest.approx(
            [candidate.distance for candidate in found.candidates], abs=1e-6
        )


def test_where_the_first_index_of_the_new_vectors_cannot_be_made_the_next_search_makes_it(kept, other, examples):
    with Gallery.open(kept) as early, Gallery.open(kept) as gallery:
        early.identify(examples / "eva_1.wav")
        gallery.use_encoder("other")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("speakerdb.gallery.view.build", refusing)
            with pytest.raises(StorageError, match="an error once"):
                early.identify(examples / "eva_1.wav", threshold=FAR)
        assert early.identify(examples / "eva_1.wav", threshold=FAR).speaker == "eva"


def refusing(*_: object) -> None:
    raise StorageError("the disk reports an error once")


def test_moving_there_and_back_changes_no_distance(kept, other, examples):
    with Gallery.open(kept) as gallery:
        before = gallery.identify(examples / "ana_4.wav").candidates
        gallery.use_encoder("other")
        gallery.use_encoder("speakerdb-16k")
        after = gallery.identify(examples / "ana_4.wav").candidates
    assert [found.speaker for found in after] == [found.speaker for found in before]
    assert [found.distance for found in after] == pytest.approx([found.distance for found in before], abs=1e-5)


def test_moving_to_a_calibrated_encoder_nobody_listens_for_other_voices(kept, other, monkeypatch):
    def listens(*_: object) -> None:
        raise AssertionError("a watch was made")

    monkeypatch.setattr(encoder_module, "VoiceWatch", listens)
    with Gallery.open(kept) as gallery:
        gallery.use_encoder("other")
        assert gallery.use_encoder("speakerdb-16k").enrollments == 6


def test_moving_to_the_encoder_that_it_has_changes_nothing(kept):
    before = rows(kept, "SELECT generation FROM gallery")
    with Gallery.open(kept) as gallery:
        moved = gallery.use_encoder("speakerdb-16k")
    assert moved.before == moved.after
    assert rows(kept, "SELECT generation FROM gallery") == before


def test_one_recording_that_was_not_kept_stops_it_before_any_work(kept, other, examples):
    with Gallery.open(kept) as gallery:
        gallery.enroll("kal", examples / "kal_1.wav")
        with pytest.raises(AudioNotKept, match=r"the sound of 1 recording was not kept \(.*kal_1\.wav\)"):
            gallery.use_encoder("other")
        assert gallery.identify(examples / "kal_1.wav").speaker == "kal"
    assert rows(kept, "SELECT count(*) FROM staged_vector") == [(0,)]


def test_there_must_be_a_gallery_to_move(gallery_folder, other, examples):
    with Gallery.open(gallery_folder) as gallery:
        with pytest.raises(NoSuchGallery):
            gallery.use_encoder("other")
        gallery.enroll("ana", examples / "ana_1.wav", keep_audio=True)
        gallery.remove("ana")
        assert gallery.use_encoder("other").enrollments == 0
        with pytest.raises(EmptyGallery):
            gallery.identify(examples / "ana_1.wav", threshold=FAR)


def test_a_process_that_had_the_gallery_open_takes_the_new_encoder(kept, other, examples):
    with Gallery.open(kept) as early, Gallery.open(kept) as gallery:
        assert early.identify(examples / "ana_4.wav").speaker == "ana"
        gallery.use_encoder("other")
        found, expected = (g.identify(examples / "ana_1.wav", threshold=FAR) for g in (early, gallery))
        assert found.candidates == expected.candidates
        assert early.verify("ben", examples / "ben_1.wav", threshold=FAR).distance < 1e-5
        early.enroll("kal", examples / "kal_1.wav")
        assert gallery.check().findings == []


def test_a_process_that_insists_on_the_old_encoder_is_refused(kept, other, examples):
    with Gallery.open(kept, encoder="speakerdb-16k") as early, Gallery.open(kept) as gallery:
        gallery.use_encoder("other")
        for ask in (early.identify, lambda clip, threshold: early.verify("ana", clip, threshold=threshold)):
            with pytest.raises(EncoderMismatch):
                ask(examples / "ana_1.wav", threshold=FAR)
        with pytest.raises(EncoderMismatch):
            early.enroll("kal", examples / "kal_1.wav")


def test_what_was_heard_by_the_old_encoder_is_not_written_once_the_gallery_has_moved(kept, other, examples):
    with Gallery.open(kept) as slow, Gallery.open(kept) as gallery:

        def move(number: int, total: int, done_s: float, total_s: float) -> None:
            if number == 0:
                gallery.use_encoder("other")

        with pytest.raises(EncoderMismatch):
            slow.enroll("kal", [examples / "kal_1.wav", examples / "kal_2.wav"], progress=move)
        assert {entry.speaker for entry in slow.speakers()} == set(PEOPLE)
        slow.enroll("kal", [examples / "kal_1.wav", examples / "kal_2.wav"])
        assert slow.check().findings == []


def test_a_kept_sound_with_a_flipped_bit_is_an_error_and_nothing_moves(kept, other, examples):
    with contextlib.closing(sqlite3.connect(kept / FILE)) as connection, connection:
        [(file,)] = connection.execute("SELECT file FROM kept_audio WHERE enrollment_id = 3")
        file = file[:500] + bytes([file[500] ^ 4]) + file[501:]
        connection.execute("UPDATE kept_audio SET file = ? WHERE enrollment_id = 3", [file])
    with Gallery.open(kept) as gallery:
        with pytest.raises(GalleryDamaged, match="kept sound of enrollment 3"):
            gallery.use_encoder("other")
        assert gallery.identify(examples / "ana_4.wav").speaker == "ana"


CHILD = """
import os, signal, sys
from contextlib import contextmanager
from speakerdb import Gallery
from speakerdb.gallery import moving
from speakerdb.store import reembedding
from speakerdb.store.database import Database

moving.COMMIT_RECORDINGS = 2

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def die_after(owner, name, times=1):
    call = getattr(owner, name)
    left = [times]
    def last(*args, **kwargs):
        call(*args, **kwargs)
        left[0] -= 1
        if not left[0]:
            die()
    setattr(owner, name, last)

def die_after_commit(of):
    writing, seen = Database.writing, [0]
    @contextmanager
    def last(self):
        with writing(self) as connection:
            yield connection
        seen[0] += 1
        if seen[0] == of:
            die()
    Database.writing = last

"""

STEPS = {
    "before the first recording is heard": ("moving._stage = die", 0),
    "after two were staged, before that is committed": ("die_after(reembedding, 'stage', 2)", 0),
    "after the first commit of staged vectors": ("die_after_commit(2)", 2),
    "after the second commit of staged vectors": ("die_after_commit(4)", 4),
    "before the switch": ("reembedding.switch = die", 6),
    "after the switch, before its commit": ("die_after(reembedding, 'switch')", 6),
    "after the switch was committed": ("die_after_commit(7)", None),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("step", STEPS)
def test_killed_while_moving_it_has_one_encoder_and_the_next_command_goes_on(kept, other, examples, step):
    hook, staged = STEPS[step]
    script = f"{CHILD}{hook}\nwith Gallery.open(sys.argv[1]) as gallery:\n    gallery.use_encoder('other')\n"
    killed = subprocess.run([sys.executable, "-c", script, str(kept)], check=False)
    assert killed.returncode == -signal.SIGKILL
    shipped = Encoder.load()
    with Gallery.open(kept) as gallery:
        assert gallery.check().findings == []
        assert gallery.encoder.card.sha256 == (shipped if staged is not None else other).card.sha256
        assert gallery.identify(examples / "eva_1.wav", threshold=FAR).distance < 0.7
    assert_of(kept, shipped if staged is not None else other, examples)
    assert rows(kept, "SELECT count(*) FROM staged_vector") == [(staged or 0,)]
    told = []
    with Gallery.open(kept) as gallery:
        gallery.use_encoder("other", progress=lambda *call: told.append(call[0]))
    assert told == (list(range(staged, 6)) if staged is not None else [])  # what was staged is not heard again
    assert_of(kept, other, examples)


def test_what_another_process_enrolls_meanwhile_moves_too(kept, other, examples, monkeypatch):
    from speakerdb.gallery import moving

    monkeypatch.setattr(moving, "COMMIT_RECORDINGS", 2)
    with Gallery.open(kept) as gallery, Gallery.open(kept) as neighbour:

        def told(number: int, total: int, done_s: float, total_s: float) -> None:
            if number == 1:
                neighbour.enroll("kal", examples / "kal_1.wav", keep_audio=True)
                neighbour.remove("ben")

        assert gallery.use_encoder("other", progress=told).enrollments == 6
        assert gallery.check().findings == []
        assert gallery.verify("kal", examples / "kal_1.wav", threshold=FAR).distance < 1e-5
        assert {entry.speaker for entry in gallery.speakers()} == {"ana", "eva", "kal"}


def test_a_recording_that_another_process_gives_to_somebody_else_meanwhile_moves_too(
    kept, other, examples, monkeypatch
):
    from speakerdb.gallery import moving

    monkeypatch.setattr(moving, "COMMIT_RECORDINGS", 2)
    with Gallery.open(kept) as gallery, Gallery.open(kept) as neighbour:

        def told(number: int, total: int, done_s: float, total_s: float) -> None:
            if number == 3 and len(neighbour.speakers()) == 3:  # ana's two are staged by now
                neighbour.merge("ana", "eva")

        assert gallery.use_encoder("other", progress=told).enrollments == 6
        assert gallery.check().findings == []
        assert gallery.identify(examples / "ana_1.wav", threshold=FAR).speaker == "eva"


def test_staged_vectors_of_a_third_encoder_are_not_taken_for_this_ones(kept, other, examples, tmp_path):
    add_encoder("third", pooling_graph(tmp_path / "third.onnx", bins=60), {"kind": "kaldi-fbank"})
    move = "with Gallery.open(sys.argv[1]) as gallery:\n    gallery.use_encoder('third')\n"
    script = f"{CHILD}reembedding.switch = die\n{move}"
    subprocess.run([sys.executable, "-c", script, str(kept)], check=False)
    assert rows(kept, "SELECT count(*) FROM staged_vector") == [(6,)]
    with Gallery.open(kept) as gallery:
        gallery.use_encoder("other")
    assert_of(kept, other, examples)


def test_two_that_move_a_gallery_to_different_encoders_do_not_undo_one_anothers_work_for_ever(kept, other, monkeypatch):
    from speakerdb.gallery import moving

    monkeypatch.setattr(moving, "COMMIT_RECORDINGS", 2)

    def to_a_third(*_: float) -> None:  # what was staged by then is another's now
        change(kept / FILE, f"UPDATE staged_vector SET encoder_sha256 = '{'f' * 64}'")

    with Gallery.open(kept) as gallery, pytest.raises(StateError, match="to another encoder; let it finish"):
        gallery.use_encoder("other", progress=to_a_third)


def test_the_command_says_what_it_moved(kept, other, run):
    done = run("encoder", "use", "other")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Moved     6 recordings from {Encoder.load().card.id} to {other.card.id}\n"
    done = run("encoder", "use", "other", "--json")
    assert json.loads(done.stdout) == {"before": other.card.id, "after": other.card.id, "enrollments": 6}


def test_the_list_of_recordings_says_whose_sound_is_kept(kept, examples, run):
    run("enroll", "kal", examples / "kal_1.wav")
    lines = run("speakers", "--enrollments").stdout.splitlines()
    assert sum(line.endswith(".wav  (its sound is kept)") for line in lines) == 6
    assert sum(line.endswith("kal_1.wav") for line in lines) == 1
