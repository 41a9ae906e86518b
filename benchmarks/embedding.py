"""Embedding many clips, enrolling and asking by lists, beside a bare ONNX loop, in one run.

    python -m benchmarks.embedding ../shared/corpora/common_voice-test.tar [--clips 400] [--form wav] [--encoder NAME]

The bare loop has the samples in memory already and gives every core one clip at a time, as all that it is compared with
does. What comes on top is named: decoding and resampling, then speech detection, then the gallery; listening for other
voices, where nobody forces. Ratios are to the bare loop. `--form wav` and `flac` write the clips anew, 16 kHz, 16 bits.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from speakerdb import Encoder, Gallery, settings
from speakerdb.audio import read
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.runtime import Runtime
from speakerdb.errors import TooLittleSpeech

RELEASED = "as released"
UNCALIBRATED = 1.0
"""The distance to decide by where an encoder has none."""
Ways = dict[str, Callable[[], object]]


def main() -> None:
    """Time each way over the same clips, in turns, and print a line each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("archive", type=Path)
    options.add_argument("--clips", type=int, default=400)
    options.add_argument("--form", choices=(RELEASED, "wav", "flac"), default=RELEASED)
    options.add_argument("--encoder", default=None)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    bundle = open_bundle(find_bundle(given.encoder))
    encoder = Encoder(bundle)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = usable(encoder, unpacked(given.archive, folder / "clips", given.clips, given.form))
        samples = [read(path, bundle.card.rate_hz).samples for path in paths]
        ways = {**bare_loops(encoder, paths, samples), **galleries(encoder, paths, folder)}
        taken = in_turns(ways, given.rounds)
        few, many = (peak_mb(bundle.folder, paths, times) for times in (1, 4))
    audio_s = sum(map(len, samples)) / bundle.card.rate_hz
    print(f"{len(paths)} clips, {given.form}, {audio_s:.0f} s, {settings.threads()} cores, encoder {bundle.card.id}")
    bare = next(iter(taken.values()))
    for name, took in taken.items():
        rate, real_time = len(paths) / took, audio_s / took
        print(f"{name:34s} {rate:7.1f} clips/s  {real_time:6.0f} × real time  ratio {bare / took:.2f}")
    print(f"peak memory of embed_many: {len(paths)} clips {few:.0f} MB, {4 * len(paths)} clips {many:.0f} MB")


def bare_loops(encoder: Encoder, paths: list[Path], samples: list) -> Ways:
    """The graph alone, and what feeds it, on all cores."""
    runtime, rate_hz = Runtime(encoder._bundle, threads=1), encoder.card.rate_hz

    def over(work: Callable[[object], object], items: list) -> None:
        with ThreadPoolExecutor(settings.threads()) as pool:
            list(pool.map(work, items))

    return {
        "bare ONNX loop, samples in memory": lambda: over(lambda clip: runtime.vectors([clip]), samples),
        "and decoding": lambda: over(lambda path: runtime.vectors([read(path, rate_hz).samples]), paths),
        "Encoder.embed_many": lambda: deque(encoder.embed_many(paths), 0),
    }


def galleries(encoder: Encoder, paths: list[Path], folder: Path) -> Ways:
    """Enrolling by a manifest into a new gallery each time, and asking one that stays."""
    manifest, numbers = folder / "people.tsv", itertools.count()
    manifest.write_text("".join(f"{path.parent.name}\t{path}\n" for path in paths))

    def enrolled(force: bool) -> Gallery:
        gallery = Gallery.open(folder / f"people {next(numbers)}", encoder)
        gallery.enroll_manifest(manifest, force=force)
        return gallery

    asked, line = enrolled(force=True), None if encoder.card.calibration else UNCALIBRATED
    return {
        "enroll --manifest": lambda: enrolled(force=False).close(),
        "enroll --manifest --force": lambda: enrolled(force=True).close(),
        "identify --manifest": lambda: deque(asked.identify_many(manifest, threshold=line), 0),
        "verify --trials": lambda: deque(asked.verify_many(manifest, threshold=line), 0),
    }


def in_turns(ways: Ways, rounds: int) -> dict[str, float]:
    """Each way's quickest, in seconds."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    return {name: min(seconds) for name, seconds in taken.items()}


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


def unpacked(archive: Path, folder: Path, count: int, form: str) -> list[Path]:
    """The first so many clips of an archive, as files, a folder a speaker; in another form, at 16 kHz."""
    import soundfile

    paths = []
    with tarfile.open(archive) as tar:
        for member in itertools.islice((member for member in tar if member.isfile()), count):
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
            if form != RELEASED:
                found, path = read(path, 16_000), path.with_suffix(f".{form}")
                soundfile.write(path, found.samples, found.rate_hz, subtype="PCM_16")
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
