"""Where the clips of a list lie, and what is known of them: archives, prepared shards, corpora, folders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from speakerdb.errors import InputError, printable
from training.corpora import Corpus, open_corpus
from training.corpora.clip import AUDIO_ENDINGS, Row
from training.corpora.fingerprints import fingerprint_of_all
from training.corpora.folders import recordings
from training.corpora.tar_members import TAR_ENDINGS


@dataclass(frozen=True)
class Facts:
    """What is known of a clip; each is empty where it is not."""

    speaker: str = ""
    language: str = ""
    sex: str = ""


class Source(Protocol):
    """A place that holds clips by the names that lists call them. Raises ValueError naming what is wrong there."""

    def fingerprint(self) -> str:
        """Tells one source from another, and whether it has changed since."""

    def facts(self, wanted: Collection[str]) -> dict[str, Facts]:
        """Those of the wanted clips that are there."""

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Name and encoded audio of the wanted clips, one at a time."""


class _OfRows:
    """Clips that a table tells of."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {row.path: row for row in rows}

    def speakers(self) -> set[str]:
        """Everybody there, by names that are nobody else's."""
        return {row.speaker for row in self._rows.values()} - {""}

    def facts(self, wanted: Collection[str]) -> dict[str, Facts]:
        """As the table says."""
        rows = (self._rows[name] for name in wanted if name in self._rows)
        return {row.path: Facts(row.speaker, row.language, row.sex) for row in rows}


class OfCorpus(_OfRows):
    """A corpus in any form that `training.corpora` opens."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(corpus.rows())
        self._corpus = corpus

    def fingerprint(self) -> str:
        """The corpus's own."""
        return f"{self._corpus.name} {self._corpus.fingerprint()}"

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """In the order in which they are stored."""
        names = set(wanted)
        chosen = [row for path, row in self._rows.items() if path in names]
        return ((clip.path, clip.audio) for clip in self._corpus.clips(chosen))


class OfShards(_OfRows):
    """A set that `prepare` has written."""

    def __init__(self, folder: Path, name: str) -> None:
        from training.records import read_index  # imports TensorFlow

        super().__init__(read_index(folder, name))
        self._folder, self._name = folder, name

    def fingerprint(self) -> str:
        """The set's clips and recordings, whatever archive they came from."""
        from training.records import set_hash

        return f"{self._name} {set_hash(self._folder, self._name)}"

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """In the order in which they are stored."""
        from training.records import read_shards

        names = set(wanted)
        return ((clip.path, clip.audio) for clip in read_shards(self._folder, self._name) if clip.path in names)


class OfFiles:
    """A folder; a clip's name is its path there, and its first part the speaker's, as in VoxCeleb's lists.

    Args: example: a clip there; files with its ending, and with those of recordings, are what may be asked for.
    """

    def __init__(self, folder: Path, example: str) -> None:
        self._folder = folder
        self._endings = (*AUDIO_ENDINGS, PurePosixPath(example).suffix.lower())

    def fingerprint(self) -> str:
        """Of all recordings in it, and where it lies; a report may lie there too."""
        found = fingerprint_of_all(self._folder, recordings(self._folder, self._endings))
        return f"{self._folder.resolve()} {found}"

    def facts(self, wanted: Collection[str]) -> dict[str, Facts]:
        """The speaker alone."""
        return {name: speaker_by_name(name) for name in wanted if self._file(name).is_file()}

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """In the order asked."""
        return ((name, self._file(name).read_bytes()) for name in wanted)

    def _file(self, name: str) -> Path:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"the clip {printable(name)!r} lies outside of {printable(self._folder, 200)}")
        return self._folder / path


def speaker_by_name(name: str) -> Facts:
    """The speaker of a clip named SPEAKER/…, nothing for another name."""
    speaker, slash, _ = name.partition("/")
    return Facts(speaker=speaker if slash else "")


def named_set(name: str, shards: Path | None, corpora: Path | None) -> OfCorpus | OfShards | None:
    """A set by its name: prepared in `shards`, else the archive NAME.tar in `corpora`; None where it is in neither."""
    if shards is not None and (shards / f"{name}.json").exists():
        return OfShards(shards, name)
    for ending in TAR_ENDINGS if corpora is not None else ():
        if (archive := corpora / f"{name}{ending}").exists():
            return OfCorpus(open_corpus(str(archive)))
    return None


def source_at(path: Path, example: str) -> Source:
    """A corpus or a plain folder; `example` is a clip that lists name.

    Raises: InputError where nothing is there; ValueError for a corpus that cannot be read.
    """
    if not path.exists():
        raise InputError(f"{printable(path, 200)}: there is no such file or folder")
    if path.is_dir() and not (path / "wav.scp").exists():
        plain = OfFiles(path, example)
        if plain.facts([example]):
            return plain
    return OfCorpus(open_corpus(str(path)))


def facts_of(
    source: Source | None, wanted: Collection[str], speakers: Mapping[str, str] | None = None
) -> dict[str, Facts]:
    """Facts of every clip.

    Args: source: None where the clips are not at hand. speakers: clip → speaker, which overrules the source.
    Raises: InputError for clips that are not in the source.
    """
    found = {name: speaker_by_name(name) for name in wanted} if source is None else source.facts(wanted)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(f"{len(missing)} clips of the lists are not there, {printable(missing[0])!r} among them")
    if speakers is None:
        return found
    return {name: Facts(speakers.get(name, ""), facts.language, facts.sex) for name, facts in found.items()}


def read_utt2spk(path: Path) -> dict[str, str]:
    """Kaldi's `CLIP SPEAKER` lines. Raises: InputError naming file and line."""
    from speakerdb.trials.lists import fields_of

    return {clip: speaker for _, (clip, speaker) in fields_of(path, "CLIP SPEAKER")}
