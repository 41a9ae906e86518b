"""TensorFlow, JAX and torch train the same network."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).parents[2]
BACKENDS = ("jax", "torch")

pytestmark = pytest.mark.slow


@functools.cache
def trained_by(backend: str) -> dict:
    """What tests/training/train_on_backend.py prints; skipped where the backend is not installed."""
    if importlib.util.find_spec(backend) is None:
        extra = "train" if backend == "tensorflow" else f"train-{backend}"
        pytest.skip(f"{backend} is not installed (the extra {extra})")
    command = [sys.executable, str(PROJECT / "tests" / "training" / "train_on_backend.py")]
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert found.returncode == 0, found.stderr[-2000:]
    return json.loads(found.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def reference():
    """The first backend that is installed."""
    backend = next((name for name in ("tensorflow", *BACKENDS) if importlib.util.find_spec(name)), None)
    if backend is None:
        pytest.skip("no backend is installed (the extra train)")
    return backend, trained_by(backend)


@pytest.mark.parametrize("network", ["next-tdnn", "bilstm"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_takes_the_same_steps(reference, backend, network):
    name, expected = reference
    if name == backend:
        pytest.skip(f"{backend} is the only backend here")
    found = trained_by(backend)[network]
    for step, (mine, others) in enumerate(zip(found["losses"], expected[network]["losses"], strict=True)):
        # Sums in another order: 1e-6 a step at first, and steps of this size make a little more of it each time.
        assert mine == pytest.approx(others, rel=1e-4, abs=1e-4), f"step {step}"
    for mine, others in zip(found["weights"], expected[network]["weights"], strict=True):
        assert np.allclose(mine, others, rtol=1e-3, atol=1e-3)
