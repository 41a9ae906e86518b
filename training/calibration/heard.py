"""Clips of a corpus as the program hears users' clips: a vector and the seconds of speech in each, kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from speakerdb.audio import Samples, read
from speakerdb.embedding import Vectors, average
from speakerdb.encoder.bundle import Bundle
from speakerdb.encoder.runtime import Runtime
from speakerdb.encoder.utterance import hear
from speakerdb.errors import InputError
from speakerdb.speech_detector import MODEL_SHA256
from training.corpora import Clip, open_corpus
from training.evaluation.cut import middle
from training.evaluation.embed import watched
from training.evaluation.run import encoder_hash
from training.kept import kept, read_arrays, write_arrays

WHOLE = "whole"
JOINED = "joined"
"""Two clips of a speaker, one after the other: longer than any clip alone."""

WORKERS = 2
AHEAD = 16


@dataclass(frozen=True)
class Heard:
    """What was heard of a set, one row a recording; those without any speech are left out.

    Attributes:
        vectors: float32 [n, dimension]. speech_s: float64 [n], net speech.
        speakers, languages: [n]. clips: of each row, the paths of what it was made from, joined by a tab.
    """

    vectors: Vectors
    speech_s: npt.NDArray[np.float64]
    speakers: npt.NDArray[np.str_]
    languages: npt.NDArray[np.str_]
    clips: npt.NDArray[np.str_]

    def voiceprints(self) -> Vectors:
        """Every speaker's average, by name."""
        names, owner = np.unique(self.speakers, return_inverse=True)
        return np.stack([average(self.vectors[owner == i]) for i in range(len(names))])


def heard(archive: Path, bundle: Bundle, kind: str, folder: Path, console: Console) -> Heard:
    """The set's recordings heard by an encoder, from `folder` where that was done before.

    Args: kind: `whole`, `joined`, or seconds (`1`, `2.5`) of which the middle of each clip is taken.
    Raises: ValueError or OSError for an archive that cannot be used.
    """
    corpus = open_corpus(str(archive))
    heard_by = f"{encoder_hash(bundle.card)} {MODEL_SHA256}"  # the encoder, and what finds the speech
    key = hashlib.sha256(f"{corpus.fingerprint()} {heard_by} {kind}".encode()).hexdigest()[:16]
    file = folder / f"{archive.stem}-{kind}-{key}.npz"
    if (before := kept(file, lambda saved: Heard(**read_arrays(saved)), console)) is not None:
        return before
    rows = corpus.rows()
    clips: Iterator[Clip] = watched(corpus.clips(rows), len(rows), f"{archive.stem}, {kind}", console)
    rate_hz = bundle.card.rate_hz
    found = _hear_all(
        _joined(clips, rate_hz) if kind == JOINED else _cut(clips, kind, rate_hz), Runtime(bundle, threads=1)
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_arrays(file, **vars(found))
    return found


Piece = tuple[str, Clip, Samples]


def _cut(clips: Iterator[Clip], kind: str, rate_hz: int) -> Iterator[Piece]:
    for clip in clips:
        samples = read(clip.audio, rate_hz).samples
        yield clip.path, clip, samples if kind == WHOLE else middle(samples, round(float(kind) * rate_hz))


def _joined(clips: Iterator[Clip], rate_hz: int) -> Iterator[Piece]:
    waiting: dict[str, tuple[Clip, Samples]] = {}
    for clip in clips:
        samples = read(clip.audio, rate_hz).samples
        if clip.speaker in waiting:
            first, before = waiting.pop(clip.speaker)
            yield f"{first.path}\t{clip.path}", clip, np.concatenate([before, samples])
        else:
            waiting[clip.speaker] = clip, samples


def _hear_all(pieces: Iterator[Piece], runtime: Runtime) -> Heard:
    rows = []
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: list[tuple[str, Clip, Future[tuple[Vectors, float] | None]]] = []
        for path, clip, samples in pieces:
            waiting.append((path, clip, pool.submit(_hear, runtime, samples)))
            if len(waiting) > AHEAD:
                rows.append(waiting.pop(0))
        rows += waiting
        done = [(path, clip, future.result()) for path, clip, future in rows]
    kept = [(path, clip, *result) for path, clip, result in done if result is not None]
    if not kept:
        raise InputError("there is no clip with speech in it")
    return Heard(
        np.stack([vector for _, _, vector, _ in kept]),
        np.array([speech_s for _, _, _, speech_s in kept]),
        np.array([clip.speaker for _, clip, _, _ in kept]),
        np.array([clip.language for _, clip, _, _ in kept]),
        np.array([path for path, _, _, _ in kept]),
    )


def _hear(runtime: Runtime, samples: Samples) -> tuple[Vectors, float] | None:
    try:
        utterance = hear(runtime, samples, 0.0, "compare", runtime.card.rate_hz)
    except InputError:  # no speech in it: nobody would get an answer
        return None
    return utterance.vector, utterance.quality.net_speech_s
