"""enroll, identify, verify, compare: the commands that take recordings."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

import click

from speakerdb import settings
from speakerdb.cli.options import NO, YES, progress_bar, shared_options, show, threshold_option
from speakerdb.errors import InputError, printable

if TYPE_CHECKING:
    from speakerdb.audio import Source
    from speakerdb.gallery.gallery import Gallery
    from speakerdb.gallery.results import Enrolled

FILES = click.argument("files", nargs=-1, required=True)
COUNT = click.IntRange(1, 10_000)


@click.command()
@click.argument("name")
@FILES
@click.option("--keep-going", is_flag=True, help="Enroll what can be enrolled; report the rest.")
@shared_options
def enroll(gallery: Gallery, as_json: bool, name: str, files: tuple[str, ...], keep_going: bool) -> int:
    """Remember recordings (FILES, - for stdin) as the speaker NAME's: all of them, or none.

    With --keep-going the exit code is 3 or 4 where any was refused.

    \b
    Example:
      speakerdb enroll ana ana_1.wav ana_2.wav ana_3.wav
    """
    with progress_bar(f"enroll {printable(name, 20)}") as progress:
        done = gallery.enroll(name, map(_source, files), keep_going=keep_going, progress=progress)
    show(done, as_json, _enrolled_line(done) if done.enrolled else "")
    if not as_json:
        for refused in done.refused:
            click.echo(f"speakerdb: refused {refused.error['message']}", err=True)
    return YES if not done.refused else int(done.refused[0].error["exit_code"])


@click.command()
@click.argument("file")
@click.option("--top", type=COUNT, default=settings.TOP, show_default=True, help="How many candidates to list.")
@threshold_option
@shared_options
def identify(gallery: Gallery, as_json: bool, file: str, top: int, threshold: float | None) -> int:
    """Say who speaks in FILE (- for stdin), or that it is nobody known (exit code 1).

    \b
    Example:
      speakerdb identify clip.wav
      speakerdb identify clip.wav --top 3 --json | jq .speaker
    """
    with progress_bar("identify") as progress:
        found = gallery.identify(_source(file), top=top, threshold=threshold, progress=progress)
    limit, others = found.threshold.distance, found.candidates
    clip = _short(found.source)
    if found.speaker is None:
        text = f"identify  {clip}  unknown       nearest: {others[0].speaker} {found.distance:.2f} > {limit:.2f}"
    else:
        text = f"identify  {clip}  {found.speaker:<12}  distance {found.distance:.2f} ≤ {limit:.2f}"
        text += f"    next: {others[1].speaker} {others[1].distance:.2f}" if len(others) > 1 else ""
    show(found, as_json, text)
    return NO if found.speaker is None else YES


@click.command()
@click.argument("name")
@click.argument("file")
@threshold_option
@shared_options
def verify(gallery: Gallery, as_json: bool, name: str, file: str, threshold: float | None) -> int:
    """Say whether FILE (- for stdin) is the speaker NAME: accepted (exit code 0) or rejected (1).

    \b
    Example:
      speakerdb verify ana clip.wav
    """
    with progress_bar("verify") as progress:
        found = gallery.verify(name, _source(file), threshold=threshold, progress=progress)
    sign, word = ("≤", "accepted") if found.accepted else (">", "rejected")
    text = f"verify    {found.speaker}  {_short(found.source)}  {word}    "
    text += f"distance {found.distance:.2f} {sign} {found.threshold.distance:.2f}"
    show(found, as_json, text)
    return YES if found.accepted else NO


@click.command()
@FILES
@threshold_option
@shared_options
def compare(gallery: Gallery, as_json: bool, files: tuple[str, ...], threshold: float | None) -> int:
    """Print the distance of every pair of FILES; nobody needs to be enrolled.

    Exit code 1 where any pair is of two speakers.

    \b
    Example:
      speakerdb compare call_1.wav call_2.wav
    """
    found = gallery.compare(map(_source, files), threshold=threshold)
    limit = found.threshold.distance
    lines = [
        f"compare   {_short(pair.first)}  {_short(pair.second)}  "
        + (
            f"same      distance {pair.distance:.2f} ≤ "
            if pair.same_speaker
            else f"different distance {pair.distance:.2f} > "
        )
        + f"{limit:.2f}"
        for pair in found.pairs
    ]
    show(found, as_json, "\n".join(lines))
    return YES if all(pair.same_speaker for pair in found.pairs) else NO


def _source(file: str) -> Source:
    if file != "-":
        return file
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("-: stdin is closed or a terminal; pipe a recording into it")
    return sys.stdin.buffer


def _short(source: str) -> str:
    """A recording's name without its folder, padded so that lines stand under one another."""
    return f"{printable(PurePath(source).name or source):<15}"


def _enrolled_line(done: Enrolled) -> str:
    count = len(done.enrolled)
    return (
        f"Enrolled  {done.speaker}  {count} recording{'s' if count != 1 else ''}, "
        f"{done.net_speech_s:.1f} s of speech" + ("" if done.new_speaker else f"; {done.total} recordings in all")
    )
