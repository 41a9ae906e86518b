"""What a file announces and does not hold: it was cut short, by a copy that broke off or a recorder that died."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

STREAMED_BYTES = 0x7FFF_F000
"""Announced by who writes to a pipe, and does not know yet how much there will be: this (SoX) or more (FFmpeg)."""

SOUND = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)$", re.MULTILINE)
"""In libsndfile's log of a WAV or AIFF file: how many bytes of sound its header announces, and how many are there."""

LAST_PAGE = re.compile(
    r"^Ogg ?: Last page lacks an end-of-stream bit\.\nOgg ?: Junk after the last page\.$", re.MULTILINE
)
"""Of an Ogg file: half a page at its end. That no page says that it is the last is no sign alone: Android's recorder
writes none that does."""

TAG_AT = (13, 21, 36)
"""Where in its first frame an MP3 has its Xing or Info tag: behind the frame's header and what the channels share."""

COUNTS_FRAMES = 1
"""The flag of such a tag that says so."""


def missing_share(log: str) -> float:
    """Sound that is not there, for each piece that is, by libsndfile's log; infinite where nobody knows how much."""
    if LAST_PAGE.search(log):
        return math.inf
    found = SOUND.search(log)
    announced, there = map(int, found.groups()) if found else (0, 0)
    return announced / there - 1.0 if 0 < there < announced < STREAMED_BYTES else 0.0


def frames_are_counted(coding: str, bytes_at: Callable[[int, int], bytes]) -> bool:
    """Whether libsndfile's count of frames is the file's own, and not a guess from its size.

    Args: coding: `MPEG_LAYER_III` and the like. bytes_at: the file's from an offset on, so many.
    """
    if not coding.startswith("MPEG"):
        return True
    start, tag = 0, bytes_at(0, 10)
    if tag.startswith(b"ID3") and len(tag) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    frame = bytes_at(start, max(TAG_AT) + 8).ljust(max(TAG_AT) + 8)
    return any(frame[at : at + 4] in (b"Xing", b"Info") and frame[at + 7] & COUNTS_FRAMES for at in TAG_AT)
