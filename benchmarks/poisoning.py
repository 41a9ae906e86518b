"""How often a gallery notices what should not be enrolled, and how often it complains about what should.

    python -m benchmarks.poisoning ../shared/corpora/common_voice-dev.tar

From one set's clips: two people's recordings joined, in turns, and one in the midst of the other; another's clip among
four; a person enrolled a second time under another name; two people under one name, found by `doctor`. Each beside the
same made of one person's clips alone. All of it through `Gallery`, with the encoder that is shipped. Of several voices
also how often who asks about such a recording is warned.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from speakerdb import Encoder, Gallery
from speakerdb.audio import read
from speakerdb.errors import PossibleDuplicate, SeveralVoices, SpeakerdbError, TooLittleSpeech
from training.corpora import open_corpus

RATE_HZ = 16_000
INSERTED_S = 3.0
SINGLE = 400
"""Single recordings that are looked at."""
TURNS = 5
"""Of each in a talk, which is longer then than what is heard in one piece."""

Voice = list[np.ndarray]
Row = tuple[str, int, int, str]
"""What was done, how often it was refused, of how many, and what else there is to say."""


def main() -> None:
    """Measure and print a row a kind of poison."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("archive", type=Path)
    given = options.parse_args()
    corpus = open_corpus(str(given.archive))
    people: dict[str, Voice] = {}
    for clip in corpus.clips(corpus.rows()):
        people.setdefault(clip.speaker, []).append(read(clip.audio, RATE_HZ).samples)
    table = Table(title=f"{given.archive.stem}: {len(people)} people", title_justify="left")
    for column in ("enrolled", "refused", "of", "%", ""):
        table.add_column(column, justify="left" if column in ("enrolled", "") else "right")
    rng = np.random.default_rng(0)
    for measured in (several_voices, wrong_clips, two_names, two_people):
        for what, refused, of, more in measured(people, rng):
            table.add_row(what, str(refused), str(of), f"{100 * refused / max(1, of):.1f}", more)
    Console(width=150).print(table)


def several_voices(people: dict[str, Voice], rng: np.random.Generator) -> Iterator[Row]:
    """Recordings of one person and of two."""
    names, many = list(people), [name for name, clips in people.items() if len(clips) > 1]

    def other(name: str, among: list[str]) -> Voice:
        return people[rng.choice([candidate for candidate in among if candidate != name])]

    def one(clips: Voice) -> np.ndarray:
        return clips[rng.integers(len(clips))]

    singles = [clip for clips in people.values() for clip in clips[:2]][:SINGLE]
    yield "one recording", *_refused(singles), _warned(singles)
    same = [np.concatenate(_drawn(people[name], 2, rng)) for name in many]
    yield "two of one person, joined", *_refused(same), f"{_warned(same)}; other days, other microphones"
    joined = [(one(people[name]), one(other(name, names))) for name in names]
    both = [np.concatenate(pair) for pair in joined]
    yield "two people's, joined", *_refused(both), f"{_warned(both)}; {_when(joined)}"
    turns = []
    for name in many:
        (a, c), (b, d) = _drawn(people[name], 2, rng), _drawn(other(name, many), 2, rng)
        turns.append(np.concatenate([a, b, c, d]))
    yield "two people in turns", *_refused(turns), _warned(turns)
    inserted = []
    for name in many:
        (a, c), b = _drawn(people[name], 2, rng), one(other(name, names))
        middle = b[max(0, len(b) // 2 - round(INSERTED_S * RATE_HZ / 2)) :][: round(INSERTED_S * RATE_HZ)]
        inserted.append(np.concatenate([a, middle, c]))
    yield f"{INSERTED_S:g} s of another in the midst", *_refused(inserted), _warned(inserted)
    talks, talkers = [], [name for name in many if len(people[name]) >= TURNS]
    for name in talkers:
        pairs = zip(_drawn(people[name], TURNS, rng), _drawn(other(name, talkers), TURNS, rng), strict=True)
        talks.append(np.concatenate([clip for pair in pairs for clip in pair]))
    yield f"two people, {TURNS} turns each", *_refused(talks), _warned(talks)


def wrong_clips(people: dict[str, Voice], rng: np.random.Generator) -> Iterator[Row]:
    """Four recordings, of which one is another's or none."""
    four = [name for name, clips in people.items() if len(clips) >= 4]
    right, wrong, pointed = [], [], 0
    for name in four:
        right.append(_passed_over(_drawn(people[name], 4, rng)))
        stranger = people[rng.choice([other for other in people if other != name])]
        clips = [*_drawn(people[name], 3, rng), stranger[0]]
        place = int(rng.integers(4))
        clips[place], clips[3] = clips[3], clips[place]
        wrong.append(_passed_over(clips))
        pointed += place in wrong[-1]
    yield "four of one person", sum(map(bool, right)), len(right), "some of the set's names are several people"
    found = sum(map(bool, wrong))
    yield "three and another's", found, len(wrong), f"the right one in {pointed} of {found}"


def two_names(people: dict[str, Voice], rng: np.random.Generator) -> Iterator[Row]:
    """A new name for a person who is enrolled, and for one who is not."""
    names = [str(name) for name in rng.permutation([name for name, clips in people.items() if len(clips) >= 2])]
    enrolled, strangers = names[: len(names) * 2 // 3], names[len(names) * 2 // 3 :]
    with _gallery() as gallery:
        for name in enrolled:
            _try(gallery, name, people[name][: (len(people[name]) + 1) // 2][:3], force=True)
        again = [_try(gallery, f"{name} again", people[name][-(len(people[name]) // 2) :][:3]) for name in enrolled]
        twice = [isinstance(error, PossibleDuplicate) for error in again]
        rich = [found for found, name in zip(twice, enrolled, strict=True) if len(people[name]) >= 6]
        more = f"with three recordings each time {sum(rich)} of {len(rich)}"
        yield f"a second name, among {len(enrolled)}", sum(twice), len(twice), more
        new = [_try(gallery, name, people[name][:3]) for name in strangers]
        yield f"a new person, among {len(enrolled)}", sum(isinstance(e, PossibleDuplicate) for e in new), len(new), ""


def two_people(people: dict[str, Voice], rng: np.random.Generator) -> Iterator[Row]:
    """What `doctor` says of two people under one name, three recordings each, and of one with six."""
    three = [name for name, clips in people.items() if len(clips) >= 3]
    with _gallery() as gallery:
        for name in three:
            other = people[rng.choice([candidate for candidate in three if candidate != name])]
            quieter = [rng.uniform(0.5, 0.9) * clip for clip in other[:3]]  # the very audio is enrolled for one alone
            _try(gallery, name, [*people[name][:3], *quieter], force=True)
        found = {complaint.speakers[0] for complaint in gallery.doctor().complaints if complaint.kind == "two_people"}
        yield "doctor: two people, one name", len(found & set(three)), len(three), ""
    six = [name for name, clips in people.items() if len(clips) >= 6]
    with _gallery() as gallery:
        for name in six:
            _try(gallery, name, people[name][:6], force=True)
        found = {complaint.speakers[0] for complaint in gallery.doctor().complaints if complaint.kind == "two_people"}
        yield "doctor: one person, six recordings", len(found), len(six), ""


def _refused(recordings: list[np.ndarray]) -> tuple[int, int]:
    """How many are refused as several voices, and of how many that have speech enough."""
    found = [_alone(samples) for samples in recordings]
    heard = [error for error in found if error is None or isinstance(error, SeveralVoices)]
    return sum(error is not None for error in heard), len(heard)


def _warned(recordings: list[np.ndarray]) -> str:
    """How many who ask about such a recording are warned, of those with speech enough."""
    found = []
    for samples in recordings:
        with contextlib.suppress(TooLittleSpeech):
            found.append(bool(_encoder().probe(samples, RATE_HZ).changes_s))
    return f"asked about, {100 * np.mean(found):.1f} % of {len(found)} are warned of"


def _when(joined: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """How far the second that is told lies from the one at which the recordings were joined."""
    off = []
    for first, second in joined:
        error = _alone(np.concatenate([first, second]))
        if isinstance(error, SeveralVoices):
            off.append(min(abs(at - len(first) / RATE_HZ) for at in error.fields["changes_s"]))
    return f"told within {np.median(off):.1f} s in half of them, {np.quantile(off, 0.9):.1f} in nine of ten"


def _alone(samples: np.ndarray) -> SpeakerdbError | None:
    with _gallery() as gallery:
        return _try(gallery, "somebody", [samples])


def _passed_over(clips: Voice) -> list[int]:
    """The places of the recordings that were refused as outliers."""
    with tempfile.TemporaryDirectory() as folder, _gallery() as gallery:
        files = [Path(folder) / f"{place}.wav" for place in range(len(clips))]
        for file, clip in zip(files, clips, strict=True):
            soundfile.write(file, clip, RATE_HZ, subtype="FLOAT")
        done = gallery.enroll("somebody", files, keep_going=True)
    outliers = [refused for refused in done.refused if refused.error["error"] == "OutlierRecording"]
    return [int(Path(refused.source).stem) for refused in outliers]


@contextlib.contextmanager
def _gallery() -> Iterator[Gallery]:
    with tempfile.TemporaryDirectory() as folder, Gallery.open(Path(folder) / "people", _encoder()) as gallery:
        yield gallery


@functools.cache
def _encoder() -> Encoder:
    return Encoder.load()


def _try(gallery: Gallery, name: str, clips: Voice, force: bool = False) -> SpeakerdbError | None:
    try:
        gallery.enroll(name, clips, rate_hz=RATE_HZ, force=force, keep_going=force)
    except SpeakerdbError as error:
        return error
    return None


def _drawn(clips: Voice, count: int, rng: np.random.Generator) -> Voice:
    return [clips[place] for place in rng.choice(len(clips), count, replace=False)]


if __name__ == "__main__":
    main()
