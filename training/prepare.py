"""Corpora → sets of shards, a set a split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.corpora.clip import Corpus, Row
from training.corpora.opening import open_corpus
from training.records import SetWriter, complete, read_index
from training.splits import check_apart, split_by_speaker


def prepare_corpora(
    sources: Sequence[str], folder: Path, shares: tuple[int, int, int] | None, console: Console
) -> dict[str, list[Row]]:
    """Write the sets of these corpora to `folder` where they are not complete there; the rows by the set's name.

    Nothing is written before all tables were read and found to have nobody in two splits, also together with
    the sets that lie in the folder already.
    Args: shares: of speakers in train, dev and test, instead of the corpora's own splits.
    Raises: ValueError naming the file that is wrong, the speaker who stands in two splits, or two corpora of a name.
    """
    found: list[tuple[Corpus, dict[str, list[Row]]]] = []
    for source in sources:
        corpus = open_corpus(source)
        console.print(f"{source}: reading the tables", highlight=False, soft_wrap=True)
        rows = corpus.rows()
        rows = split_by_speaker(rows, shares) if shares else _with_a_split(rows)
        sets: dict[str, list[Row]] = {}
        for row in rows:
            sets.setdefault(row.set_name, []).append(row)
        found.append((corpus, sets))
    named: dict[str, list[Row]] = {}
    for _, sets in found:
        for name, rows in sets.items():
            if name in named:
                raise ValueError(f"two corpora would make the set {name}; name one of them: NAME=FOLDER")
            named[name] = rows
    check_apart({name: _speakers(rows) for name, rows in named.items()} | _standing(folder, named))
    for corpus, sets in found:
        _write(corpus, sets, folder, console)
    return named


def _with_a_split(rows: list[Row]) -> list[Row]:
    """Speech without splits is for training; noise, which has no speaker, is in none."""
    if any(row.split or not row.speaker for row in rows):
        return rows
    return split_by_speaker(rows, (100, 0, 0))


def _speakers(rows: list[Row]) -> dict[str, str]:
    return {row.speaker: row.split for row in rows if row.speaker}


def _standing(folder: Path, new: dict[str, list[Row]]) -> dict[str, dict[str, str]]:
    """Speakers of the complete sets that lie there and will not be written now."""
    names = [index.stem for index in sorted(folder.glob("*.json")) if index.stem not in new]
    return {name: _speakers(read_index(folder, name)) for name in names if complete(folder, name)}


def _write(corpus: Corpus, sets: dict[str, list[Row]], folder: Path, console: Console) -> None:
    prints = {name: _fingerprint(corpus, rows) for name, rows in sets.items()}
    missing = {name: rows for name, rows in sets.items() if not complete(folder, name, prints[name])}
    for name in sets:
        if name not in missing:
            console.print(f"{name}: complete", highlight=False, soft_wrap=True)
    rows = [row for name in missing for row in missing[name]]
    if not rows:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, ExitStack() as stack:
        writers = {name: stack.enter_context(SetWriter(folder, name, prints[name])) for name in missing}
        task = progress.add_task(corpus.name, total=len(rows))
        for clip in corpus.clips(rows):
            writers[clip.set_name].write(clip)
            progress.advance(task)
        for writer in writers.values():
            writer.finish()


def _fingerprint(corpus: Corpus, rows: list[Row]) -> str:
    digest = hashlib.sha256(corpus.fingerprint().encode())
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()
