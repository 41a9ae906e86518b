"""TFRecords of the seed's own script are a corpus."""

from __future__ import annotations

import pytest

tf = pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.corpora import open_corpus  # noqa: E402
from training.prepare import prepare_corpora  # noqa: E402
from training.records import read_shards  # noqa: E402


def write_seed_records(path, clips):
    """As create_audio_tfrecords.py does: a tensor of the recording and its serialised label, serialised."""

    def serialize(audio, label):
        return tf.io.serialize_tensor(tf.stack([audio, tf.io.serialize_tensor(label)]))

    audio = tf.data.Dataset.from_tensor_slices([audio for audio, _ in clips])
    labels = tf.data.Dataset.from_tensor_slices(tf.constant([label for _, label in clips], tf.int32))
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in tf.data.Dataset.zip(audio, labels).map(serialize):
            writer.write(record.numpy())
    return path


CLIPS = [(b"mp3 one", 0), (b"mp3 two", 0), (b"mp3 three", 1)]


def test_labels_of_two_files_are_other_people(tmp_path):
    train = open_corpus(str(write_seed_records(tmp_path / "cv_train.tfrecords.gzip", CLIPS)))
    dev = open_corpus(str(write_seed_records(tmp_path / "cv_dev.tfrecords.gzip", CLIPS)))
    assert [(clip.speaker, clip.split, clip.audio) for clip in train.clips(train.rows())] == [
        ("cv_train/0", "train", b"mp3 one"),
        ("cv_train/0", "train", b"mp3 two"),
        ("cv_train/1", "train", b"mp3 three"),
    ]
    assert {row.speaker for row in train.rows()}.isdisjoint(row.speaker for row in dev.rows())
    assert {row.set_name for row in [*train.rows(), *dev.rows()]} == {"cv-train", "cv-dev"}


def test_they_are_prepared_as_any_other_corpus(tmp_path, quiet):
    source = write_seed_records(tmp_path / "cv_train.tfrecords.gzip", CLIPS)
    prepare_corpora([str(source)], tmp_path / "shards", None, quiet)
    assert [clip.audio for clip in read_shards(tmp_path / "shards", "cv-train")] == [audio for audio, _ in CLIPS]


def test_one_cut_anywhere_or_with_another_content_is_an_error_that_names_it(tmp_path):
    whole = write_seed_records(tmp_path / "cv_train.tfrecords.gzip", CLIPS).read_bytes()
    cut = tmp_path / "cut_dev.tfrecords.gzip"
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut_dev\.tfrecords\.gzip: damaged or cut"):
            open_corpus(str(cut)).rows()
    with tf.io.TFRecordWriter(str(cut), "GZIP") as writer:
        writer.write(b"something else")
    with pytest.raises(ValueError, match=r"cut_dev\.tfrecords\.gzip: not a record of the seed's"):
        open_corpus(str(cut)).rows()
