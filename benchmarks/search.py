"""One query among ten thousand, a hundred thousand and a million voices: ours beside what else there is, in one run.

    python -m benchmarks.search --corpora ../shared/corpora --work ../work --out search

Voices are those of `benchmarks.voices`; a query is another recording of somebody who is enrolled. The nearest are
compared with an exact float32 scan's. Times are of one query at a time, one engine after the other, warmed up by ten,
on one thread but for batches.
usearch and sherpa-onnx are the extra `bench`; what is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.voices import real_voices, with_fillers
from speakerdb.embedding import Vectors
from speakerdb.gallery.view import SPARE
from speakerdb.index import inverted_file
from speakerdb.index.engine import kind_for, make_index
from speakerdb.index.numpy_index import NumpyIndex
from speakerdb.index.protocol import VectorIndex

QUERIES = 500
TOP = 10
WARM_UP = 10
LARGEST = {"sherpa-onnx": 100_000, "usearch": 1_000_000, "NumPy": 1_000_000}
"""Beyond which an engine takes minutes for its turn."""


@dataclass(frozen=True)
class Measured:
    """An engine at one size: seconds, bytes a voice, milliseconds, and shares of what an exact scan finds."""

    engine: str
    size: int
    build_s: float
    bytes_a_voice: float
    p50_ms: float
    p99_ms: float
    batch_a_second: float
    recall_1: float
    recall_10: float
    add_ms: float
    remove_ms: float


@dataclass
class Engine:
    """How to ask it: [queries, dimension] → ids [queries, n]; change: add one voice, and take it out."""

    name: str
    build_s: float
    bytes_a_voice: float
    search: Callable[[Vectors], npt.NDArray[np.int64]]
    add: Callable[[int, Vectors], Any]
    remove: Callable[[int], Any]


def engines(voices: Vectors, only: str = "") -> Iterator[Engine]:
    """Each, built, one after the other."""
    size, ids = len(voices), np.arange(len(voices))
    kinds = ["faiss-flat"] if kind_for("auto", size) == "faiss-flat" else ["faiss-ivf", "faiss-flat"]
    for kind in kinds:
        if only not in f"speakerdb, {kind}":
            continue
        before, began = memory(), time.perf_counter()
        index: VectorIndex = make_index(kind, voices.shape[1]) if kind == "faiss-flat" else trained(voices)
        for start in range(0, size, 4096):
            index.add(ids[start : start + 4096], voices[start : start + 4096])
        yield _ours(index, f"speakerdb, {kind}", time.perf_counter() - began, (memory() - before) / size)
        del index
    if size <= LARGEST["NumPy"] and only in "NumPy":
        before, began = memory(), time.perf_counter()
        plain = NumpyIndex(voices.shape[1])
        plain.add(ids, voices)
        yield _ours(plain, "NumPy", time.perf_counter() - began, (memory() - before) / size)
        del plain
    if only in "usearch" and importlib.util.find_spec("usearch") and size <= LARGEST["usearch"]:
        yield _usearch(voices, ids)
    if only in "sherpa-onnx" and importlib.util.find_spec("sherpa_onnx") and size <= LARGEST["sherpa-onnx"]:
        yield _sherpa(voices)


def trained(voices: Vectors) -> VectorIndex:
    """An inverted file without voices, trained on some of these."""
    chosen = np.random.default_rng(0).choice(len(voices), inverted_file.training_size(len(voices)), replace=False)
    return inverted_file.trained(voices[chosen], len(voices))


def _ours(index: VectorIndex, name: str, build_s: float, bytes_a_voice: float) -> Engine:
    return Engine(
        name,
        build_s,
        bytes_a_voice,
        lambda queries: index.search(queries, TOP + SPARE)[0],
        lambda number, voice: index.add(np.array([number]), voice[None]),
        lambda number: index.remove(np.array([number])),
    )


def _usearch(voices: Vectors, ids: npt.NDArray[np.int64]) -> Engine:
    from usearch.index import Index

    before, began = memory(), time.perf_counter()
    index = Index(ndim=voices.shape[1], metric="ip", dtype="i8")
    index.add(ids, voices, threads=2)

    def search(queries: Vectors) -> npt.NDArray[np.int64]:
        keys = np.asarray(index.search(queries, TOP + SPARE, threads=1 if len(queries) == 1 else 2).keys)
        return np.atleast_2d(keys).astype(np.int64)

    took = time.perf_counter() - began
    return Engine("usearch, HNSW, 8 bits", took, (memory() - before) / len(voices), search, index.add, index.remove)


def _sherpa(voices: Vectors) -> Engine:
    import sherpa_onnx

    before, began = memory(), time.perf_counter()
    manager = sherpa_onnx.SpeakerEmbeddingManager(voices.shape[1])
    for number, voice in enumerate(voices):
        manager.add(str(number), voice.tolist())

    def search(queries: Vectors) -> npt.NDArray[np.int64]:  # it gives one name, or none, and no score
        return np.array([[int(manager.search(query.tolist(), threshold=-1.0) or -1)] for query in queries])

    took = time.perf_counter() - began
    used = (memory() - before) / len(voices)
    return Engine(
        "sherpa-onnx",
        took,
        used,
        search,
        lambda number, voice: manager.add(str(number), voice.tolist()),
        lambda number: manager.remove(str(number)),
    )


def measured(engine: Engine, voices: Vectors, probes: Vectors, exact: npt.NDArray[np.int64]) -> Measured:
    """Time an engine and hold it to what an exact scan finds."""
    times, first, tenth = [], [], []
    for probe in probes[:WARM_UP]:
        engine.search(probe[None])
    for probe, best in zip(probes, exact, strict=True):
        began = time.perf_counter()
        found = engine.search(probe[None])[0]
        times.append(time.perf_counter() - began)
        near = found[found >= 0]
        near = near[np.argsort(-(voices[near] @ probe))][:TOP]  # as the gallery does, from the stored vectors
        first.append(near[0] == best[0])
        tenth.append(len({*near.tolist()} & {*best.tolist()}) / TOP)
    began = time.perf_counter()
    engine.search(probes)
    batch = len(probes) / (time.perf_counter() - began)
    changes: list[list[float]] = [[], []]
    for number in range(len(voices), len(voices) + 50):
        for place, change in enumerate((lambda n=number: engine.add(n, probes[0]), lambda n=number: engine.remove(n))):
            began = time.perf_counter()
            change()
            changes[place].append(time.perf_counter() - began)
    p50, p99 = np.quantile(times, [0.5, 0.99]) * 1e3
    add_ms, remove_ms = (float(np.median(one)) * 1e3 for one in changes)
    recall = float(np.mean(first)), float(np.mean(tenth)) if engine.name != "sherpa-onnx" else float("nan")
    return Measured(
        engine.name, len(voices), engine.build_s, engine.bytes_a_voice, p50, p99, batch, *recall, add_ms, remove_ms
    )


def exactly(voices: Vectors, probes: Vectors) -> npt.NDArray[np.int64]:
    """The ten nearest of each, by an exact scan in blocks."""
    best = np.full((len(probes), TOP), -1)
    cosines = np.full((len(probes), TOP), -2.0, np.float32)
    for start in range(0, len(voices), 50_000):
        block = probes @ voices[start : start + 50_000].T
        both = np.concatenate([cosines, block], axis=1)
        numbers = np.concatenate([best, np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)], axis=1)
        order = np.argsort(-both, axis=1)[:, :TOP]
        best, cosines = np.take_along_axis(numbers, order, axis=1), np.take_along_axis(both, order, axis=1)
    return best


def memory() -> int:
    """Bytes that this process has in memory now."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def picture(rows: list[Measured], file: Path) -> None:
    """Cost against size, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for name in dict.fromkeys(row.engine for row in rows):
        own = [row for row in rows if row.engine == name]
        sizes = [row.size for row in own]
        axes[0].loglog(sizes, [row.p50_ms for row in own], marker="o", label=name)
        axes[1].loglog(sizes, [row.build_s for row in own], marker="o", label=name)
    axes[0].set(xlabel="speakers", ylabel="one query, median, ms")
    axes[1].set(xlabel="speakers", ylabel="building, s")
    for axis in axes:
        axis.grid(visible=True, which="both", alpha=0.2)
    axes[0].legend(frameon=False)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Measure every engine at every size, print the table, and keep it with a picture of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--only", default="", help="engines whose name has this in it")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    console = Console(width=150)
    sizes = [int(size) for size in given.sizes.split(",")]
    real = real_voices(given.corpora, given.work, console)
    everybody = with_fillers(real.enrolled, max(sizes))
    console.print(f"{len(everybody):,} voices are ready, {len(real.enrolled):,} of them real")
    probes = real.probes[np.random.default_rng(0).permutation(len(real.probes))]
    table = Table(
        "engine", "voices", "build s", "bytes", "p50 ms", "p99 ms", "batch/s", "r@1", "r@10", "add ms", "remove ms"
    )
    rows = []
    for size in sizes:
        voices = everybody[:size]
        asked = probes if size == max(sizes) else probes[:QUERIES]
        exact = exactly(voices, asked)
        for engine in engines(voices, given.only):
            slow = "ivf" not in engine.name and size > 100_000
            some = asked[: QUERIES // 5] if slow else asked
            row = measured(engine, voices, some, exact[: len(some)])
            rows.append(row)
            name, count, *numbers = asdict(row).values()
            table.add_row(name, f"{count:,}", *(f"{number:.4g}" for number in numbers))
            console.print(f"{name}, {count:,}: {row.p50_ms:.3g} ms")
    console.print(table)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "search.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    picture(rows, given.out / "search.png")


if __name__ == "__main__":
    main()
