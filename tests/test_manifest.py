"""Enrolling many speakers by a table, a Kaldi folder or a folder a speaker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_crash import child, lines_of
from twelve_people import posix

from speakerdb import Gallery
from speakerdb.errors import InputError
from speakerdb.gallery.answering import listed_files
from speakerdb.gallery.manifest import Listed, read_manifest

PEOPLE = ("ana", "ben", "eva")


@pytest.fixture
def folders(tmp_path: Path, examples: Path) -> Path:
    """A folder a speaker, three recordings in each."""
    for name in PEOPLE:
        (tmp_path / "voices" / name).mkdir(parents=True)
        for number in (1, 2, 3):
            shutil.copy(examples / f"{name}_{number}.wav", tmp_path / "voices" / name)
    return tmp_path / "voices"


def enrolled(folder: Path) -> dict[str, list[str]]:
    with Gallery.open(folder) as gallery:
        return {
            one.speaker: sorted(Path(row.source).name for row in one.recordings)
            for one in gallery.speakers(enrollments=True)
        }


EVERYBODY = {name: [f"{name}_{number}.wav" for number in (1, 2, 3)] for name in PEOPLE}


def as_table(folders: Path) -> Path:
    lines = ["speaker\tpath", *(f"{file.parent.name}\t{file.relative_to(folders)}" for file in folders.rglob("*.wav"))]
    (folders / "people.tsv").write_text("\n".join(sorted(lines, reverse=True)) + "\n", encoding="utf8")
    return folders / "people.tsv"


def as_kaldi(folders: Path) -> Path:
    files = sorted(folders.rglob("*.wav"))
    (folders / "wav.scp").write_text("".join(f"{file.stem} {file.relative_to(folders)}\n" for file in files))
    (folders / "utt2spk").write_text("".join(f"{file.stem} {file.parent.name}\n" for file in files))
    return folders


@pytest.mark.parametrize("form", [as_table, as_kaldi, lambda folders: folders], ids=["table", "kaldi", "folders"])
def test_every_form_enrolls_everybody_and_the_second_time_nobody(folders: Path, gallery_folder: Path, form) -> None:
    manifest = form(folders)
    with Gallery.open(gallery_folder) as gallery:
        told: list[tuple] = []
        done = gallery.enroll_manifest(manifest, progress=lambda *values: told.append(values))
        assert (done.speakers, done.recordings, done.known, done.refused) == (3, 9, 0, [])
        assert [number for number, *_ in told] == list(range(9))
        again = gallery.enroll_manifest(manifest)
        assert (again.speakers, again.recordings, again.known, again.refused) == (0, 0, 9, [])
        assert gallery.check().findings == []
    assert enrolled(gallery_folder) == EVERYBODY


def test_a_line_ends_at_a_line_feed_alone_and_the_header_may_stand_below_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "people.tsv").write_text("\n\nspeaker\tpath\nana\ta\u2028b.wav\r\nben\tb.wav", encoding="utf8")
    found = [(one.speaker, Path(one.path).name) for one in read_manifest(tmp_path / "people.tsv")]
    assert found == [("ana", "a\u2028b.wav"), ("ben", "b.wav")]


def test_columns_that_the_header_names_besides_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "people.tsv").write_text("speaker\tpath\tsex\nana\ta.wav\tf\nben\tb.wav\nkal\tc.wav\tm\t\n")
    found = [(one.speaker, Path(one.path).name) for one in read_manifest(tmp_path / "people.tsv")]
    assert found == [("ana", "a.wav"), ("ben", "b.wav"), ("kal", "c.wav")]


def test_a_recording_that_is_listed_by_two_paths_is_heard_once(tmp_path: Path) -> None:
    (tmp_path / "people.tsv").write_text(f"ana\tb.wav\nana\ta.wav\nana\t{tmp_path}/b.wav\nben\tb.wav\n")
    found = [(one.speaker, Path(one.path).name) for one in read_manifest(tmp_path / "people.tsv")]
    assert found == [("ana", "b.wav"), ("ana", "a.wav"), ("ben", "b.wav")]


def test_recordings_of_one_relative_path_in_two_folders_are_two(
    folders: Path, gallery_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery.open(gallery_folder) as gallery:
        for name in ("ana_1.wav", "ana_2.wav"):
            (folders / name).mkdir()
            (folders / "ana" / name).rename(folders / name / "1.wav")
            (folders / name / "people.tsv").write_text("ana\t1.wav\n")
            monkeypatch.chdir(folders / name)
            done = gallery.enroll_manifest("people.tsv")
            assert (done.recordings, done.known, done.refused) == (1, 0, [])


def test_a_recording_that_was_enrolled_by_a_relative_path_is_not_believed_to_be_the_one_there_now(
    folders: Path, gallery_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery.open(gallery_folder) as gallery:
        monkeypatch.chdir(folders / "ana")
        gallery.enroll("ana", "ana_1.wav")
        shutil.copy("ana_2.wav", "ana_1.wav")
        Path("people.tsv").write_text("ana\tana_1.wav\n")
        done = gallery.enroll_manifest("people.tsv")
        assert (done.recordings, done.known) == (1, 0)


def test_what_cannot_be_enrolled_is_reported_and_the_rest_is(
    folders: Path, gallery_folder: Path, run, examples
) -> None:
    (folders / "ana" / "broken.wav").write_bytes(b"no sound")
    shutil.copy(examples / "ben_4.wav", folders / "ana" / "wrong.wav")
    (folders / "anna").mkdir()
    shutil.copy(examples / "ana_4.wav", folders / "anna" / "again.wav")
    done = run("enroll", "--manifest", folders)
    assert done.returncode == 3
    assert done.stdout.startswith("Enrolled  3 speakers, 9 recordings, ") and done.stdout.endswith("; 3 refused\n")
    assert done.stderr.count("speakerdb: refused ") == 3
    assert "does not sound like the other 3 recordings of 'ana'" in done.stderr
    as_json = json.loads(run("enroll", "--manifest", folders, "--json").stdout)
    assert {refused["error"]["error"] for refused in as_json["refused"]} == {
        "AudioUnreadable",
        "OutlierRecording",
        "PossibleDuplicate",
    }
    assert enrolled(gallery_folder) == EVERYBODY
    assert run("enroll", "--manifest", folders, "--force", "--json").returncode == 3
    assert set(enrolled(gallery_folder)) == {*PEOPLE, "anna"}


def test_files_beside_the_speakers_folders_are_told_in_one_line(folders: Path, gallery_folder: Path, run) -> None:
    for name in ("b.wav", "a.wav", ".hidden"):
        shutil.copy(folders / "ana" / "ana_1.wav", folders / name)
    done = run("enroll", "--manifest", folders)
    told = f"2 files lie in {folders} itself, in no speaker's folder, and were passed over (a.wav, …)"
    assert (done.returncode, done.stderr) == (0, f"speakerdb: warning: {told}\n")
    assert json.loads(run("enroll", "--manifest", folders, "--json").stdout)["warnings"] == [told]
    assert enrolled(gallery_folder) == EVERYBODY


@posix
def test_links_to_folders_are_followed_and_no_folder_is_gone_through_twice(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "monday").mkdir(parents=True)
    (tmp_path / "elsewhere" / "monday" / "1.wav").write_bytes(b"")
    (tmp_path / "people" / "ana").mkdir(parents=True)
    (tmp_path / "people" / "ana" / "2.wav").write_bytes(b"")
    for number in (1, 2):
        (tmp_path / "people" / "ana" / f"linked {number}").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "monday" / "back").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "people" / "ana" / "nowhere").symlink_to(tmp_path / "nothing")
    listed = [Path(one.path).relative_to(tmp_path / "people") for one in read_manifest(tmp_path / "people")]
    assert listed == [Path("ana/2.wav"), Path("ana/linked 1/monday/1.wav")]
    assert [Path(path) for path in listed_files(tmp_path / "people")] == [tmp_path / "people" / path for path in listed]


def test_of_a_table_or_a_kaldi_folder_nothing_that_lies_beside_it_is_told(folders: Path, gallery_folder: Path) -> None:
    with Gallery.open(gallery_folder) as gallery:
        assert gallery.enroll_manifest(as_table(folders)).warnings == []
        assert gallery.enroll_manifest(as_kaldi(folders)).warnings == []


def test_a_folder_of_files_alone_is_said_to_hold_no_speakers_folder(folders: Path, gallery_folder: Path, run) -> None:
    done = run("enroll", "--manifest", folders / "ana")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "no recording is listed; 3 files lie in " in done.stderr
    assert not gallery_folder.exists()


def test_killed_between_two_batches_it_goes_on_without_hearing_them_again(folders: Path, tmp_path: Path) -> None:
    script = """
from speakerdb.gallery import bulk, enrollment as module
bulk.BATCH_RECORDINGS = 3
write, turns = module.write_enrollment, []
def counted(*arguments):
    turns.append(None)
    return die() if len(turns) == 3 else write(*arguments)
module.write_enrollment = counted
Gallery.open(folder).enroll_manifest(sys.argv[3])
"""
    with child(script, tmp_path / "people", folders) as process:
        lines_of(process)
    assert process.returncode == -9
    assert enrolled(tmp_path / "people") == {name: EVERYBODY[name] for name in ("ana", "ben")}
    with Gallery.open(tmp_path / "people") as gallery:
        done = gallery.enroll_manifest(folders)
        assert (done.known, done.recordings) == (6, 3) and gallery.check().findings == []
    assert enrolled(tmp_path / "people") == EVERYBODY


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "no recording is listed"),
        ("ana ana_1.wav\n", "line 1: SPEAKER<tab>PATH is wanted"),
        ("ana\ta.wav\nben\t \n", "line 2: SPEAKER<tab>PATH is wanted"),
        ("ana\ta.wav\n\x07\tb.wav\n", "line 2"),
        ("ana\ta.wav\nben\tb.wav\tana\n", "line 2: SPEAKER<tab>PATH is wanted"),
        ("speaker\tpath\tsex\nana\ta.wav\tf\told\n", "line 2: SPEAKER<tab>PATH is wanted"),
        (b"\xff\xfe\t\xff", "not UTF-8 text"),
    ],
)
def test_a_table_that_is_none_is_one_line_and_makes_no_gallery(tmp_path, gallery_folder, run, content, said) -> None:
    file = tmp_path / "list.tsv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    done = run("enroll", "--manifest", file)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert not gallery_folder.exists()


def test_kaldis_commands_are_not_run_and_utterances_need_a_speaker(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("a touch x |\n")
    (tmp_path / "utt2spk").write_text("a ana\n")
    with pytest.raises(InputError, match="commands are not run"):
        read_manifest(tmp_path)
    (tmp_path / "wav.scp").write_text("b b.wav\n")
    with pytest.raises(InputError, match="has no speaker in utt2spk"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        read_manifest(tmp_path / "gone")


def test_a_name_and_a_manifest_are_not_given_together(tmp_path: Path, run) -> None:
    for words in (["ana", "--manifest", tmp_path], ["ana"], []):
        done = run("enroll", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), min_size=1, max_size=30))
def test_a_speakers_recordings_stand_together_and_each_once(drawn: list[tuple[str, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "list.tsv"
        file.write_text("".join(f"{speaker}\t{number}.wav\n" for speaker, number in drawn))
        found = read_manifest(file)
        assert {(one.speaker, Path(one.path).stem) for one in found} == {(s, str(n)) for s, n in drawn}
        assert len(found) == len(set(drawn)) and all(isinstance(one, Listed) for one in found)
        speakers = [one.speaker for one in found]
        assert speakers == sorted(speakers)
