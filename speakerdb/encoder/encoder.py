"""The encoder as callers see it: `Encoder.load().embed("clip.wav")`."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

from speakerdb import settings
from speakerdb.audio import Source
from speakerdb.embedding import Vector
from speakerdb.encoder.bundle import Bundle, Card, open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.runtime import Runtime
from speakerdb.encoder.utterance import Heard, Utterance, hear


class Encoder:
    """A bundle and, from its first use on, its session. Safe for use from several threads."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    @staticmethod
    def load(name: str | os.PathLike[str] | None = None) -> Encoder:
        """The shipped encoder, or another bundle by name or folder.

        Raises: EncoderDamaged where there is none of that name, or its files do not agree with its card.
        """
        return Encoder(open_bundle(find_bundle(name)))

    @property
    def card(self) -> Card:
        """What is known about the encoder."""
        return self._bundle.card

    @property
    def dimension(self) -> int:
        """Of its vectors."""
        return self._bundle.card.dimension

    @cached_property
    def runtime(self) -> Runtime:
        """The loaded session."""
        return Runtime(self._bundle)

    def embed(self, source: Source, rate_hz: int | None = None) -> Vector:
        """A recording's vector: float32 [dimension], unit length.

        Args: source: path, bytes, binary file object, or array with its `rate_hz`.
        Raises: AudioUnreadable; TooLittleSpeech, never a vector of silence.
        """
        return self.probe(source, rate_hz).vector

    def embed_many(self, sources: Iterable[Source]) -> Iterator[Vector]:
        """Vectors of many recordings, in order, on all cores; a few are under way at a time.

        Raises: as `embed`, at the recording in question.
        """
        workers = settings.threads()
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque[Future[Vector]] = deque()
            try:
                for source in sources:
                    ahead.append(pool.submit(self.embed, source))
                    if len(ahead) > 2 * workers:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def probe(self, source: Source, rate_hz: int | None = None, progress: Heard | None = None) -> Utterance:
        """A recording to compare, held to the card's least net speech for that."""
        return hear(self.runtime, source, self.card.probe_speech_s, "compare", rate_hz, progress)

    def enrollment(self, source: Source, rate_hz: int | None = None, progress: Heard | None = None) -> Utterance:
        """A recording to enroll, held to the card's least net speech for that."""
        return hear(self.runtime, source, self.card.enroll_speech_s, "enroll", rate_hz, progress)
