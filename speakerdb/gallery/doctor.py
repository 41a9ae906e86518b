"""`doctor`: which profiles are likely to give wrong answers, and the command that mends each.

`check` asks whether the files are what was written; this asks whether what was written was wise.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import numpy as np

from speakerdb import settings
from speakerdb.calibration import Basis
from speakerdb.decision.criterion import Asked, criterion
from speakerdb.decision.judging import Judge
from speakerdb.embedding import Vector, Vectors, average
from speakerdb.errors import seconds_found
from speakerdb.gallery.deciding import ranked
from speakerdb.gallery.reports import Complaint
from speakerdb.gallery.screening import Floats, beside_the_others, same_person
from speakerdb.store.found import Found
from speakerdb.store.recordings import Ids, Recordings

LEAST_MERGED = 4
"""Recordings of a speaker from which two groups of two can be told apart."""

NEIGHBOURS = 8
"""Speakers nearest to each who are asked whether they are the same person."""

ROUNDS = 10

ROWS_AT_ONCE = 256
"""Recordings of a speaker beside all others at a time: of 20,000 in one go the cosines would be 1.5 GB."""


Near = Callable[[int, Vector], list[Found]]
"""By a speaker's id and voiceprint: at most `NEIGHBOURS` others who are nearest in the gallery as it is now."""


def examine(judge: Judge, held: Recordings, names: dict[int, str], near: Near, option: str) -> Iterator[Complaint]:
    """What is likely to be wrong, speaker by speaker.

    Args: names: of all speakers, by id. option: that commands for this gallery need.
    """
    for place, speaker in enumerate(held.people):
        rows, name = held.rows[place], names[int(speaker)]
        if held.enrolled_s[place] < settings.LITTLE_SPEECH_S:
            yield _little(name, float(held.enrolled_s[place]), option)
        if judge.calibration is not None and len(rows) > 1:
            yield from _recordings(judge, held, rows, name, option)
    if judge.calibration is not None:
        yield from _duplicates(judge, held, names, near, option)


def _little(name: str, seconds: float, option: str) -> Complaint:
    said = f"{seconds_found(seconds)} of speech in all, less than {settings.LITTLE_SPEECH_S:g}"
    return Complaint(
        "little_speech",
        [name],
        [],
        f"{said}: answers about this speaker are unsure",
        _command("enroll", [name, "FILE"], option),
    )


def _command(verb: str, words: list[str], option: str) -> str:
    """What mends it, for a shell: a name that begins with a dash stands behind `--`, and the option before that."""
    quoted = " ".join(map(shlex.quote, words))
    dashed = any(word.startswith("-") for word in words)
    return f"speakerdb {verb}{option} -- {quoted}" if dashed else f"speakerdb {verb} {quoted}{option}"


def _recordings(judge: Judge, held: Recordings, rows: Ids, name: str, option: str) -> Iterator[Complaint]:
    """Two people under one name, a profile that nothing matches, or single recordings that do not belong."""
    vectors, seconds, ids = held.vectors[rows], held.speech_s[rows], [int(i) for i in held.ids[rows]]
    apart, ratios = beside_the_others(judge, vectors, seconds)
    out = [i for i, llr in enumerate(ratios) if llr < settings.OUTLIER_LLR]
    group = _second_voice(judge, vectors, seconds) if len(rows) >= LEAST_MERGED else []
    if len(group) > 1:
        yield Complaint(
            "two_people",
            [name],
            [ids[i] for i in group],
            f"{len(group)} of {len(rows)} recordings sound like somebody else than the other {len(rows) - len(group)}",
            _command("move-enrollment --to OTHER_NAME", [str(ids[i]) for i in group], option),
        )
    elif len(out) == len(rows):
        yield Complaint(
            "never_matches",
            [name],
            [ids[i] for i in out],
            "no two of its recordings sound like one person: nobody will be recognised by their average",
            _command("remove", [name], option),
        )
    else:
        for i in out:
            yield Complaint(
                "outlier",
                [name],
                [ids[i]],
                f"{held.sources[rows[i]]} does not sound like the others (distance {apart[i]:.2f}, LLR "
                f"{ratios[i]:+.1f})",
                _command("remove-enrollment", [str(ids[i])], option),
            )


def _second_voice(judge: Judge, vectors: Vectors, seconds: Floats) -> list[int]:
    """The smaller of two groups that a speaker's recordings fall into, where these are two people's; else none."""
    first, second = _farthest(vectors)
    near = vectors @ vectors[first] >= vectors @ vectors[second]
    for _ in range(ROUNDS):
        if near.all() or not near.any():
            return []
        one, other = average(vectors[near]), average(vectors[~near])
        moved = vectors @ one >= vectors @ other
        if np.array_equal(moved, near):
            break
        near = moved
    if near.all() or not near.any():
        return []
    basis = Basis(seconds[near].sum(), seconds[~near].sum(), np.sum(~near))
    _, [llr] = judge.beside(one[None], other[None], basis)
    if llr >= settings.OUTLIER_LLR:
        return []
    smaller = near if near.sum() * 2 <= len(near) else ~near
    return [int(i) for i in np.flatnonzero(smaller)]


def _farthest(vectors: Vectors) -> tuple[int, int]:
    """The rows of the two vectors that are the farthest apart."""
    found, least = (0, 0), np.inf
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        cosines = vectors[start : start + ROWS_AT_ONCE] @ vectors.T
        row, other = np.unravel_index(np.argmin(cosines), cosines.shape)
        if cosines[row, other] < least:
            found, least = (start + int(row), int(other)), cosines[row, other]
    return found


def _duplicates(judge: Judge, held: Recordings, names: dict[int, str], near: Near, option: str) -> Iterator[Complaint]:
    """Pairs of speakers of whom one would be taken for the other."""
    line = criterion(Asked(fpir=settings.DUPLICATE_FPIR), judge.calibration, None, "", len(held.people))
    seen = set()
    for i, speaker in enumerate(held.people):
        voice = held.voiceprints[i]
        others = near(int(speaker), voice)
        if not others:
            continue
        for candidate, judged in ranked(judge, line, voice, float(held.enrolled_s[i]), others):
            pair = tuple(sorted((names[int(speaker)], candidate.speaker)))
            if same_person(judged) and pair not in seen:
                seen.add(pair)
                yield Complaint(
                    "near_duplicates",
                    list(pair),
                    [],
                    f"they sound like one person (distance {judged.distance:.2f} ≤ {judged.threshold.distance:.2f}, "
                    f"LLR {judged.llr or 0.0:+.1f})",
                    _command("merge", [pair[1], pair[0]], option),
                )
