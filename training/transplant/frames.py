"""What CAM++ says of each clip after its first block, every second of its frames, kept on disk.

The front of a narrow network learns to give these, and its upper blocks are fitted on them. `NAME.f16` holds the frames
of a set, `NAME.json` the table with the teacher's hash and the set's; it is written last, so that a stopped set is
begun anew and a finished one kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.cutting import STRIDE
from training.features_cache import CachedFeatures

TENSOR = "/xvector/transit1/linear/Conv_output_0"
"""[batch, channels, frames], a frame every two of the features; every second is kept, at which CAM++ stays accurate."""

KEPT = STRIDE // 2

AHEAD = 8
"""Clips waiting for a core."""


def teacher_frames(
    features: CachedFeatures, name: str, of_set: str, graph: Path, folder: Path, console: Console
) -> CachedFeatures:
    """The frames of a set from the cache, or computed now on all cores.

    Args: features: log mel frames of the set. of_set: the hash of its index (`records.set_hash`). graph: CAM++ as ONNX.
        folder: of the cache.
    Returns: float16 frames [all frames, channels]; of a clip of n feature frames ⌈n / 4⌉, each beginning at the
        feature frame of its number times four.
    """
    made_of = {"teacher": hashlib.sha256(graph.read_bytes()).hexdigest(), "of_set": of_set}
    stored = _load(features, name, made_of, folder)
    if stored is None:
        console.print(f"{name}: computing {graph.stem}'s frames", highlight=False, soft_wrap=True)
        _write(features, name, graph, made_of, folder, console)
        stored = _load(features, name, made_of, folder)
        assert stored is not None  # written one line above
    return stored


def _load(features: CachedFeatures, name: str, made_of: dict[str, str], folder: Path) -> CachedFeatures | None:
    table, array = folder / f"{name}.json", folder / f"{name}.f16"
    if not table.exists() or not array.exists():
        return None
    stored = json.loads(table.read_text(encoding="utf8"))
    starts = _starts(features)
    if {key: stored.get(key) for key in made_of} != made_of or stored["starts"] != starts.tolist():
        return None
    shape = (int(starts[-1]), int(stored["channels"]))
    return CachedFeatures(np.memmap(array, dtype=np.float16, mode="r", shape=shape), starts, features.clips)


def _starts(features: CachedFeatures) -> npt.NDArray[np.int64]:
    lengths = -(-np.diff(features.starts) // STRIDE)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _write(
    features: CachedFeatures, name: str, graph: Path, made_of: dict[str, str], folder: Path, console: Console
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial, channels = folder / f"{name}.f16.partial", 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, partial.open("wb") as file:
        task = progress.add_task(name, total=len(features.clips))
        for frames in _computed(features, graph):
            file.write(frames.tobytes())
            channels = frames.shape[1]
            progress.advance(task)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / f"{name}.f16")
    table = folder / f"{name}.json.partial"
    stored = {**made_of, "channels": channels, "starts": _starts(features).tolist()}
    table.write_text(json.dumps(stored), encoding="utf8")
    table.replace(folder / f"{name}.json")


def _computed(features: CachedFeatures, graph: Path) -> Iterator[npt.NDArray[np.float16]]:
    """Each clip's frames in order, clips side by side; few of them wait at a time."""
    lower, worker = lower_graph(graph), threading.local()

    def begin() -> None:
        worker.session = open_flushing(lower)

    def of(clip: int) -> npt.NDArray[np.float16]:
        heard = features.of(clip)
        heard -= heard.mean(axis=0)
        frames = worker.session.run([TENSOR], {worker.session.get_inputs()[0].name: heard[None]})[0][0]
        return np.ascontiguousarray(frames.T[::KEPT]).astype(np.float16)

    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores, initializer=begin) as pool:
        waiting: deque[Future[npt.NDArray[np.float16]]] = deque()
        for clip in range(len(features.clips)):
            waiting.append(pool.submit(of, clip))
            if len(waiting) > AHEAD * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def lower_graph(graph: Path) -> bytes:
    """CAM++ up to `TENSOR`, as ONNX; onnxruntime computes whole graphs, whatever is asked of them."""
    model = onnx.shape_inference.infer_shapes(onnx.load(graph))
    inputs = [value.name for value in model.graph.input]
    return bytes(onnx.utils.Extractor(model).extract_model(inputs, [TENSOR]).SerializeToString())


def open_flushing(graph: bytes) -> onnxruntime.InferenceSession:
    """A session on one core that takes denormals for 0: CAM++ has so many that they make it twenty times slower.

    To be called by the thread that runs it: the processor's flag is a thread's.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
