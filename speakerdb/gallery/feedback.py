"""A decision's id, and what its user said of the answer.

The id holds what was compared (speakers' ids, scores, seconds of speech), so that answering writes nothing; nothing of
a voice is in it. It is good for the gallery and the encoder that gave it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from speakerdb.errors import InputError, StateError
from speakerdb.store.binding import GalleryIdentity
from speakerdb.store.decisions import Said
from speakerdb.store.fields import LARGEST_ID

Answer = Literal["correct", "wrong"]

OUTCOMES = ("accepted", "rejected", "unknown", "inconclusive")
PURPOSES = ("verify", "identify")
HEAD, COMPARED, CHECK = struct.Struct("<BBBe"), struct.Struct("<QfeH"), struct.Struct("<I")
VERSION = 1
MOST = 60_000
"""Seconds and recordings; more count as so many."""
KEPT = 3
"""Candidates of a search that its id holds."""


@dataclass(frozen=True)
class Compared:
    """A speaker that a probe was held to: id, score, net speech enrolled, and in how many recordings."""

    speaker: int
    score: float
    enrolled_s: float
    recordings: int


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass(frozen=True)
class Decision:
    """What an id holds; the likeliest speaker first."""

    purpose: str
    outcome: str
    probe_s: float
    compared: tuple[Compared, ...]

    def id(self, gallery: GalleryIdentity) -> str:
        """Letters, digits, - and _: 34 of them for `verify`, up to 76 for `identify`."""
        content = HEAD.pack(
            VERSION, PURPOSES.index(self.purpose), OUTCOMES.index(self.outcome), min(self.probe_s, MOST)
        )
        for one in self.compared[:KEPT]:
            content += COMPARED.pack(one.speaker, one.score, min(one.enrolled_s, MOST), min(one.recordings, MOST))
        content += CHECK.pack(zlib.crc32(content, _seed(gallery)))
        return _text(content)

    @staticmethod
    def parse(text: str, gallery: GalleryIdentity) -> Decision:
        """Raises: InputError for what is no id; StateError for one of another gallery or encoder."""
        if not isinstance(text, str):
            raise InputError(f"a decision's id is text, not {type(text).__name__}")
        try:
            content = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            version, purpose, outcome, probe_s = HEAD.unpack(content[: HEAD.size])
            compared = list(COMPARED.iter_unpack(content[HEAD.size : -CHECK.size]))
            [check] = CHECK.unpack(content[-CHECK.size :])
            if version != VERSION or not compared or len(compared) > KEPT or text != _text(content):
                raise ValueError  # another spelling of an id would count as another answer
            if not all(one[0] <= LARGEST_ID and all(map(math.isfinite, one[1:])) for one in compared):
                raise ValueError
            named = PURPOSES[purpose], OUTCOMES[outcome]
        except (ValueError, IndexError, struct.error, binascii.Error) as error:
            raise InputError(
                "not a decision's id; `identify` and `verify` print it with --explain and --json"
            ) from error
        if check != zlib.crc32(content[: -CHECK.size], _seed(gallery)):
            raise StateError("this decision is another gallery's, or its encoder has changed since")
        return Decision(*named, probe_s, tuple(Compared(*one) for one in compared))


def said(decision: Decision, answer: Answer, speaker: int | None, stranger: bool, known: Sequence[int]) -> list[Said]:
    """Which of the comparisons were of one speaker, and of `verify` which was of two, as far as the answer tells.

    Whom a search puts beside a stranger are the nearest of all enrolled: their scores are no stranger's score in one
    comparison, and LLRs that were fitted to them would all shrink.
    Args: speaker: who it really was; stranger: that it was nobody enrolled; known: speakers who still are.
    Raises: InputError where the answer leaves open who it was.
    """
    first, same = decision.compared[0].speaker, None
    told = speaker is not None or stranger
    if answer == "correct":
        if told:
            raise InputError("a correct answer says who it was; --speaker and --stranger go with `wrong`")
        if decision.outcome == "inconclusive":
            raise InputError("an inconclusive answer is neither; say `wrong --speaker NAME` or `wrong --stranger`")
        same = first if decision.outcome == "accepted" else None
    elif told:
        same = speaker
        _require_other(decision, same)
    elif decision.outcome == "rejected":
        same = first
    elif decision.outcome != "accepted":
        raise InputError("who should it have been? say --speaker NAME, or --stranger")
    return [
        _said(decision, place, one.speaker == same)
        for place, one in enumerate(decision.compared)
        if one.speaker in known and (one.speaker == same or decision.purpose == "verify")
    ]


def _require_other(decision: Decision, same: int | None) -> None:
    """Raise InputError where an answer is called wrong for what it said itself. Args: same: None for a stranger."""
    first = decision.compared[0].speaker
    if decision.outcome == "accepted" and same == first:
        raise InputError("that is who was named; say `correct`")
    if decision.outcome == "rejected" and same != first:
        raise InputError("that is what the answer said, that it is not who was claimed; say `correct`")
    if decision.outcome == "unknown" and same is None:
        raise InputError("that is what the answer said, that it is nobody enrolled; say `correct`")


def key(decision_id: str) -> str:
    """What a decision is stored under: what is said of it later takes the place of what was said before."""
    return hashlib.sha256(decision_id.encode()).hexdigest()[:32]


def _said(decision: Decision, place: int, target: bool) -> Said:
    one = decision.compared[place]
    return Said(one.speaker, target, one.score, decision.probe_s, one.enrolled_s, one.recordings)


def _seed(gallery: GalleryIdentity) -> int:
    return zlib.crc32(f"{gallery.uuid} {gallery.encoder.sha256}".encode())
