"""Teach the speech detector: mixtures drawn by another process, AdamW, a rate that falls to nothing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from rich.console import Console

from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLES_BEFORE, log_mel, samples_for
from training.speech.mixtures import Mixtures
from training.speech.network import build, write_onnx
from training.speech.teacher import SILERO, Silero, labelled, noises

BATCH = 32
RATE = 2e-3
HELD_OUT = 5
"""Every fifth noise of a kind is kept for measuring."""

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def learn(corpora: Path, train: tuple[str, ...], work: Path, out: Path, steps: int) -> float:
    """Train and write the graph; returns the mean loss of the last tenth of the steps."""
    console, teacher = Console(stderr=True), Silero(SILERO)
    clips = [clip for name in train for clip in labelled(corpora / f"{name}.tar", teacher, work / "speech", console)]
    kept = [noise for found in noises(corpora / "noise.tar").values() for i, noise in enumerate(found) if i % HELD_OUT]
    network = build()
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - 200, warmup_target=RATE, warmup_steps=200)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=1.0)
    network.compile(optimizer, loss=keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    losses = []
    for step, (features, speech) in zip(
        range(steps), _batches(Mixtures(clips, kept, np.random.default_rng(0))), strict=False
    ):
        losses.append(float(network.train_on_batch(features, speech)))
        if step % 100 == 99:
            console.print(f"step {step + 1} of {steps}: loss {np.mean(losses[-100:]):.4f}")
            write_onnx(network, out)
    write_onnx(network, out)
    return float(np.mean(losses[-max(1, steps // 10) :]))


def features_of(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """As the detector computes them of a recording that begins and ends here."""
    needed = samples_for(len(samples) // FRAME_SAMPLES)
    return log_mel(np.pad(samples, (SAMPLES_BEFORE, needed - SAMPLES_BEFORE - len(samples))))


def _batches(mixtures: Mixtures) -> Iterator[Batch]:
    """Batches drawn ahead, by one process more."""
    queue: multiprocessing.Queue[Batch] = multiprocessing.get_context("fork").Queue(8)

    def draw() -> None:
        while True:
            drawn = [mixtures.draw() for _ in range(BATCH)]
            queue.put((np.stack([features_of(s) for s, _ in drawn]), np.stack([speech for _, speech in drawn])))

    worker = multiprocessing.get_context("fork").Process(target=draw, daemon=True)
    worker.start()
    try:
        while True:
            yield queue.get()
    finally:
        worker.terminate()
