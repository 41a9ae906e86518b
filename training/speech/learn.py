"""Teach the speech detector: mixtures drawn by another process, AdamW, a rate that falls to nothing."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from queue import Empty

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
NEW, POOL = 12, 1024
"""Mixtures drawn for a batch; the others are taken again from so many that were drawn last: drawing them is six times
the work of learning from them."""
WAIT_S = 10.0
Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def learn(corpora: Path, train: tuple[str, ...], work: Path, out: Path, steps: int) -> float:
    """Train and write the graph; returns the mean loss of the last tenth of the steps."""
    console, teacher = Console(stderr=True), Silero(SILERO)
    clips = [clip for name in train for clip in labelled(corpora / f"{name}.tar", teacher, work / "speech", console)]
    heard = [noise for found in noises(corpora / "noise.tar").values() for noise in found]
    kept = [noise.samples for noise in heard if not noise.held_out]
    keras.utils.set_random_seed(0)
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
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"{out.name}.partial")
    write_onnx(network, beside)
    beside.replace(out)  # whole, and trained to the end: the program refuses any other than the one it names
    console.print(f"{out}: MODEL_SHA256 of speakerdb/speech_detector.py is {sha256(out.read_bytes()).hexdigest()}")
    return float(np.mean(losses[-max(1, steps // 10) :]))


def features_of(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """As the detector computes them of a recording that begins and ends here."""
    needed = samples_for(len(samples) // FRAME_SAMPLES)
    return log_mel(np.pad(samples, (SAMPLES_BEFORE, needed - SAMPLES_BEFORE - len(samples))))


def _batches(mixtures: Mixtures) -> Iterator[Batch]:
    """Batches drawn ahead, by one process more."""
    queue: multiprocessing.Queue[Batch] = multiprocessing.get_context("fork").Queue(8)

    def draw() -> None:
        pool: deque[Batch] = deque(maxlen=POOL)
        while True:
            for samples, speech in (mixtures.draw() for _ in range(NEW)):
                pool.append((features_of(samples), speech))
            again = mixtures.rng.integers(len(pool), size=BATCH - NEW).tolist()
            chosen = [pool[at] for at in [*range(-NEW, 0), *again]]
            queue.put((np.stack([features for features, _ in chosen]), np.stack([speech for _, speech in chosen])))

    worker = multiprocessing.get_context("fork").Process(target=draw, daemon=True)
    worker.start()
    try:
        while True:
            try:
                yield queue.get(timeout=WAIT_S)
            except Empty:
                if not worker.is_alive():
                    raise RuntimeError("the process that draws mixtures is gone") from None
    finally:
        worker.terminate()
