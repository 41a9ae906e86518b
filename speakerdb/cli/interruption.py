"""An end from outside: Ctrl-C, SIGTERM, SIGHUP. What was begun is cleaned up, and one line says so.

The exception that a signal raises becomes another one on its way: a library that is just being imported makes an
ImportError of it. So it is remembered that a signal came, and whatever error ends the program then is the interruption.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

AGAIN_S = 0.01
"""Until a signal whose exception was dropped is raised once more: by then Python is where it was."""

_came = False


def until_expected() -> None:
    """Until there is somebody to tell of it, Ctrl-C ends the program without Python's traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def expect() -> None:
    """From now on a signal raises KeyboardInterrupt, and a second one ends the program at once, which loses nothing."""
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # `nohup` has it ignored
            signal.signal(number, _interrupt)
    sys.unraisablehook = _dropped


def came() -> bool:
    """Whether there was a signal: an error that ends the program now is its."""
    return _came


def ignore() -> None:
    """All is said and done; a signal that comes while Python ends changes nothing of it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(*_: Any) -> None:
    global _came
    _came = True
    for number in SIGNALS:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_DFL)
    if "logging" in sys.modules:  # SQLAlchemy tells of each connection that is cut short, with a traceback
        sys.modules["logging"].getLogger("sqlalchemy.pool").setLevel("CRITICAL")
    raise KeyboardInterrupt


def _dropped(lost: UnraisableHookArgs) -> None:
    """Python drops what is raised while it clears something away, as after each import, and would go on."""
    if not (_came and isinstance(lost.exc_value, KeyboardInterrupt)):
        sys.__unraisablehook__(lost)
        return
    import threading

    def again() -> None:
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, _interrupt)
    threading.Timer(AGAIN_S, again).start()
