"""Archives of the recordings that other archives were encoded from."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.commands import training
from training.corpora.archive import Archive
from training.corpora.originals import write_originals

COLUMNS = "path\tspeaker\tlanguage\tsex\tseconds\n"
ORIGINALS = {
    "common_voice-train": ("cvab/common_voice_cs_1.opus\tcvab\tcs\tf\t4.06\n", "cvab/common_voice_cs_1.mp3"),
    "speech_commands-train": ("sc0017/bed_0017_0.opus\tsc0017\ten\t\t1.00\n", "sc0017/bed_0017_0.wav"),
    "speechocean762-train": ("so0001/000010035.opus\tso0001\ten\tm\t3.43\n", "so0001/000010035.wav"),
}
FILES = {
    "common_voice-train": "rsample-100-cv-corpus-6.1-2020-12-11/cs/clips/common_voice_cs_1.mp3",
    "speech_commands-train": "DeadSimpleSpeechRecognizer/data/bed/0017_nohash_0.wav",
    "speechocean762-train": "speechocean762/WAVE/SPEAKER0001/000010035.WAV",
}


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """Archives of one clip each, and the repositories with the originals beside them."""
    rows = {name: row for name, (row, _) in ORIGINALS.items()}
    rows |= {"librispeech-train": "ls1/1.opus\tls1\ten\t\t9.00\n", "common_voice-dev": "cvcd/2.mp3\tcvcd\ten\t\t3.00\n"}
    for name, row in rows.items():
        _archive(tmp_path / "corpora" / f"{name}.tar", row.partition("\t")[0], b"encoded " + name.encode(), row)
    for name, path in FILES.items():
        file = tmp_path / "repositories" / path
        file.parent.mkdir(parents=True)
        file.write_bytes(b"original " + name.encode())
    return tmp_path / "corpora"


def _archive(path: Path, member: str, content: bytes, row: str) -> None:
    path.parent.mkdir(exist_ok=True)
    file = path.with_name("clip")
    file.write_bytes(content)
    with tarfile.open(path, "w") as tar:
        tar.add(file, member)
    file.unlink()
    path.with_suffix(".tsv").write_text(COLUMNS + row, encoding="utf8")


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_train_archive_is_written_of_its_clips_originals(name: str, corpora: Path, tmp_path: Path, quiet) -> None:
    assert write_originals(tmp_path / "repositories", corpora, [name], tmp_path / "out", quiet) == {name: 1}
    before, archive = Archive(corpora / f"{name}.tar"), Archive(tmp_path / "out" / f"{name}.tar")
    [clip], [row] = archive.clips(archive.rows()), before.rows()
    assert (clip.path, clip.audio) == (ORIGINALS[name][1], b"original " + name.encode())
    assert (clip.name, clip.speaker, clip.language, clip.sex) == (row.name, row.speaker, row.language, row.sex)


@pytest.mark.parametrize("name", ["librispeech-train", "common_voice-dev"])
def test_what_no_repository_has_and_what_is_judged_by_is_taken_as_it_is(name, corpora, tmp_path, quiet) -> None:
    write_originals(tmp_path / "repositories", corpora, [name], tmp_path / "out", quiet)
    for ending in (".tar", ".tsv"):
        before, after = (folder / f"{name}{ending}" for folder in (corpora, tmp_path / "out"))
        assert before.read_bytes() == after.read_bytes()


def test_a_missing_original_ends_it_in_a_line_and_leaves_no_archive(corpora, tmp_path, quiet) -> None:
    (tmp_path / "repositories" / FILES["common_voice-train"]).unlink()
    with pytest.raises(ValueError, match=r"common_voice_cs_1\.mp3 is missing"):
        write_originals(tmp_path / "repositories", corpora, ["common_voice-train"], tmp_path / "out", quiet)
    assert not list((tmp_path / "out").glob("*.tar"))


def test_an_archive_that_is_there_stays(corpora, tmp_path, quiet) -> None:
    names = ["common_voice-train"]
    write_originals(tmp_path / "repositories", corpora, names, tmp_path / "out", quiet)
    file = tmp_path / "out" / "common_voice-train.tar"
    before = file.stat().st_mtime_ns
    assert write_originals(tmp_path / "nowhere", corpora, names, tmp_path / "out", quiet) == {names[0]: 1}
    assert file.stat().st_mtime_ns == before


def test_the_command_says_what_is_missing(tmp_path, corpora) -> None:
    asked = ["originals", str(tmp_path / "repositories"), "--corpora", str(corpora), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(training, asked)
    assert done.exit_code == 3  # the recordings
    assert "noise" in done.output.splitlines()[-1] and "Traceback" not in done.output
