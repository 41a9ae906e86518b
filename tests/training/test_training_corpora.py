"""Corpora in every form that can be read: all of their clips, nobody mixed up, and damage told."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tiny_corpus import EXAMPLES, write_archive, write_noise, write_voices

from training.corpora import Clip, open_corpus, read_clips
from training.corpora.common_voice import ReleaseFolder
from training.corpora.folders import SpeakerFolders
from training.corpora.kaldi import KaldiFolder
from training.evaluation.clips import OfFiles
from training.evaluation.embeddings import Embeddings

ANA = "a" * 128
BEN = "b" * 120 + "0" * 8
HEADER = "client_id\tpath\tsentence\tgender\tlocale\n"


def tar_of(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def release(path: Path, order: str = "tables first") -> Path:
    """Two languages; ana speaks both."""
    tables = [
        ("cv/en/train.tsv", HEADER + f'{ANA}\tcommon_voice_en_1.mp3\tsaid "so\tfemale\ten\n'),
        ("cv/en/dev.tsv", HEADER + f"{BEN}\tcommon_voice_en_2\t\tmale_masculine\ten\n"),
        ("cv/tr/train.tsv", HEADER + f"{ANA}\tcommon_voice_tr_7.mp3\t\t\ttr\n"),
        ("cv/tr/invalidated.tsv", HEADER + f"{BEN}\tcommon_voice_tr_9.mp3\t\t\ttr\n"),
    ]
    tables = [(name, text.encode()) for name, text in tables]
    clips = [
        ("cv/en/clips/common_voice_en_2.mp3", b"two"),
        ("cv/en/clips/common_voice_en_1.mp3", b"one"),
        ("cv/tr/clips/common_voice_tr_7.mp3", b"seven"),
        ("cv/tr/clips/common_voice_tr_9.mp3", b"not validated"),
    ]
    return tar_of(path, tables + clips if order == "tables first" else clips + tables)


EXPECTED = [
    Clip("cvbbbbbbbbbbbb/common_voice_en_2.mp3", "cvbbbbbbbbbbbb", "cv-9", "en", "m", "dev", audio=b"two"),
    Clip("cvaaaaaaaaaaaa/common_voice_en_1.mp3", "cvaaaaaaaaaaaa", "cv-9", "en", "f", "train", audio=b"one"),
    Clip("cvaaaaaaaaaaaa/common_voice_tr_7.mp3", "cvaaaaaaaaaaaa", "cv-9", "tr", "", "train", audio=b"seven"),
]


def clips_of(source: Path | str) -> list[Clip]:
    corpus = open_corpus(str(source))
    return list(corpus.clips(corpus.rows()))


@pytest.mark.parametrize("order", ["tables first", "clips first"])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_common_voice_is_read_as_released_wherever_its_tables_stand(tmp_path, ending, order):
    assert clips_of(release(tmp_path / f"cv-9.{ending}", order)) == EXPECTED


def test_a_release_unpacked_is_the_same_corpus(tmp_path):
    with tarfile.open(release(tmp_path / "x.tar")) as tar:
        tar.extractall(tmp_path / "cv-9", filter="data")
    assert sorted(clips_of(tmp_path / "cv-9"), key=lambda clip: clip.audio) == sorted(EXPECTED, key=lambda c: c.audio)
    english = clips_of(f"cv-9={tmp_path / 'cv-9' / 'cv' / 'en'}")
    assert {clip.audio for clip in english} == {b"one", b"two"}


def test_a_language_with_validated_clips_alone_has_no_splits(tmp_path):
    table = (HEADER + f"{ANA}\t1.mp3\t\t\t\n").encode()
    [clip] = clips_of(tar_of(tmp_path / "v.tar", [("r/ab/validated.tsv", table), ("r/ab/clips/1.mp3", b"1")]))
    assert (clip.split, clip.set_name, clip.language) == ("", "v", "ab")


TRAIN = (HEADER + f"{ANA}\t1.mp3\t\t\ten\n").encode()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("r/en/train.tsv", TRAIN)], r"1 clips of the tables are not there, cvaaaaaaaaaaaa/1\.mp3 among them"),
        ([("r/en/train.tsv", b"client_id\tname\n")], r"r/en/train\.tsv: no column path"),
        ([("r/en/train.tsv", b"")], "no column client_id"),
        ([("r/en/train.tsv", HEADER.encode())], "no clip in any of"),
        ([("r/en/train.tsv", TRAIN + TRAIN.splitlines()[1] + b"\n"), ("r/en/clips/1.mp3", b"")], "stands twice"),
        ([("r/en/train.tsv", TRAIN.replace(b"1.mp3", b"../../x.mp3"))], "no file's name"),
        ([("r/en/train.tsv", TRAIN + b"\xff\xfe\t\n")], "not a table of text"),
        ([("r/en/train.tsv", TRAIN.replace(b"\ten", b"\ten\tmore\tfields"))], "more fields than the header"),
        ([("readme.txt", b"hello")], "no clip in any of"),
    ],
    ids=["missing clip", "column", "empty", "no rows", "twice", "escape", "bytes", "long row", "no table"],
)
def test_a_release_that_is_wrong_is_one_line_that_names_it(tmp_path, members, message):
    with pytest.raises(ValueError, match=message) as caught:
        clips_of(tar_of(tmp_path / "odd.tar", members))
    assert "odd.tar" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_release_cut_anywhere_is_an_error_and_never_fewer_clips(tmp_path, ending):
    whole = release(tmp_path / f"cv-9.{ending}").read_bytes()
    cut = tmp_path / f"cut.{ending}"
    end = whole.index(b"not validated") if ending == "tar" else len(whole)
    for size in range(0, end, 97 if ending == "tar" else 7):
        cut.write_bytes(whole[:size])
        try:
            found = clips_of(cut)
        except ValueError as error:
            assert f"cut.{ending}" in str(error)
        else:
            assert [clip.audio for clip in found] == [clip.audio for clip in EXPECTED]  # only zeros were cut away


def test_links_and_members_that_lead_out_are_nobodys_clips(tmp_path):
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("r/en/clips/1.mp3")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, content in (("r/en/train.tsv", TRAIN), ("../../clips.mp3", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(ValueError, match="are not there"):
        clips_of(path)
    assert [file.name for file in tmp_path.iterdir()] == ["odd.tar"]


def test_an_archives_clips_come_in_the_tars_order_with_what_its_table_says(tmp_path):
    archive = write_voices(tmp_path / "common_voice-train.tar", ["slt", "ana"])
    lines = (tmp_path / "common_voice-train.tsv").read_text().splitlines()
    (tmp_path / "common_voice-train.tsv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    clips = list(read_clips(archive))
    assert [clip.path for clip in clips] == [f"{name}/{name}_{n}.wav" for name in ("slt", "ana") for n in (1, 2, 3, 4)]
    audio = (EXAMPLES / "slt_2.wav").read_bytes()
    assert clips[1] == Clip("slt/slt_2.wav", "slt", "common_voice", "en", "f", "train", 1.0, audio)
    assert clips[1].name == "slt/slt_2"


def test_noise_has_no_speaker_and_no_split(tmp_path):
    clips = list(read_clips(write_noise(tmp_path / "noise.tar")))
    assert [(clip.set_name, clip.speaker, clip.language) for clip in clips] == [("noise", "", "")] * 3


@pytest.mark.parametrize(
    ("members", "table", "message"),
    [
        (["a/1.wav", "a/2.wav"], ["a/1.wav"], r"a/2\.wav is not in the table"),
        (["a/1.wav"], ["a/1.wav", "a/2.wav"], r"1 clips of the tables are not there, a/2\.wav"),
        (["a/1.wav", "a/1.wav"], ["a/1.wav", "a/2.wav"], r"a/1\.wav stands twice"),
        (["a/1.wav"], ["a/1.wav", "a/1.wav"], r"a/1\.wav stands twice"),
    ],
    ids=["more in the tar", "more in the table", "twice in the tar", "twice in the table"],
)
def test_a_tar_and_a_table_that_differ_are_an_error_that_names_the_archive(tmp_path, members, table, message):
    archive = write_archive(tmp_path / "odd-train.tar", [(path, b"sound") for path in members], table)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_clips(archive))
    assert "odd-train" in str(caught.value)


def test_a_folder_a_speaker_is_read_at_any_depth_as_voxceleb_lies(tmp_path):
    for path in ("id10001/video_b/00001.wav", "id10001/video_a/00002.wav", "id10002/x.FLAC", "id10002/notes.txt"):
        (tmp_path / "vox" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "vox" / path).write_bytes(path.encode())
    (tmp_path / "vox" / "vox1_meta.csv").write_text("VoxCeleb1 ID\tGender\nid10001\tf\nid10002\tm\n")
    (tmp_path / "vox" / "root").symlink_to("/")
    clips = clips_of(tmp_path / "vox")
    assert [(clip.path, clip.speaker, clip.sex) for clip in clips] == [
        ("id10001/video_a/00002.wav", "vox/id10001", "f"),
        ("id10001/video_b/00001.wav", "vox/id10001", "f"),
        ("id10002/x.FLAC", "vox/id10002", "m"),
    ]
    assert all(clip.audio == clip.path.encode() for clip in clips)


def test_folders_named_as_splits_are_the_splits(tmp_path):
    for path in ("train/a/1.wav", "dev/b/1.wav"):
        (tmp_path / "c" / path).parent.mkdir(parents=True)
        (tmp_path / "c" / path).write_bytes(path.encode())
    assert [(c.split, c.speaker, c.audio.decode()) for c in clips_of(f"calls={tmp_path / 'c'}")] == [
        ("train", "calls/a", "train/a/1.wav"),
        ("dev", "calls/b", "dev/b/1.wav"),
    ]


def test_a_folder_without_recordings_beside_folders_named_as_splits_changes_nothing(tmp_path):
    for path in ("train/a/1.wav", "test/b/1.wav", "work/shards/c.tfrecord"):
        (tmp_path / "c" / path).parent.mkdir(parents=True)
        (tmp_path / "c" / path).write_bytes(path.encode())
    assert [(c.split, c.speaker) for c in clips_of(f"calls={tmp_path / 'c'}")] == [
        ("train", "calls/a"),
        ("test", "calls/b"),
    ]


def test_a_speaker_beside_folders_named_as_splits_is_an_error(tmp_path):
    for path in ("train/a/1.wav", "test/b/1.wav", "zoe/1.wav"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(path.encode())
    with pytest.raises(ValueError, match="zoe lies beside train and test"):
        clips_of(tmp_path)


@pytest.fixture
def kaldi(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "with space.wav").write_bytes(b"one")
    (folder / "wav.scp").write_text(f"u1 with space.wav\nu2 {folder / 'with space.wav'}\n")
    (folder / "utt2spk").write_text("u1 s1\nu2 s2\n")
    (folder / "spk2gender").write_text("s1 f\n")
    return folder


def test_a_kaldi_folder_is_read_with_spaces_in_its_paths(kaldi):
    assert clips_of(kaldi) == [
        Clip("u1", "data/s1", "data", "", "f", audio=b"one"),
        Clip("u2", "data/s2", "data", "", "", audio=b"one"),
    ]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("wav.scp", "u1 sph2pipe -f wav a.sph |\n", "u1 is a command, and commands are not run"),
        ("wav.scp", "u1 nowhere.wav\n", "1 clips of the tables are not there, u1"),
        ("wav.scp", "u1\n", "line 1 has no value"),
        ("wav.scp", "", "no utterance"),
        ("utt2spk", "u2 s2\n", "no speaker of 1 utterances, u1 among them"),
        ("utt2spk", "u1 s1\nu1 s2\nu2 s2\n", "line 2"),
        ("segments", "x u1 0 1\n", "segments of recordings are not read"),
    ],
)
def test_a_kaldi_folder_that_is_wrong_is_one_line(kaldi, file, text, message):
    (kaldi / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        clips_of(kaldi)


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone", "there is no such file"), ("text.txt", "no corpus"), ("empty", "no folder of a speaker")],
)
def test_what_is_no_corpus_is_told_with_what_could_be_one(tmp_path, name, message):
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        clips_of(tmp_path / name)


def test_another_recording_under_the_same_name_is_another_source(tmp_path):
    (tmp_path / "voices" / "ana").mkdir(parents=True)
    (tmp_path / "voices" / "ana" / "1.wav").write_bytes(b"one")
    (tmp_path / "kaldi").mkdir()
    (tmp_path / "kaldi" / "wav.scp").write_text(f"u1 {tmp_path}/voices/ana/1.wav\n")
    (tmp_path / "kaldi" / "utt2spk").write_text("u1 ana\n")
    sources = [
        SpeakerFolders(tmp_path / "voices", "voices"),
        KaldiFolder(tmp_path / "kaldi", "kaldi"),
        OfFiles(tmp_path / "voices", "ana/1.wav"),
    ]
    before = [one.fingerprint() for one in sources]
    assert [one.fingerprint() for one in sources] == before
    (tmp_path / "voices" / "ana" / "1.wav").write_bytes(b"another")
    assert not any(one.fingerprint() == was for one, was in zip(sources, before, strict=True))


@pytest.mark.parametrize("spelling", ["voices", "./voices", "other/../voices", "link"])
def test_a_folder_is_one_source_however_its_path_is_spelled(tmp_path, monkeypatch, spelling):
    folder = tmp_path / "voices"
    for place in ("voices/ana", "voices/en/clips", "other"):
        (tmp_path / place).mkdir(parents=True)
    for file in ("ana/1.wav", "en/clips/1.mp3", "en/train.tsv", "utt2spk"):
        (folder / file).write_bytes(b"one")
    (folder / "wav.scp").write_text("u1 ana/1.wav\n")
    (tmp_path / "link").symlink_to("voices")
    monkeypatch.chdir(tmp_path)
    for kind in (SpeakerFolders, KaldiFolder, ReleaseFolder):
        assert kind(Path(spelling), "voices").fingerprint() == kind(folder, "voices").fingerprint()


def test_what_evaluate_wrote_into_a_folder_of_recordings_makes_no_other_source_of_it(tmp_path):
    (tmp_path / "ana").mkdir()
    (tmp_path / "ana" / "1.sph").write_bytes(b"one")
    source = OfFiles(tmp_path, "ana/1.sph")
    before = source.fingerprint()
    vectors = Embeddings(tmp_path / "report" / "embeddings", "encoder", 2, before)
    vectors.append("ana/1.sph", 1.0, np.ones(2, np.float32))
    vectors.flush()
    assert source.fingerprint() == before
    (tmp_path / "ana" / "1.sph").write_bytes(b"another")
    assert source.fingerprint() != before
