"""What a gallery costs beside what it stands on: starting, opening, asking, adding, removing, at any size, in one run.

    python -m benchmarks.answering --corpora ../shared/corpora --work ../work --sizes 10000,100000,1000000

Galleries of `benchmarks.voices`, written as an import writes them, kept in `work` for the next time. Beside them:
a bare script that imports what `speakerdb verify` needs, loads the encoder and embeds the same clip; the raw index's
search with the candidates' rows read by `sqlite3` and their exact distances, without decisions; and with their scores.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.search import memory
from benchmarks.voices import Voices, real_voices, with_fillers
from speakerdb import Encoder, Gallery, settings
from speakerdb.calibration.cohort import normalised
from speakerdb.cli.output import NO, YES
from speakerdb.embedding import Vectors, distances
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.utterance import Utterance
from speakerdb.gallery.opened import identity_of
from speakerdb.store import binding, database, gallery_file, importing
from speakerdb.store.archive import Line
from speakerdb.store.archive_reading import Archived
from speakerdb.store.importing import Newcomer

EXAMPLES = Path(__file__).parent.parent / "examples"
CLIP = EXAMPLES / "ana_4.wav"
QUERIES = 400
BATCH = 2000
STARTS = 15
BARE = """
import click, numpy, onnxruntime, soundfile, soxr, sqlalchemy, sys
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
samples, rate = soundfile.read(sys.argv[2], dtype="float32")
samples = soxr.resample(samples, rate, 16000).astype("float32")
session.run(None, {"waveform": samples[None]})
"""
ROWS = """
    SELECT speaker.id, speaker.name, voiceprint.vector FROM json_each(?) AS wanted
    CROSS JOIN speaker ON speaker.id = wanted.value CROSS JOIN voiceprint ON voiceprint.speaker_id = speaker.id
"""


def made(folder: Path, voices: Vectors) -> None:
    """A gallery of `speaker 1` and so on, unless it is there already."""
    if (folder / "whole").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    card = Encoder.load().card
    store = gallery_file.create(folder / database.FILE)
    for start in range(0, len(voices), BATCH):
        newcomers = [_newcomer(number, voices[number]) for number in range(start, min(start + BATCH, len(voices)))]
        with store.writing() as connection:
            if start == 0:
                binding.bind(connection, identity_of(card))
            binding.record_change(connection, importing.write_all(connection, newcomers))
    store.close()
    (folder / "whole").touch(mode=0o600)


def _newcomer(number: int, vector: np.ndarray) -> Newcomer:
    name, now, sound = (
        f"speaker {number + 1}",
        "2026-01-01T00:00:00+00:00",
        hashlib.sha256(vector.tobytes()).hexdigest(),
    )
    line = Line(name, now, f"{number + 1}.wav", sound, 2.5, {"duration_s": 3.0, "net_speech_s": 2.5}, now)
    return Newcomer(name, None, [Archived(line, vector, None)])


def starting(folder: Path, console: Console) -> None:
    """The whole process of `speakerdb verify` beside a bare script, in turns."""
    model = find_bundle(None) / "encoder.onnx"
    bare = [sys.executable, "-c", BARE, str(model), str(CLIP), str(settings.threads())]
    ours = [sys.executable, "-m", "speakerdb.cli.main", "verify", "speaker 1", str(CLIP), "--gallery", str(folder)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(STARTS):
        for command, into in zip((bare, ours), times, strict=True):
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=False)
            into.append(time.perf_counter() - began)
            if done.returncode not in (YES, NO):
                raise RuntimeError(done.stderr.decode())
    first, second = (float(np.median(one)) * 1e3 for one in times)
    console.print(f"verify, whole process: {second:.0f} ms; bare script {first:.0f} ms; ratio {second / first:.2f}")


def staying(folder: Path, console: Console) -> None:
    """`verify` of an open gallery beside its encoder alone."""
    with Gallery.open(folder) as gallery:
        encoder = gallery.encoder
        times = in_turns([lambda: encoder.probe(CLIP), lambda: gallery.verify("speaker 1", CLIP)], 60)
    console.print(f"verify, gallery open: {times[1]:.2f} ms; the encoder alone {times[0]:.2f} ms")


def in_turns(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Medians in milliseconds."""
    times = np.empty((rounds, len(calls)))
    for row in times:
        for place, call in enumerate(calls):
            began = time.perf_counter()
            call()
            row[place] = time.perf_counter() - began
    return [float(one) * 1e3 for one in np.median(times, axis=0)]


def asking(folder: Path, voices: Voices, heard: Utterance) -> list[float]:
    """Opening and the medians of one query and change at a time."""
    before = memory()
    began = time.perf_counter()
    gallery = Gallery.open(folder)
    gallery.nearest(voices.probes[0])
    opening = time.perf_counter() - began
    size = len(gallery._view._index or [])
    used = (memory() - before) / size
    index, encoder = gallery._view._index, gallery.encoder
    rows = sqlite3.connect(folder / database.FILE)
    probes = iter(np.tile(voices.probes[np.random.default_rng(3).permutation(len(voices.probes))], (3, 1)))
    current = [next(probes)]

    def raw() -> Vectors:
        current[0] = next(probes)
        ids = index.search(current[0][None], settings.RESCORED)[0][0]  # type: ignore[union-attr]
        found = rows.execute(ROWS, (json.dumps(ids.tolist()),)).fetchall()
        vectors = np.stack([np.frombuffer(row[2], np.float32) for row in found])
        np.argsort(distances(current[0], vectors))
        return vectors

    def scored() -> None:
        vectors, cohort = raw(), encoder.cohort
        if cohort is not None:
            normalised(vectors @ current[0], cohort.norms(current[0][None]), cohort.norms(vectors))

    def ours() -> None:
        current[0] = next(probes)
        gallery.identify(dataclasses.replace(heard, vector=current[0]))

    def alone() -> None:
        current[0] = next(probes)
        index.search(current[0][None], settings.RESCORED)  # type: ignore[union-attr]

    times = in_turns([alone, raw, scored, ours], QUERIES)
    number = iter(range(size, size + 1000))

    def add() -> None:
        store, one = gallery._writable(), next(number)
        vector = np.random.default_rng(one).permutation(voices.probes[one % len(voices.probes)])
        with store.writing() as connection:
            binding.record_change(connection, importing.write_all(connection, [_newcomer(one, vector)]))
        assert gallery.nearest(vector, top=1)[0].speaker == f"speaker {one + 1}"

    [adding] = in_turns([add], 40)
    gone = iter(range(size, size + 1000))
    [removing] = in_turns([lambda: gallery.remove(f"speaker {next(gone) + 1}")], 40)
    began = time.perf_counter()
    gallery.close()
    closing = time.perf_counter() - began
    return [opening, used, *times, times[3] / times[1], times[3] / times[2], adding, removing, closing]


COLUMNS = (
    "open s",
    "bytes",
    "index",
    "+ rows",
    "+ scores",
    "identify",
    "/ rows",
    "/ scores",
    "add",
    "remove",
    "close s",
)


def main() -> None:
    """Print a row a size, and what starting costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    given = parser.parse_args()
    console = Console(width=150)
    sizes = [int(size) for size in given.sizes.split(",")]
    real = real_voices(given.corpora, given.work, console)
    voices = with_fillers(real.enrolled, max(sizes))
    console.print(f"{len(voices):,} voices are ready, {len(real.enrolled):,} of them real")
    heard = Encoder.load().probe(CLIP)
    table = Table("voices", *COLUMNS, title="milliseconds, medians, but where it says seconds or bytes a voice")
    for size in sizes:
        folder = given.work / "galleries" / str(size)
        made(folder, voices[:size])
        with Gallery.open(folder) as gallery:
            began = time.perf_counter()
            done = gallery.rebuild()
            console.print(f"{size:,}: rebuilt ({done.kind}) in {time.perf_counter() - began:.1f} s")
        if size == sizes[0]:
            starting(folder, console)
            staying(folder, console)
        found = asking(folder, real, heard)
        table.add_row(f"{size:,}", *(f"{number:.3g}" for number in found))
        console.print(f"{size:,}: {dict(zip(COLUMNS, np.round(found, 3).tolist(), strict=True))}")
    console.print(table)


if __name__ == "__main__":
    main()
