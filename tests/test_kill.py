"""kill -9 while enrolling: what was acknowledged is there, nothing else, and the gallery is sound."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from speakerdb import Gallery

CHILD = """
import sys
import soundfile
from speakerdb import Gallery

samples, rate_hz = soundfile.read(sys.argv[2], dtype="float32")
with Gallery.open(sys.argv[1]) as gallery:
    for number in range(int(sys.argv[3]), 10_000):
        gallery.enroll(f"voice {number}", samples * (1.0 - 1e-4 * (number + 1)), rate_hz=rate_hz)
        print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_every_acknowledged_enrollment_is_there_and_none_is_half_there(
    gallery_folder: Path, examples: Path
) -> None:
    acknowledged: set[str] = set()
    for delay_s in (0.05, 0.11, 0.17, 0.23, 0.31, 0.43):
        acknowledged |= _enroll_until_killed(gallery_folder, examples, len(acknowledged) + 100, delay_s)
        with Gallery.open(gallery_folder) as gallery:
            listed = gallery.speakers()
            assert gallery.check().findings == []
        assert {speaker.speaker for speaker in listed} >= acknowledged
        assert all(speaker.enrollments == 1 for speaker in listed)
        acknowledged = {speaker.speaker for speaker in listed}  # one commit may have been unreported


def _enroll_until_killed(folder: Path, examples: Path, first: int, delay_s: float) -> set[str]:
    """Kill so long after the first acknowledgement; the names that were acknowledged."""
    command = [sys.executable, "-c", CHILD, folder, examples / "eva_1.wav", str(first * 7)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    return {f"voice {line.strip()}" for line in lines if line.endswith("\n")}
