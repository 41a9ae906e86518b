"""Kill a gallery's writer, hundreds of times, and hold what is left against what was acknowledged.

    python -m benchmarks.crash --kills 500 --seed 1

A process (`benchmarks.crash_worker`) enrolls, removes, renames, exports, imports, rebuilds, closes and opens; it is
killed (SIGKILL) at a random moment, or at the n-th time that it comes to a named step. It says what it begins and what
was acknowledged; after each kill the gallery must be sound and be just that, with or without the one order that was
under way, whole; of voices that were removed no file may hold a piece. The last lines say how often each step was hit.
Exit code 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crash_worker import NAMED, MadeUpVoices, voice
from speakerdb import Gallery
from speakerdb.embedding import average
from speakerdb.store import fields, upgrade
from speakerdb.store.database import FILE

PIECE_BYTES = 32
People = dict[str, set[str]]


@dataclass
class Seen:
    """What all kills together have shown."""

    kills: int = 0
    orders: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)


def killed(folder: Path, archive: Path, seed: str, named: str, countdown: int, delay_s: float) -> list[list[Any]]:
    """Run the worker until it has died at its step, or at a random moment; what it said."""
    given = [str(folder), str(archive), seed, named, str(countdown)]
    command = [sys.executable, "-m", "benchmarks.crash_worker", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        killer = threading.Timer(delay_s, process.kill)  # also where it does not come to its step so often
        killer.start()
        rest = process.stdout.read()
        process.wait()
        killer.cancel()
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(f"the worker ended with {process.returncode}")
    return [json.loads(line) for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


def after(people: People, verb: str, name: str, words: list[str], imported: People) -> People:
    """The people once an order is carried out."""
    changed = {one: set(sources) for one, sources in people.items()}
    if verb == "enroll":
        changed.setdefault(name, set()).update(words)
    elif verb == "remove":
        del changed[name]
    elif verb == "rename":
        changed[words[0]] = changed.pop(name)
    elif verb == "import":
        held = set().union(*changed.values()) if changed else set()
        for one, sources in imported.items():
            if sources - held:
                changed.setdefault(one, set()).update(sources - held)
    return changed


def followed(people: People, said: list[list[Any]], imported: People, seen: Seen) -> list[People]:
    """What may be there now: all that was acknowledged, with and without the order that was under way."""
    under_way: list[Any] | None = None
    for word, *rest in said:
        if word == "begin":
            under_way = rest
        elif word == "done" and under_way:
            people, under_way = after(people, *under_way, imported), None
            seen.orders += 1
        elif word == "died":
            seen.steps[rest[0]] += 1
    return [people] if under_way is None else [people, after(people, *under_way, imported)]


def look(folder: Path, possible: list[People], ever: set[str], seen: Seen, where: str) -> People:
    """Hold the gallery against what may be there; what is."""
    with Gallery.open(folder, encoder=MadeUpVoices(), index="faiss-flat") as gallery:
        found = {one.speaker: {row.source for row in one.recordings} for one in gallery.speakers(enrollments=True)}
        if found not in possible:
            seen.losses.append(f"{where}: {found} is none of {possible}")
        if found:
            seen.losses += [f"{where}: {line}" for line in gallery.check().findings]
        for name, sources in found.items():
            near = gallery.nearest(average(np.stack([voice(source) for source in sources])), top=1)[0]
            if near.speaker != name or near.distance > 1e-5:
                seen.losses.append(f"{where}: {name} is not found by their voice")
    gone = ever - set().union(*found.values()) if found else ever
    blobs = [fields.to_blob(voice(source))[:PIECE_BYTES] for source in gone]
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        seen.losses += [f"{where}: {path.name} holds a voice that was removed" for blob in blobs if blob in content]
    return found


def look_at_upgraded(folder: Path, seen: Seen, where: str) -> None:
    """The old gallery is the old one or the new one, with everybody in it."""
    if not (folder / FILE).exists():
        return  # killed before it was there
    try:
        upgrade.upgrade(folder / FILE)
        with Gallery.open(folder) as gallery:
            findings = gallery.check().findings
            if len(gallery.speakers()) != 2 or findings:
                seen.losses.append(f"{where}: the upgraded gallery is not whole {findings}")
    except Exception as error:
        seen.losses.append(f"{where}: the upgraded gallery: {error}")


def prepared(folder: Path) -> tuple[Path, People]:
    """An archive of five people to import."""
    people = {f"imported {number}": {f"import {number} {part}" for part in range(2)} for number in range(5)}
    with Gallery.open(folder / "archived", encoder=MadeUpVoices()) as gallery:
        for name, sources in people.items():
            gallery.enroll(name, sorted(sources))
        gallery.export(folder / "people.speakerdb")
    return folder / "people.speakerdb", people


def main() -> None:
    """Kill, look, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng, seen, people, ever = random.Random(options.seed), Seen(), People(), set[str]()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        archive, imported = prepared(Path(temporary))
        folder = Path(temporary) / "people"
        while seen.kills < options.kills:
            if len(people) > 60:
                shutil.rmtree(folder)
                people, ever = {}, set()
            named = NAMED[seen.kills % len(NAMED)] if rng.random() < 0.7 else ""
            countdown = rng.randint(1, 4)
            said = killed(
                folder, archive, f"{options.seed}-{seen.kills}", named, countdown, 4.0 if named else rng.random()
            )
            where = f"kill {seen.kills} ({named or 'at a random moment'})"
            possible = followed(people, said, imported, seen)
            ever |= {source for one in possible for sources in one.values() for source in sources}
            ever |= {source for word, *rest in said if word == "begin" and rest[0] == "enroll" for source in rest[2]}
            people = look(folder, possible, ever, seen, where)
            look_at_upgraded(Path(temporary) / "old", seen, where)
            seen.kills += 1
    took = time.monotonic() - began
    print(f"{seen.kills} kills, {seen.orders} orders acknowledged, {took:.0f} s: {len(seen.losses)} losses")
    for named in NAMED:
        print(f"{seen.steps[named]:5d}  {named}")
    print(f"{seen.kills - seen.steps.total():5d}  at a random moment")
    print(*seen.losses[:20], sep="\n", end="")
    sys.exit(1 if seen.losses else 0)


if __name__ == "__main__":
    main()
