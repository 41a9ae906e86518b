"""How much memory a recording of hours takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from handed_in import EXAMPLES, listing, resampled

PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
"""A small process between: on Linux a child's peak begins at that of the process that it was split from."""


def peak_mib(clip: Path, gallery: Path) -> float:
    command = [
        sys.executable,
        "-m",
        "speakerdb.cli.main",
        "enroll",
        clip.stem,
        str(clip),
        "--force",  # many voices, one after the other
        "--gallery",
        str(gallery),
    ]
    done = subprocess.run([sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return int(done.stdout.split()[-1]) / (1 << (20 if sys.platform == "darwin" else 10))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hours_take_little_more_memory_than_two_minutes(
    tmp_path: Path, gallery_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [resampled(path.stem, 8_000) for path in sorted(EXAMPLES.glob("*.wav"))]
    minute_and_a_half = np.concatenate(clips)
    peaks = {}
    for name, duration_s in (("two_minutes", 120), ("two_hours", 7200)):
        clip = tmp_path / f"{name}.wav"
        with soundfile.SoundFile(clip, "w", 8_000, 1, subtype="PCM_16") as file:
            while (left := duration_s * 8_000 - file.frames) > 0:
                file.write(minute_and_a_half[:left])
        peaks[name] = peak_mib(clip, gallery_folder)
        clip.unlink()
    with capsys.disabled():
        print(f"\npeak memory: two minutes {peaks['two_minutes']:.0f} MiB, two hours {peaks['two_hours']:.0f} MiB")
    seconds = {speaker.speaker: speaker.net_speech_s for speaker in listing(gallery_folder)}
    assert seconds["two_hours"] > 0.9 * 7200
    assert peaks["two_hours"] < peaks["two_minutes"] + 160
