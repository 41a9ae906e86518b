"""Teaches a graph that a crop in a room is the crop."""

from __future__ import annotations

import hashlib
import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto
from rich.console import Console

from training.kept import kept
from training.rooms.crops import made_beside
from training.rooms.graph_network import GraphNetwork
from training.rooms.sounds import TABLE

RELATIONAL = 5.0
"""Weight of the loss between the crops' cosines to one another, beside that of each to its own clean crop."""
WARMUP_STEPS, CLIP_NORM = 100, 1.0
WEIGHT_DECAY, BETAS = 1e-4, (0.9, 0.98)
"""Of AdamW."""
MEAN_DECAY = 0.998
"""Of the running mean of the weights, which is what comes out."""
TOLD_AFTER = 50
"""Steps, whose mean cosine is printed."""
KEPT_AFTER = 250
"""Steps after which a stopped run goes on."""


@dataclass(frozen=True)
class Course:
    """How long, and how fast at most; the rate falls as a half cosine."""

    steps: int = 2000
    rate: float = 1.5e-4
    seed: int = 1

    def rate_at(self, step: int) -> float:
        """Rising for `WARMUP_STEPS`, and falling all the while."""
        return self.rate * min(1.0, (step + 1) / WARMUP_STEPS) * (1.0 + math.cos(math.pi * step / self.steps)) / 2.0


def learn(graph: ModelProto, sounds: Path, how: Course, work: Path, console: Console) -> GraphNetwork:
    """The graph's network after all steps; a run that was stopped goes on where it stood.

    Args: sounds: the folder of `sounds.Sounds`. work: of the checkpoint.
    """
    torch.set_flush_denormal(True)
    learner, before = _Learner(graph, how), GraphNetwork(graph).requires_grad_(False)
    file = work / f"learnt-{_bound_to(graph, sounds)}-{how.steps}-{how.rate:g}-{how.seed}.pt"
    work.mkdir(parents=True, exist_ok=True)
    kept(file, learner.load, console)
    cosines = list[float]()
    with closing(made_beside(sounds, front_end_of(graph), how.seed, range(learner.step, how.steps))) as batches:
        for batch in batches:
            heard, clean = (torch.from_numpy(part) for part in batch)
            with torch.no_grad():
                wanted = before(clean)
            cosines.append(learner.learn_from(heard, wanted))
            if learner.step % TOLD_AFTER == 0 or learner.step == how.steps:
                told = f"step {learner.step} of {how.steps}: cosine {sum(cosines) / len(cosines):.4f}"
                console.print(told, highlight=False)
                cosines.clear()
            if learner.step % KEPT_AFTER == 0 or learner.step == how.steps:
                learner.save(file)
    return learner.mean_network()


def front_end_of(graph: ModelProto) -> bytes:
    """The part of the graph from waveforms to the features that `GraphNetwork` takes, as a file's content."""
    named = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(graph))
    found: bytes = named.extract_model(["waveform"], [GraphNetwork(graph).features]).SerializeToString()
    return found


class _Learner:
    """The network, its optimizer, and the running mean of its weights."""

    def __init__(self, graph: ModelProto, how: Course) -> None:
        self._how, self._network, self.step = how, GraphNetwork(graph), 0
        weights = self._network.parameters()
        self._optimizer = torch.optim.AdamW(weights, how.rate, betas=BETAS, weight_decay=WEIGHT_DECAY)
        self._mean = {name: value.detach().clone() for name, value in self._network.state_dict().items()}

    def learn_from(self, heard: torch.Tensor, wanted: torch.Tensor) -> float:
        """A step; the mean cosine before it."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._how.rate_at(self.step)
        said = self._network(heard)
        cosine = (said * wanted).sum(dim=1).mean()
        relational = torch.square(said @ said.T - wanted @ wanted.T).mean()
        (1.0 - cosine + RELATIONAL * relational).backward()
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), CLIP_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        kept = min(MEAN_DECAY, (self.step + 1) / (self.step + 10))  # the first steps weigh little in a long mean
        for name, value in self._network.state_dict().items():
            self._mean[name].lerp_(value, 1.0 - kept)
        return float(cosine.item())

    def mean_network(self) -> GraphNetwork:
        """The network, with the mean of its weights."""
        self._network.load_state_dict(self._mean)
        return self._network

    def save(self, file: Path) -> None:
        """Write all that the next step depends on, whole or not at all."""
        partial = file.with_suffix(".partial")
        state: dict[str, Any] = {"network": self._network.state_dict(), "optimizer": self._optimizer.state_dict()}
        torch.save({**state, "mean": self._mean, "step": self.step}, partial)
        partial.replace(file)

    def load(self, file: Path) -> None:
        """Go on from what `save` wrote."""
        stored = torch.load(file, weights_only=True)  # raises before anything is taken over
        self._network.load_state_dict(stored["network"])
        self._optimizer.load_state_dict(stored["optimizer"])
        self._mean, self.step = stored["mean"], stored["step"]


def _bound_to(graph: ModelProto, sounds: Path) -> str:
    """What a checkpoint belongs to: the graph, and what the sounds were made of."""
    return hashlib.sha256(graph.SerializeToString() + (sounds / TABLE).read_bytes()).hexdigest()[:12]
