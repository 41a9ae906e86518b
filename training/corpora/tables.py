"""Tab-separated tables with a header line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator

csv.field_size_limit(1 << 20)


def read_table(lines: Iterable[str], where: object, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The rows of a table, missing values as "". Sentences hold quotes, which mean nothing here.

    Raises: ValueError for a missing column, a row that is too long, or text that is not UTF-8.
    """
    try:
        reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = reader.fieldnames or []
        missing = [column for column in columns if column not in names]
        if missing:
            raise ValueError(f"{where}: no column {missing[0]} (there are: {', '.join(names) or 'none'})")
        for row in reader:
            if None in row:
                raise ValueError(f"{where}: line {reader.line_num} has more fields than the header")
            yield {name: sys.intern(value or "") for name, value in row.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{where}: not a table of text ({error})") from error


def seconds_of(text: str, where: object) -> float:
    """A number of seconds, 0 for an empty field. Raises ValueError for anything else."""
    try:
        return float(text) if text else 0.0
    except ValueError:
        raise ValueError(f"{where}: {text!r} is no number of seconds") from None


def sex_of(text: str) -> str:
    """m, f, or "" for anything that is neither: `male`, `female_feminine`, `f`, `W` and so on."""
    word = text.strip().lower()
    if word.startswith(("f", "w")):
        return "f"
    return "m" if word.startswith("m") else ""
