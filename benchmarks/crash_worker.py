"""The process that `benchmarks.crash` kills: it gives a gallery orders for ever, each announced and acknowledged.

    python -m benchmarks.crash_worker FOLDER ARCHIVE SEED STEP COUNTDOWN

Lines of JSON on stdout: `["ready"]`, then `["begin", verb, name, words]` before an order and `["done"]` after it, and
`["died", step]` where it kills itself at the n-th time that it comes to the step (none: an empty text).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from speakerdb import Encoder, Gallery
from speakerdb.embedding import Vector, normalize
from speakerdb.encoder.parallel import in_order
from speakerdb.encoder.utterance import Utterance
from speakerdb.speech import Quality
from speakerdb.store import binding, importing, records, upgrade, voiceprints
from speakerdb.store.database import FILE, Database

OLD_GALLERY = Path(__file__).parent.parent / "tests" / "data" / "gallery-0002"
QUALITY = Quality(3.0, 2.5, 30.0, 0.0, -3.0, 7000.0)


class MadeUpVoices(Encoder):
    """The shipped encoder's card, and a vector for each name of a recording: nothing is heard."""

    def __init__(self) -> None:
        bundle = Encoder.load()._bundle
        super().__init__(replace(bundle, card=replace(bundle.card, calibration=None)))

    def probe(self, source: Any, *_: Any, **__: Any) -> Utterance:
        """A source is a text."""
        vector = voice(source)
        return Utterance(source, hashlib.sha256(vector.tobytes()).hexdigest(), vector, QUALITY)

    enrollment = probe

    def enrollments(self, sources: Any, *_: Any, **__: Any) -> Iterator[Any]:
        """In the order of the sources."""
        return in_order(lambda source, go_on: self.probe(source), sources)


def voice(name: str) -> Vector:
    """A unit vector that the name alone decides."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return normalize(np.random.default_rng(seed).normal(size=192))


STEPS: dict[str, tuple[Any, str]] = {
    "index write": (os, "fdopen"),
    "fsync": (os, "fsync"),
    "rename": (Path, "replace"),
    "link": (Path, "hardlink_to"),
    "delete": (Path, "unlink"),
    "rewrite": (Database, "_rewrite"),
    "cut of the log": (Database, "truncate_wal"),
    "new speaker": (records, "add_speaker"),
    "voiceprint": (voiceprints, "refresh"),
    "note of a change": (binding, "record_change"),
    "note of a snapshot": (binding, "own_snapshot"),
    "imported rows": (importing, "write_all"),
    "migration": (upgrade, "run_migrations"),
}
NAMED = [f"{when} {step}" for step in (*STEPS, "commit") for when in ("before", "after")]


def die_at(named: str, countdown: int) -> None:
    """See to it that this process is killed at the n-th time that it comes to a step."""
    when, step = named.split(" ", 1)
    left = countdown

    def here(now: str) -> None:
        nonlocal left
        if now != when:
            return
        left -= 1
        if left == 0:
            os.write(1, json.dumps(["died", named]).encode() + b"\n")
            os.kill(os.getpid(), signal.SIGKILL)

    if step == "commit":
        for name in ("writing", "migrating"):
            setattr(Database, name, _around(getattr(Database, name), here))
        return
    owner, name = STEPS[step]
    call = getattr(owner, name)

    def hooked(*arguments: Any, **options: Any) -> Any:
        here("before")
        done = call(*arguments, **options)
        here("after")
        return done

    setattr(owner, name, hooked)


def _around(transaction: Callable[..., Any], here: Callable[[str], None]) -> Callable[..., Any]:
    @contextmanager
    def hooked(self: Database, **options: Any) -> Iterator[Any]:
        with transaction(self, **options) as connection:
            yield connection
            here("before")
        here("after")

    return hooked


class Worker:
    """Gives orders by chance; each method is one, and says what it begins."""

    def __init__(self, folder: Path, archive: Path, seed: str) -> None:
        self._folder, self._archive, self._seed = folder, archive, seed
        self._rng, self._number = random.Random(seed), 0
        self._gallery = self._opened()
        self._names = [one.speaker for one in self._gallery.speakers()]

    def run(self) -> None:
        """Until somebody kills this process."""
        every = (self._enroll_new, self._enroll_new, self._rebuild, self._reopen, self._take_in, self._upgrade)
        of_somebody = (self._enroll_more, self._remove, self._remove, self._rename, self._export)
        while True:
            self._number += 1
            self._rng.choice((*every, *of_somebody) if self._names else every)()
            tell("done")

    def _enroll_new(self) -> None:
        self._enroll(f"person {self._seed} {self._number}")

    def _enroll_more(self) -> None:
        self._enroll(self._rng.choice(self._names))

    def _enroll(self, name: str) -> None:
        sources = [f"{self._seed} {self._number} {part}" for part in range(self._rng.randint(1, 3))]
        tell("begin", "enroll", name, sources)
        self._gallery.enroll(name, sources)
        if name not in self._names:
            self._names.append(name)

    def _remove(self) -> None:
        name = self._names.pop(self._rng.randrange(len(self._names)))
        tell("begin", "remove", name, [])
        self._gallery.remove(name)

    def _rename(self) -> None:
        place = self._rng.randrange(len(self._names))
        old, new = self._names[place], f"{self._names[place]}'"
        tell("begin", "rename", old, [new])
        self._gallery.rename(old, new)
        self._names[place] = new

    def _take_in(self) -> None:
        tell("begin", "import", "", [])
        self._gallery.import_archive(self._archive, on_conflict="merge")
        self._names = [one.speaker for one in self._gallery.speakers()]

    def _export(self) -> None:
        tell("begin", "nothing", "", [])
        file = self._folder.parent / f"{self._seed} {self._number}.speakerdb"
        self._gallery.export(file)
        file.unlink()

    def _rebuild(self) -> None:
        tell("begin", "nothing", "", [])
        if self._names:
            self._gallery.rebuild()

    def _reopen(self) -> None:
        tell("begin", "nothing", "", [])
        if self._names:
            self._gallery.nearest(voice("somebody"))
        self._gallery.close()
        self._gallery = self._opened()

    def _upgrade(self) -> None:
        """Of a stored gallery of an old schema, beside the one that all else is about."""
        tell("begin", "nothing", "", [])
        beside = self._folder.parent
        shutil.rmtree(beside / "gone", ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (beside / "old").rename(beside / "gone")  # a kill amid deleting leaves none that is looked at
        draft = shutil.copytree(OLD_GALLERY, beside / "draft", dirs_exist_ok=True)
        draft.chmod(0o700)
        (draft / FILE).chmod(0o600)
        draft.rename(beside / "old")  # a kill before leaves no gallery that others may read, which would be a finding
        upgrade.upgrade(beside / "old" / FILE)

    def _opened(self) -> Gallery:
        return Gallery.open(self._folder, encoder=MadeUpVoices(), index="faiss-flat")


def tell(*words: Any) -> None:
    """A line on stdout, at once."""
    os.write(1, json.dumps(words).encode() + b"\n")


def main() -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind in (("folder", Path), ("archive", Path), ("seed", str), ("step", str), ("countdown", int)):
        parser.add_argument(name, type=kind)
    given = parser.parse_args()
    worker = Worker(given.folder, given.archive, given.seed)
    if given.step:
        die_at(given.step, given.countdown)
    tell("ready")
    worker.run()


if __name__ == "__main__":
    main()
