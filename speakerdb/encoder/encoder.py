"""The encoder as callers see it: `Encoder.load().embed("clip.wav")`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future

from speakerdb.audio import Source, Sources, each
from speakerdb.calibration import Cohort
from speakerdb.embedding import Vector
from speakerdb.encoder.bundle import Bundle, Card, open_bundle
from speakerdb.encoder.change_of_voice import VoiceWatch
from speakerdb.encoder.parallel import GoOn, in_order
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.runtime import Runtime
from speakerdb.encoder.utterance import Heard, Utterance, hear
from speakerdb.forks import lock_across_forks

_loading = lock_across_forks()
"""`cached_property` of Python 3.11 has one of its own for all objects, which a child would inherit held."""


class Encoder:
    """A bundle and, from its first use on, its session. Safe for use from several threads."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._wide: Runtime | None = None
        self._narrow: Runtime | None = None

    @staticmethod
    def load(name: str | os.PathLike[str] | None = None) -> Encoder:
        """A bundle by name or folder; left out, `SPEAKERDB_ENCODER`, or the shipped one.

        Raises: EncoderDamaged where there is none of that name, or its files do not agree with its card.
        """
        return Encoder(open_bundle(find_bundle(name)))

    @property
    def card(self) -> Card:
        """What is known about the encoder."""
        return self._bundle.card

    @property
    def cohort(self) -> Cohort | None:
        """The voices that scores are normalised by; None where the bundle has none."""
        return self._bundle.cohort

    @property
    def dimension(self) -> int:
        """Of its vectors."""
        return self._bundle.card.dimension

    @property
    def runtime(self) -> Runtime:
        """The loaded session, which gives all cores to one recording."""
        with _loading:
            if self._wide is None:
                self._wide = Runtime(self._bundle)
            return self._wide

    @property
    def _narrow_runtime(self) -> Runtime:
        """A session for one core, of which several recordings are heard at a time."""
        with _loading:
            if self._narrow is None:
                self._narrow = Runtime(self._bundle, threads=1)
            return self._narrow

    def embed(self, source: Source, rate_hz: int | None = None) -> Vector:
        """A recording's vector: float32 [dimension], unit length.

        Args: source: path, bytes, binary file object, or array with its `rate_hz`.
        Raises: AudioUnreadable; TooLittleSpeech, never a vector of silence.
        """
        return self.probe(source, rate_hz, other_voices=False).vector

    def embed_many(self, sources: Sources, rate_hz: int | None = None) -> Iterator[Vector]:
        """Vectors of many recordings, in order, on all cores; a few are under way at a time.

        Raises: as `embed`, at the recording in question.
        """
        for future in self.probes(sources, rate_hz, other_voices=False):
            yield future.result().vector

    def probes(
        self, sources: Sources, rate_hz: int | None = None, other_voices: bool = True
    ) -> Iterator[Future[Utterance]]:
        """As `probe`, of many recordings: in order, on all cores, a few under way at a time.

        Returns: futures that are done; `result()` gives the utterance, or raises what `probe` would have.
        """
        runtime = self._narrow_runtime

        def heard(source: Source, go_on: GoOn) -> Utterance:
            watch = self._watch(runtime, cuts=False) if other_voices else None
            return hear(runtime, source, self.card.probe_speech_s, "compare", rate_hz, go_on, watch=watch)

        return in_order(heard, each(sources))

    def probe(
        self,
        source: Source,
        rate_hz: int | None = None,
        progress: Heard | None = None,
        other_voices: bool = True,
    ) -> Utterance:
        """A recording to compare, held to the card's least net speech for that. Args: as `enrollment`."""
        watch = self._watch(self.runtime, cuts=False) if other_voices else None
        return hear(self.runtime, source, self.card.probe_speech_s, "compare", rate_hz, progress, watch=watch)

    def enrollment(
        self,
        source: Source,
        rate_hz: int | None = None,
        progress: Heard | None = None,
        keep_audio: bool = False,
        other_voices: bool = True,
    ) -> Utterance:
        """A recording to enroll, held to the card's least net speech for that.

        Args: other_voices: whether to listen for them (`change_of_voice`).
        """
        watch = self._watch(self.runtime, cuts=True) if other_voices else None
        return hear(self.runtime, source, self.card.enroll_speech_s, "enroll", rate_hz, progress, keep_audio, watch)

    def enrollments(
        self,
        sources: Sources,
        rate_hz: int | None = None,
        keep_audio: bool = False,
        least_speech_s: float | None = None,
        other_voices: bool = True,
    ) -> Iterator[Future[Utterance]]:
        """As `enrollment`, of many recordings: in order, on all cores, a few under way at a time.

        Args: least_speech_s: instead of the card's; other_voices: as `enrollment`.
        Returns: futures that are done; `result()` gives the utterance, or raises what `enrollment` would have.
        """
        runtime = self._narrow_runtime
        least_s = self.card.enroll_speech_s if least_speech_s is None else least_speech_s

        def heard(source: Source, go_on: GoOn) -> Utterance:
            watch = self._watch(runtime, cuts=True) if other_voices else None
            return hear(runtime, source, least_s, "enroll", rate_hz, go_on, keep_audio, watch)

        return in_order(heard, each(sources))

    def _watch(self, runtime: Runtime, cuts: bool) -> VoiceWatch | None:
        """Where nobody has calibrated the encoder, nobody knows how far one voice strays. Args: as `VoiceWatch`."""
        calibration = self.card.calibration
        return VoiceWatch(runtime, calibration, self.cohort, cuts) if calibration else None
