"""Any history of a gallery ends where a dictionary says: orders, restarts, kills, another reader, a clock gone back."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from known_voices import KnownVoices, voice
from test_store import rows

from speakerdb import Encoder, Gallery
from speakerdb.errors import ConflictingEnrollment, DuplicateEnrollment, NameTaken, NoSuchSpeaker
from speakerdb.store import fields
from speakerdb.store.database import FILE, Database

KNOWN = KnownVoices(Encoder.load()._bundle)
NAMES = st.sampled_from(["ana", "ben", "eva", "Zoë", "a b"])


class History(RuleBasedStateMachine):
    """`people` is what the gallery must hold: recordings by speaker."""

    kind = "numpy"

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp()) / "people"
        self.people: dict[str, list[str]] = {}
        self.number, self.generation = 0, 0
        self.ids: dict[int, str] = {}
        self.gone: set[int] = set()
        self.gallery = Gallery.open(self.folder, encoder=KNOWN, index=self.kind)
        self.other = Gallery.open(self.folder, encoder=KNOWN, index=self.kind)
        self.clock = fields.now

    def sources(self, count: int) -> list[str]:
        self.number += count
        return [f"voice {self.number - part}" for part in range(count)]

    @rule(name=NAMES, count=st.integers(1, 3))
    def enroll(self, name: str, count: int) -> None:
        new = self.sources(count)
        self.gallery.enroll(name, new)
        self.people.setdefault(name, []).extend(new)
        self.look()

    @precondition(lambda self: self.people)
    @rule(name=NAMES, data=st.data())
    def enroll_again(self, name: str, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.people)))
        with pytest.raises(DuplicateEnrollment if owner == name else ConflictingEnrollment):
            self.gallery.enroll(name, [*self.sources(1), self.people[owner][0]])
        self.look()

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if name in self.people:
            self.gallery.remove(name)
            del self.people[name]
        elif self.people:
            with pytest.raises(NoSuchSpeaker):
                self.gallery.remove(name)
        self.look()

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def remove_one(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.people)))
        place = data.draw(st.integers(0, len(self.people[name]) - 1))
        [listed] = [one for one in self.gallery.speakers(enrollments=True) if one.speaker == name]
        self.gallery.remove_enrollment(listed.recordings[place].id)
        self.people[name].remove(listed.recordings[place].source)
        if not self.people[name]:
            del self.people[name]
        self.look()

    @precondition(lambda self: self.people)
    @rule(data=st.data(), after=NAMES)
    def rename(self, data: st.DataObject, after: str) -> None:
        before = data.draw(st.sampled_from(sorted(self.people)))
        if after in self.people and after != before:
            with pytest.raises(NameTaken):
                self.gallery.rename(before, after)
        else:
            self.gallery.rename(before, after)
            self.people[after] = self.people.pop(before)
        self.look()

    @precondition(lambda self: len(self.people) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        name, into = data.draw(st.permutations(sorted(self.people)))[:2]
        self.gallery.merge(name, into)
        self.people[into] = self.people[into] + self.people.pop(name)
        self.look()

    @rule()
    def restart(self) -> None:
        self.gallery.close()
        self.gallery = Gallery.open(self.folder, encoder=KNOWN, index=self.kind)
        self.look()

    @precondition(lambda self: self.people)
    @rule()
    def rebuild(self) -> None:
        self.gallery.rebuild()
        self.look()

    @precondition(lambda self: self.people and hasattr(os, "fork"))
    @rule(name=NAMES, committed=st.booleans(), removing=st.booleans())
    def crash(self, name: str, committed: bool, removing: bool) -> None:
        """A child gives an order and is killed before or after its commit."""
        if removing and name not in self.people:
            return
        new = self.sources(2)
        child = os.fork()
        if child == 0:
            try:
                _die_at_commit(committed)
                if removing:
                    self.gallery.remove(name)
                else:
                    self.gallery.enroll(name, new)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        if committed and removing:
            del self.people[name]
        elif committed:
            self.people.setdefault(name, []).extend(new)
        self.look()

    @rule()
    def clock_goes_back(self) -> None:
        year = 2026 - self.number % 7
        fields.now = lambda: f"{year}-01-01T00:00:00+00:00"

    def look(self) -> None:
        for gallery in (self.gallery, self.other):
            found = {
                one.speaker: sorted(row.source for row in one.recordings) for one in gallery.speakers(enrollments=True)
            }
            assert found == {name: sorted(sources) for name, sources in self.people.items()}
            for name, sources in self.people.items():
                mean = np.mean([voice(source).astype(float) for source in sources], axis=0)
                near = gallery.nearest((mean / np.linalg.norm(mean)).astype(np.float32), top=1)[0]
                assert (near.speaker, near.distance < 1e-5) == (name, True)
        if (self.folder / FILE).exists():
            now = {row for (row,) in rows(self.folder / FILE, "SELECT id FROM speaker")}
            assert not now & self.gone
            self.gone |= self.ids.keys() - now
            self.ids = dict.fromkeys(now, "")
            generation = sum(row for (row,) in rows(self.folder / FILE, "SELECT generation FROM gallery"))
            assert generation >= self.generation
            self.generation = generation

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        fields.now = self.clock
        if self.people:
            assert self.gallery.check().findings == []
        self.gallery.close()
        self.other.close()
        shutil.rmtree(self.folder.parent)


def _die_at_commit(committed: bool) -> None:
    import signal
    from contextlib import contextmanager

    writing = Database.writing

    @contextmanager
    def last(self: Database):
        with writing(self) as connection:
            yield connection
            if not committed:
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    Database.writing = last


@pytest.mark.parametrize("kind", ["numpy", "faiss-flat"])
def test_any_history_ends_where_a_dictionary_says(kind: str) -> None:
    if kind == "faiss-flat":
        pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    History.kind = kind
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
