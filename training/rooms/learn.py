"""Teaches a graph that a clip in a room is the clip."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from onnx import ModelProto
from rich.console import Console

from training.rooms.copies import COPIES, Copies
from training.rooms.graph_network import GraphNetwork

WORDS = "speech_commands-train"
OFTEN = "common_voice-train"
"""Its clips are drawn twice as often as others: they are of most people."""
LENGTHS = ((0.25, 196, 48), (0.5, 200, 48), (0.25, 300, 32))
"""Shares of the batches, frames, and crops a batch; the first are words, whole and slowed."""
CLEAN_SHARE = 0.3
"""Of the crops: what the graph says of clips as they are is to stay."""
RELATIONAL = 5.0
WARMUP_STEPS, CLIP_NORM, WEIGHT_DECAY = 50, 1.0, 1e-4
KEPT_AFTER = 300
"""Steps after which a stopped run goes on."""


@dataclass(frozen=True)
class Course:
    """How long, and how fast at most; the rate falls as a half cosine."""

    steps: int = 450
    rate: float = 2e-4
    seed: int = 1

    def rate_at(self, step: int) -> float:
        """Rising for `WARMUP_STEPS`, and falling all the while."""
        return self.rate * min(1.0, (step + 1) / WARMUP_STEPS) * (1.0 + math.cos(math.pi * step / self.steps)) / 2.0


def learn(graph: ModelProto, copies: Copies, how: Course, work: Path, console: Console) -> GraphNetwork:
    """The graph's network after all steps; a run that was stopped goes on where it stood."""
    torch.set_flush_denormal(True)
    network, before = GraphNetwork(graph), GraphNetwork(graph).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), how.rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    bound = hashlib.sha256(graph.SerializeToString()).hexdigest()
    file = work / f"learnt-{bound[:12]}-{how.steps}-{how.rate:g}-{how.seed}.pt"
    work.mkdir(parents=True, exist_ok=True)
    step = 0
    if file.exists():
        stored = torch.load(file, weights_only=True)
        network.load_state_dict(stored["network"])
        optimizer.load_state_dict(stored["optimizer"])
        step = stored["step"]
    drawn = Crops(copies, how.seed)
    while step < how.steps:
        for group in optimizer.param_groups:
            group["lr"] = how.rate_at(step)
        heard, clean = drawn.batch(step)
        with torch.no_grad():
            wanted = before(clean)
        said = network(heard)
        cosine = (said * wanted).sum(dim=1).mean()
        relational = torch.square(said @ said.T - wanted @ wanted.T).mean()
        (1.0 - cosine + RELATIONAL * relational).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % KEPT_AFTER == 0 or step == how.steps:
            console.print(f"step {step} of {how.steps}: cosine {cosine.item():.3f}", highlight=False)
            partial = file.with_suffix(".partial")
            torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
            partial.replace(file)
    return network


class Crops:
    """Batches: crops of copies, and the same crops of the clips; a function of seed and step."""

    def __init__(self, copies: Copies, seed: int) -> None:
        self._copies, self._seed, self._starts = copies, seed, copies.starts
        words = copies.sets == WORDS
        self._words = np.flatnonzero(words)
        self._sentences = np.flatnonzero(~words)
        self._weights = np.where(copies.sets == OFTEN, 1.0, 0.5)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Copies and clips: float32 [crops, frames, bins] each."""
        rng = np.random.default_rng([self._seed, step])
        _, frames, crops = LENGTHS[int(rng.choice(len(LENGTHS), p=[share for share, _, _ in LENGTHS]))]
        among = self._words if frames == LENGTHS[0][1] else self._sentences
        lengths = self._copies.lengths[among]
        among = among[lengths == frames] if among is self._words else among[lengths >= frames]
        weights = self._weights[among]
        chosen = rng.choice(among, min(crops, len(among)), replace=False, p=weights / weights.sum())
        numbers = np.where(rng.random(len(chosen)) < CLEAN_SHARE, 0, rng.integers(1, COPIES + 1, len(chosen)))
        heard, clean = list[npt.NDArray[np.float16]](), list[npt.NDArray[np.float16]]()
        for clip, number in zip(chosen, numbers, strict=True):
            start = int(self._starts[clip] + rng.integers(0, self._copies.lengths[clip] - frames + 1))
            heard.append(self._copies.features[number][start : start + frames])
            clean.append(self._copies.features[0][start : start + frames])
        return tuple(torch.from_numpy(np.stack(part).astype(np.float32)) for part in (heard, clean))  # type: ignore[return-value]
