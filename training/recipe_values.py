"""Tables of a recipe's TOML → dataclasses: every value of the kind that its field says, and within its bounds.

A field's annotation is the rule: `steps: Count` takes whole numbers from 1 on, and nothing else.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from speakerdb.errors import printable

Part = TypeVar("Part")

MOST = 2**31 - 1
"""Of whole numbers: what a tensor of them holds."""
LARGEST = 1e30
"""Of others: float32 holds it, and infinity is beyond."""


@dataclass(frozen=True)
class Bounds:
    """Of a number. Attributes: least, most: both may be taken. said: what belongs there, for who reads the error."""

    least: float
    most: float
    said: str


Count = Annotated[int, Bounds(1, MOST, "a whole number from 1 on")]
Natural = Annotated[int, Bounds(0, MOST, "a whole number from 0 on")]
Share = Annotated[float, Bounds(0.0, 1.0, "a number from 0 to 1")]
Weight = Annotated[float, Bounds(0.0, LARGEST, "a number from 0 on")]
Positive = Annotated[float, Bounds(1.0 / LARGEST, LARGEST, "a number above 0")]
Cosine = Annotated[float, Bounds(-1.0, 1.0, "a number from -1 to 1")]
Decibel = Annotated[float, Bounds(-LARGEST, LARGEST, "a number")]


def filled(kind: type[Part], table: object, at: str = "") -> Part:
    """A dataclass of what a table says. Args: at: the table's name in the file; the file itself has none.

    Raises: ValueError, one line that names the value, says what is wrong with it and what belongs there.
    """
    if not isinstance(table, dict):
        raise wrong(at, table, "a table")
    parts = {part.name: part for part in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(table.keys() - parts.keys()):
        raise ValueError(f"{at or 'a recipe'} knows no {printable(', '.join(unknown))}")
    for part in parts.values():
        if part.name not in table and part.default is MISSING and part.default_factory is MISSING:
            raise ValueError(f"{_within(at, part.name)} is missing")
    kinds = get_type_hints(kind, include_extras=True)
    values = {name: checked(kinds[name], value, _within(at, name)) for name, value in table.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{at}: {error}" if at else str(error)) from error


def checked(kind: Any, value: Any, at: str) -> Any:
    """The value, as a field of this kind holds it. Raises: ValueError, as `filled`."""
    inner = get_args(kind)
    if get_origin(kind) is types.UnionType:  # X | None: TOML has no way to say None
        return checked(inner[0], value, at)
    if is_dataclass(kind):
        return filled(kind, value, at)  # type: ignore[arg-type]
    check = _CHECKS.get(get_origin(kind) or kind)
    if check is None:  # no recipe's mistake: a field was given a kind that is not among the checks
        raise NotImplementedError(f"{at}: nothing reads values of the kind {kind}")
    return check(inner, value, at)


def named(found: Mapping[str, Part], name: Any, at: str) -> Part:
    """What goes by this name. Raises: ValueError that lists all names."""
    if not isinstance(name, str) or name not in found:
        raise wrong(at, name, f"one of {', '.join(sorted(found))}")
    return found[name]


def wrong(at: str, value: object, said: str) -> ValueError:
    """An error for what stands where something else belongs."""
    return ValueError(f"{at} is {printable(repr(value), 60)}; {said} belongs there")


def _within(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _number(inner: tuple[Any, ...], value: Any, at: str) -> int | float:
    kind, bounds = inner
    kinds = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not bounds.least <= value <= bounds.most:
        raise wrong(at, value, bounds.said)  # NaN is within no bounds
    return kind(value)  # type: ignore[no-any-return]


def _flag(_: tuple[Any, ...], value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise wrong(at, value, "true or false")
    return value


def _text(_: tuple[Any, ...], value: Any, at: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise wrong(at, value, "a text on one line")
    return value


def _list(inner: tuple[Any, ...], value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(at, value, "a list")
    return [checked(inner[0], one, f"{at}[{number}]") for number, one in enumerate(value, 1)]


def _span(inner: tuple[Any, ...], value: Any, at: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) != len(inner):
        raise wrong(at, value, f"a list of {len(inner)} numbers")
    pairs = enumerate(zip(inner, value, strict=True), 1)
    found = tuple(checked(kind, one, f"{at}[{number}]") for number, (kind, one) in pairs)
    if sorted(found) != list(found):
        raise wrong(at, value, "the smaller number first")
    return found


def _table(inner: tuple[Any, ...], value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(at, value, "a table")
    return {name: checked(inner[1], one, _within(at, name)) for name, one in value.items()}


def _json(_: tuple[Any, ...], value: Any, at: str) -> Any:
    """Anything that a card and a checkpoint can hold: dates are none of it, nor numbers that are none."""
    if isinstance(value, list):
        return [_json((), one, f"{at}[{number}]") for number, one in enumerate(value, 1)]
    if isinstance(value, dict):
        return {name: _json((), one, _within(at, name)) for name, one in value.items()}
    if isinstance(value, str | bool) or (isinstance(value, int | float) and -LARGEST <= value <= LARGEST):
        return value
    raise wrong(at, value, "a text, a number, true or false, or a list or table of these")


_CHECKS: dict[Any, Callable[[tuple[Any, ...], Any, str], Any]] = {
    Annotated: _number,
    bool: _flag,
    str: _text,
    list: _list,
    tuple: _span,
    dict: _table,
    Any: _json,
}
