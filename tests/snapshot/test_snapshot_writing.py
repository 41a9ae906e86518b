"""An index written to disk: whole or not there, whatever fails, whoever is killed, and never beside a removal."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from snapshots import load, posix, save

from speakerdb import settings
from speakerdb.errors import GalleryLocked
from speakerdb.index import snapshot
from speakerdb.index.snapshot import FILE, LOCK, PARTIAL


class FullDisk:
    """Lets the first calls of the system through and refuses the one after them."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.refused = ""

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.allowed -= 1
            if self.allowed == -1:
                self.refused = name
                raise OSError(errno.ENOSPC, "No space left on device")
            return call(*args, **kwargs)

        return counted

    def install(self, patch: pytest.MonkeyPatch) -> None:
        def fdopen(*args: Any, _fdopen: Callable[..., IO[bytes]] = os.fdopen, **kwargs: Any) -> Any:
            file = _fdopen(*args, **kwargs)
            return Writes(file, self.wrap("write", file.write), self.wrap("flush", file.flush))

        for name in ("open", "fsync"):
            patch.setattr(os, name, self.wrap(name, getattr(os, name)))
        patch.setattr(os, "fdopen", fdopen)
        patch.setattr(Path, "replace", self.wrap("replace", Path.replace))
        patch.setattr(Path, "mkdir", self.wrap("mkdir", Path.mkdir))


class Writes:
    """A file whose writing is counted."""

    def __init__(self, file: IO[bytes], write: Callable[..., Any], flush: Callable[..., Any]) -> None:
        self.file, self.write, self.flush, self.fileno = file, write, flush, file.fileno

    def __enter__(self) -> Writes:
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()


def test_whichever_call_of_the_system_fails_the_snapshot_that_was_there_stays(folder, kind, monkeypatch):
    save(folder, kind, generation=6, people=2)
    refused = []
    for allowed in range(100):
        disk = FullDisk(allowed)
        with monkeypatch.context() as patch:
            disk.install(patch)
            try:
                assert save(folder, kind)
            except OSError as error:
                assert error.errno == errno.ENOSPC
        if not disk.refused:
            break
        refused.append(disk.refused)
        assert not (folder / PARTIAL).exists()
        # What fails after the renaming leaves none: the old one has lost its name, the new one may not be on disk.
        assert load(folder, kind) == (None if "replace" in refused[:-1] else (2, 6)), refused
        assert (folder / FILE).exists() == ("replace" not in refused[:-1])
    assert {"open", "write", "flush", "fsync", "replace", "mkdir"} <= set(refused)
    assert refused[-1] == "fsync"  # of the folder
    assert load(folder, kind) == (5, 7)


@posix
@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace", "replaced", "done"])
def test_killed_at_any_step_of_writing_the_old_snapshot_is_believed_or_the_new_or_none(folder, step):
    save(folder, "numpy", generation=6, people=2)
    script = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from snapshots import save

folder, step = Path(sys.argv[1]), sys.argv[2]

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

if step == "open":
    system_open = os.open
    os.open = lambda path, *args: die() if Path(path).name.endswith("partial") else system_open(path, *args)
elif step == "write":
    system_fdopen = os.fdopen
    def fdopen(*args):
        file = system_fdopen(*args)
        file.write(b"a half-written header")
        file.flush()
        die()
    os.fdopen = fdopen
elif step == "fsync":
    os.fsync = die
elif step == "replace":
    Path.replace = die
elif step == "replaced":
    system_replace = Path.replace
    def replace(*args):
        system_replace(*args)
        die()
    Path.replace = replace
save(folder, "numpy")
"""
    tests = str(Path(__file__).parent)
    ended = subprocess.run([sys.executable, "-c", script, folder, step, tests], check=False, timeout=120)
    assert ended.returncode == (0 if step == "done" else -9)
    assert load(folder, "numpy") == {"done": (5, 7), "replaced": None}.get(step, (2, 6))
    assert (folder / PARTIAL).exists() == (step in ("write", "fsync", "replace"))
    with snapshot.erased(folder):  # no lock outlives its holder, and a removal clears the half-written file
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert save(folder, "numpy")
    assert load(folder, "numpy") == (5, 7)


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the folder's lock until it is killed."""
    script = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600), fcntl.LOCK_EX)
print(flush=True)
time.sleep(300)
"""
    folder.mkdir()
    command = [sys.executable, "-c", script, folder / LOCK]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@posix
def test_while_another_process_holds_the_lock_nothing_is_written(folder, holder):
    assert not save(folder, "numpy")
    assert [path.name for path in folder.iterdir()] == [LOCK]
    holder.kill()
    holder.wait()
    assert save(folder, "numpy")


@posix
def test_a_removal_that_waits_too_long_for_the_lock_says_so_and_deletes_nothing(folder, holder, monkeypatch):
    monkeypatch.setattr(settings, "BUSY_TIMEOUT_S", 0.1)
    (folder / FILE).write_bytes(b"kept")
    with pytest.raises(GalleryLocked, match="locked by another process"), snapshot.erased(folder):
        pytest.fail("the lock was not held")
    assert (folder / FILE).read_bytes() == b"kept"


@posix
def test_a_removal_goes_on_once_the_lock_is_free(folder, holder):
    (folder / FILE).write_bytes(b"gone")
    holder.kill()
    with snapshot.erased(folder):
        assert not (folder / FILE).exists()


@posix
def test_while_a_removal_runs_nobody_writes_a_snapshot(folder, kind):
    save(folder, kind)
    (folder / PARTIAL).write_bytes(b"half a voice")
    with snapshot.erased(folder):
        assert [path.name for path in folder.iterdir()] == [LOCK]
        assert not save(folder, kind)
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert save(folder, kind)


@posix
def test_the_very_first_snapshot_waits_for_a_removal_too(folder, kind):
    with snapshot.erased(folder):
        assert not save(folder, kind)
    assert save(folder, kind)


@posix
def test_a_removal_that_fails_frees_the_lock(folder, kind):
    with pytest.raises(KeyError), snapshot.erased(folder):
        raise KeyError
    assert save(folder, kind)


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_whatever_the_umask(folder, kind, umask):
    before = os.umask(umask)
    try:
        save(folder, kind)
        with snapshot.erased(folder):
            pass
        save(folder, kind)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes == {"index": 0o700, FILE: 0o600, LOCK: 0o600}
