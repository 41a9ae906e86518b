"""Clips ⇄ GZIP TFRecord shards: writing and reading side by side, so that they cannot differ.

A shard is `CORPUS-SPLIT-00000-of-00004.tfrecords.gzip`. It is written beside under another name, fsynced, and
renamed once complete; a shard that stands under its own name is complete and is not written again.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

from training.corpora import Clip, read_clips

TEXT_FIELDS = ("path", "speaker", "corpus", "language", "sex")
SHARD_BYTES = 16 << 20
GZIP = tf.io.TFRecordOptions(compression_type="GZIP")


def encode(clip: Clip) -> bytes:
    """A clip as a serialised tf.train.Example."""
    feature = {name: _bytes(getattr(clip, name).encode()) for name in TEXT_FIELDS}
    feature["audio"] = _bytes(clip.audio)
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def parse(record: bytes) -> Clip:
    """The clip that `encode` wrote. Raises ValueError for anything else."""
    try:
        fields = tf.train.Example.FromString(record).features.feature
        texts = {name: fields[name].bytes_list.value[0].decode() for name in TEXT_FIELDS}
        return Clip(audio=fields["audio"].bytes_list.value[0], **texts)
    except (DecodeError, IndexError) as error:
        raise ValueError("not a record of a clip, or a field is missing") from error


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def shards_of(archive: Path, folder: Path) -> list[Path]:
    """The complete shards of an archive in order; empty where they are not all there."""
    names = _names(archive, folder)
    return names if all(name.exists() for name in names) else []


def write_shards(archive: Path, folder: Path) -> list[Path]:
    """Write an archive's clips as shards of about 16 MiB of audio; nothing where they are complete already."""
    done = shards_of(archive, folder)
    if done:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    names = _names(archive, folder)
    partial = [name.with_suffix(".partial") for name in names]
    writers = [tf.io.TFRecordWriter(str(name), GZIP) for name in partial]
    for index, clip in enumerate(read_clips(archive)):
        writers[index % len(names)].write(encode(clip))
    for writer, part, name in zip(writers, partial, names, strict=True):
        writer.close()
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(name)
    return names


def _names(archive: Path, folder: Path) -> list[Path]:
    count = max(1, -(-archive.stat().st_size // SHARD_BYTES))
    return [folder / f"{archive.stem}-{i:05d}-of-{count:05d}.tfrecords.gzip" for i in range(count)]


def read_shard(shard: Path) -> Iterator[Clip]:
    """The clips of a shard. Raises ValueError, before the first clip, that names a shard cut or damaged."""
    try:
        _check_whole(shard)
        for record in tf.data.TFRecordDataset(str(shard), compression_type="GZIP"):
            yield parse(record.numpy())
    except (tf.errors.DataLossError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ValueError(f"{shard}: damaged or cut ({str(error).splitlines()[0]})") from error


def _check_whole(shard: Path) -> None:
    """Read to GZIP's own checksum: TensorFlow takes a file that was cut between two records for a short one."""
    if not shard.stat().st_size:
        raise ValueError("the file is empty")
    with gzip.open(shard) as file:
        while file.read(1 << 20):
            pass
