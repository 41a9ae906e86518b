"""Work on many recordings: on all cores, in order, a few under way at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from speakerdb import settings

Item = TypeVar("Item")
Done = TypeVar("Done")
GoOn = Callable[..., None]
"""Called by the work now and then, with anything; raises `Stopped` where its result is not wanted any more."""

AHEAD = 4
"""Items under way for each thread, so that none waits for a slow one, nor while a batch is written."""


class Stopped(Exception):
    """The caller went away: interrupted, or at an error of an earlier item."""


def in_order(work: Callable[[Item, GoOn], Done], items: Iterable[Item]) -> Iterator[Future[Done]]:
    """Futures of the work on each item, in the items' order, done as they come out.

    Items are taken as they are needed: neither they nor what becomes of them is ever in memory all at once. When the
    caller stops taking, what has not begun is not begun, and what has begun is told to stop.
    """
    workers, stop = settings.threads(), threading.Event()

    def go_on(*_: Any) -> None:
        if stop.is_set():
            raise Stopped

    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[Done]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, item, go_on))
                if len(under_way) > AHEAD * workers:
                    yield _finished(under_way.popleft())
            while under_way:
                yield _finished(under_way.popleft())
        finally:
            stop.set()
            for future in under_way:
                future.cancel()


def _finished(future: Future[Done]) -> Future[Done]:
    future.exception()  # waits
    return future
