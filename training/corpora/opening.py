"""A path → the corpus that it holds, told by what is there."""

from __future__ import annotations

from pathlib import Path

from training.corpora.archive import Archive
from training.corpora.clip import Corpus
from training.corpora.common_voice import ReleaseFolder, ReleaseTar
from training.corpora.folders import SpeakerFolders
from training.corpora.kaldi import KaldiFolder
from training.corpora.tar_members import is_tar


def open_corpus(source: str) -> Corpus:
    """The corpus at a path, or at NAME=PATH, which gives a folder's corpus another name than the folder's.

    Raises: ValueError where nothing is there, or nothing that can be read as a corpus.
    """
    name, _, place = source.rpartition("=") if "=" in source and not Path(source).exists() else ("", "", source)
    path = Path(place).expanduser()
    if not path.exists():
        raise ValueError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return _open_folder(path, name or path.resolve().name)
    if name:
        raise ValueError(f"{source}: only a folder can be given another name")
    if is_tar(path):
        return Archive(path) if Archive.table_beside(path).exists() else ReleaseTar(path)
    from training.corpora.seed_records import SeedRecords  # imports TensorFlow

    if SeedRecords.is_one(path):
        return SeedRecords(path)
    raise ValueError(
        f"{path}: no corpus; there can be a .tar or .tar.gz, a folder with one folder a speaker, a Kaldi folder "
        "(wav.scp, utt2spk), or SpeechIdentity's NAME_train.tfrecords.gzip"
    )


def _open_folder(path: Path, name: str) -> Corpus:
    if (path / "wav.scp").exists():
        return KaldiFolder(path, name)
    if ReleaseFolder.languages(path):
        return ReleaseFolder(path, name)
    return SpeakerFolders(path, name)
