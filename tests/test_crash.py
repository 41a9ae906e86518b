"""kill -9 at any moment: what was acknowledged is there whole, what was removed is gone, and the gallery is sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from galleries import left_in, pieces, recording_of
from known_voices import KnownVoices, voice

from speakerdb import Encoder, Gallery
from speakerdb.index import snapshot
from speakerdb.store import fields

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

CHILD = """
import json, os, signal, sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from speakerdb import Encoder, Gallery
from speakerdb.index import snapshot
from speakerdb.store import binding, records, voiceprints
from speakerdb.store.database import Database
from known_voices import KnownVoices

folder, known = Path(sys.argv[2]), KnownVoices(Encoder.load()._bundle)

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def die_before(owner, name):
    setattr(owner, name, die)

def die_after(owner, name):
    call = getattr(owner, name)
    def last(*args, **kwargs):
        call(*args, **kwargs)
        die()
    setattr(owner, name, last)

def die_around_commit(before):
    writing = Database.writing
    @contextmanager
    def last(self, **options):
        with writing(self, **options) as connection:
            yield connection
            if before:
                die()
        die()
    Database.writing = last

def said(*words):
    print(json.dumps(words), flush=True)

"""
ENROLL_FOREVER = """
said("ready")
with Gallery.open(folder, encoder=known, index="numpy") as gallery:
    for number in range(int(sys.argv[3]), 1_000_000):
        name, sources = f"person {number % 9}", [f"{number} {part}" for part in range(1 + number % 3)]
        gallery.enroll(name, sources)
        said("enrolled", name, *sources)
        if number % 5 == 0:
            gallery.identify(sources[0])
        if number % 7 == 0:
            gallery.remove(name)
            said("removed", name)
        if number % 11 == 0:
            gallery.rebuild()
"""


@contextmanager
def child(script: str, folder: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a script on a gallery of known voices, and is killed at the end of the block."""
    command = [sys.executable, "-c", CHILD + script, str(Path(__file__).parent), str(folder)]
    command += [str(argument) for argument in arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process: subprocess.Popen[str]) -> list[list[str]]:
    """What the process said in whole lines until its end."""
    return [json.loads(line) for line in process.stdout if line.endswith("\n")]


def assert_whole(
    folder: Path, encoder: Encoder, said: list[list[str]], removing: str | None = None, enrolling: bool = False
) -> dict[str, set[str]]:
    """Hold a gallery against what was acknowledged.

    Args: removing, enrolling: whether such an order, not acknowledged any more, may have been carried out whole.
    Returns: recordings by speaker, as they are.
    """
    expected: dict[str, set[str]] = {}
    for verb, name, *sources in said:
        if verb == "enrolled":
            expected.setdefault(name, set()).update(sources)
        else:
            expected.pop(name, None)
    with Gallery.open(folder, encoder=encoder, index="numpy") as gallery:
        found = {
            entry.speaker: {recording.source for recording in entry.recordings}
            for entry in gallery.speakers(enrollments=True)
        }
        assert gallery.check().findings == []
        differing = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
        assert len(differing) <= 1, (found, expected)
        for name in differing:
            before, now = expected.get(name, set()), found.get(name, set())
            if not now:
                assert name == removing
            else:
                assert enrolling
                assert before < now
                number = int(next(iter(now - before)).split()[0])
                assert now - before == {f"{number} {part}" for part in range(1 + number % 3)}
        for name, sources in found.items():
            mean = np.mean([voice(source).astype(float) for source in sources], axis=0)
            nearest = gallery.nearest((mean / np.linalg.norm(mean)).astype(np.float32), top=1)[0]
            assert nearest.speaker == name
            assert nearest.distance < 1e-5
    return found


@pytest.fixture(scope="module")
def encoder() -> KnownVoices:
    return KnownVoices(Encoder.load()._bundle)


def secrets(sources: set[str]) -> set[bytes]:
    vectors = [voice(source) for source in sources]
    hashes = [recording_of(vector).audio_sha256.encode() for vector in vectors]
    return pieces(*(fields.to_blob(vector) for vector in vectors), *hashes)


DELAYS_S = (0.0, 0.013, 0.031, 0.05, 0.077, 0.123, 0.17, 0.26)


@pytest.mark.slow
def test_killed_at_any_moment_what_was_acknowledged_is_there_and_what_was_removed_is_gone(tmp_path, encoder):
    folder = tmp_path / "people"
    said: list[list[str]] = []
    ever: set[str] = set()
    for turn, delay_s in enumerate(DELAYS_S):
        with child(ENROLL_FOREVER, folder, 1000 * turn) as process:
            assert process.stdout.readline() == '["ready"]\n'
            said_now = [json.loads(process.stdout.readline())]
            time.sleep(delay_s)
            process.kill()
            said_now += lines_of(process)
        said += said_now
        verb, name, *sources = said[-1]
        removing = name if verb == "enrolled" and int(sources[0].split()[0]) % 7 == 0 else None
        found = assert_whole(folder, encoder, said, removing, enrolling=True)
        said = [["enrolled", name, *sources] for name, sources in found.items()]
        ever |= {source for verb, _, *sources in said_now for source in sources if verb == "enrolled"}
        gone = ever - set().union(*found.values())
        assert left_in(folder, secrets(gone)) == [] if gone else True
    assert len(ever) > 2 * len(DELAYS_S)


FIRST = """
gallery = Gallery.open(folder, encoder=known, index="numpy")
gallery.enroll("person 0", ["1 0", "1 1"])
said("enrolled", "person 0", "1 0", "1 1")
gallery.enroll("person 1", ["3 0"])
said("enrolled", "person 1", "3 0")
gallery.rebuild()
"""

ENROLL = """
gallery.enroll("person 0", ["5 0", "5 1", "5 2"])
said("enrolled", "person 0", "5 0", "5 1", "5 2")
"""

STEPS_OF_ENROLLING = {
    "before the file is made": ("die_before(Database, 'keep_wal')", "nothing"),
    "before the file has its name": ("die_before(Path, 'hardlink_to')", "nothing"),
    "after the file has its name": ("die_after(Path, 'hardlink_to')", "nothing"),
    "before the speaker is written": ("die_before(records, 'add_speaker')", "nothing"),
    "after the second recording": ("die_after(voiceprints, 'refresh')", "nothing"),
    "before the change is noted": ("die_before(binding, 'record_change')", "first"),
    "before the commit": ("die_around_commit(before=True)", "first"),
}


@pytest.mark.parametrize("step", STEPS_OF_ENROLLING)
def test_killed_before_its_commit_an_enrollment_never_was(tmp_path, encoder, step):
    hook, before = STEPS_OF_ENROLLING[step]
    script = f"{FIRST}{hook}\n{ENROLL}" if before == "first" else f"{hook}\n{FIRST}"
    with child(script, tmp_path / "people") as process:
        said = lines_of(process)
    assert process.returncode == -9
    assert len(said) == (2 if before == "first" else 0)
    if before == "first":
        assert_whole(tmp_path / "people", encoder, said)
    with Gallery.open(tmp_path / "people", encoder=encoder, index="numpy") as gallery:
        assert len(gallery.speakers()) == len(said)
        gallery.enroll("person 0", ["5 0", "5 1", "5 2"])
        assert gallery.identify("5 0", threshold=1.3).speaker == "person 0"


def test_killed_after_its_commit_an_enrollment_is_there(tmp_path, encoder):
    with child(FIRST + "die_around_commit(before=False)\n" + ENROLL, tmp_path / "people") as process:
        said = lines_of(process)
    assert process.returncode == -9
    assert len(said) == 2  # not acknowledged any more, and yet whole
    found = assert_whole(tmp_path / "people", encoder, said, enrolling=True)
    assert found["person 0"] == {"1 0", "1 1", "5 0", "5 1", "5 2"}


SNAPSHOT = """
gallery.identify("1 0")
gallery.close()
said("enrolled", "person 0", "1 0")
"""


STEPS_OF_SAVING = {
    "before the first byte": "die_before(os, 'fdopen')",
    "before it is on disk": "die_before(os, 'fsync')",
    "before it has its name": "die_before(Path, 'replace')",
    "after it has its name": "die_after(Path, 'replace')",
}


@pytest.mark.parametrize("step", STEPS_OF_SAVING)
def test_killed_while_the_index_is_saved_the_gallery_is_whole(tmp_path, encoder, step):
    folder = tmp_path / "people"
    script = FIRST + 'gallery.enroll("person 2", ["4 0", "4 1"])\nsaid("enrolled", "person 2", "4 0", "4 1")\n'
    with child(script + STEPS_OF_SAVING[step] + SNAPSHOT, folder) as process:
        said = lines_of(process)
    assert process.returncode == -9
    assert len(said) == 3
    partial = folder / "index" / snapshot.PARTIAL
    assert partial.exists() == (step != "after it has its name")
    assert_whole(folder, encoder, said)
    with Gallery.open(folder, encoder=encoder, index="numpy") as gallery:
        gallery.remove("person 2")
    assert not partial.exists()
    assert left_in(folder, secrets({"4 0", "4 1"})) == []


REMOVE = """
gallery.remove("person 0")
said("removed", "person 0")
"""

STEPS_OF_REMOVING = {
    "before the index is deleted": ("die_before(Path, 'unlink')", True),
    "after the index is deleted": ("die_after(snapshot, 'fsync_folder')", True),
    "before the change is noted": ("die_before(binding, 'record_change')", True),
    "before the commit": ("die_around_commit(before=True)", True),
    "after the commit": ("die_around_commit(before=False)", False),
    "before the log is cut": ("die_before(Database, 'truncate_wal')", False),
    "after the log is cut": ("die_after(Database, 'truncate_wal')", False),
}


@pytest.mark.parametrize("step", STEPS_OF_REMOVING)
def test_killed_while_somebody_is_removed_they_are_there_whole_or_gone_without_a_trace(tmp_path, encoder, step):
    folder = tmp_path / "people"
    hook, there = STEPS_OF_REMOVING[step]
    with child(FIRST + hook + REMOVE, folder) as process:
        said = lines_of(process)
    assert process.returncode == -9
    found = assert_whole(folder, encoder, said, removing=None if there else "person 0")
    assert ("person 0" in found) == there
    assert "person 1" in found
    if not there:  # `check` in assert_whole has cut the log
        assert left_in(folder, secrets({"1 0", "1 1"})) == []
        assert left_in(folder, secrets({"3 0"}))


def test_killed_right_after_a_removal_was_acknowledged_nothing_is_left_even_before_the_next_start(tmp_path, encoder):
    folder = tmp_path / "people"
    with child(FIRST + REMOVE + "die()", folder) as process:
        said = lines_of(process)
    assert said[-1] == ["removed", "person 0"]
    assert left_in(folder, secrets({"1 0", "1 1"})) == []
    assert left_in(folder, secrets({"3 0"}))
    assert set(assert_whole(folder, encoder, said)) == {"person 1"}


MOVE = """
gallery.merge("person 1", "person 0")
said("merged")
"""

STEPS_OF_MOVING = {
    "after the first voiceprint": ("die_after(voiceprints, 'refresh')", False),
    "before the giver is removed": ("die_before(records, 'remove_speaker')", False),
    "before the change is noted": ("die_before(binding, 'record_change')", False),
    "before the commit": ("die_around_commit(before=True)", False),
    "after the commit": ("die_around_commit(before=False)", True),
}


@pytest.mark.parametrize("step", STEPS_OF_MOVING)
def test_killed_while_recordings_move_they_are_one_speakers_or_the_others(tmp_path, encoder, step):
    hook, moved = STEPS_OF_MOVING[step]
    with child(FIRST + hook + MOVE, tmp_path / "people") as process:
        said = lines_of(process)
    assert process.returncode == -9 and ["merged"] not in said
    with Gallery.open(tmp_path / "people", encoder=encoder, index="numpy") as gallery:
        found = {one.speaker: {row.source for row in one.recordings} for one in gallery.speakers(enrollments=True)}
        assert gallery.check().findings == []
    assert found == (
        {"person 0": {"1 0", "1 1", "3 0"}} if moved else {"person 0": {"1 0", "1 1"}, "person 1": {"3 0"}}
    )


LEARN = """
from speakerdb.calibration import Calibration, LlrMap, Tail
from speakerdb.store import decisions
tail = Tail((0.0, 1.0), (0.1, 0.01))
shown = {"target": (0.0, 1.0), "nontarget": (-1.0, 0.0)}
found = Calibration(LlrMap((0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)), tail, tail, "made up", shown)
with gallery._existing().writing() as connection:
    decisions.keep_calibration(connection, found)
    decisions.keep_feedback(connection, "a", [decisions.Said(1, True, 2.0, 3.0, 4.0, 2)])
"""


@pytest.mark.parametrize("before", [True, False])
def test_killed_while_it_learns_a_gallery_has_learnt_all_or_nothing(tmp_path, encoder, before):
    from speakerdb.store import decisions

    with child(f"{FIRST}die_around_commit(before={before})\n{LEARN}", tmp_path / "people") as process:
        lines_of(process)
    assert process.returncode == -9
    with Gallery.open(tmp_path / "people", encoder=encoder, index="numpy") as gallery:
        with gallery._existing().reading() as connection:
            assert (decisions.calibration(connection) is None) == before
            assert len(decisions.feedback(connection)) == (0 if before else 1)
        assert gallery.check().findings == []


RECORDINGS = """
import soundfile
samples, rate_hz = soundfile.read(sys.argv[3], dtype="float32")
with Gallery.open(folder) as gallery:
    for number in range(int(sys.argv[4]), 1_000_000):
        gallery.enroll(f"voice {number}", samples * (1.0 - 1e-4 * number), rate_hz=rate_hz, force=True)
        said("enrolled", f"voice {number}")
"""


def test_killed_while_real_recordings_are_enrolled_those_acknowledged_are_found(tmp_path, examples):
    folder, clip = tmp_path / "people", examples / "eva_1.wav"
    samples, rate_hz = soundfile.read(clip, dtype="float32")
    acknowledged: set[str] = set()
    for turn, delay_s in enumerate((0.1, 0.3)):
        with child(RECORDINGS, folder, clip, 100 * turn + 1) as process:
            process.stdout.readline()
            acknowledged.add(f"voice {100 * turn + 1}")
            time.sleep(delay_s)
            process.kill()
            acknowledged |= {name for _, name in lines_of(process)}
        with Gallery.open(folder) as gallery:
            listed = gallery.speakers()
            assert {entry.speaker for entry in listed} >= acknowledged
            assert len(listed) <= len(acknowledged) + turn + 1
            assert all(entry.enrollments == 1 for entry in listed)
            assert gallery.check().findings == []
            probe = samples * (1.0 - 1e-4 * (100 * turn + 1))
            nearest = gallery.identify(probe, rate_hz=rate_hz, threshold=2.0)
            assert nearest.distance < 1e-3


@pytest.mark.slow
def test_of_what_was_acknowledged_before_sixty_kills_nothing_is_lost():
    command = [sys.executable, "-m", "benchmarks.crash", "--kills", "60", "--seed", "12"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, "60 kills" in done.stdout) == (0, True), done.stdout + done.stderr
