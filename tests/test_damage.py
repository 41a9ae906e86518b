"""Damage to the SQLite file is an error, never another answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from known_voices import KnownVoices, voice
from twelve_people import NEAR, PEOPLE, change, stored, voiceprint

from speakerdb import Gallery, SpeakerdbError
from speakerdb.embedding import average
from speakerdb.errors import GalleryDamaged
from speakerdb.store.database import FILE


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("byte", [0, 3, 400, 767])
def test_a_bit_that_flips_in_a_voiceprint_is_damage_and_not_another_distance(twelve, known_voices, byte):
    exact = stored(average(np.stack([voice(recording) for recording in PEOPLE["person c"]])))
    whole = (twelve / FILE).read_bytes()
    assert whole.count(exact) == 1
    flip(twelve / FILE, whole.index(exact) + byte)
    with Gallery.open(twelve, encoder=known_voices) as gallery:
        with pytest.raises(GalleryDamaged, match="a vector's checksum does not agree"):
            gallery.verify("person c", "c0")
        with pytest.raises(GalleryDamaged, match="a vector's checksum does not agree"):
            gallery.identify("c0")
        assert gallery.verify("person d", "d0").accepted
        assert gallery.check().findings == ["speaker 'person c' is damaged (a vector's checksum does not agree)"]


def test_a_bit_that_flips_in_an_enrollment_is_found_before_it_is_averaged(twelve, known_voices):
    position = (twelve / FILE).read_bytes().index(stored(voice("c1")))
    flip(twelve / FILE, position + 100)
    with Gallery.open(twelve, encoder=known_voices) as gallery:
        assert gallery.verify("person c", "c0", threshold=NEAR).accepted
        with pytest.raises(GalleryDamaged, match="a vector's checksum does not agree"):
            gallery.enroll("person c", "c9")
        assert gallery.speakers()[2].enrollments == 3
        assert "person c" in gallery.check().findings[0]


def test_a_bit_that_flips_in_a_name_is_damage_and_not_another_person(twelve, known_voices):
    change(twelve / FILE, "UPDATE speaker SET name = 'person q' WHERE name = 'person c'")
    with Gallery.open(twelve, encoder=known_voices) as gallery:
        for use in (
            lambda: gallery.verify("person q", "c0"),
            lambda: gallery.identify("c0"),
            gallery.speakers,
            lambda: gallery.remove("person q"),
            lambda: gallery.enroll("ana", "c0"),
        ):
            with pytest.raises(GalleryDamaged, match="a name's checksum does not agree"):
                use()


@pytest.mark.parametrize("table", ["voiceprint", "enrollment"])
def test_a_vector_that_strays_to_another_speaker_is_damage(twelve, known_voices, table):
    swap = f"UPDATE {table} SET speaker_id = CASE speaker_id WHEN 1 THEN 4 ELSE 1 END WHERE speaker_id IN (1, 4)"
    if table == "voiceprint":  # its key: by way of an id that nobody has
        moves = ((1, 99), (4, 1), (99, 4))
        change(
            twelve / FILE,
            *(f"UPDATE voiceprint SET speaker_id = {to} WHERE speaker_id = {at}" for at, to in moves),
        )
    else:
        change(twelve / FILE, swap)
    with Gallery.open(twelve, encoder=known_voices) as gallery:
        assert [finding for finding in gallery.check().findings if "checksum" in finding]
        with pytest.raises(GalleryDamaged, match="checksum"):
            gallery.verify("person a", "a0") if table == "voiceprint" else gallery.enroll("person a", "a9")


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        ("UPDATE voiceprint SET vector = 7", lambda gallery: gallery.identify("a0")),
        ("UPDATE voiceprint SET vector = ''", lambda gallery: gallery.verify("person a", "a0")),
        ("UPDATE voiceprint SET vector_crc32 = 'x'", lambda gallery: gallery.identify("a0")),
        ("UPDATE gallery SET generation = 'x'", lambda gallery: gallery.identify("a0")),
        ("UPDATE gallery SET generation = 'x'", lambda gallery: gallery.remove("person a")),
        ("UPDATE gallery SET uuid = x'00'", lambda gallery: gallery.identify("a0")),
        ("UPDATE encoder SET dimension = 'x'", lambda gallery: gallery.identify("a0")),
        ("UPDATE speaker SET created = x'00'", lambda gallery: gallery.speakers()),
        ("UPDATE enrollment SET quality = '{'", lambda gallery: gallery.speakers(enrollments=True)),
        ("UPDATE enrollment SET quality = x'ff'", lambda gallery: gallery.speakers(enrollments=True)),
        ("UPDATE enrollment SET net_speech_s = 'x'", lambda gallery: gallery.speakers(enrollments=True)),
        ("UPDATE enrollment SET source = x'00'", lambda gallery: gallery.speakers(enrollments=True)),
        ("DELETE FROM voiceprint WHERE speaker_id = 1", lambda gallery: gallery.verify("person a", "a0")),
        ("DELETE FROM voiceprint WHERE speaker_id = 1", lambda gallery: gallery.identify("a0")),
        ("DELETE FROM speaker WHERE id = 1", lambda gallery: gallery.identify("a0")),
        ("DELETE FROM gallery", lambda gallery: gallery.remove("person a")),
        ("UPDATE gallery SET generation = 9223372036854775807", lambda gallery: gallery.remove("person a")),
        ("UPDATE gallery SET generation = 9223372036854775807", lambda gallery: gallery.check()),
        ("UPDATE encoder SET dimension = -1", lambda gallery: gallery.rebuild()),
        ("UPDATE voiceprint SET count = -126", lambda gallery: gallery.identify("a0")),
        ("UPDATE voiceprint SET count = -126", lambda gallery: gallery.verify("person a", "a0")),
        ("UPDATE enrollment SET net_speech_s = 1e308", lambda gallery: gallery.identify("a0")),
        ("UPDATE enrollment SET net_speech_s = 1e154", lambda gallery: gallery.verify("person a", "a0")),
        ("UPDATE enrollment SET net_speech_s = 1e154", lambda gallery: gallery.speakers()),
        ("UPDATE enrollment SET net_speech_s = -99.0", lambda gallery: gallery.enroll("person a", "a9")),
        ("UPDATE speaker SET id = 99 WHERE id = 1", lambda gallery: gallery.doctor()),
        ("UPDATE speaker SET id = 99 WHERE id = 1", lambda gallery: gallery.calibrate()),
        ("UPDATE enrollment SET speaker_id = 'x' WHERE id = 1", lambda gallery: gallery.doctor()),
        ("UPDATE enrollment SET speaker_id = 'x' WHERE id = 1", lambda gallery: gallery.calibrate()),
        ("DROP TABLE voiceprint", lambda gallery: gallery.identify("a0")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("snapshot", [True, False], ids=["with snapshot", "without"])
def test_a_row_that_is_not_what_was_written_is_damage(twelve, known_voices, statement, use, snapshot):
    if not snapshot:
        shutil.rmtree(twelve / "index")
    change(twelve / FILE, statement.replace("''", "x''"))
    with Gallery.open(twelve, encoder=known_voices) as gallery, pytest.raises(GalleryDamaged):
        use(gallery)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("quality", f'{{"snr_db": 1{"0" * 400}}}'),
        ("quality", '{"snr_db": "x"}'),
        ("quality", '{"snr_db": 1e999}'),
        ("quality", '{"snr db": 1.0}'),
        ("quality", "[" * 100_000),
        ("quality", "[]"),
        ("audio_sha256", "Z" * 64),
        ("created", "yesterday"),
        ("net_speech_s", -1.0),
        ("net_speech_s", 6.25),  # a bit of what was written has flipped
        ("source", "a\nb"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_known_of_a_recording_and_is_not_what_was_written_is_damage_to_all_who_read_it(
    twelve, known_voices, tmp_path, column, value
):
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(twelve / FILE)) as connection, connection:
        connection.execute(f"UPDATE enrollment SET {column} = ? WHERE id = 1", (value,))
    with Gallery.open(twelve, encoder=known_voices) as gallery:
        with pytest.raises(GalleryDamaged):
            gallery.speakers(enrollments=True)
        with pytest.raises(GalleryDamaged):
            gallery.export(tmp_path / "archive")
        [finding] = gallery.check().findings
        assert "recording 1 is not what was written" in finding and "\n" not in finding
        gallery.remove_enrollment(1)
        assert gallery.check().findings == []


def test_an_error_that_somebody_keeps_holds_nothing_of_the_gallery(twelve, known_voices, tmp_path):
    change(twelve / FILE, "UPDATE enrollment SET quality = '[]' WHERE id = 1")
    with Gallery.open(twelve, encoder=known_voices) as gallery:
        with pytest.raises(GalleryDamaged) as kept:
            gallery.export(tmp_path / "archive")
        assert gallery.remove_enrollment(1).log_erased
        assert gallery.check().findings == []
    assert kept.value.__traceback__ is not None


def test_a_speaker_whose_seconds_are_damaged_can_be_removed(twelve, known_voices):
    change(twelve / FILE, "UPDATE enrollment SET net_speech_s = -1.0 WHERE id = 1")
    with Gallery.open(twelve, encoder=known_voices) as gallery:
        assert gallery.remove("person a").speaker_removed
        assert gallery.check().findings == []


def test_a_gallery_whose_ids_are_used_up_takes_no_import(twelve, known_voices, tmp_path):
    with Gallery.open(tmp_path / "other", encoder=known_voices) as other:
        other.enroll("zoe", "zoe 0")
        other.export(tmp_path / "archive")
    change(twelve / FILE, "UPDATE sqlite_sequence SET seq = 9223372036854775807")
    with Gallery.open(twelve, encoder=known_voices) as gallery, pytest.raises(GalleryDamaged):
        gallery.import_archive(tmp_path / "archive")


def expected(probe: str) -> dict[str, float]:
    """Exact distances by name."""
    vector = voice(probe).astype(float)
    return {name: float(np.linalg.norm(vector - voiceprint(name))) for name in PEOPLE}


Answer = TypeVar("Answer")


@dataclass
class Trial:
    """Everything that can be asked of a damaged gallery; each answer is right or an error of the tree."""

    folder: Path
    encoder: KnownVoices
    errors: int = 0

    def run(self) -> int:
        """How many of the questions ended in an error."""
        for ask in (self.look, self.listen, self.change, self.look, self.listen):
            gallery = self.tried(lambda: Gallery.open(self.folder, encoder=self.encoder, index="numpy"))
            if gallery is not None:
                with gallery:
                    ask(gallery)
        return self.errors

    def tried(self, use: Callable[[], Answer]) -> Answer | None:
        try:
            return use()
        except SpeakerdbError as error:
            assert "\n" not in str(error)
            self.errors += 1
            return None

    def look(self, gallery: Gallery) -> None:
        listed = self.tried(gallery.speakers)
        if listed is not None:
            assert {entry.speaker for entry in listed} <= {*PEOPLE, "new", "renamed"}
        self.tried(lambda: gallery.speakers(enrollments=True))
        self.tried(gallery.check)

    def listen(self, gallery: Gallery) -> None:
        for probe in ("c0", "h1", "stranger"):
            right = expected(probe)
            found = self.tried(lambda probe=probe: gallery.identify(probe, top=3, threshold=NEAR))
            if found is not None:
                nearest = min((distance, name) for name, distance in right.items())
                listed = [(candidate.distance, candidate.speaker) for candidate in found.candidates]
                for distance, name in listed:
                    if name in right:
                        assert abs(distance - right[name]) < 1e-6
                if probe != "stranger":
                    assert found.speaker == nearest[1]
                else:
                    assert found.speaker is None
            for name in ("person c", "person h"):
                verified = self.tried(lambda n=name, p=probe: gallery.verify(n, p, threshold=NEAR))
                if verified is not None:
                    assert abs(verified.distance - right[name]) < 1e-6

    def change(self, gallery: Gallery) -> None:
        self.tried(lambda: gallery.enroll("new", "new 1"))
        renamed = self.tried(lambda: gallery.rename("person b", "renamed"))
        self.tried(lambda: gallery.remove("person a"))
        if renamed is not None:  # else a recording less would rightly be another distance of person b
            self.tried(lambda: gallery.remove_enrollment(3))
        self.tried(gallery.rebuild)


def damaged_at(whole: bytes, trials: int, seed: int) -> Iterator[tuple[int, int]]:
    """Positions and bits; three quarters where something is written, the rest anywhere."""
    rng = np.random.default_rng(seed)
    written = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for trial in range(trials):
        position = rng.integers(len(whole)) if trial % 4 == 0 else rng.choice(written)
        yield int(position), int(rng.integers(8))


@pytest.mark.slow
@pytest.mark.parametrize("snapshot", [True, False], ids=["with snapshot", "without"])
def test_a_database_with_a_flipped_bit_gives_right_answers_or_an_error(twelve_once, tmp_path, known_voices, snapshot):
    whole = (twelve_once / FILE).read_bytes()
    told = 0
    for trial, (position, bit) in enumerate(damaged_at(whole, 35, seed=int(snapshot))):
        folder = shutil.copytree(twelve_once, tmp_path / str(trial))
        if not snapshot:
            shutil.rmtree(folder / "index")
        flip(folder / FILE, position, bit)
        try:
            told += Trial(folder, known_voices).run() > 0
        except Exception as error:
            raise AssertionError(f"bit {bit} of byte {position} flipped") from error
    assert told  # some of it was felt; how much depends on where SQLite put what


def test_a_database_cut_short_gives_right_answers_or_an_error(twelve_once, tmp_path, known_voices):
    whole = (twelve_once / FILE).read_bytes()
    lengths = [1, 15, 16, 99, 100, 511, 512, *range(4095, len(whole), len(whole) // 12)]
    for length in lengths:
        folder = shutil.copytree(twelve_once, tmp_path / str(length))
        (folder / FILE).write_bytes(whole[:length])
        try:
            told = Trial(folder, known_voices).run()
        except Exception as error:
            raise AssertionError(f"cut to {length} of {len(whole)} bytes") from error
        assert told or length > len(whole) - 4096  # less than a page may hold nothing
