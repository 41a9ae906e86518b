"""What a program meets that uses speakerdb: other folders, pools of processes, files that fail, names out of tables."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soxr
from known_voices import voice
from test_many_processes import forked

from speakerdb import Encoder, Gallery, errors
from speakerdb.audio import read
from speakerdb.errors import (
    AudioUnreadable,
    EmptyGallery,
    EncoderMismatch,
    InputError,
    NoSuchSpeaker,
    SpeakerdbError,
    StateError,
    StorageError,
    TooFewTrials,
    TooLittleSpeech,
)
from speakerdb.gallery import saving
from speakerdb.gallery.results import RefusedRecording
from speakerdb.metrics.bootstrap import search_intervals


def test_a_gallery_stays_the_same_wherever_the_program_goes(tmp_path, monkeypatch, known_voices):
    for folder, name in (("one", "ana"), ("two", "other")):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        with Gallery.open("people", encoder=known_voices) as gallery:
            gallery.enroll(name, [f"{name} 0"])
    monkeypatch.chdir(tmp_path / "one")
    with Gallery.open("people", encoder=known_voices) as gallery:
        gallery.speakers()
        monkeypatch.chdir(tmp_path / "two")
        with gallery._existing().reading():  # so that the next one is another connection
            assert [one.speaker for one in gallery.speakers()] == ["ana"]
        gallery.enroll("ben", ["ben 0"])
    with Gallery.open(tmp_path / "one" / "people", encoder=known_voices) as gallery:
        assert [one.speaker for one in gallery.speakers()] == ["ana", "ben"]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not delete files that are open")
def test_nothing_is_acknowledged_in_a_gallery_that_was_deleted_or_replaced(tmp_path, known_voices):
    with Gallery.open(tmp_path / "other", encoder=known_voices) as other:
        other.enroll("eva", ["eva 0"])
    with Gallery.open(tmp_path / "people", encoder=known_voices) as gallery:
        gallery.enroll("ana", ["ana 0"])
        shutil.rmtree(tmp_path / "people")
        with pytest.raises(StorageError):
            gallery.enroll("ben", ["ben 0"])
        shutil.copytree(tmp_path / "other", tmp_path / "people")
        for use in (gallery.speakers, lambda: gallery.enroll("ben", ["ben 0"])):
            with pytest.raises(StorageError, match="was replaced while it was open"):
                use()
    with Gallery.open(tmp_path / "people", encoder=known_voices) as gallery:
        assert [one.speaker for one in gallery.speakers()] == ["eva"]


def test_what_is_no_recording_and_no_rate_is_refused_in_a_line(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices) as gallery:
        gallery.enroll("ana", "ana 1")
        with pytest.raises(InputError, match="None: neither a recording nor several"):
            gallery.enroll("ben", None)
        with pytest.raises(InputError, match="fmr='x'; a number is needed"):
            gallery.calibrate(fmr="x")


def test_a_closed_gallery_says_so_and_may_be_closed_again(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices) as gallery:
        gallery.enroll("ana", "ana 1")
    gallery.close()
    uses = (gallery.speakers, lambda: gallery.identify("ana 1"), lambda: gallery.enroll("ben", "ben 1"), gallery.check)
    for use in uses:
        with pytest.raises(StateError, match="was closed; open it again"):
            use()


@pytest.mark.parametrize(
    "error",
    [
        AudioUnreadable("a.wav", "not audio that can be read"),
        TooLittleSpeech("a.wav", 0.1, 1.0, 3.0, "enroll"),
        NoSuchSpeaker("ana"),
        EncoderMismatch("one", "another"),
        TooFewTrials("one speaker", 1, 30),
        EmptyGallery(),
        StorageError("the disk", path="x"),
    ],
)
def test_errors_come_through_a_pool_of_processes_as_they_are(error):
    again = pickle.loads(pickle.dumps(error))  # as multiprocessing does; speakerdb itself reads no pickle
    assert (type(again), str(again), again.to_json()) == (type(error), str(error), error.to_json())


def test_every_error_can_be_pickled_whatever_it_is_made_of():
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SpeakerdbError)]
    assert len(kinds) > 20
    for kind in kinds:
        error = kind.__new__(kind, "a message")
        error.fields = {"path": "x"}
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.fields) == (kind, "a message", {"path": "x"})


def embedded(path: str) -> object:
    return Encoder.load().embed(path)


@pytest.mark.timeout(120)
def test_an_unreadable_file_does_not_break_a_pool(examples: Path):
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(AudioUnreadable, match="no such file"):
            pool.submit(embedded, "/nope.wav").result(60)
        assert np.shape(pool.submit(embedded, str(examples / "ana_1.wav")).result(60)) == (192,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(120)
def test_a_child_made_while_a_thread_loads_an_encoder_hears(examples: Path):
    for _ in range(3):
        encoder = Encoder.load()
        thread = threading.Thread(target=lambda encoder=encoder: encoder.runtime)
        thread.start()
        assert forked(lambda: embedded(str(examples / "ana_1.wav"))) == 0
        thread.join()


class Failing(io.BytesIO):
    """A file from somewhere that breaks half-way."""

    def read(self, size: int = -1) -> bytes:
        if self.tell() > 40_000:
            raise OSError("connection reset")
        return super().read(size)

    def readinto(self, buffer) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def test_a_file_that_fails_while_it_is_read_is_an_error_and_no_short_recording(examples: Path, capfd):
    failing = Failing((examples / "ana_1.wav").read_bytes())
    with pytest.raises(AudioUnreadable, match="reading it failed"):
        Encoder.load().probe(failing)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("path", ["", "a\0b", b"people", 5, None])
def test_what_is_no_path_is_refused_by_every_verb_that_takes_one(gallery_folder, known_voices, path):
    with Gallery.open(gallery_folder, encoder=known_voices) as gallery:
        gallery.enroll("ana", ["ana 0"])
        for use in (
            gallery.enroll_manifest,
            gallery.identify_many,
            lambda given: list(gallery.verify_many(given)),
            gallery.export,
            gallery.import_archive,
            gallery.backup,
        ):
            with pytest.raises(InputError, match="not a path"):
                use(path)
    if path is not None:
        with pytest.raises(InputError, match="not a path"):
            Gallery.open(path)


def test_a_name_that_nobody_can_have_stops_no_other_claim(enrolled: Path, examples: Path, tmp_path: Path):
    clip = examples / "ana_4.wav"
    (tmp_path / "claims.tsv").write_text(f"ana\t{clip}\na\u200bna\t{clip}\nben\t{clip}\n")
    with Gallery.open(enrolled) as gallery:
        found = [answer for _, answer in gallery.verify_many(tmp_path / "claims.tsv")]
    assert [isinstance(answer, RefusedRecording) for answer in found] == [False, True, False]


def test_lists_may_begin_with_a_byte_order_mark(enrolled: Path, examples: Path, tmp_path: Path):
    clip = examples / "ana_4.wav"
    for name, content in (("claims.tsv", f"ana\t{clip}\n"), ("calls.txt", f"{clip}\n"), ("zoe.tsv", f"zoe\t{clip}\n")):
        (tmp_path / name).write_text(content, encoding="utf-8-sig")
    with Gallery.open(enrolled) as gallery:
        assert [answer.speaker for _, answer in gallery.verify_many(tmp_path / "claims.tsv")] == ["ana"]
        assert [answer.speaker for answer in gallery.identify_many(tmp_path / "calls.txt")] == ["ana"]
        assert gallery.enroll_manifest(tmp_path / "zoe.tsv", force=True).speakers == 1


def test_ids_may_be_numpys_and_top_must_be_a_number(gallery_folder, known_voices):
    with Gallery.open(gallery_folder, encoder=known_voices) as gallery:
        first = gallery.enroll("ana", ["ana 0", "ana 1"]).enrolled[0].id
        assert gallery.remove_enrollment(np.int64(first)).speaker == "ana"
        assert gallery.nearest(voice("ana 1"), top=np.int64(1))[0].speaker == "ana"
        for top in (0, 2.5, "5", None):
            with pytest.raises(InputError, match="candidates"):
                gallery.nearest(voice("ana 1"), top=top)
        with pytest.raises(InputError, match="is text"):
            gallery.feedback(None, "correct")


def test_an_emptied_gallery_is_not_exported(gallery_folder, known_voices, tmp_path):
    with Gallery.open(gallery_folder, encoder=known_voices) as gallery:
        gallery.enroll("ana", ["ana 0"])
        gallery.remove("ana")
        with pytest.raises(EmptyGallery):
            gallery.export(tmp_path / "archive")
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("rate_hz", [65_537, 96_001, 96_000, 44_100])
def test_sounds_of_any_rate_are_kept(tmp_path, examples: Path, rate_hz):
    samples = soxr.resample(read(examples / "ana_1.wav", 16_000).samples, 16_000, rate_hz)
    with Gallery.open(tmp_path / "people") as gallery:
        gallery.enroll("ana", samples, rate_hz=rate_hz, keep_audio=True)
        assert gallery.check().findings == []


def test_another_spelling_of_a_decisions_id_is_no_other_answer(enrolled: Path, examples: Path):
    with Gallery.open(enrolled) as gallery:
        given = gallery.verify("ana", examples / "ana_4.wav").decision
        assert gallery.feedback(given, "correct").all_targets == 1
        for spelled in (given + "==", given + "="):
            with pytest.raises(InputError, match="not a decision's id"):
                gallery.feedback(spelled, "correct")
        assert gallery.feedback(given, "correct").all_targets == 1


@pytest.mark.parametrize(
    "wrong", [{"fpir": -1.0}, {"fpir": 2.0}, {"fpir": float("nan")}, {"draws": 0}, {"level": 1.0}, {"level": 0.0}]
)
def test_intervals_of_searches_refuse_what_searches_refuse(wrong):
    scores, ranks, strangers = [0.9, 0.8, 0.1], [1, 1, 2], [0.2, 0.3]
    assert set(search_intervals(scores, ranks, strangers, [0, 1, 2], [3, 4], fpir=0.5, draws=20)) == {"tpir", "rank_1"}
    with pytest.raises(ValueError, match=r"fpir|draws"):
        search_intervals(scores, ranks, strangers, [0, 1, 2], [3, 4], **{"fpir": 0.5, "draws": 20, **wrong})


def test_what_comes_between_a_merges_call_and_its_writing_is_merged_too_or_seen(
    gallery_folder, known_voices, monkeypatch
):
    with Gallery.open(gallery_folder, encoder=known_voices) as gallery:
        gallery.enroll("ana", ["ana 0"])
        gallery.enroll("ben", ["ben 0"])
        begun = saving.erased

        def meanwhile(change):
            def erased(folder):
                monkeypatch.setattr(saving, "erased", begun)
                with Gallery.open(gallery_folder, encoder=known_voices) as other:
                    change(other)
                return begun(folder)

            return erased

        monkeypatch.setattr(saving, "erased", meanwhile(lambda other: other.enroll("ana", ["ana 1"])))
        assert gallery.merge("ana", "ben").emptied == ["ana"]
        gallery.enroll("eva", ["eva 0"])
        monkeypatch.setattr(saving, "erased", meanwhile(lambda other: other.remove("ben")))
        with pytest.raises(NoSuchSpeaker):
            gallery.merge("eva", "ben")
        assert [one.speaker for one in gallery.speakers()] == ["eva"]
