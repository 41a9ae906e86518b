"""An index on disk: whole or not there, and believed only where everything agrees."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from speakerdb import settings
from speakerdb.embedding import normalize
from speakerdb.errors import GalleryLocked
from speakerdb.index import snapshot
from speakerdb.index.engine import make_index
from speakerdb.index.protocol import VectorIndex
from speakerdb.index.snapshot import FILE, LOCK, PARTIAL, Binding

DIMENSION = 4
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no flock, no modes and no SIGKILL")


@pytest.fixture(params=["numpy", "faiss-flat"])
def kind(request) -> str:
    if request.param == "faiss-flat":
        pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    return request.param


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where snapshots may be written; nothing is there yet."""
    return tmp_path / "index"


def binding_of(kind: str, **changes: Any) -> Binding:
    fields = {"gallery_uuid": "ab" * 16, "encoder_sha256": "0" * 64, "dimension": DIMENSION, "kind": kind}
    return Binding(**(fields | changes))


def filled(kind: str, people: int = 5) -> VectorIndex:
    index = make_index(kind, DIMENSION)
    vectors = normalize(np.random.default_rng(people).normal(size=(people, DIMENSION)))
    index.add(np.arange(1, people + 1), vectors)
    return index


def save(folder: Path, kind: str, generation: int = 7, people: int = 5) -> bool:
    return snapshot.save(folder, filled(kind, people), binding_of(kind), generation, lambda: generation)


def load(folder: Path, kind: str) -> tuple[int, int] | None:
    """Speakers and generation of what is loaded."""
    loaded = snapshot.load(folder, binding_of(kind))
    return (len(loaded[0]), loaded[1]) if loaded else None


def sealed(content: bytes, **fields: Any) -> bytes:
    """A file whose checksum agrees, whatever it says."""
    digest = snapshot._digest(fields, content)
    return json.dumps({**fields, "sha256": digest}).encode() + b"\n" + content


def test_what_was_saved_is_loaded_with_its_generation(folder, kind):
    assert save(folder, kind)
    index, generation = snapshot.load(folder, binding_of(kind))
    assert (generation, index.kind, index.dimension) == (7, kind, DIMENSION)
    queries = normalize(np.random.default_rng(9).normal(size=(6, DIMENSION)))
    for found, expected in zip(index.search(queries, 5), filled(kind).search(queries, 5), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, FILE]


def test_a_later_snapshot_takes_the_place_of_the_earlier(folder, kind):
    assert save(folder, kind, generation=7, people=5)
    assert save(folder, kind, generation=9, people=3)
    assert load(folder, kind) == (3, 9)


def test_an_empty_index_is_a_snapshot_too(folder, kind):
    assert save(folder, kind, people=0)
    assert load(folder, kind) == (0, 7)


def test_without_a_snapshot_there_is_none(folder, kind):
    assert load(folder, kind) is None
    folder.mkdir()
    assert load(folder, kind) is None


def test_a_snapshot_cut_at_any_length_is_not_believed(folder, kind):
    save(folder, kind)
    whole = (folder / FILE).read_bytes()
    for length in range(len(whole)):
        (folder / FILE).write_bytes(whole[:length])
        assert load(folder, kind) is None, length
    (folder / FILE).write_bytes(whole)
    assert load(folder, kind) == (5, 7)


def test_a_snapshot_with_one_flipped_bit_is_not_believed(folder, kind):
    save(folder, kind)
    whole = (folder / FILE).read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        (folder / FILE).write_bytes(flipped)
        assert load(folder, kind) is None, position


@pytest.mark.parametrize("more", [b"\0", b"\n", b"x" * 1000])
def test_a_snapshot_that_goes_on_after_its_end_is_not_believed(folder, kind, more):
    save(folder, kind)
    with (folder / FILE).open("ab") as file:
        file.write(more)
    assert load(folder, kind) is None


@pytest.mark.parametrize(
    "changes",
    [{"gallery_uuid": "cd" * 16}, {"encoder_sha256": "1" * 64}, {"dimension": 8}],
    ids=["another gallery's", "another encoder's", "another dimension"],
)
def test_a_snapshot_of_something_else_is_not_believed(folder, kind, changes):
    save(folder, kind)
    assert snapshot.load(folder, binding_of(kind, **changes)) is None


def test_a_snapshot_of_another_engine_is_not_believed(folder):
    pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    for mine, other in (("numpy", "faiss-flat"), ("faiss-flat", "numpy")):
        save(folder, mine)
        assert load(folder, mine) == (5, 7)
        assert load(folder, other) is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"{}\n", id="an empty object"),
        pytest.param(b"[1]\n", id="a list"),
        pytest.param(b"null\n", id="null"),
        pytest.param(b"\xff\xfe\n", id="no text"),
        pytest.param(b"[" * 4000 + b"\n", id="thousands of brackets"),
        pytest.param(b"9" * 4090 + b"\n", id="a number of thousands of digits"),
        pytest.param(b"a" * 1_000_000, id="a line without end"),
        pytest.param(np.random.default_rng(0).bytes(4096), id="noise"),
    ],
)
def test_a_file_that_is_no_snapshot_is_not_believed(folder, kind, content):
    folder.mkdir()
    (folder / FILE).write_bytes(content)
    assert load(folder, kind) is None
    snapshot.drop_later(folder, 3)
    assert save(folder, kind)
    assert load(folder, kind) == (5, 7)


@pytest.mark.parametrize(
    "lie",
    [
        {"format": "speakerdb-index/1"},
        {"format": None},
        {"count": 4},
        {"count": "5"},
        {"generation": "soon"},
        {"generation": None},
        {"generation": float("inf")},
        {"generation": float("nan")},
        {"generation": [7]},
        {"kind": "hnsw"},
    ],
    ids=repr,
)
def test_a_header_that_lies_under_a_true_checksum_is_not_believed(folder, kind, lie):
    index = filled(kind)
    fields = vars(binding_of(kind)) | {"format": snapshot.FORMAT, "generation": 7, "count": 5}
    folder.mkdir()
    (folder / FILE).write_bytes(sealed(index.to_bytes(), **fields))
    assert load(folder, kind) == (5, 7)
    (folder / FILE).write_bytes(sealed(index.to_bytes(), **(fields | lie)))
    assert load(folder, kind) is None
    snapshot.drop_later(folder, 3)


def test_bytes_that_are_no_index_under_a_true_checksum_are_not_believed(folder, kind):
    fields = vars(binding_of(kind)) | {"format": snapshot.FORMAT, "generation": 7, "count": 5}
    folder.mkdir()
    for content in (b"", b"no index", np.random.default_rng(0).bytes(200)):
        (folder / FILE).write_bytes(sealed(content, **fields))
        assert load(folder, kind) is None


def test_a_folder_in_the_files_place_is_not_believed_and_cannot_be_replaced(folder, kind):
    (folder / FILE).mkdir(parents=True)
    assert load(folder, kind) is None
    with pytest.raises(OSError, match=r"(?i)director"):
        save(folder, kind)
    assert not (folder / PARTIAL).exists()


def test_a_file_in_the_folders_place_is_not_believed(folder, kind):
    folder.write_bytes(b"no folder")
    assert load(folder, kind) is None
    with pytest.raises(FileExistsError):
        save(folder, kind)


def test_a_gallery_that_has_moved_on_gets_no_snapshot(folder, kind):
    assert not snapshot.save(folder, filled(kind), binding_of(kind), 7, lambda: 8)
    assert [path.name for path in folder.iterdir()] == [LOCK]
    save(folder, kind, generation=6, people=2)
    assert not snapshot.save(folder, filled(kind), binding_of(kind), 7, lambda: 8)
    assert load(folder, kind) == (2, 6)


def test_a_snapshot_of_a_later_state_than_the_gallerys_is_dropped(folder, kind):
    snapshot.drop_later(folder, 7)
    assert not folder.exists()
    save(folder, kind, generation=7)
    snapshot.drop_later(folder, 7)
    assert load(folder, kind) == (5, 7)
    snapshot.drop_later(folder, 6)
    assert not (folder / FILE).exists()


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
        # Only what comes after the renaming leaves the new one: it is whole by then.
        assert load(folder, kind) == ((5, 7) if "replace" in refused[:-1] else (2, 6)), refused
    assert {"open", "write", "flush", "fsync", "replace", "mkdir"} <= set(refused)
    assert refused[-1] == "fsync"  # of the folder
    assert load(folder, kind) == (5, 7)


@posix
@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace", "replaced", "done"])
def test_killed_at_any_step_of_writing_there_is_the_old_snapshot_or_the_new(folder, step):
    save(folder, "numpy", generation=6, people=2)
    script = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_snapshot import save

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
    assert load(folder, "numpy") == ((5, 7) if step in ("replaced", "done") else (2, 6))
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
