"""Clips ⇄ GZIP TFRecord shards: writing and reading side by side, so that they cannot differ.

A set, such as `cv-corpus-17.0-tr-train`, is three kinds of files in one folder:

    NAME-00000.tfrecords.gzip …   the clips, a `tf.train.Example` each
    NAME.tsv                      a row a clip, in the same order, without the audio
    NAME.json                     shards with their clips and SHA-256, and that of all recordings; written last, so it
                                  makes the set complete

Every file is written under `.partial`, fsynced and renamed. Which clip falls into which shard depends on the clips
alone, so that a stopped run goes on with the shards that are missing.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

import tensorflow as tf
from google.protobuf.message import DecodeError

from training.corpora.clip import Clip, Row
from training.corpora.fingerprints import file_hash

FORM = 1
TEXT_FIELDS = ("path", "speaker", "corpus", "language", "sex", "split")
COLUMNS = tuple(part.name for part in fields(Row))
SHARD_BYTES = 32 << 20
"""Of audio; the last shard of a set is smaller."""

GZIP = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)  # compressed audio gets no smaller


def encode(clip: Clip) -> bytes:
    """A clip as a serialised tf.train.Example."""
    feature = {name: _bytes(getattr(clip, name).encode()) for name in TEXT_FIELDS}
    feature["seconds"] = tf.train.Feature(float_list=tf.train.FloatList(value=[clip.seconds]))
    feature["audio"] = _bytes(clip.audio)
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def parse(record: bytes) -> Clip:
    """The clip that `encode` wrote; its seconds in single precision. Raises ValueError for anything else."""
    try:
        found = tf.train.Example.FromString(record).features.feature
        texts = {name: found[name].bytes_list.value[0].decode() for name in TEXT_FIELDS}
        return Clip(audio=found["audio"].bytes_list.value[0], seconds=found["seconds"].float_list.value[0], **texts)
    except (DecodeError, IndexError) as error:
        raise ValueError("not a record of a clip, or a field is missing") from error


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


@dataclass(frozen=True)
class Shard:
    """What the index says of a shard."""

    file: str
    clips: int
    sha256: str


class SetWriter:
    """Writes one set; what is under a final name already is left as it is.

    Args: fingerprint: of the source and of how it is split; shards of another one are written anew.
    """

    def __init__(self, folder: Path, name: str, fingerprint: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name, self._fingerprint = folder, name, fingerprint
        self._plan = folder / f"{name}.plan"
        if not self._plan.exists() or self._plan.read_text(encoding="utf8") != fingerprint:
            (folder / f"{name}.json").unlink(missing_ok=True)
            for old in folder.glob(f"{name}-[0-9][0-9][0-9][0-9][0-9].tfrecords.gzip"):
                old.unlink()
            _write_whole(self._plan, fingerprint)
        self._shards: list[Shard] = []
        self._audio = hashlib.sha256()
        self._rows = (folder / f"{name}.tsv.partial").open("w", encoding="utf8", newline="")
        self._table = csv.writer(
            self._rows, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
        )
        self._table.writerow(COLUMNS)
        self._open_shard()

    def __enter__(self) -> SetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._rows.close()
        if self._records is not None:
            self._records.close()

    def write(self, clip: Clip) -> None:
        """Append a clip."""
        if self._bytes_held + len(clip.audio) > SHARD_BYTES and self._clips_held:
            self._close_shard()
            self._open_shard()
        if self._records is not None:
            self._records.write(encode(clip))
        self._clips_held += 1
        self._bytes_held += len(clip.audio)
        self._audio.update(hashlib.sha256(clip.audio).digest())
        self._table.writerow([getattr(clip, column) for column in COLUMNS])

    def finish(self) -> None:
        """Make the set complete."""
        self._close_shard()
        table = self._folder / f"{self._name}.tsv"
        self._rows.flush()
        os.fsync(self._rows.fileno())
        Path(self._rows.name).replace(table)
        index = {
            "form": FORM,
            "fingerprint": self._fingerprint,
            "clips": sum(shard.clips for shard in self._shards),
            "table_sha256": file_hash(table),
            "audio_sha256": self._audio.hexdigest(),
            "shards": [asdict(shard) for shard in self._shards],
        }
        _write_whole(self._folder / f"{self._name}.json", json.dumps(index, indent=1))
        self._plan.unlink()

    def _open_shard(self) -> None:
        self._final = self._folder / f"{self._name}-{len(self._shards):05d}.tfrecords.gzip"
        self._partial = self._final.with_suffix(".gzip.partial")
        done = self._final.exists()
        self._records = None if done else tf.io.TFRecordWriter(str(self._partial), GZIP)
        self._clips_held = self._bytes_held = 0

    def _close_shard(self) -> None:
        if self._records is not None:
            self._records.close()
            self._records = None
            _sync(self._partial)
            self._partial.replace(self._final)
            _sync(self._folder)
        self._shards.append(Shard(self._final.name, self._clips_held, file_hash(self._final)))


def complete(folder: Path, name: str, fingerprint: str | None = None) -> bool:
    """Whether a set is all there (and made of that source). What it says inside is checked when it is read."""
    index = folder / f"{name}.json"
    if not index.exists():
        return False
    found = _read_index_file(index)
    files = [f"{name}.tsv", *(shard.file for shard in found[1])]
    return all((folder / file).exists() for file in files) and fingerprint in (None, found[0])


def set_hash(folder: Path, name: str) -> str:
    """Of what a complete set says of its clips and of their recordings, wherever they came from and however packed.

    Of the whole index where that was written before it held the recordings' own hash.
    """
    index = folder / f"{name}.json"
    found = json.loads(index.read_text(encoding="utf8"))
    if "audio_sha256" not in found:
        return file_hash(index)
    return hashlib.sha256(f"{found['table_sha256']} {found['audio_sha256']}".encode()).hexdigest()


def read_index(folder: Path, name: str) -> list[Row]:
    """The rows of a complete set, in the order of its clips. Raises ValueError naming a file that is wrong."""
    table = folder / f"{name}.tsv"
    if file_hash(table) != _read_index_file(folder / f"{name}.json")[2]:
        raise ValueError(f"{table}: damaged or cut; delete it and prepare {name} again")
    rows = []
    with table.open(encoding="utf8", newline="") as lines:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tuple(next(reader, ())) != COLUMNS:
            raise ValueError(f"{table}: not the table of a set; prepare it again")
        for values in reader:
            if len(values) != len(COLUMNS):
                raise ValueError(f"{table}: line {reader.line_num} is cut; prepare it again")
            rows.append(Row(*values[:-1], float(values[-1])))
    return rows


def read_shards(folder: Path, name: str) -> Iterator[Clip]:
    """The clips of a complete set. Raises ValueError that names a shard cut, damaged or missing."""
    for shard in _read_index_file(folder / f"{name}.json")[1]:
        path = folder / shard.file
        if not path.exists():
            raise ValueError(f"{path}: missing; prepare {name} again")
        if file_hash(path) != shard.sha256:
            raise ValueError(f"{path}: damaged or cut; delete it and prepare {name} again")
        for record in tf.data.TFRecordDataset(str(path), compression_type="GZIP"):
            yield parse(record.numpy())


def whole_records(path: Path) -> Iterator[bytes]:
    """The records of a GZIP TFRecord file that no index vouches for. Raises ValueError naming it where it is damaged.

    GZIP's own checksum is read first: TensorFlow takes a file that was cut between two records for a short one.
    """
    try:
        if not path.stat().st_size:
            raise EOFError("the file is empty")
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
        for record in tf.data.TFRecordDataset(str(path), compression_type="GZIP"):
            yield record.numpy()
    except (tf.errors.DataLossError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged or cut ({str(error).splitlines()[0]})") from error


def _read_index_file(index: Path) -> tuple[str, list[Shard], str]:
    """The fingerprint, the shards, and the table's hash."""
    try:
        found = json.loads(index.read_text(encoding="utf8"))
        if found["form"] != FORM:
            raise ValueError(f"form {found['form']}")
        return found["fingerprint"], [Shard(**shard) for shard in found["shards"]], found["table_sha256"]
    except FileNotFoundError:
        raise ValueError(f"{index}: no such set; python -m training prepare makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{index}: not the index of a set ({error}); delete it and prepare again") from error


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf8")
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
