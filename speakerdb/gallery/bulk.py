"""Enrolling by the ten thousand: heard on all cores, written some speakers at a time, gone on with after a stop."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from speakerdb.audio import Source, name_of
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import SpeakerdbError
from speakerdb.gallery.results import RefusedRecording

BATCH_RECORDINGS = 32
"""Written in one transaction, and heard again after a kill; whole speakers, so it may be more."""


@dataclass
class Batch:
    """Speakers whose recordings were heard and are not written yet."""

    heard: list[tuple[str, list[Utterance]]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether it is time to write."""
        return sum(len(utterances) for _, utterances in self.heard) >= BATCH_RECORDINGS


def batches(
    listed: list[tuple[str, Source]], futures: Iterator[Future[Utterance]], refused: list[RefusedRecording]
) -> Iterator[Batch]:
    """What was heard of the recordings, in order, whole speakers together; what could not be is added to `refused`.

    Args: listed: speakers and their recordings; futures: one a recording, in the list's order.
    """
    batch = Batch()
    for speaker, own in groupby(listed, key=itemgetter(0)):
        heard = []
        for _, source in own:
            try:
                heard.append(next(futures).result())
            except SpeakerdbError as error:
                refused.append(RefusedRecording.of(error, name_of(source), speaker))
        if heard:
            batch.heard.append((speaker, heard))
        if batch.full:
            yield batch
            batch = Batch()
    if batch.heard:
        yield batch
