"""Export and import: what comes out is what went in, whoever edits the file is told, and nothing is ever half there."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from known_voices import KnownVoices, voice
from test_crash import child, lines_of
from twelve_people import PEOPLE, posix, rows

from speakerdb import Encoder, Gallery
from speakerdb.errors import EmptyGallery, EncoderMismatch, GalleryFull, InputError, NoSuchGallery, StateError
from speakerdb.store import archive, binding
from speakerdb.store.database import FILE

Edit = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def encoder() -> KnownVoices:
    return KnownVoices(Encoder.load()._bundle)


@pytest.fixture(scope="module")
def people_once(encoder: KnownVoices, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of PEOPLE; not to be changed."""
    folder = tmp_path_factory.mktemp("people") / "people"
    with opened(folder, encoder) as gallery:
        for name, recordings in PEOPLE.items():
            gallery.enroll(name, recordings)
    return folder


@pytest.fixture
def people(people_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(people_once, tmp_path / "people")


@pytest.fixture(scope="module")
def exported(people_once: Path, encoder: KnownVoices, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of PEOPLE; not to be changed."""
    file = tmp_path_factory.mktemp("archive") / "people.speakerdb"
    with Gallery.open(people_once, encoder=encoder, index="numpy") as gallery:
        done = gallery.export(file)
    assert (done.speakers, done.recordings, done.size_bytes) == (12, 24, file.stat().st_size)
    return file


def opened(folder: Path, encoder: Encoder) -> Gallery:
    return Gallery.open(folder, encoder=encoder, index="numpy")


def enrolled(gallery: Gallery) -> dict[str, list[str]]:
    return {one.speaker: [row.source for row in one.recordings] for one in gallery.speakers(enrollments=True)}


def edited(file: Path, target: Path, edit: Edit) -> Path:
    """The archive with other members, and checksums that agree with them where they are known by name."""
    with zipfile.ZipFile(file) as source:
        members = {name: source.read(name) for name in source.namelist()}
    edit(members)
    head = json.loads(members[archive.HEAD])
    for name in head["members"]:
        if name in members and not head.get("keep"):
            digest = hashlib.sha256(members[name]).hexdigest()
            head["members"][name] = {"size": len(members[name]), "sha256": digest}
    members[archive.HEAD] = json.dumps(head).encode()
    with zipfile.ZipFile(target, "w") as out:
        for name, content in members.items():
            out.writestr(name, content, compress_type=archive.method_of(name))
    return target


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


def test_vectors_quality_and_times_are_the_very_same(exported, people_once, encoder, tmp_path):
    with opened(tmp_path / "new", encoder) as gallery:
        gallery.import_archive(exported)
    columns = "name, source, audio_sha256, net_speech_s, quality, vector, enrollment.created, speaker.created"
    statement = f"SELECT {columns} FROM enrollment JOIN speaker ON speaker.id = speaker_id ORDER BY enrollment.id"
    assert rows(tmp_path / "new" / FILE, statement) == rows(people_once / FILE, statement)


def test_a_gallerys_own_calibration_goes_with_it_to_a_new_gallery_alone(people, encoder, tmp_path):
    found = json.loads((Path(encoder._bundle.folder) / "card.json").read_text())["calibration"]
    content = json.dumps(found)
    with sqlite3.connect(people / FILE) as connection:
        connection.execute(
            "INSERT INTO calibration VALUES (1, ?, ?, '2026-01-01')",
            (content, zlib.crc32(content.encode())),
        )
    with opened(people, encoder) as gallery:
        gallery.export(tmp_path / "a.speakerdb")
        own = gallery.calibration
    with opened(tmp_path / "new", encoder) as gallery:
        assert gallery.import_archive(tmp_path / "a.speakerdb").calibration_taken
        assert gallery.calibration == own
    with opened(tmp_path / "other", encoder) as gallery:
        gallery.enroll("somebody", ["x 1"])
        assert not gallery.import_archive(tmp_path / "a.speakerdb").calibration_taken
        assert gallery.calibration is None


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 4), min_size=1), st.sampled_from(["merge", "rename"])
)
def test_any_gallery_survives_and_a_second_import_changes_nothing(encoder, tmp_path_factory, people, policy):
    folder = tmp_path_factory.mktemp("round")
    with opened(folder / "one", encoder) as gallery:
        for name, count in people.items():
            gallery.enroll(name, [f"{name} {number}" for number in range(count)])
        gallery.export(folder / "a.speakerdb")
        expected = enrolled(gallery)
    with opened(folder / "two", encoder) as gallery:
        gallery.import_archive(folder / "a.speakerdb")
        again = gallery.import_archive(folder / "a.speakerdb", on_conflict=policy)
        assert (again.speakers, again.recordings, again.already) == (0, 0, sum(people.values()))
        assert enrolled(gallery) == expected
        for name in people:
            assert gallery.nearest(voice(f"{name} 0"), top=1)[0].speaker == name
        assert gallery.check().findings == []


# Conflicts


@pytest.fixture
def other(encoder: KnownVoices, tmp_path: Path) -> Path:
    """A gallery with another person of a name in PEOPLE, and one of their recordings under another name."""
    with opened(tmp_path / "other", encoder) as gallery:
        gallery.enroll("person a", ["z1"])
        gallery.enroll("person x", ["c1"])
    return tmp_path / "other"


def test_a_taken_name_fails_and_nobody_comes_in(exported, other, encoder):
    with opened(other, encoder) as gallery, pytest.raises(StateError, match=r"enrolled already: 'person a'; .*skip"):
        gallery.import_archive(exported)
    with opened(other, encoder) as gallery:
        assert enrolled(gallery) == {"person a": ["z1"], "person x": ["c1"]}


def test_a_sound_of_somebody_else_fails_too(exported, encoder, tmp_path):
    with opened(tmp_path / "other", encoder) as gallery:
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
def test_what_is_asked_for_is_done_with_a_taken_name(exported, other, encoder, policy, ana):
    with opened(other, encoder) as gallery:
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


def test_ids_of_people_who_were_removed_are_not_given_again(exported, encoder, tmp_path):
    with opened(tmp_path / "new", encoder) as gallery:
        gallery.enroll("gone", ["gone 1"])
        before = rows(tmp_path / "new" / FILE, "SELECT id FROM speaker")
        gallery.remove("gone")
        gallery.import_archive(exported)
        ids = rows(tmp_path / "new" / FILE, "SELECT id FROM speaker")
        gallery.enroll("later", ["later 1"])
        later = rows(tmp_path / "new" / FILE, "SELECT id FROM speaker WHERE name = 'later'")
    assert not {*before} & {*ids}
    assert max(ids) < later[0]


# Archives that cannot be believed


def first_line(change: Callable[[dict], None]) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        lines = members[archive.RECORDINGS].splitlines(keepends=True)
        line = json.loads(lines[0])
        change(line)
        members[archive.RECORDINGS] = b"".join([json.dumps(line).encode() + b"\n", *lines[1:]])

    return edit


def head(change: Callable[[dict], None]) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        content = json.loads(members[archive.HEAD])
        change(content)
        members[archive.HEAD] = json.dumps(content).encode()

    return edit


def vector(value: np.ndarray) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        blob = value.astype("<f4").tobytes()
        members[archive.VECTORS] = blob + members[archive.VECTORS][len(blob) :]

    return edit


def twice(members: dict[str, bytes]) -> None:
    lines = members[archive.RECORDINGS].splitlines(keepends=True)
    members[archive.RECORDINGS] = b"".join([lines[0], lines[0], *lines[2:]])


def foreign_sound(members: dict[str, bytes]) -> None:
    sound = b"OggS" + bytes(60)
    kept = {"size": len(sound), "sha256": hashlib.sha256(sound).hexdigest()}
    first_line(lambda one: one.update(audio=kept))(members)
    members[archive.AUDIO.format(1)] = sound


EDITS: dict[str, tuple[Edit, str]] = {
    "another member": (lambda members: members.update({"more": b"x"}), "'more' does not belong"),
    "a member that climbs out": (lambda members: members.update({"../x": b"x"}), "'../x' does not belong"),
    "a sound that is not announced": (lambda m: m.update({"audio/000000099": b"x"}), "does not belong"),
    "a missing member": (lambda members: members.pop(archive.VECTORS), "missing"),
    "a newer format": (head(lambda h: h.update(format="speakerdb-archive/2")), "this program reads"),
    "a count too many": (head(lambda h: h.update(recordings=25)), "one row a recording"),
    "a count that is none": (head(lambda h: h.update(recordings=True)), "a count of True"),
    "a dimension that is too large": (head(lambda h: h["encoder"].update(dimension=1 << 40)), "a count of"),
    "more speakers than there are": (head(lambda h: h.update(speakers=13)), "13 speakers are announced"),
    "not a number": (vector(np.full(192, np.nan)), "vectors.f32, row 1: a vector that is not of unit length"),
    "no length": (vector(np.zeros(192)), "unit length"),
    "twice as long": (vector(2.0 * voice("x")), "unit length"),
    "rows cut": (lambda m: m.update({archive.VECTORS: m[archive.VECTORS][:-4]}), "one row a recording"),
    "lines cut": (lambda m: m.update({archive.RECORDINGS: m[archive.RECORDINGS][:-5]}), "line 24: the line is cut"),
    "no JSON": (lambda m: m.update({archive.RECORDINGS: b"{" + m[archive.RECORDINGS]}), "line 1"),
    "a recording twice": (twice, "line 2: the same sound stands in two places"),
    "a name with a line feed": (first_line(lambda one: one.update(speaker="a\nb")), "cannot be shown"),
    "a name that is no text": (first_line(lambda one: one.update(speaker=7)), "a name must be text"),
    "a field more": (first_line(lambda one: one.update(more=1)), "other fields"),
    "a hash of other letters": (first_line(lambda one: one.update(audio_sha256="Z" * 64)), "no SHA-256"),
    "speech that is not finite": (first_line(lambda one: one.update(net_speech_s=float("nan"))), "NaN is no number"),
    "negative speech": (first_line(lambda one: one.update(net_speech_s=-1.0)), "no duration"),
    "a quality of objects": (first_line(lambda one: one.update(quality={"a": {}})), "quality"),
    "a time that is none": (first_line(lambda one: one.update(created="yesterday")), "line 1"),
    "a sound that is not there": (
        first_line(lambda one: one.update(audio={"size": 1, "sha256": "0" * 64})),
        "audio/000000001",
    ),
    "a sound of nobody": (lambda m: m.update({"audio/000000002": b"fLaC"}), "1 sounds are in the file, 0 of them"),
    "a sound in another form": (foreign_sound, "not a sound as a gallery keeps it"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_archive_that_was_edited_is_refused_in_one_line_and_nobody_comes_in(exported, encoder, tmp_path, what):
    edit, told = EDITS[what]
    file = edited(exported, tmp_path / "edited.speakerdb", edit)
    with opened(tmp_path / "new", encoder) as gallery, pytest.raises(InputError) as caught:
        gallery.import_archive(file)
    message = str(caught.value)
    assert told in message
    assert "edited.speakerdb" in message
    assert "\n" not in message
    assert not (tmp_path / "new").exists()


def test_an_archive_cut_anywhere_is_refused(exported, encoder, tmp_path):
    content, file = exported.read_bytes(), tmp_path / "cut.speakerdb"
    with opened(tmp_path / "new", encoder) as gallery:
        for length in [*range(0, len(content), 97), *range(len(content) - 60, len(content))]:
            file.write_bytes(content[:length])
            with pytest.raises(InputError):
                gallery.import_archive(file)
    assert not (tmp_path / "new").exists()


def test_an_archive_with_a_flipped_bit_is_refused_or_means_the_same(exported, encoder, tmp_path):
    content, file = exported.read_bytes(), tmp_path / "flipped.speakerdb"
    refused = 0
    for place in range(11, len(content), 331):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with opened(tmp_path / f"new {place}", encoder) as gallery:
            try:
                gallery.import_archive(file)
            except InputError:
                refused += 1
            else:  # in ZIP's own fields, which say nothing of the gallery
                assert enrolled(gallery) == PEOPLE
                assert gallery.check().findings == []
    assert refused > 20


def test_a_file_that_unpacks_to_more_than_it_says_is_not_unpacked(exported, encoder, tmp_path):
    def edit(members: dict[str, bytes]) -> None:
        members[archive.RECORDINGS] = b"x" * (1 << 22)

    with opened(tmp_path / "new", encoder) as gallery, pytest.raises(InputError, match="too large"):
        gallery.import_archive(edited(exported, tmp_path / "bomb.speakerdb", edit))


@pytest.mark.parametrize("content", [None, b"", b"PK", b"no archive at all" * 100])
def test_what_is_no_archive_is_refused(encoder, tmp_path, content):
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    with opened(tmp_path / "new", encoder) as gallery, pytest.raises(InputError, match="file"):
        gallery.import_archive(file)


def test_vectors_of_another_encoder_are_refused(exported, other, encoder, tmp_path):
    file = edited(exported, tmp_path / "a", head(lambda one: one["encoder"].update(sha256="0" * 64, name="another")))
    with opened(other, encoder) as gallery, pytest.raises(EncoderMismatch, match="another"):
        gallery.import_archive(file)
    with Gallery.open(tmp_path / "new") as gallery, pytest.raises(StateError, match=r"another .* is not here"):
        gallery.import_archive(file)


def test_a_way_to_go_on_that_is_none_is_refused(exported, other, encoder):
    with opened(other, encoder) as gallery, pytest.raises(InputError, match="fail, skip, rename, merge"):
        gallery.import_archive(exported, on_conflict="replace")


# Writing


def test_a_file_is_never_replaced_and_nothing_is_made_of_nothing(people, encoder, tmp_path):
    (tmp_path / "there").write_bytes(b"mine")
    with opened(people, encoder) as gallery, pytest.raises(StateError, match="is there already"):
        gallery.export(tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"mine"
    with opened(tmp_path / "none", encoder) as gallery, pytest.raises((NoSuchGallery, EmptyGallery)):
        gallery.export(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@posix
def test_an_archive_is_its_owners_alone(exported):
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600


def test_a_disk_that_is_full_leaves_no_archive(people, encoder, tmp_path, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.os, "fsync", full)
    with opened(people, encoder) as gallery, pytest.raises(GalleryFull):
        gallery.export(tmp_path / "a.speakerdb")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("a.speakerdb")]


def test_an_import_that_fails_half_way_leaves_the_gallery_as_it_was(exported, other, encoder, monkeypatch):
    def fails(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(binding, "record_change", fails)
    with opened(other, encoder) as gallery:
        with pytest.raises(Exception, match="I/O"):
            gallery.import_archive(exported, on_conflict="merge")
        monkeypatch.undo()
        assert enrolled(gallery) == {"person a": ["z1"], "person x": ["c1"]}
        assert gallery.check().findings == []


EXPORT = """
import speakerdb.store.archive as archive
with Gallery.open(folder, encoder=known, index="numpy") as gallery:
    {step}
    gallery.export(sys.argv[3])
    said("exported")
"""


@posix
@pytest.mark.parametrize(
    ("step", "there"),
    [
        ("die_before(os, 'fsync')", False),
        ("die_before(Path, 'hardlink_to')", False),
        ("die_after(Path, 'hardlink_to')", True),
    ],
)
def test_killed_while_it_is_written_an_archive_is_there_whole_or_not_at_all(people, encoder, tmp_path, step, there):
    file = tmp_path / "a.speakerdb"
    with child(EXPORT.format(step=step), people, file) as process:
        assert lines_of(process) == []
    assert file.exists() == there
    if there:
        with opened(tmp_path / "new", encoder) as gallery:
            assert gallery.import_archive(file).speakers == len(PEOPLE)


IMPORT = """
from speakerdb.store import importing
gallery = Gallery.open(folder, encoder=known, index="numpy")
{step}
gallery.import_archive(sys.argv[3], on_conflict="merge")
said("imported")
"""


@posix
@pytest.mark.parametrize(
    ("step", "there"),
    [
        ("die_before(importing, 'write_all')", False),
        ("die_after(importing, 'write_all')", False),
        ("die_around_commit(before=True)", False),
        ("die_around_commit(before=False)", True),
    ],
)
def test_killed_while_it_imports_a_gallery_has_everybody_or_nobody_new(exported, other, encoder, step, there):
    with child(IMPORT.format(step=step), other, exported) as process:
        assert lines_of(process) == []
    with opened(other, encoder) as gallery:
        assert len(gallery.speakers()) == (len(PEOPLE) + 1 if there else 2)
        assert gallery.check().findings == []


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
