"""Many at once on one gallery: processes, threads, and processes that were forked off."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from known_voices import KnownVoices, voice
from test_crash import child

from speakerdb import Encoder, Gallery
from speakerdb.errors import DuplicateEnrollment
from speakerdb.quiet import stderr_closed
from speakerdb.store import binding

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.timeout(240),
]

WRITER = """
import random, time
from speakerdb.errors import EmptyGallery, NoSuchGallery

me, seconds = sys.argv[3], float(sys.argv[4])
random.seed(me)
held, number, until = {}, 0, time.time() + seconds
with Gallery.open(folder, encoder=known) as gallery:
    while time.time() < until:
        number += 1
        what = random.random()
        if what < 0.6 or not held:
            name, source = f"{me} {number}", f"{me} {number} 0"
            gallery.enroll(name, [source])
            held[name] = [source]
            said("enrolled", name, source, time.time())
        elif what < 0.75:
            name = random.choice(sorted(held))
            gallery.enroll(name, [f"{me} {number} more"])
            held[name].append(f"{me} {number} more")
        elif what < 0.9:
            name = random.choice(sorted(held))
            gallery.remove(name)
            del held[name]
        else:
            name = random.choice(sorted(held))
            gallery.rename(name, f"{name} too")
            held[f"{name} too"] = held.pop(name)
said("held", held)
"""

READER = """
import time
import numpy as np
from speakerdb.errors import EmptyGallery, NoSuchGallery
from known_voices import voice

seconds = float(sys.argv[3])
whole = 0
read_all = voiceprints.in_batches
def counted(*arguments):
    global whole
    whole += 1
    return read_all(*arguments)
voiceprints.in_batches = counted
until, latest, delays, searches = time.time() + seconds, None, [], 0
with Gallery.open(folder, encoder=known) as gallery:
    import sqlite3
    while time.time() < until:
        try:
            found = gallery.nearest(voice("nobody"), top=3)
        except (EmptyGallery, NoSuchGallery):
            continue
        searches += 1
        assert found and all(1.0 < near.distance < 1.9 for near in found), found
        with gallery._existing().reading() as connection:
            from sqlalchemy import text
            row = connection.execute(text("SELECT source, speaker_id FROM enrollment ORDER BY id DESC LIMIT 1")).first()
        if row and row[0] != latest:
            latest = row[0]
            near = gallery.nearest(voice(latest), top=1)[0]
            if near.distance < 1e-5:
                delays.append([latest, time.time()])
said("read", searches, whole, delays)
"""


@pytest.fixture(scope="module")
def encoder() -> KnownVoices:
    return KnownVoices(Encoder.load()._bundle)


def said_by(process) -> list[list]:
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def assert_holds(gallery: Gallery, expected: dict[str, list[str]]) -> None:
    """The gallery is what these people say, finds each by their voice, and is sound."""
    found = {one.speaker: [row.source for row in one.recordings] for one in gallery.speakers(enrollments=True)}
    assert found == expected
    for name, sources in list(expected.items())[:200]:
        mean = np.mean([voice(source).astype(float) for source in sources], axis=0)
        near = gallery.nearest((mean / np.linalg.norm(mean)).astype(np.float32), top=1)[0]
        assert (near.speaker, near.distance < 1e-5) == (name, True)
    assert gallery.check().findings == []


@pytest.mark.parametrize(
    ("each", "seconds"), [(3, 4.0), pytest.param(8, 60.0, marks=pytest.mark.slow, id="eight of each for a minute")]
)
def test_writers_and_readers_lose_nothing_and_see_each_other_soon(tmp_path, encoder, each, seconds):
    folder = tmp_path / "people"
    with Gallery.open(folder, encoder=encoder) as gallery:
        gallery.enroll("first", ["first 0"])
    with ExitStack() as stack:
        writers = [stack.enter_context(child(WRITER, folder, f"w{n}", seconds)) for n in range(each)]
        readers = [stack.enter_context(child(READER, folder, seconds)) for _ in range(each)]
        written = [said_by(process) for process in writers]
        read = [said_by(process) for process in readers]
    expected = {"first": ["first 0"]}
    acknowledged = {}
    for lines in written:
        assert lines[-1][0] == "held"
        expected |= lines[-1][1]
        acknowledged |= {source: at for _, _, source, at in lines[:-1]}
    assert len(acknowledged) > 5 * each
    delays = []
    for [[_, searches, whole, seen]] in read:
        assert searches > 0
        assert whole <= 1  # read once, then only what changed
        delays += [at - acknowledged[source] for source, at in seen if source in acknowledged]
    assert delays
    print(
        f"{len(acknowledged)} enrolled, {sum(r[0][1] for r in read)} searches, seen after {max(delays):.3f} s at most"
    )
    assert max(delays) < 1.0
    with Gallery.open(folder, encoder=encoder) as gallery:
        assert_holds(gallery, expected)


def test_threads_share_one_gallery(tmp_path, encoder):
    expected: dict[str, list[str]] = {}
    failures: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for number in range(12):
                name = f"{me} {number}"
                gallery.enroll(name, [f"{name} 0", f"{name} 1"])
                assert gallery.nearest(voice(f"{name} 0"), top=1)[0].speaker == name
                if number % 3 == 0:
                    gallery.remove(name)
                elif number % 3 == 1:
                    gallery.rename(name, f"{name} too")
                    expected[f"{name} too"] = [f"{name} 0", f"{name} 1"]
                else:
                    expected[name] = [f"{name} 0", f"{name} 1"]
        except BaseException as error:  # told by the test
            failures.append(error)

    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert_holds(gallery, expected)


# fork


def forked(work: Callable[[], None]) -> int:
    """Run in a child of this process; its exit status."""
    child_id = os.fork()
    if child_id == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done, status = os.waitpid(child_id, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child_id, 9)
    os.waitpid(child_id, 0)
    raise AssertionError("the child hangs")


def test_a_child_and_its_parent_go_on_with_the_gallery_that_was_open(tmp_path, encoder):
    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        gallery.enroll("before", ["before 0"])
        assert gallery.nearest(voice("before 0"))[0].speaker == "before"

        def work() -> None:
            assert gallery.nearest(voice("before 0"))[0].speaker == "before"
            for number in range(5):
                gallery.enroll(f"child {number}", [f"child {number} 0"])
            with pytest.raises(DuplicateEnrollment):
                gallery.enroll("before", ["before 0"])

        assert forked(work) == 0
        gallery.enroll("parent", ["parent 0"])
        children = {f"child {number}": [f"child {number} 0"] for number in range(5)}
        assert_holds(gallery, {"before": ["before 0"], "parent": ["parent 0"]} | children)


def test_children_made_while_threads_are_at_work_hang_nowhere(tmp_path, encoder):
    stop = threading.Event()
    expected: dict[str, list[str]] = {}
    failures: list[BaseException] = []

    def work(me: int) -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                gallery.enroll(f"{me} {number}", [f"{me} {number} 0"])
                expected[f"{me} {number}"] = [f"{me} {number} 0"]
                gallery.nearest(voice(f"{me} 1 0"))
        except BaseException as error:
            failures.append(error)

    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        gallery.enroll("first", ["first 0"])
        threads = [threading.Thread(target=work, args=(me,)) for me in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(6):
            assert forked(lambda turn=turn: gallery.enroll(f"child {turn}", [f"child {turn} 0"])) == 0
            expected[f"child {turn}"] = [f"child {turn} 0"]
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert_holds(gallery, expected | {"first": ["first 0"]})


def test_a_child_of_a_process_that_was_shutting_stderr_has_it_and_can_shut_it_itself():
    shut, go_on = threading.Event(), threading.Event()

    def decode() -> None:
        with stderr_closed():
            shut.set()
            go_on.wait(10)

    def work() -> None:
        with stderr_closed():
            pass
        assert os.path.samestat(os.fstat(2), own)

    own = os.fstat(2)
    thread = threading.Thread(target=decode)
    thread.start()
    assert shut.wait(10)
    threading.Timer(0.2, go_on.set).start()  # the fork waits for it
    assert forked(work) == 0
    thread.join()


def test_a_fork_and_an_answer_do_not_wait_for_each_other(enrolled: Path, examples: Path, monkeypatch):
    """Whoever forks holds the gallery's lock while sessions end: no session may ask for it."""
    with Gallery.open(enrolled) as gallery:
        heard = gallery.encoder.probe(examples / "ana_4.wav")
        inside, real, answers = threading.Event(), binding.identity, []

        def identity(connection):
            inside.set()
            while threading.current_thread() is thread and gallery._lock.acquire(blocking=False):
                gallery._lock.release()
                time.sleep(0.001)
            return real(connection)

        thread = threading.Thread(target=lambda: answers.append(gallery.verify("ana", heard).accepted))
        monkeypatch.setattr(binding, "identity", identity)
        thread.start()
        assert inside.wait(10)
        assert forked(lambda: None) == 0
        thread.join(10)
        assert answers == [True]


def enroll_there(gallery: Gallery, name: str) -> None:
    gallery.enroll(name, [f"{name} 0"])


def test_multiprocessing_by_fork_can_use_the_gallery(tmp_path, encoder):
    with Gallery.open(tmp_path / "people", encoder=encoder) as gallery:
        gallery.enroll("first", ["first 0"])
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=enroll_there, args=(gallery, f"p{n}")) for n in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
        assert_holds(gallery, {"first": ["first 0"]} | {f"p{n}": [f"p{n} 0"] for n in range(3)})


def test_the_encoder_and_faiss_work_in_a_child_though_their_threads_stayed_behind(enrolled: Path, examples: Path):
    faiss = pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    index = faiss.IndexFlatIP(192)
    voices = np.random.default_rng(0).normal(size=(5000, 192)).astype(np.float32)
    index.add(voices)
    with Gallery.open(enrolled) as gallery:
        assert gallery.identify(examples / "ana_4.wav").speaker == "ana"
        index.search(voices[:500], 5)  # on all cores

        def work() -> None:
            index.search(voices[:500], 5)
            assert gallery.identify(examples / "ana_4.wav").speaker == "ana"
            assert gallery.verify("ana", examples / "ana_4.wav").accepted
            gallery.enroll("kal", [Path(examples / "kal_1.wav"), Path(examples / "kal_2.wav")])

        assert forked(work) == 0
        assert gallery.identify(examples / "kal_4.wav").speaker == "kal"
