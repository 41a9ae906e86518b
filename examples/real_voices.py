"""The main job on people: enroll a gallery of Common Voice speakers, then identify probes, most of them strangers.

    python examples/real_voices.py ../shared/corpora ../shared/trials

The list's people were never heard in training; what distances mean was found out on other people (the dev sets).
What is printed shows the program; `python -m training evaluate` measures the encoder.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

from speakerdb import Gallery
from speakerdb.errors import TooLittleSpeech
from speakerdb.trials import read_models, read_probes

LIST = "common_voice-test"
SHOWN = 8


def main(corpora: Path, trials: Path) -> None:
    """Enroll, identify, and count what came of it."""
    with tarfile.open(corpora / f"{LIST}.tar") as tar:
        clips = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Gallery.open(Path(folder) / "people") as gallery:
        for person in read_models(trials / f"{LIST}-gallery.txt"):
            gallery.enroll(person.name, [clips[clip] for clip in person.clips], keep_going=True, force=True)
        print(f"{len(gallery.speakers())} people enrolled, 3 clips each; encoder {gallery.encoder.card.id}")
        for number, probe in enumerate(read_probes(trials / f"{LIST}-probes.txt")):
            try:
                found = gallery.identify(clips[probe.clip])
            except TooLittleSpeech:
                outcomes["too little speech: no answer"] += 1
                continue
            outcome = _outcome(probe.speaker, found.speaker)
            outcomes[outcome] += 1
            if number % 100 < 1 or number < SHOWN:
                said = found.speaker or f"unknown (nearest {found.candidates[0].speaker})"
                print(f"{probe.speaker or 'a stranger':<16} → {said:<40} {found.distance:.2f}   {outcome}")
    print(f"asked for: FPIR {100 * (found.threshold.fpir or 0):g} %; {found.threshold.origin}")
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:>6} {outcome}")


def _outcome(truth: str | None, said: str | None) -> str:
    if truth is None:
        return "stranger, unknown: right" if said is None else "stranger, named: wrong"
    if said is None:
        return "enrolled, unknown: missed"
    return "enrolled, named: right" if said == truth else "enrolled, named as another: wrong"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
