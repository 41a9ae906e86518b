"""Galleries as several test files want them: made of ready vectors, listed, searched for what a removal left."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from speakerdb import Encoder, Gallery
from speakerdb.embedding import normalize
from speakerdb.gallery.opened import identity_of
from speakerdb.store import binding, database, gallery_file, records, voiceprints
from speakerdb.store.records import NewEnrollment

ALL = 2.0
"""A threshold that accepts everybody."""

PEOPLE = {"ana": ["ana_1", "ana_2"], "ben": ["ben_1"], "eva": ["eva_1"]}


def listed(gallery: Gallery) -> dict[str, int]:
    return {entry.speaker: entry.enrollments for entry in gallery.speakers()}


def ready(folder: Path, encoder: Encoder, voices: dict[str, list[np.ndarray]]) -> None:
    """A gallery of ready vectors, written through the store alone."""
    card = encoder.card
    store = gallery_file.create(folder / database.FILE)
    with store.writing() as connection:
        binding.bind(connection, identity_of(card))
    for name, vectors in voices.items():
        with store.writing() as connection:
            speaker = records.add_speaker(connection, name)
            for vector in vectors:
                records.add_enrollment(connection, speaker, recording_of(vector))
            voiceprints.refresh(connection, speaker, added=len(vectors))
            binding.record_change(connection, [speaker])
    store.close()


def recording_of(vector: np.ndarray) -> NewEnrollment:
    digest = hashlib.sha256(vector.tobytes()).hexdigest()
    return NewEnrollment(f"recording {digest[::-1][:24]}.wav", digest, 2.0, {"snr_db": 30.0}, vector)


def pieces(*secrets: bytes) -> set[bytes]:
    """Every sixteen bytes of secrets: any stretch of 31 of their bytes holds one of these."""
    return {secret[at : at + 16] for secret in secrets for at in range(0, len(secret) - 15, 16)}


def left_in(folder: Path, secrets: set[bytes]) -> list[str]:
    """Where any of the pieces stands, byte by byte through every file."""
    heads = np.array([int.from_bytes(piece[:8], "little") for piece in secrets], np.uint64)
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for shift in range(min(8, len(content) // 8)):
            words = np.frombuffer(content, "<u8", (len(content) - shift) // 8, shift)
            for at in shift + 8 * np.flatnonzero(np.isin(words, heads)):
                if content[at : at + 16] in secrets:
                    found.append(f"{path.name} at {at}: {content[at : at + 16]!r}")
    return found


def many_people(folder: Path, count: int = 40, seed: int = 0) -> Gallery:
    """Made-up people, three recordings each, whose vectors are the program's to read."""
    gallery, rng = Gallery.open(folder), np.random.default_rng(seed)
    card = gallery.encoder.card
    with gallery._writable().writing() as connection:
        binding.bind(connection, identity_of(card))
        for number, voice in enumerate(normalize(rng.normal(size=(count, card.dimension)) + 0.6)):
            speaker = records.add_speaker(connection, f"voice{number}")
            for part, vector in enumerate(normalize(voice + rng.normal(size=(3, card.dimension)) * 0.07)):
                records.add_enrollment(
                    connection,
                    speaker,
                    NewEnrollment(f"{number} {part}", f"{number}-{part}", 2.5, {"duration_s": 3.0}, vector),
                )
            voiceprints.refresh(connection, speaker, added=3)
            binding.record_change(connection, [speaker])
    return gallery
