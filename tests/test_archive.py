"""Export and import: what comes out is what went in, and what is there already is settled as asked."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sqlite3
import stat
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archives import enrolled, opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from known_voices import voice
from twelve_people import PEOPLE, change, posix, rows

from speakerdb import Gallery
from speakerdb.errors import EmptyGallery, InputError, NoSuchGallery, StateError
from speakerdb.store.database import FILE

# Round trip


def test_a_new_gallery_answers_as_the_one_that_was_exported(enrolled_with_audio: Path, examples: Path, tmp_path: Path):
    with Gallery.open(enrolled_with_audio) as gallery:
        gallery.export(tmp_path / "a.speakerdb")
        expected = gallery.identify(examples / "ana_4.wav")
        listed = gallery.speakers(enrollments=True)
    with Gallery.open(tmp_path / "new") as gallery:
        done = gallery.import_archive(tmp_path / "a.speakerdb")
        assert (done.speakers, done.recordings) == (len(listed), sum(len(one.recordings) for one in listed))
        assert gallery.speakers(enrollments=True) == listed
        found = gallery.identify(examples / "ana_4.wav")
        assert replace(found, decision="") == replace(expected, decision="")
        assert gallery.check().findings == []
    sounds = "SELECT file FROM kept_audio ORDER BY enrollment_id"
    assert rows(tmp_path / "new" / FILE, sounds) == rows(enrolled_with_audio / FILE, sounds) != []


@pytest.fixture
def enrolled_with_audio(examples: Path, tmp_path: Path) -> Path:
    with Gallery.open(tmp_path / "old") as gallery:
        gallery.enroll("ana", [examples / "ana_1.wav", examples / "ana_2.wav"])
        gallery.enroll("ben", [examples / "ben_1.wav"], keep_audio=True)
    return tmp_path / "old"


def test_vectors_quality_and_times_are_the_very_same(exported, twelve_once, known_voices, tmp_path):
    with opened(tmp_path / "new", known_voices) as gallery:
        gallery.import_archive(exported)
    columns = "name, source, audio_sha256, net_speech_s, quality, vector, enrollment.created, speaker.created"
    statement = f"SELECT {columns} FROM enrollment JOIN speaker ON speaker.id = speaker_id ORDER BY enrollment.id"
    assert rows(tmp_path / "new" / FILE, statement) == rows(twelve_once / FILE, statement)


def test_a_recording_without_a_name_is_exported_under_one_and_comes_in(examples: Path, tmp_path: Path):
    nameless = io.BytesIO((examples / "ana_1.wav").read_bytes())
    nameless.name = ""
    with Gallery.open(tmp_path / "old") as gallery:
        assert gallery.enroll("ana", [nameless]).enrolled[0].source == "<BytesIO>"
        change(tmp_path / "old" / FILE, "UPDATE enrollment SET source = ''")  # as galleries had it
        gallery.export(tmp_path / "a.speakerdb")
    with Gallery.open(tmp_path / "new") as gallery:
        assert gallery.import_archive(tmp_path / "a.speakerdb").recordings == 1


def test_a_gallerys_own_calibration_goes_with_it_to_a_new_gallery_alone(twelve, known_voices, tmp_path):
    found = json.loads((Path(known_voices._bundle.folder) / "card.json").read_text())["calibration"]
    content = json.dumps(found)
    with contextlib.closing(sqlite3.connect(twelve / FILE)) as connection, connection:
        connection.execute(
            "INSERT INTO calibration VALUES (1, ?, ?, '2026-01-01')",
            (content, zlib.crc32(content.encode())),
        )
    with opened(twelve, known_voices) as gallery:
        gallery.export(tmp_path / "a.speakerdb")
        own = gallery.calibration
    with opened(tmp_path / "new", known_voices) as gallery:
        assert gallery.import_archive(tmp_path / "a.speakerdb").calibration_taken
        assert gallery.calibration == own
    with opened(tmp_path / "other", known_voices) as gallery:
        gallery.enroll("somebody", ["x 1"])
        assert not gallery.import_archive(tmp_path / "a.speakerdb").calibration_taken
        assert gallery.calibration is None


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 4), min_size=1), st.sampled_from(["merge", "rename"])
)
def test_any_gallery_survives_and_a_second_import_changes_nothing(known_voices, tmp_path_factory, people, policy):
    folder = tmp_path_factory.mktemp("round")
    with opened(folder / "one", known_voices) as gallery:
        for name, count in people.items():
            gallery.enroll(name, [f"{name} {number}" for number in range(count)])
        gallery.export(folder / "a.speakerdb")
        expected = enrolled(gallery)
    with opened(folder / "two", known_voices) as gallery:
        gallery.import_archive(folder / "a.speakerdb")
        again = gallery.import_archive(folder / "a.speakerdb", on_conflict=policy)
        assert (again.speakers, again.recordings, again.already) == (0, 0, sum(people.values()))
        assert enrolled(gallery) == expected
        for name in people:
            assert gallery.nearest(voice(f"{name} 0"), top=1)[0].speaker == name
        assert gallery.check().findings == []


def test_a_name_that_is_too_long_for_a_file_is_none(tmp_path: Path, known_voices):
    with opened(tmp_path / "new", known_voices) as gallery, pytest.raises(InputError, match="too long"):
        gallery.import_archive("x" * 300)


# Conflicts


def test_a_taken_name_fails_and_nobody_comes_in(exported, conflicting, known_voices):
    with (
        opened(conflicting, known_voices) as gallery,
        pytest.raises(StateError, match=r"enrolled already: 'person a'; .*skip"),
    ):
        gallery.import_archive(exported)
    with opened(conflicting, known_voices) as gallery:
        assert enrolled(gallery) == {"person a": ["z1"], "person x": ["c1"]}


def test_a_sound_of_somebody_else_fails_too(exported, known_voices, tmp_path):
    with opened(tmp_path / "other", known_voices) as gallery:
        gallery.enroll("person x", ["c1"])
        with pytest.raises(StateError, match=r"1 recordings are enrolled already, for 'person x'"):
            gallery.import_archive(exported)
        assert enrolled(gallery) == {"person x": ["c1"]}


@pytest.mark.parametrize(
    ("policy", "ana"),
    [
        ("skip", {"person a": ["z1"]}),
        ("rename", {"person a": ["z1"], "person a (2)": ["a0"]}),
        ("merge", {"person a": ["z1", "a0"]}),
    ],
)
def test_what_is_asked_for_is_done_with_a_taken_name(exported, conflicting, known_voices, policy, ana):
    with opened(conflicting, known_voices) as gallery:
        done = gallery.import_archive(exported, on_conflict=policy)
        expected = {**PEOPLE, "person x": ["c1"]}
        expected["person c"] = [source for source in PEOPLE["person c"] if source != "c1"]
        del expected["person a"]
        assert enrolled(gallery) == expected | ana
        assert done.already == 1
        assert done.skipped == (["person a"] if policy == "skip" else [])
        assert done.renamed == ({"person a": "person a (2)"} if policy == "rename" else {})
        assert done.merged == (["person a"] if policy == "merge" else [])
        for name, sources in enrolled(gallery).items():
            mean = np.mean([voice(source).astype(float) for source in sources], axis=0)
            near = gallery.nearest((mean / np.linalg.norm(mean)).astype(np.float32), top=1)[0]
            assert (near.speaker, near.distance < 1e-5) == (name, True)
        assert gallery.check().findings == []


def test_whose_recordings_are_all_enrolled_for_another_is_named(exported, known_voices, tmp_path):
    with opened(tmp_path / "other", known_voices) as gallery:
        gallery.enroll("person x", ["a0"])
        done = gallery.import_archive(exported, on_conflict="skip")
        assert (done.known_as, done.already) == ({"person a": "person x"}, 1)
        assert gallery.import_archive(exported, on_conflict="merge").known_as == {"person a": "person x"}


def test_a_name_without_room_for_a_number_is_told_as_taken(known_voices, tmp_path):
    for folder, source in (("one", "first"), ("two", "second")):
        with opened(tmp_path / folder, known_voices) as gallery:
            gallery.enroll("n" * 256, [source])
    with opened(tmp_path / "one", known_voices) as gallery:
        gallery.export(tmp_path / "one.speakerdb")
    with (
        opened(tmp_path / "two", known_voices) as gallery,
        pytest.raises(StateError, match=r"is enrolled already, and has no room for a number"),
    ):
        gallery.import_archive(tmp_path / "one.speakerdb", on_conflict="rename")


def test_ids_of_people_who_were_removed_are_not_given_again(exported, known_voices, tmp_path):
    with opened(tmp_path / "new", known_voices) as gallery:
        gallery.enroll("gone", ["gone 1"])
        before = rows(tmp_path / "new" / FILE, "SELECT id FROM speaker")
        gallery.remove("gone")
        gallery.import_archive(exported)
        ids = rows(tmp_path / "new" / FILE, "SELECT id FROM speaker")
        gallery.enroll("later", ["later 1"])
        later = rows(tmp_path / "new" / FILE, "SELECT id FROM speaker WHERE name = 'later'")
    assert not {*before} & {*ids}
    assert max(ids) < later[0]


def test_a_way_to_go_on_that_is_none_is_refused(exported, conflicting, known_voices):
    with opened(conflicting, known_voices) as gallery, pytest.raises(InputError, match="fail, skip, rename, merge"):
        gallery.import_archive(exported, on_conflict="replace")


# Writing


def test_a_file_is_never_replaced_and_nothing_is_made_of_nothing(twelve, known_voices, tmp_path):
    (tmp_path / "there").write_bytes(b"mine")
    with opened(twelve, known_voices) as gallery, pytest.raises(StateError, match="is there already"):
        gallery.export(tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"mine"
    with opened(tmp_path / "none", known_voices) as gallery, pytest.raises((NoSuchGallery, EmptyGallery)):
        gallery.export(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("target", ["gallery.sqlite-journal", "index", "archive"])
def test_nothing_is_exported_among_the_gallerys_own_files(twelve, known_voices, target):
    shutil.rmtree(twelve / "index", ignore_errors=True)
    with opened(twelve, known_voices) as gallery, pytest.raises(InputError, match="in the gallery's own folder"):
        gallery.export(twelve / target)
    assert not (twelve / target).exists()


@posix
def test_an_archive_is_its_owners_alone(exported):
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600


# The commands


def test_the_commands_say_what_they_did(enrolled_with_audio, tmp_path, run):
    file = tmp_path / "a.speakerdb"
    done = run("export", file, "--gallery", enrolled_with_audio)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Exported  2 speakers, 3 recordings, ")
    done = run("import", file, "--gallery", tmp_path / "new")
    assert (done.returncode, done.stdout) == (0, "Imported  2 new speakers, 3 recordings\n")
    done = run("import", file, "--gallery", tmp_path / "new")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert "enrolled already: 'ana', 'ben'" in done.stderr
    done = run("import", file, "--gallery", tmp_path / "new", "--on-conflict", "merge", "--json")
    assert json.loads(done.stdout)["already"] == 3
    shutil.copy(enrolled_with_audio / FILE, tmp_path / "no archive")
    done = run("import", tmp_path / "no archive", "--gallery", tmp_path / "new")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
