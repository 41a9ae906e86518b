"""The seed's pretrained model as a bundle: its own distances, at 48 kHz, and a warning below 44.1 kHz."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soxr

pytest.importorskip("tensorflow", reason="importing the seed needs TensorFlow (the extra train)")

from speakerdb import Encoder, audio
from speakerdb.speech import SpeechMeter

PROJECT = Path(__file__).parents[1]
SEED = PROJECT.parent / "shared" / "seed"
SAMPLES = [SEED / f"sample_{name}.mp3" for name in ("1a", "1b", "2")]
LOW = PROJECT / "examples" / "ana_1.wav"
RATE_HZ = 48_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SEED.is_dir(), reason="the seed's model lies in ../shared/seed, which is not here"),
]


def training(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def speakerdb(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "speakerdb.cli.main", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("seed") / "seed-48k"
    done = training("import-seed", SEED / "speech-id-model-110", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def encoder(bundle) -> Encoder:
    return Encoder.load(bundle)


def voice(seconds: float) -> np.ndarray:
    return np.resize(
        np.concatenate([audio.read(str(path), RATE_HZ).samples for path in SAMPLES]), round(seconds * 48_000)
    )


def test_the_three_samples_have_the_distances_and_verdicts_that_the_seed_prints(bundle):
    done = speakerdb("compare", *SAMPLES, "--encoder", bundle, "--json")
    found = json.loads(done.stdout)
    expected = [(0.7631306, True), (1.1691123, False), (1.3037692, False)]
    for pair, (distance, same) in zip(found["pairs"], expected, strict=True):
        assert abs(pair["distance"] - distance) <= 2e-4
        assert pair["same_speaker"] is same
        assert pair["threshold"] == 0.83
    assert found["fmr"] is None  # the seed's own distance; nobody has calibrated it
    assert found["warnings"] == []
    assert done.returncode == 1


def test_a_recording_below_44_khz_gets_a_warning_on_stderr_and_in_json(bundle, encoder):
    line = "recorded at 16000 Hz; seed-48k was made for 44100 Hz and more: its distances mean little here"
    done = speakerdb("compare", LOW, SAMPLES[0], "--encoder", bundle)
    assert done.stderr == f"speakerdb: warning: {LOW}: {line}\n"
    assert "warning" not in done.stdout
    as_json = speakerdb("compare", LOW, SAMPLES[0], "--encoder", bundle, "--json")
    assert json.loads(as_json.stdout)["warnings"] == [f"{LOW}: {line}"]
    assert encoder.probe(LOW).warnings == [f"{LOW}: {line}"]
    assert encoder.probe(SAMPLES[0]).warnings == []


def test_identify_verify_and_enroll_warn_as_well(bundle, tmp_path):
    where = ["--gallery", tmp_path / "people", "--encoder", bundle]
    assert "warning" not in speakerdb("enroll", "one", SAMPLES[0], *where).stderr
    for command in (["enroll", "ana", LOW], ["identify", LOW], ["verify", "one", LOW]):
        assert "recorded at 16000 Hz" in speakerdb(*command, *where).stderr


def test_a_whole_clip_has_the_vector_of_the_graph_alone(bundle, encoder):
    session = onnxruntime.InferenceSession(str(bundle / "encoder.onnx"), providers=["CPUExecutionProvider"])
    for seconds in (3.0, 19.99):
        samples = voice(seconds)
        expected = session.run(None, {"waveform": samples[None]})[0][0]
        assert np.abs(encoder.embed(samples, rate_hz=RATE_HZ) - expected).max() <= 1e-5


def test_a_long_recording_is_cut_at_the_same_seconds_as_at_16_khz(encoder):
    samples = voice(65.3)  # more than one block of the decoder
    low = soxr.resample(samples, RATE_HZ, 16_000)
    [(_, speech)] = SpeechMeter().listen([low])
    total = np.zeros(encoder.dimension)
    for start in range(0, len(speech), 312):
        seconds = float(speech[start : start + 312].sum()) * 0.032
        if seconds >= 1.0:
            window = samples[start * 1_536 : (start + 312) * 1_536]
            total += seconds * encoder.runtime.vectors([window])[0].astype(np.float64)
    expected = total / np.linalg.norm(total)
    assert np.abs(encoder.embed(samples, rate_hz=RATE_HZ) - expected).max() <= 1e-4


def test_clips_of_different_lengths_have_in_a_batch_the_vectors_that_they_have_alone(encoder):
    clips = [voice(seconds) for seconds in (0.3, 1.0, 1.2345, 4.0)]
    alone = np.concatenate([encoder.runtime.vectors([samples]) for samples in clips])
    assert np.abs(encoder.runtime.vectors(clips) - alone).max() <= 1e-5


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_variables_that_are_missing_or_cut_are_one_line_and_no_bundle(tmp_path, damage):
    folder = tmp_path / "variables"
    shutil.copytree(SEED / "speech-id-model-110", folder)
    folder.chmod(0o755)
    data = folder / "variables.data-00000-of-00001"
    data.chmod(0o644)
    if damage == "missing":
        data.unlink()
    else:
        data.write_bytes(data.read_bytes()[:100_000])
    done = training("import-seed", folder, "--out", tmp_path / "out")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert str(folder) in done.stderr
    assert not (tmp_path / "out").exists()
