"""What CAM++ says of each clip after its first block, every second of its frames, kept on disk.

The front of a narrow network learns to give these, and its upper blocks are fitted on them. They lie as features do
(`training.features_cache`): a stopped set is begun anew, a finished one of the same teacher and clips kept.
"""

from __future__ import annotations

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

from training.corpora.fingerprints import file_hash
from training.cutting import STRIDE
from training.evaluation.embed import watched
from training.features_cache import CachedFeatures, load_frames, write_frames
from training.teacher_encoders import read_graph

TENSOR = "/xvector/transit1/linear/Conv_output_0"
"""[batch, channels, frames], a frame every two of the features; every second is kept, at which CAM++ stays accurate."""

KEPT = STRIDE // 2

AHEAD = 8
"""Clips waiting for a core."""


def teacher_frames(
    features: CachedFeatures, name: str, of_set: str, graph: Path, folder: Path, console: Console
) -> CachedFeatures:
    """The frames of a set from the cache, or computed now on all cores.

    Args: features: log mel frames of the set. of_set: its hash (`records.set_hash`). graph: CAM++ as ONNX.
        folder: of the cache.
    Returns: float16 frames [all frames, channels]; of a clip of n feature frames ⌈n / 4⌉, each beginning at the
        feature frame of its number times four.
    """
    made_of = {
        "teacher": file_hash(graph),
        "of_set": of_set,
        "of_features": features.starts.tolist(),
    }
    stored = load_frames(folder, name, made_of, console)
    if stored is None:
        console.print(f"{name}: computing {graph.stem}'s frames", highlight=False, soft_wrap=True)
        frames = zip(features.clips, _computed(features, graph), strict=True)
        stored = write_frames(folder, name, made_of, watched(frames, len(features.clips), name, console))
    return stored


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
    model = onnx.shape_inference.infer_shapes(read_graph(graph))
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
