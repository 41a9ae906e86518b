"""`python -m training prepare`: splits by speaker, nobody in two of them, and messages that say what to do."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tiny_corpus import write_archive, write_voices

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.commands import training
from training.corpora import Row
from training.records import read_index
from training.splits import parse_shares, split_by_speaker


def row(speaker: str, split: str = "") -> Row:
    return Row(f"{speaker}/1.wav", speaker, "c", "", "", split)


def run(*arguments):
    return CliRunner().invoke(training, ["prepare", *map(str, arguments)])


@given(st.lists(st.text("abc", min_size=1, max_size=6), max_size=30))
def test_a_speaker_falls_into_one_split_the_same_in_every_corpus(speakers):
    rows = split_by_speaker([row(speaker, "dev") for speaker in speakers], (60, 20, 20))
    alone = {speaker: split_by_speaker([row(speaker)], (60, 20, 20))[0].split for speaker in speakers}
    assert [found.split for found in rows] == [alone[speaker] for speaker in speakers]


def test_a_person_of_two_corpora_falls_into_one_split():
    names = [f"id{number:05d}" for number in range(300)]
    one, two = (
        [Row(f"{name}/1.wav", f"{corpus}/{name}", corpus, "", "", "") for name in names] for corpus in ("voxA", "voxB")
    )
    found = [[row.split for row in split_by_speaker(rows, (60, 20, 20))] for rows in (one, two)]
    assert found[0] == found[1]


def test_shares_are_kept_for_many_speakers():
    splits = [found.split for found in split_by_speaker([row(f"s{i}") for i in range(5_000)], (80, 15, 5))]
    assert [round(splits.count(split) / 50) for split in ("train", "dev", "test")] == pytest.approx([80, 15, 5], abs=2)


@pytest.mark.parametrize("text", ["", "80", "80/20", "80/10/5", "110/-10/0", "0/50/50", "a/b/c", "80/10/10/0"])
def test_shares_that_are_none_are_a_value_error(text):
    with pytest.raises(ValueError, match=r"three numbers|per cent"):
        parse_shares(text)


def test_several_corpora_are_prepared_at_once_and_named(tmp_path):
    first = write_voices(tmp_path / "one-train.tar", ["ana"])
    second = write_voices(tmp_path / "two-dev.tar", ["ben", "slt"])
    result = run(first, second, "--work", tmp_path / "w")
    assert result.exit_code == 0, result.output
    assert result.stdout == "one-train: 4 clips of 1 speakers\ntwo-dev: 8 clips of 2 speakers\n"
    assert {found.speaker for found in read_index(tmp_path / "w/shards", "two-dev")} == {"ben", "slt"}


def test_a_speaker_in_two_splits_is_an_error_before_anything_is_written(tmp_path):
    first = write_voices(tmp_path / "one-train.tar", ["ana", "ben"])
    second = write_voices(tmp_path / "two-dev.tar", ["ben"])
    result = run(first, second, "--work", tmp_path / "w")
    assert result.exit_code == 3
    assert "one-train and two-dev share the speaker ben" in result.stderr
    assert not (tmp_path / "w").exists()


def test_a_speaker_of_a_set_prepared_earlier_is_found_as_well(tmp_path):
    assert run(write_voices(tmp_path / "one-train.tar", ["ben"]), "--work", tmp_path / "w").exit_code == 0
    result = run(write_voices(tmp_path / "two-test.tar", ["ben"]), "--work", tmp_path / "w")
    assert "share the speaker ben" in result.stderr


def test_new_splits_are_made_where_they_are_asked_for(tmp_path):
    clips = [(f"s{i}/{n}.wav", b"sound") for i in range(40) for n in range(2)]
    result = run(write_archive(tmp_path / "c.tar", clips), "--work", tmp_path / "w", "--split-by-speaker", "50/25/25")
    assert result.exit_code == 0, result.output
    sets = [{found.speaker for found in read_index(tmp_path / "w/shards", f"c-{s}")} for s in ("train", "dev", "test")]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 40


def test_speech_without_splits_is_for_training(tmp_path):
    (tmp_path / "calls" / "ana").mkdir(parents=True)
    (tmp_path / "calls" / "ana" / "1.wav").write_bytes(b"sound")
    result = run(tmp_path / "calls", "--work", tmp_path / "w")
    assert result.stdout == "calls-train: 1 clips of 1 speakers\n"


def test_a_work_folder_among_the_speakers_makes_no_other_corpus_of_them(tmp_path):
    (tmp_path / "ana").mkdir()
    (tmp_path / "ana" / "1.wav").write_bytes(b"sound")
    for told in ("reading the tables", f"{tmp_path.name}-train: complete"):
        assert run(tmp_path, "--work", tmp_path / "work").stderr.splitlines()[-1].endswith(told)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name a corpus, or a recipe"),
        (["nowhere"], 3, "nowhere: there is no such file or folder"),
        (["--recipe", "none"], 3, "no recipe 'none'; there are first"),
        (["nowhere", "--split-by-speaker", "1/2"], 3, "three numbers"),
    ],
)
def test_a_wrong_call_says_what_to_do(tmp_path, arguments, code, message):
    result = run(*arguments, "--work", tmp_path / "w")
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


def test_two_corpora_of_one_name_are_refused(tmp_path):
    for place in ("x", "y"):
        (tmp_path / place / "wav" / "ana").mkdir(parents=True)
        (tmp_path / place / "wav" / "ana" / "1.wav").write_bytes(place.encode())
    folders = [tmp_path / place / "wav" for place in ("x", "y")]
    assert "name one of them: NAME=FOLDER" in run(*folders, "--work", tmp_path / "w").stderr
    assert run(folders[0], f"other={folders[1]}", "--work", tmp_path / "w").exit_code == 0


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "w").write_text("a file")
    result = run(write_voices(tmp_path / "one-train.tar", ["ana"]), "--work", tmp_path / "w")
    assert (result.exit_code, result.stderr.splitlines()[-1].endswith("is a file.")) == (2, True), result.stderr
