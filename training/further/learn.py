"""Trains a graph further, in two processes that share their gradients."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from onnx import ModelProto
from rich.console import Console

from training.further.course import Further
from training.further.crops import Crops
from training.further.graph_network import GraphNetwork
from training.kept import kept

PROCESSES = 2
"""Always: what is learnt depends on how many there are, and two with a core each make half as much again as one with
two."""
RELATIONAL = 5.0
"""Weight of the loss between the crops' cosines to one another, beside that of each to its target."""
CLIP_NORM = 1.0
WEIGHT_DECAY, BETAS = 1e-4, (0.9, 0.98)
"""Of AdamW."""
MEAN_DECAY = 0.998
"""Of the running mean of the weights, which is what comes out."""
TOLD_AFTER = 50
"""Steps, whose mean cosine is printed."""
KEPT_AFTER = 250
"""Steps after which a stopped run goes on."""
PATIENCE = timedelta(minutes=3)
"""With a process that does not come, or does not answer: opening clips takes seconds, a step less than one."""
PROCESSOR = Path("/proc/cpuinfo")


def learn(
    crops: Crops, graph: ModelProto, how: Further, process: int, meeting: Path, file: Path, told: Console
) -> None:
    """One process's part of all steps; a run that was stopped goes on where it stood.

    Args: process: 0 or 1, of which the first keeps and tells. meeting: a file that both name, and nobody else. file: of
        the checkpoint, which holds the running mean of the weights at the end.
    Raises: RuntimeError where the other process ended.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    learner = Learner(graph, how)
    kept(file, learner.load, told)
    with _meeting(meeting, process):
        began, first, cosines = time.monotonic(), learner.step, list[float]()
        while learner.step < how.steps:
            features, targets = (torch.from_numpy(part) for part in crops.batch(learner.step, process))
            cosines.append(learner.learn_from(features, targets))
            if process:
                continue
            done, last = learner.step, learner.step == how.steps
            if done % TOLD_AFTER == 0 or last:
                left_min = (how.steps - done) * (time.monotonic() - began) / (done - first) / 60.0
                said = f"cosine {sum(cosines) / len(cosines):.4f}, {left_min:.0f} minutes left"
                told.print(f"step {done} of {how.steps}: {said}", highlight=False)
                cosines.clear()
            if done % KEPT_AFTER == 0 or last:
                learner.save(file)


def learnt(graph: ModelProto, file: Path, how: Further) -> GraphNetwork:
    """The network with the running mean of the weights that a finished run has kept."""
    learner = Learner(graph, how)
    learner.load(file)
    return learner.mean_network()


class Learner:
    """The network, its optimizer, and the running mean of its weights."""

    def __init__(self, graph: ModelProto, how: Further) -> None:
        self._how, self._network, self.step = how, GraphNetwork(graph), 0
        named = self._network.weights.items()
        of_front = [weight for name, weight in named if self._network.of_front(name)]
        inherited = [weight for name, weight in named if not self._network.of_front(name)]
        self._shares = 1.0, how.inherited_share
        groups = [{"params": of_front}, {"params": inherited}]
        self._optimizer = torch.optim.AdamW(groups, how.rate, betas=BETAS, weight_decay=WEIGHT_DECAY)
        self._weights = [*of_front, *inherited]
        self._mean = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        self._quick = products_of_bfloat16()

    def learn_from(self, features: torch.Tensor, targets: torch.Tensor) -> float:
        """A step with the other process; the mean cosine of one's own crops before it."""
        rate = self._how.rate_at(self.step)
        for group, share in zip(self._optimizer.param_groups, self._shares, strict=True):
            group["lr"] = rate * share
        with torch.autocast("cpu", torch.bfloat16, enabled=self._quick):
            said = self._network(features).float()
        said = torch.nn.functional.normalize(said, dim=1)  # to more digits than bfloat16 has
        cosine = (said * targets).sum(dim=1).mean()
        apart = (said @ said.T - targets @ targets.T).fill_diagonal_(0.0)
        relational = torch.square(apart).sum() / (len(said) * max(1, len(said) - 1))
        (1.0 - cosine + RELATIONAL * relational).backward()
        self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self._weights, CLIP_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        part = min(MEAN_DECAY, (self.step + 1) / (self.step + 10))  # the first steps weigh little in a long mean
        for name, value in self._network.state_dict().items():
            self._mean[name].lerp_(value, 1.0 - part)
        return float(cosine.item())

    def _share_gradients(self) -> None:
        """The mean of both processes'."""
        all_of_them = torch.cat([_gradient(weight).reshape(-1) for weight in self._weights])
        dist.all_reduce(all_of_them)
        sizes = [weight.numel() for weight in self._weights]
        for weight, part in zip(self._weights, (all_of_them / PROCESSES).split(sizes), strict=True):
            weight.grad = part.view_as(weight)

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
        stored = torch.load(file, weights_only=True)
        network, optimizer, mean, step = (stored[part] for part in ("network", "optimizer", "mean", "step"))
        self._optimizer.load_state_dict(optimizer)  # what raises does so before weights are taken over
        self._network.load_state_dict(network)
        self._mean, self.step = mean, step


def checkpoint_of(graph: ModelProto, how: Further, made_of: str, folder: Path) -> Path:
    """Where a run is kept: bound to the graph, the course, and what its crops and targets were made of."""
    learnt_by = replace(how, share=1.0)  # which is asked for afterwards
    key = hashlib.sha256(graph.SerializeToString() + f"{learnt_by} {made_of}".encode()).hexdigest()[:12]
    return folder / f"learnt-{key}.pt"


def products_of_bfloat16() -> bool:
    """Whether this processor multiplies them quicker than float32: elsewhere they are made of float32's."""
    return PROCESSOR.exists() and "avx512_bf16" in PROCESSOR.read_text()


@contextmanager
def _meeting(file: Path, process: int) -> Iterator[None]:
    store = dist.FileStore(str(file), PROCESSES)
    try:
        dist.init_process_group("gloo", store=store, rank=process, world_size=PROCESSES, timeout=PATIENCE)
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _gradient(weight: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
