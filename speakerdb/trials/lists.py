"""What stands in trial lists, read and written line by line."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from speakerdb.errors import InputError, printable

Form = Literal["voxceleb", "kaldi"]
"""`1|0 CLIP CLIP` or `CLIP CLIP target|nontarget`."""

LABELS = {"1": True, "0": False}
KALDI_LABELS = {"target": True, "nontarget": False}


@dataclass(frozen=True)
class Pair:
    """Two clips, `target` where one speaker says both."""

    target: bool
    first: str
    second: str


@dataclass(frozen=True)
class Model:
    """A speaker enrolled with one clip or more."""

    name: str
    clips: tuple[str, ...]


@dataclass(frozen=True)
class ModelTrial:
    """A clip against a model, `target` where the model's speaker says it."""

    target: bool
    model: str
    clip: str


@dataclass(frozen=True)
class Probe:
    """A clip to search a gallery with; `speaker` is None for a stranger."""

    speaker: str | None
    clip: str


def iter_pairs(path: str | Path) -> Iterator[Pair]:
    """Pairs one after the other, so that a list of any length can be gone through.

    Raises: InputError as `read_pairs`, when the line is reached; for an empty list at the end.
    """
    for target, first, second in iter_trials(path, "CLIP"):
        yield Pair(target, first, second)


def read_pairs(path: str | Path) -> list[Pair]:
    """Read `1|0 CLIP CLIP` lines, or Kaldi's `CLIP CLIP target|nontarget`.

    Returns: the pairs in the file's order, at least one.
    Raises: InputError, naming file and line, for a malformed line; for a file that is empty or unreadable.
    """
    return list(iter_pairs(path))


def write_pairs(path: str | Path, pairs: Iterable[Pair], form: Form = "voxceleb") -> None:
    """Write a list that `read_pairs` reads, in one of its forms.

    Raises: InputError for a clip with white space in its name, which no list can hold; nothing is written then.
    """
    pairs = list(pairs)
    for pair in pairs:
        require_fields(pair.first, pair.second)
    with Path(path).open("w", encoding="utf-8") as file:
        for pair in pairs:
            if form == "voxceleb":
                file.write(f"{int(pair.target)} {pair.first} {pair.second}\n")
            else:
                file.write(f"{pair.first} {pair.second} {'target' if pair.target else 'nontarget'}\n")


def require_fields(*names: str) -> None:
    """Raises: InputError for a name that is no field of a line: empty, or with white space."""
    for name in names:
        if name.split() != [name]:
            raise InputError(f"{printable(name)!r} has white space in it, or is empty; a list cannot hold that name")


def read_models(path: str | Path) -> list[Model]:
    """Read `MODEL CLIP …` lines: a list of models, or a gallery.

    Returns: the models in the file's order, at least one, names distinct, each with at least one clip.
    Raises: InputError as `read_pairs`, and for a name that occurs twice.
    """
    models: dict[str, Model] = {}
    for number, (name, *clips) in fields_of(path, "MODEL CLIP …"):
        if name in models:
            raise malformed(path, number, f"{printable(name)!r} occurs twice")
        models[name] = Model(name, tuple(clips))
    return list(models.values())


def read_model_trials(path: str | Path, lines: Iterable[str] | None = None) -> list[ModelTrial]:
    """Read `1|0 MODEL CLIP` lines, or Kaldi's `MODEL CLIP target|nontarget`.

    Args: lines: the file's, where they were read already: a pipe is read once.
    Returns: the trials in the file's order, at least one. Raises: InputError as `read_pairs`.
    """
    return [ModelTrial(target, model, clip) for target, model, clip in iter_trials(path, "MODEL", lines)]


def read_probes(path: str | Path) -> list[Probe]:
    """Read `SPEAKER|- CLIP` lines.

    Returns: the probes in the file's order, at least one. Raises: InputError as `read_pairs`.
    """
    lines = fields_of(path, "SPEAKER|- CLIP")
    return [Probe(None if speaker == "-" else speaker, clip) for _, (speaker, clip) in lines]


def iter_trials(path: str | Path, enrolled: str, given: Iterable[str] | None = None) -> Iterator[tuple[bool, str, str]]:
    """Label, enrolled name and clip of each line; `enrolled` is what messages call that name: CLIP or MODEL.

    The first line tells the form, and every other line has to follow it.
    """
    form, parse = f"1|0 {enrolled} CLIP", _voxceleb
    lines = _lines(path, form, given)
    first = next(lines)
    if _voxceleb(first[1]) is None and _kaldi(first[1]) is not None:
        form, parse = f"{enrolled} CLIP target|nontarget", _kaldi
    for number, fields in itertools.chain([first], lines):
        trial = parse(fields)
        if trial is None:
            raise _not_of(form, path, number, fields)
        yield trial


def _voxceleb(fields: list[str]) -> tuple[bool, str, str] | None:
    if len(fields) != 3 or fields[0] not in LABELS:
        return None
    return LABELS[fields[0]], fields[1], fields[2]


def _kaldi(fields: list[str]) -> tuple[bool, str, str] | None:
    if len(fields) != 3 or fields[2] not in KALDI_LABELS:
        return None
    return KALDI_LABELS[fields[2]], fields[0], fields[1]


def fields_of(path: str | Path, form: str) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line: as many as `form` has, or more where it ends with …."""
    least = len(form.removesuffix("…").split())
    for number, fields in _lines(path, form):
        if len(fields) < least or (len(fields) > least and not form.endswith("…")):
            raise _not_of(form, path, number, fields)
        yield number, fields


def _lines(path: str | Path, form: str, given: Iterable[str] | None = None) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not empty; at least one. Args: given: the lines, in the file's place."""
    empty = True
    try:
        with Path(path).open(encoding="utf-8-sig") if given is None else contextlib.nullcontext(given) as lines:
            for number, line in enumerate(lines, start=1):
                if fields := line.split():
                    empty = False
                    yield number, fields
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"{printable(path, 200)}: {reason}", path=str(path)) from error
    if empty:
        raise InputError(f"{printable(path, 200)}: empty, where `{form}` lines belong", path=str(path))


def malformed(path: str | Path, number: int, reason: str) -> InputError:
    """The error of one line."""
    return InputError(f"{printable(path, 200)}:{number}: {reason}", path=str(path), line=number)


def _not_of(form: str, path: str | Path, number: int, fields: list[str]) -> InputError:
    return malformed(path, number, f"{printable(' '.join(fields))!r} is not `{form}`")
