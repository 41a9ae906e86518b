"""The gallery: remember this person, who is this, is it who they say?

Recordings are decoded and embedded before any transaction; then one short one checks and writes. What a method has
returned is on disk. What few callers need is imported by the method that needs it: a command that verifies one clip
spends its time on imports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from speakerdb import settings
from speakerdb.audio import channel_of
from speakerdb.decision.criterion import Asked
from speakerdb.encoder.encoder import Encoder
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import InputError, NoSuchSpeaker, StorageError, printable
from speakerdb.gallery.answers import Identification, Verification
from speakerdb.gallery.archives import Archives
from speakerdb.gallery.asking import Asking, require_some
from speakerdb.gallery.enrollment import Enrollment
from speakerdb.gallery.examining import Examining
from speakerdb.gallery.learning import Learning
from speakerdb.gallery.naming import lasting_path, usable_name, usable_path
from speakerdb.gallery.opened import Progress
from speakerdb.gallery.results import RefusedRecording
from speakerdb.gallery.upkeep import Upkeep

if TYPE_CHECKING:
    from speakerdb.gallery.answering import Claim


class Gallery(Enrollment, Asking, Learning, Archives, Upkeep, Examining):
    """People and their voices in one folder. Made by `Gallery.open`; safe for use from several threads."""

    @staticmethod
    def open(
        folder: str | os.PathLike[str] | None = None,
        encoder: str | os.PathLike[str] | Encoder | None = None,
        index: str = "auto",
    ) -> Gallery:
        """Open a gallery; the folder is made by the first enrollment.

        Args:
            folder: where it lies; `SPEAKERDB_GALLERY` or the user's data folder where left out.
            encoder: a bundle's name or folder; left out, the one that the gallery is bound to.
            index: `auto`, `faiss-flat`, `faiss-ivf` or `numpy`.
        Raises: StorageError where the folder is none, or the database damaged or newer than the program;
            EncoderDamaged where there is no such bundle; InputError for what is no path, another index, or one that
            needs FAISS where that is not installed.
        """
        path = lasting_path(settings.gallery_folder() if folder is None else folder)
        if encoder is not None and not isinstance(encoder, Encoder):
            encoder = Encoder.load(encoder)
        if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112 (Path raises where a name is too long)
            what = "a link that leads to no folder" if path.is_symlink() else "a file"
            raise StorageError(
                f"{printable(path, 200)}: {what}, and a gallery is a folder; choose another folder with --gallery",
                path=str(path),
            )
        return Gallery(path, encoder, index)

    def identify_many(
        self,
        files: str | os.PathLike[str],
        *,
        top: int = settings.TOP,
        threshold: float | None = None,
        fpir: float | None = None,
        margin: float = 0.0,
        channel: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Identification | RefusedRecording]:
        """`identify` of each recording of a list or folder, in order, on all cores; one at a time is in memory.

        Args: files: a file with a path a line, or a folder; channel: of each, from 1, instead of all averaged. The
            others: as `identify`.
        Raises: as `identify` but for a recording that cannot be used, which is given back as refused.
        """
        from speakerdb.gallery.answering import answers, listed_files

        top = require_some(top)
        sources = [channel_of(path, channel) for path in listed_files(usable_path(files))]
        encoder = self.encoder
        self._answerable(Asked(threshold, fpir=fpir, margin=margin), encoder)

        def ask(heard: Utterance) -> Identification:
            return self.identify(heard, top=top, threshold=threshold, fpir=fpir, margin=margin)

        return answers(encoder, sources, ask, progress)

    def verify_many(
        self,
        claims: str | os.PathLike[str],
        *,
        threshold: float | None = None,
        fmr: float | None = None,
        margin: float = 0.0,
        channel: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[Claim, Verification | RefusedRecording]]:
        """`verify` of each claim of a list, its recordings heard once each on all cores; ordered by recording.

        Args: claims: a file of `NAME<tab>PATH` lines, or of trials; channel: as `identify_many`. The others: as
            `verify`.
        Raises: as `verify` but for a recording that cannot be used or a name that is not enrolled, which are given
            back as refused.
        """
        from speakerdb.gallery.answering import answers, listed_claims

        by_path: dict[str, list[Claim]] = {}
        for claim in listed_claims(usable_path(claims)):
            by_path.setdefault(claim.path, []).append(claim)
        Asked(threshold, fmr, margin=margin)  # refused before anything is heard
        sources = [channel_of(path, channel) for path in by_path]
        heard = answers(self.encoder, sources, lambda utterance: utterance, progress)
        return (
            (claim, self._claimed(claim, found, threshold, fmr, margin))
            for path, found in zip(by_path, heard, strict=True)
            for claim in by_path[path]
        )

    def _claimed(
        self,
        claim: Claim,
        heard: Utterance | RefusedRecording,
        threshold: float | None,
        fmr: float | None,
        margin: float,
    ) -> Verification | RefusedRecording:
        if isinstance(heard, RefusedRecording):
            return replace(heard, speaker=claim.speaker).in_line(claim.line)
        try:
            usable_name(claim.speaker)
        except InputError as error:
            return RefusedRecording.of(error, heard.name, claim.speaker).in_line(claim.line)
        try:
            return self.verify(claim.speaker, heard, threshold=threshold, fmr=fmr, margin=margin)
        except NoSuchSpeaker as error:
            return RefusedRecording.of(error, heard.name, claim.speaker).in_line(claim.line)
