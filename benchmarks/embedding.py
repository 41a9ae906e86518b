"""Embedding many clips: `Encoder.embed_many` and `Gallery.enroll` beside a bare ONNX loop, in one run.

    python -m benchmarks.embedding ../shared/corpora/common_voice-test.tar [--clips 400] [--encoder speakerdb-16k]

The bare loop has the samples in memory already and gives every core one clip at a time. What comes on top is named:
decoding and resampling, then speech detection, then the gallery. Ratios are to the bare loop.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from speakerdb import Encoder, Gallery, settings
from speakerdb.audio import read
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.runtime import Runtime
from speakerdb.errors import TooLittleSpeech


def main() -> None:
    """Time each way over the same clips, in turns, and print a line each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("archive", type=Path)
    options.add_argument("--clips", type=int, default=400)
    options.add_argument("--encoder", default=None)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    bundle = open_bundle(find_bundle(given.encoder))
    encoder, runtime, rate_hz = Encoder(bundle), Runtime(bundle, threads=1), bundle.card.rate_hz
    with tempfile.TemporaryDirectory() as folder:
        paths = usable(encoder, unpacked(given.archive, Path(folder), given.clips))
        samples = [read(path, rate_hz).samples for path in paths]
        audio_s = sum(map(len, samples)) / rate_hz
        cores = settings.threads()

        def over(work: Callable[[object], object], items: list) -> None:
            with ThreadPoolExecutor(cores) as pool:
                list(pool.map(work, items))

        def enrolled() -> None:
            with tempfile.TemporaryDirectory() as place, Gallery.open(Path(place) / "people", encoder) as gallery:
                gallery.enroll("everyone", paths, keep_going=True)

        ways = {
            "bare ONNX loop, samples in memory": lambda: over(lambda clip: runtime.vectors([clip]), samples),
            "and decoding": lambda: over(lambda path: runtime.vectors([read(path, rate_hz).samples]), paths),
            "Encoder.embed_many": lambda: list(encoder.embed_many(paths)),
            "Gallery.enroll": enrolled,
        }
        taken = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                taken[name].append(time.perf_counter() - began)
        few, many = (peak_mb(bundle.folder, paths, times) for times in (1, 4))
    print(f"{len(paths)} clips, {audio_s:.0f} s of audio, {cores} cores, encoder {bundle.card.id}")
    bare = min(next(iter(taken.values())))
    for name, seconds in taken.items():
        best = min(seconds)
        print(
            f"{name:36s} {len(paths) / best:7.1f} clips/s  {audio_s / best:6.0f} × real time  ratio {bare / best:.2f}"
        )
    print(f"peak memory of embed_many: {len(paths)} clips {few:.0f} MB, {4 * len(paths)} clips {many:.0f} MB")


def peak_mb(encoder: Path, paths: list[Path], times: int) -> float:
    """Most memory of a process that embeds these clips so many times over."""
    script = (
        "import resource, sys\n"
        "from speakerdb import Encoder\n"
        "paths = sys.stdin.read().split('\\n')\n"
        "clips = (path for _ in range(int(sys.argv[2])) for path in paths)\n"
        "assert sum(1 for _ in Encoder.load(sys.argv[1]).embed_many(clips)) == len(paths) * int(sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    command = [sys.executable, "-c", script, str(encoder), str(times)]
    listed = "\n".join(map(str, paths))
    return float(subprocess.run(command, input=listed, capture_output=True, text=True, check=True).stdout)


def unpacked(archive: Path, folder: Path, count: int) -> list[Path]:
    """The first so many clips of an archive, as files."""
    paths = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and len(paths) < count:
                path = folder / f"{len(paths):05d}{Path(member.name).suffix}"
                path.write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
                paths.append(path)
    return paths


def usable(encoder: Encoder, paths: list[Path]) -> list[Path]:
    """Those with speech enough; this also warms everything up."""
    found = []
    for path, future in zip(paths, encoder.enrollments(paths), strict=True):
        try:
            future.result()
            found.append(path)
        except TooLittleSpeech:
            pass
    return found


if __name__ == "__main__":
    main()
