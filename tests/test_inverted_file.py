"""The index for many: lists trained on the gallery's own voices, and how a gallery grows into them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from known_voices import DIMENSION, KnownVoices, voice
from sqlalchemy import insert

from speakerdb import Encoder, Gallery
from speakerdb.embedding import normalize
from speakerdb.gallery import building, view
from speakerdb.gallery.opened import identity_of
from speakerdb.index import engine, snapshot
from speakerdb.store import binding, database, fields, gallery_file, records, voiceprints
from speakerdb.store.schema import CHANGE, ENROLLMENT, SPEAKER, VOICEPRINT

pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")

from speakerdb.index import inverted_file
from speakerdb.index.inverted_file import InvertedFile

VOICES = 3000


def voices(count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors in loose groups, as speakers are: float32 [count, dimension]."""
    random = np.random.default_rng(seed)
    groups = np.random.default_rng(1).normal(size=(32, DIMENSION))
    return normalize(groups[random.integers(32, size=count)] + 1.5 * random.normal(size=(count, DIMENSION)))


def filled(vectors: np.ndarray) -> InvertedFile:
    index = inverted_file.trained(vectors, len(vectors))
    index.add(np.arange(1, len(vectors) + 1), vectors)
    return index


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return voices(VOICES)


@pytest.fixture
def index(vectors: np.ndarray) -> InvertedFile:
    return filled(vectors)


def own(index: InvertedFile, vectors: np.ndarray) -> np.ndarray:
    """Whom the index finds first for each vector."""
    return index.search(vectors, 1)[0][:, 0]


def test_everybody_is_found_by_their_own_voice(index, vectors):
    assert (own(index, vectors) == np.arange(1, VOICES + 1)).all()


def test_nearly_all_of_an_exact_scans_nearest_are_found(index, vectors):
    probes = normalize(vectors[:300] + 0.06 * np.random.default_rng(2).normal(size=(300, DIMENSION)))
    exact = 1 + np.argsort(-(probes @ vectors.T), axis=1)[:, :10]
    found, cosines = index.search(probes, 18)
    assert (found[:, 0] == exact[:, 0]).mean() >= 0.99
    assert np.mean([len({*row} & {*best}) / 10 for row, best in zip(found, exact, strict=True)]) >= 0.97
    right = found == 1 + np.argsort(-(probes @ vectors.T), axis=1)[:, :18]
    exact_cosines = np.sort(probes @ vectors.T, axis=1)[:, ::-1][:, :18]
    np.testing.assert_allclose(cosines[right], exact_cosines[right], atol=0.007)  # of vectors rounded to bytes


def test_a_removal_leaves_every_other_id_with_its_own_voice(index, vectors):
    gone = np.arange(1, VOICES + 1, 3)
    assert index.remove(gone) == len(gone)
    assert index.remove(gone) == 0
    assert len(index) == VOICES - len(gone)
    kept = np.setdiff1d(np.arange(1, VOICES + 1), gone)
    assert (own(index, vectors[kept - 1]) == kept).all()
    assert not np.isin(index.search(vectors, 50)[0], gone).any()


def test_adding_an_id_again_replaces_its_voice(index, vectors):
    other = voices(1, seed=9)
    index.add(np.array([5]), other)
    assert len(index) == VOICES
    assert own(index, other)[0] == 5
    assert own(index, vectors[4:5])[0] != 5


def test_the_largest_id_of_the_database_can_be_held(index):
    largest, other = (1 << 63) - 1, voices(1, seed=10)
    index.add(np.array([largest]), other)
    assert own(index, other)[0] == largest


def test_the_bytes_make_the_same_index_again(index, vectors):
    again = engine.load_index("faiss-ivf", index.to_bytes(), DIMENSION)
    assert len(again) == VOICES
    for one, other in zip(index.search(vectors[:200], 5), again.search(vectors[:200], 5), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.remove(np.array([1, 2])) == 2


@pytest.mark.parametrize("kind", ["faiss-flat", "numpy"])
def test_bytes_of_another_kind_or_dimension_are_refused(index, kind):
    with pytest.raises(ValueError, match=r"kind|read"):
        engine.load_index("faiss-ivf", engine.make_index(kind, DIMENSION).to_bytes(), DIMENSION)
    with pytest.raises(ValueError, match="dimension"):
        engine.load_index("faiss-ivf", index.to_bytes(), DIMENSION + 1)
    with pytest.raises(ValueError, match=r"kind|read|multiple"):
        engine.load_index(kind, index.to_bytes(), DIMENSION)


def test_too_few_voices_are_told_before_faiss_ends_the_process():
    with pytest.raises(ValueError, match="10 voices are too few"):
        inverted_file.trained(voices(10), 10_000)


@pytest.mark.parametrize(("size", "lists"), [(1000, 128), (20_000, 512), (100_000, 1024), (1_000_000, 4096)])
def test_lists_grow_with_the_root_of_the_gallery(size, lists):
    assert inverted_file.lists_for(size) == lists
    assert lists <= inverted_file.training_size(size) <= size


def test_the_kind_goes_by_size_and_never_back():
    assert engine.kind_for("auto", engine.EXACT_UP_TO) == "faiss-flat"
    assert engine.kind_for("auto", engine.EXACT_UP_TO + 1) == "faiss-ivf"
    assert engine.kind_for("faiss-ivf", 10) == "faiss-flat"
    assert engine.kind_for("faiss-flat", 10**9) == "faiss-flat"
    assert engine.kind_for("numpy", 10**9) == "numpy"
    assert not engine.outgrown("auto", filled(voices(1000)))


def test_an_index_four_times_as_large_as_it_was_made_for_is_outgrown():
    small = inverted_file.trained(voices(1000), 1000)
    small.add(np.arange(1, 4001), voices(4000))
    assert not engine.outgrown("auto", small)
    small.add(np.arange(4001, 4101), voices(100, seed=3))
    assert engine.outgrown("auto", small)


# In a gallery


def write(folder: Path, vectors: np.ndarray) -> None:
    """Speakers `speaker 1`… with these voices, as if each had been enrolled by one recording."""
    card = Encoder.load().card
    store = gallery_file.create(folder / database.FILE)
    with store.writing() as connection:
        if binding.identity(connection) is None:
            binding.bind(connection, identity_of(card))
        first = records.count_speakers(connection) + 1
        now, rows = fields.now(), [(first + i, fields.to_blob(vector)) for i, vector in enumerate(vectors)]
        names = {row: f"speaker {row}" for row, _ in rows}
        connection.execute(
            insert(SPEAKER),
            [
                {"id": row, "name": name, "name_crc32": fields.name_crc32(row, name), "created": now}
                for row, name in names.items()
            ],
        )
        shared = [
            {"speaker_id": row, "vector": blob, "vector_crc32": fields.blob_crc32(blob, row)} for row, blob in rows
        ]
        connection.execute(
            insert(ENROLLMENT),
            [
                {
                    **one,
                    "source": f"{one['speaker_id']}.wav",
                    "audio_sha256": f"{one['speaker_id']:064x}",
                    "net_speech_s": 2.5,
                    "quality": "{}",
                    "created": now,
                }
                for one in shared
            ],
        )
        connection.execute(insert(VOICEPRINT), [{**one, "count": 1} for one in shared])
        binding.record_change(connection, [])
        generation = binding.generation(connection)
        connection.execute(insert(CHANGE), [{"speaker_id": row, "generation": generation} for row, _ in rows])
    store.close()


@pytest.fixture(scope="module")
def encoder() -> KnownVoices:
    return KnownVoices(Encoder.load()._bundle)


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "EXACT_UP_TO", 1500)


def names(gallery: Gallery, vectors: np.ndarray) -> list[str]:
    return [gallery.nearest(vector, top=1)[0].speaker for vector in vectors]


def test_a_large_gallery_is_put_into_lists_saved_and_loaded(tmp_path, encoder, vectors, few_are_many, monkeypatch):
    write(tmp_path / "people", vectors)
    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        assert gallery.rebuild().kind == "faiss-ivf"
        found = gallery.nearest(vectors[41], top=3)
        assert found[0].speaker == "speaker 42"
        assert found[0].distance < 1e-6  # exact, from the database
    monkeypatch.setattr(building, "fill", None)  # not made anew
    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        assert names(gallery, vectors[:20]) == [f"speaker {i + 1}" for i in range(20)]
        assert gallery.check().findings == []


def test_a_gallery_that_outgrows_its_scan_answers_while_lists_are_made(
    tmp_path, encoder, vectors, few_are_many, monkeypatch
):
    write(tmp_path / "people", vectors[:1400])
    go_on = threading.Event()
    empty = building.empty

    def held_up(planned):
        assert go_on.wait(30)
        return empty(planned)

    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        assert gallery.rebuild().kind == "faiss-flat"
        write(tmp_path / "people", vectors[1400:])
        monkeypatch.setattr(building, "empty", held_up)
        assert names(gallery, vectors[-3:]) == ["speaker 2998", "speaker 2999", "speaker 3000"]
        assert gallery._view._index.kind == "faiss-flat"
        assert gallery.remove(
            "speaker 7"
        ).log_erased  # while the other index is made of a state in which they are there
        gallery.enroll("new", ["new 1"])
        assert gallery.nearest(voice("new 1"), top=1)[0].speaker == "new"
        go_on.set()
        gallery._view._successor.wait(30)
        assert names(gallery, vectors[-3:]) == ["speaker 2998", "speaker 2999", "speaker 3000"]
        assert gallery._view._index.kind == "faiss-ivf"
        assert gallery.nearest(voice("new 1"), top=1)[0].speaker == "new"
        assert "speaker 7" not in [near.speaker for near in gallery.nearest(vectors[6], top=10)]
        assert gallery.check().findings == []


def making() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "speakerdb-index"]


def test_closing_a_gallery_that_has_outgrown_its_index_begins_no_other(tmp_path, encoder, vectors, few_are_many):
    write(tmp_path / "people", vectors[:1400])
    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        assert names(gallery, vectors[:1]) == ["speaker 1"]
        write(tmp_path / "people", vectors[1400:])
    assert making() == []


def test_an_index_under_way_when_its_gallery_is_closed_opens_the_database_no_more(
    tmp_path, encoder, vectors, few_are_many, monkeypatch
):
    write(tmp_path / "people", vectors[:1400])
    go_on, empty, read = threading.Event(), building.empty, []

    def held_up(planned):
        assert go_on.wait(30)
        return empty(planned)

    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        assert names(gallery, vectors[:1]) == ["speaker 1"]
        write(tmp_path / "people", vectors[1400:])
        monkeypatch.setattr(building, "empty", held_up)
        monkeypatch.setattr(voiceprints, "next_batch", lambda *_: read.append(1))
        monkeypatch.setattr(view, "WAIT_S", 0.1)
        assert names(gallery, vectors[:1]) == ["speaker 1"]
        [under_way] = making()
    go_on.set()
    under_way.join(30)
    assert read == []


def test_lists_that_cannot_be_made_leave_the_scan_at_work(tmp_path, encoder, vectors, few_are_many, monkeypatch):
    write(tmp_path / "people", vectors)

    def fails(*_):
        raise MemoryError

    with Gallery.open(tmp_path / "people", encoder=encoder, index="faiss-flat") as gallery:
        gallery.rebuild()
    monkeypatch.setattr(building, "empty", fails)
    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        assert names(gallery, vectors[:2]) == ["speaker 1", "speaker 2"]
        gallery._view._successor.wait(30)
        assert names(gallery, vectors[:2]) == ["speaker 1", "speaker 2"]
        assert gallery._view._index.kind == "faiss-flat"


def test_a_removal_from_a_large_gallery_does_not_cost_its_index(tmp_path, encoder, vectors, few_are_many, monkeypatch):
    from speakerdb.gallery import view

    folder = tmp_path / "people"
    write(folder, vectors)
    with Gallery.open(folder, encoder=encoder) as gallery:
        gallery.rebuild()
    monkeypatch.setattr(view, "KEPT_FROM_BYTES", 1000)
    monkeypatch.setattr(building, "fill", None)  # nothing is made anew from here on
    with Gallery.open(folder, encoder=encoder) as gallery:
        gallery.remove("speaker 7")
        assert not (folder / "index" / snapshot.FILE).exists()
    assert (folder / "index" / snapshot.FILE).exists()
    with Gallery.open(folder, encoder=encoder) as gallery:
        assert names(gallery, vectors[[0, 9]]) == ["speaker 1", "speaker 10"]
        assert "speaker 7" not in [near.speaker for near in gallery.nearest(vectors[6], top=10)]
        assert gallery.check().findings == []
