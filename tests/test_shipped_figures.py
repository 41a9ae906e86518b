"""The figures on the shipped card, computed again from the ONNX file and the card, with nothing of ours between."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "speakerdb" / "encoders" / "speakerdb-16k"
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads((BUNDLE / "card.json").read_text(encoding="utf8"))


def test_the_card_names_the_file_that_ships(card: dict) -> None:
    assert hashlib.sha256((BUNDLE / "encoder.onnx").read_bytes()).hexdigest() == card["sha256"]


def test_model_and_card_together_stay_under_eight_megabytes() -> None:
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) <= 8_000_000


def test_the_threshold_says_on_which_dev_list_it_was_chosen(card: dict) -> None:
    assert "-dev" in card["threshold"]["origin"]
    assert 0.0 < card["threshold"]["distance"] < 2.0


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "corpora").is_dir(), reason="the corpora of ../shared are not here")
@pytest.mark.parametrize("name", ["common_voice-test", "speech_commands-test"])
def test_the_equal_error_rate_on_the_card_is_what_the_file_gives(card: dict, name: str) -> None:
    vectors = _embed(SHARED / "corpora" / f"{name}.tar", card["rate_hz"])
    same, different = [], []
    for line in (SHARED / "trials" / f"{name}-pairs.txt").read_text().splitlines():
        label, first, second = line.split()
        (same if label == "1" else different).append(float(vectors[first] @ vectors[second]))
    assert _eer_percent(np.array(same), np.array(different)) == pytest.approx(card["figures"][name]["eer"], abs=0.06)


def _embed(archive: Path, rate_hz: int) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(BUNDLE / "encoder.onnx"), _quiet(), providers=["CPUExecutionProvider"])
    vectors = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None:
                continue
            samples, source_hz = soundfile.read(io.BytesIO(content.read()), dtype="float32", always_2d=True)
            mono = soxr.resample(samples.mean(axis=1), source_hz, rate_hz)
            vectors[member.name] = session.run(None, {"waveform": mono[None].astype(np.float32)})[0][0]
    return vectors


def _quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options


def _eer_percent(same: np.ndarray, different: np.ndarray) -> float:
    """The plainest way: the threshold, among all scores, at which the two error rates are nearest; their mean."""
    thresholds = np.unique(np.concatenate([same, different]))
    misses = np.searchsorted(np.sort(same), thresholds, side="left") / len(same)
    false_alarms = 1.0 - np.searchsorted(np.sort(different), thresholds, side="left") / len(different)
    at = int(np.abs(misses - false_alarms).argmin())
    return 50.0 * float(misses[at] + false_alarms[at])
