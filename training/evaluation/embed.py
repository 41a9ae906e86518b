"""Clips → vectors: whole clips, one at a time, without voice activity detection, on all cores."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from speakerdb.audio import Samples, read
from speakerdb.embedding import Vector, normalize
from speakerdb.errors import AudioUnreadable, InputError, printable
from training.evaluation.clips import Source
from training.evaluation.embeddings import Embeddings

LEAST_S = 0.05
"""Two frames of any front end: nothing shorter has a vector."""

Encode = Callable[[Samples], Vector]
"""Samples float32 [samples] of one clip → its vector, float32 [dimension]. Called from several threads."""

Item = TypeVar("Item")
Outcome = tuple[str, float, Vector | None, str]
"""Clip, seconds, its vector, or why there is none."""


class Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        """Empty until it is known."""
        return Text(f"{task.speed:.0f} a second" if task.speed else "")


def watched(items: Iterable[Item], total: int | None, what: str, console: Console) -> Iterator[Item]:
    """The items, with a bar, the rate and the time left on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(task)


def embed_clips(
    clips: Sequence[str],
    source: Source,
    encode: Encode,
    rate_hz: int,
    embeddings: Embeddings,
    console: Console,
    name: str,
) -> None:
    """Embed the clips that have no vector yet.

    Raises: InputError that counts the clips which have none and names the first, once all others have theirs.
    """
    wanted = [clip for clip in clips if clip not in embeddings]
    if not wanted:
        return
    failed = []
    outcomes = _in_threads(lambda item: _embed(*item, encode, rate_hz), source.read(wanted))
    try:
        for clip, seconds, vector, reason in watched(outcomes, len(wanted), name, console):
            if vector is None:
                failed.append((clip, reason))
            else:
                embeddings.append(clip, seconds, vector)
    finally:
        embeddings.flush()
    if failed:
        raise InputError(f"{name}: {len(failed)} clips cannot be embedded, {printable(failed[0][0])!r}: {failed[0][1]}")


def _embed(clip: str, audio: bytes, encode: Encode, rate_hz: int) -> Outcome:
    try:
        recording = read(audio, rate_hz)
    except AudioUnreadable as error:
        return clip, 0.0, None, str(error.fields["reason"])
    seconds = len(recording.samples) / rate_hz
    if seconds < LEAST_S:
        return clip, seconds, None, f"{seconds:.3f} s of sound"
    vector = np.asarray(encode(recording.samples))
    return clip, seconds, normalize(vector), ""


def _in_threads(work: Callable[[tuple[str, bytes]], Outcome], items: Iterable[tuple[str, bytes]]) -> Iterator[Outcome]:
    """Outcomes in the items' order; a few items at a time are in memory."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Outcome]] = deque()
        remaining = iter(items)
        for item in itertools.islice(remaining, 3 * workers):
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
            for item in itertools.islice(remaining, 1):
                waiting.append(pool.submit(work, item))
