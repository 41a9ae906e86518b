"""Clips ⇄ GZIP TFRecord shards: writing and reading side by side, so that they cannot differ.

A shard is `CORPUS-SPLIT-00000-of-00004.tfrecords.gzip`. It is written beside under another name, fsynced, and
renamed once complete; a shard that stands under its own name is complete and is not written again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

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
    """The clip that `encode` wrote. Raises ValueError where a field is missing."""
    example = tf.train.Example.FromString(record)
    fields = example.features.feature
    try:
        texts = {name: fields[name].bytes_list.value[0].decode() for name in TEXT_FIELDS}
        return Clip(audio=fields["audio"].bytes_list.value[0], **texts)
    except IndexError as error:
        raise ValueError("not a record of a clip: a field is missing") from error


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def shards_of(archive: Path, folder: Path) -> list[Path]:
    """The complete shards of an archive in order; empty where they are not all there."""
    found = sorted(folder.glob(f"{archive.stem}-[0-9]*-of-*.tfrecords.gzip"))
    expected = int(found[0].name.split("-of-")[1].split(".")[0]) if found else 0
    return found if len(found) == expected else []


def write_shards(archive: Path, folder: Path) -> list[Path]:
    """Write an archive's clips as shards of about 16 MiB of audio; nothing where they are complete already."""
    done = shards_of(archive, folder)
    if done:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    count = max(1, -(-archive.stat().st_size // SHARD_BYTES))
    names = [folder / f"{archive.stem}-{i:05d}-of-{count:05d}.tfrecords.gzip" for i in range(count)]
    partial = [name.with_suffix(".partial") for name in names]
    writers = [tf.io.TFRecordWriter(str(name), GZIP) for name in partial]
    for index, clip in enumerate(read_clips(archive)):
        writers[index % count].write(encode(clip))
    for writer, part, name in zip(writers, partial, names, strict=True):
        writer.close()
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(name)
    return names


def read_shard(shard: Path) -> Iterator[Clip]:
    """The clips of a shard. Raises ValueError that names a shard which is cut or damaged."""
    try:
        for record in tf.data.TFRecordDataset(str(shard), compression_type="GZIP"):
            yield parse(record.numpy())
    except (tf.errors.DataLossError, ValueError) as error:
        raise ValueError(f"{shard}: damaged or cut ({str(error).splitlines()[0]})") from error
