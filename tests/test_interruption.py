"""A signal ends the program in one line, whatever its exception has become on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

BEGIN = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
from speakerdb.__main__ import main
from speakerdb.cli import interruption, people

def hit(number):
    os.kill(os.getpid(), number)
    time.sleep(60)
"""
COMMAND = """
people.speakers.callback = command
sys.argv = ["speakerdb", "speakers", "--json"]
main()
"""


def ended(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interruption_that_became_another_error_is_one_still(name: str) -> None:
    import_failed = f"""
def command(**_):
    try:
        hit(signal.{name})
    except KeyboardInterrupt:
        raise ImportError("numpy._core.multiarray failed to import")
"""
    done = ended(import_failed + COMMAND)
    assert (done.returncode, done.stdout) == (130, "")
    assert json.loads(done.stderr)["error"] == "Interrupted"


def test_an_error_without_a_signal_is_a_fault_of_the_program_still() -> None:
    done = ended("def command(**_): raise ImportError('numpy')" + COMMAND)
    assert done.returncode == 70
    assert "a fault of the program itself" in done.stderr


def test_a_second_signal_ends_what_does_not_end_by_itself() -> None:
    stubborn = """
def command(**_):
    try:
        hit(signal.SIGINT)
    except KeyboardInterrupt:
        hit(signal.SIGINT)
"""
    done = ended(stubborn + COMMAND)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_while_python_ends_a_signal_changes_nothing() -> None:
    done = ended(
        "import atexit\natexit.register(os.kill, os.getpid(), signal.SIGTERM)\ndef command(**_): pass" + COMMAND
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_before_the_command_line_is_there_an_interruption_leaves_no_traceback() -> None:
    done = ended("interruption.until_expected()\nhit(signal.SIGINT)")
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_signal_that_comes_while_python_clears_something_away_is_not_lost() -> None:
    clearing = """
import weakref
class Gone:
    pass
def command(**_):
    gone = Gone()
    kept = weakref.ref(gone, lambda _: hit(signal.SIGTERM))
    del gone
    time.sleep(30)
"""
    begun = time.monotonic()
    done = ended(clearing + COMMAND)
    assert time.monotonic() - begun < 20
    assert (done.returncode, done.stdout) == (130, "")
    assert json.loads(done.stderr)["error"] == "Interrupted"


def test_what_else_python_drops_is_told_as_ever() -> None:
    done = ended(
        """
class Gone:
    def __del__(self):
        raise ValueError("mine")
def command(**_):
    Gone()
"""
        + COMMAND
    )
    assert done.returncode == 0 and "ValueError: mine" in done.stderr
