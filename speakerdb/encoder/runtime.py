"""Samples → unit vectors: one onnxruntime session a bundle.

Our own graphs take `waveform` float32 [batch, samples]. Where they take `lengths` int64 [batch], too, the valid samples
of each row, what lies beyond changes no vector, and clips run in batches; else one by one, as published encoders' do.
They may have a second output, `windows` float32 [batch, windows, dimension]: unit vectors of every two seconds, one a
second; where they take `windows_wanted`, a bool, only if it is true.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb import settings
from speakerdb.audio import Samples
from speakerdb.embedding import Vector, Vectors, normalize
from speakerdb.encoder.bundle import Bundle, Card
from speakerdb.errors import EncoderDamaged
from speakerdb.features import graph_input

LENGTHS = "lengths"
WINDOWS, WINDOWS_WANTED = "windows", "windows_wanted"
WINDOW_S, WINDOW_STEP_S = 2.0, 1.0
"""Of the windows of a graph that gives them: their length, and how far each begins after the one before."""
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
"""Where a graph's weights may lie in files of their own: nowhere. No hash covers them, and onnxruntime would look for
them in the folder one stands in."""


class Runtime:
    """A bundle loaded for use. Safe for use from several threads."""

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._bundle, self._threads = bundle, threads or settings.threads()
        self._session: Any = _load(bundle, self._threads)
        try:
            self._input = self._session.get_inputs()[0].name
            self._output = self._session.get_outputs()[0].name
            optional = {i.name for i in self._session.get_overridable_initializers()}
            self._batches, self._asks = LENGTHS in optional, WINDOWS_WANTED in optional
            self._windows = (self._batches or self._asks) and WINDOWS in {o.name for o in self._session.get_outputs()}
        except (IndexError, UnicodeDecodeError) as error:
            raise EncoderDamaged(str(bundle.folder), "its inputs and outputs have no names") from error
        self._loading = threading.Lock()
        _runtimes.add(self)

    @property
    def card(self) -> Card:
        """What is known about the encoder."""
        return self._bundle.card

    def vectors(self, clips: Sequence[Samples]) -> Vectors:
        """Unit vectors of clips, in their order.

        Args: clips: float32 [samples] each at the card's rate, of any lengths.
        Returns: float32 [clips, dimension], unit length.
        Raises: EncoderDamaged where the graph gives anything but one finite vector a clip.
        """
        result = np.empty((len(clips), self._bundle.card.dimension), np.float32)
        if not self._batches:
            for row, clip in enumerate(clips):
                result[row] = self._run([clip])[0]
            return result
        order = sorted(range(len(clips)), key=lambda i: len(clips[i]))  # near lengths together: little padding
        for start in range(0, len(order), settings.BATCH_CLIPS):
            chosen = order[start : start + settings.BATCH_CLIPS]
            result[chosen] = self._run([clips[i] for i in chosen])
        return result

    def vector_and_windows(self, clip: Samples) -> tuple[Vector, Vectors | None]:
        """A clip's unit vector, and those of its windows of `WINDOW_S`, one every `WINDOW_STEP_S`.

        Windows hear the whole clip, and are no match for vectors of clips that were cut.
        Returns: float32 [dimension] and [windows that end within the clip, dimension]; None where the graph has none.
        Raises: as `vectors`.
        """
        if not self._windows:
            return self.vectors([clip])[0], None
        vector, windows = self._outputs_of([clip], [self._output, WINDOWS])
        rate_hz = self._bundle.card.rate_hz
        whole = max(0, int((len(clip) / rate_hz - WINDOW_S) // WINDOW_STEP_S) + 1)
        if windows.ndim != 3 or len(windows) != 1 or windows.shape[1] < whole:
            raise EncoderDamaged(str(self._bundle.folder), f"gave windows of shape {windows.shape}")
        return self._checked(vector, 1)[0], self._checked(windows[0, :whole], whole, "windows: ")

    def dimension_of(self, samples: Samples) -> int:
        """Of the vector that the graph gives this clip, whatever the card says. Raises: EncoderDamaged."""
        output = self._output_of([samples])
        if output.ndim != 2:
            raise EncoderDamaged(str(self._bundle.folder), f"gave an output of shape {output.shape}, not [1, numbers]")
        return int(output.shape[1])

    def _run(self, clips: list[Samples]) -> Vectors:
        output = self._output_of(clips)
        if not self._batches and output.ndim == 2 and len(output):
            output = output.mean(axis=0, keepdims=True)  # of a clip's windows, where there are several
        return self._checked(output, len(clips))

    def _output_of(self, clips: list[Samples]) -> npt.NDArray[np.float32]:
        return self._outputs_of(clips, [self._output])[0]

    def _outputs_of(self, clips: list[Samples], names: list[str]) -> list[npt.NDArray[np.float32]]:
        try:
            outputs: list[npt.NDArray[np.float32]] = self._loaded().run(names, self._feed(clips, WINDOWS in names))
            if not all(isinstance(output, np.ndarray) and output.dtype.kind in "fiu" for output in outputs):
                raise EncoderDamaged(str(self._bundle.folder), "gave something else than numbers")
            return outputs
        except EncoderDamaged:
            raise
        except Exception as error:
            raise EncoderDamaged(str(self._bundle.folder), f"it failed to run ({_first_line(error)})") from error

    def _loaded(self) -> Any:
        """The session; in a process that was forked off, one of its own."""
        if self._session is None:
            with self._loading:
                if self._session is None:
                    self._session = _load(self._bundle, self._threads)
        return self._session

    def _leave_behind(self) -> None:
        """In a child: the session's threads are the parent's. To free it would be to wait for them for ever."""
        if self._session is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
        self._session, self._loading = None, threading.Lock()

    def _feed(self, clips: list[Samples], windows: bool) -> dict[str, npt.NDArray[Any]]:
        asked = {WINDOWS_WANTED: np.array(windows)} if self._asks else {}
        if not self._batches:
            return {self._input: graph_input(clips[0], self._bundle.card.features), **asked}
        padded = np.zeros((len(clips), max(map(len, clips))), np.float32)
        for row, clip in zip(padded, clips, strict=True):
            row[: len(clip)] = clip
        return {self._input: padded, LENGTHS: np.array([len(c) for c in clips], np.int64), **asked}

    def _checked(self, output: npt.NDArray[np.float32], rows: int, what: str = "") -> Vectors:
        expected = (rows, self._bundle.card.dimension)
        if output.shape != expected:
            raise EncoderDamaged(
                str(self._bundle.folder), f"{what}gave an output of shape {output.shape}, expected {expected}"
            )
        try:
            return normalize(output)
        except ValueError as error:
            raise EncoderDamaged(str(self._bundle.folder), f"{what}{error}") from error


def _load(bundle: Bundle, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # nothing on stderr that is not ours
    options.add_session_config_entry(EXTERNAL_FOLDER, str(bundle.folder / "nowhere"))
    try:
        return onnxruntime.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types, none of them public
        raise EncoderDamaged(str(bundle.folder), f"onnxruntime cannot load it ({_first_line(error)})") from error


_runtimes: weakref.WeakSet[Runtime] = weakref.WeakSet()


def _after_fork() -> None:
    for runtime in _runtimes:
        runtime._leave_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
