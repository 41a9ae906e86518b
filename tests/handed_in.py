"""What the tests of bad input hand in, and how they look at what comes of it."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

from speakerdb import Gallery
from speakerdb.cli.main import main

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE_HZ = 16_000
IN_WORDS = {2: "usage", 3: "input", 4: "state", 5: "storage"}

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
Samples: TypeAlias = npt.NDArray[np.float32]


def voice(name: str = "eva_1") -> Samples:
    return soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")[0]


def encoded(samples: npt.NDArray, container: str, subtype: str | None = None, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def by_av(samples: Samples, container: str, codec: str, rate_hz: int) -> bytes:
    """[samples] or [samples, 2]."""
    av = pytest.importorskip("av", reason="PyAV (the extra `media`) is not installed")
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV ({av.__version__}) was built without {codec}")
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        layout = "mono" if samples.ndim == 1 else "stereo"
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        packed = (samples * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = RATE_HZ
        for piece in av.AudioResampler(stream.format.name, layout, rate_hz).resample(frame):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return file.getvalue()


def noise(count: int, seed: int = 7) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def with_rate(rate_hz: int) -> bytes:
    """A WAV file whose header says another rate."""
    content = bytearray(encoded(voice(), "WAV"))
    struct.pack_into("<I", content, 24, rate_hz)
    return bytes(content)


def with_sample(value: float) -> Samples:
    samples = voice().copy()
    samples[5000] = value
    return samples


def listing(folder: Path) -> list:
    """Everyone with every recording; asserts that the gallery is sound."""
    with Gallery.open(folder) as gallery:
        assert gallery.check().findings == []
        return gallery.speakers(enrollments=True)


def only_line(text: str, as_json: bool = False) -> str:
    """The one line that stderr may hold: ours, printable, as an object where asked for."""
    assert text.endswith("\n")
    line = text[:-1]
    if as_json:
        assert "\n" not in line
        fields = json.loads(line)
        assert set(fields) >= {"error", "message", "exit_code"}
        assert fields["message"].isprintable()
        return str(fields["message"])
    assert line.isprintable(), line
    assert line.startswith("speakerdb: ")
    return line.removeprefix("speakerdb: ")


def assert_refused(done: subprocess.CompletedProcess[str], exit_code: int, says: str = "") -> None:
    assert (done.returncode, IN_WORDS[exit_code]) == (exit_code, IN_WORDS.get(done.returncode)), done.stderr
    assert done.stdout in ("", None)
    assert says in only_line(done.stderr, "--json" in done.args)


def run_here(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """The program inside this process: its exit code, stdout and stderr down to the file descriptors."""
    argv, sys.argv = sys.argv, ["speakerdb", *map(str, arguments)]
    capfd.readouterr()
    try:
        main()
    except SystemExit as stopped:
        out, err = capfd.readouterr()
        return int(stopped.code or 0), out, err
    finally:
        sys.argv = argv
    raise AssertionError("the program did not exit")


def resampled(name: str, rate_hz: int) -> Samples:
    return soxr.resample(voice(name), RATE_HZ, rate_hz)
