"""Peak memory of `python -m training prepare` for an archive and for one ten times its size.

    python -m benchmarks.prepare_memory ../shared/corpora/common_voice-test.tar

The argument is a tar of real clips with its table beside it. Both archives have Common Voice's released form; the large
one holds every clip ten times, under other names and of other people. What the program needs before it has read
anything (mostly TensorFlow) is printed beside: it is what the peaks have in common.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from training.corpora import read_clips

TIMES = 10
COLUMNS = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\tlocale\tsegment"


def write_release(clips: Path, out: Path, times: int) -> int:
    """A release with one language; how many clips it holds."""
    rows, count = [COLUMNS], 0
    with tarfile.open(out, "w") as tar:
        for copy in range(times):
            for clip in read_clips(clips):
                name = f"common_voice_xx_{count}.mp3"
                client = hashlib.sha512(f"{copy} {clip.speaker}".encode()).hexdigest()
                rows.append(f"{client}\t{name}\ta sentence of usual length for a row\t2\t0\ttwenties\t\t\txx\t")
                _add(tar, f"release/xx/clips/{name}", clip.audio)
                count += 1
        _add(tar, "release/xx/train.tsv", "\n".join(rows).encode())
    return count


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def peak_of(*arguments: str) -> tuple[float, float]:
    """Peak resident memory of a Python process in MB, and its seconds."""
    report = "import resource, atexit, sys; "
    report += "atexit.register(lambda: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)); "
    began = time.monotonic()
    code = report + "sys.argv = sys.argv[1:]; " + arguments[0]
    command = [sys.executable, "-c", code, *arguments[1:]]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(found.stderr)
    return int(found.stdout.split("peak ")[1]) / 1e3, time.monotonic() - began


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("archive", type=Path)
    archive = options.parse_args().archive
    prepare = "import runpy; runpy.run_module('training', run_name='__main__', alter_sys=False)"
    base, _ = peak_of("import tensorflow, training.prepare, training.records", "python")
    print(f"{'nothing read':>14}  {'':>16}  {'':>8}  peak {base:6.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, TIMES):
            tar = Path(folder) / f"times-{times}.tar"
            clips = write_release(archive, tar, times)
            peak, seconds = peak_of(prepare, "training", "prepare", str(tar), "--work", f"{folder}/{times}")
            size = tar.stat().st_size / 1e6
            print(f"{clips:8d} clips  tar of {size:6.0f} MB  {seconds:6.1f} s  peak {peak:6.0f} MB")


if __name__ == "__main__":
    main()
