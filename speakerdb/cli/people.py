"""speakers, rename, remove, remove-enrollment: the commands about who is enrolled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from speakerdb.cli.options import shared_options
from speakerdb.cli.output import YES, counted, show, tell
from speakerdb.errors import NoSuchGallery

if TYPE_CHECKING:
    from speakerdb.gallery.gallery import Gallery
    from speakerdb.gallery.reports import Merged, Removed
    from speakerdb.gallery.results import SpeakerInfo

LARGEST_ID = (1 << 63) - 1  # that SQLite holds


@click.command(short_help="List who is enrolled.")
@click.option("--enrollments", is_flag=True, help="List each recording with its id, too.")
@shared_options
def speakers(gallery: Gallery, as_json: bool, enrollments: bool) -> int:
    """List who is enrolled; a gallery that is not there is an error (exit code 4), not an empty list.

    \b
    Example:
      speakerdb speakers
      speakerdb speakers --enrollments --json
    """
    from speakerdb.store.database import FILE

    listed = gallery.speakers(enrollments=enrollments)
    if not listed and not (gallery.folder / FILE).exists():  # a mistyped --gallery, say
        raise NoSuchGallery(str(gallery.folder))
    show(listed, as_json, "\n".join(_line(speaker) for speaker in listed))
    if not listed and not as_json:
        tell("nobody is enrolled yet; begin with `speakerdb enroll NAME FILE`")
    return YES


@click.command(short_help="Give a speaker another name.")
@click.argument("before")
@click.argument("after")
@shared_options
def rename(gallery: Gallery, as_json: bool, before: str, after: str) -> int:
    """Give the speaker BEFORE the name AFTER.

    \b
    Example:
      speakerdb rename ana "Ana Sousa"
    """
    done = gallery.rename(before, after)
    show(done, as_json, f"Renamed   {done.before} to {done.after}")
    return YES


@click.command(short_help="Forget a speaker and erase every vector.")
@click.argument("name")
@shared_options
def remove(gallery: Gallery, as_json: bool, name: str) -> int:
    """Forget the speaker NAME: every vector is erased from database, index and log.

    \b
    Example:
      speakerdb remove ana
    """
    done = gallery.remove(name)
    show(done, as_json, _removed_line(done))
    return YES


@click.command(short_help="Forget one recording.")
@click.argument("enrollment", type=click.IntRange(1, LARGEST_ID))
@shared_options
def remove_enrollment(gallery: Gallery, as_json: bool, enrollment: int) -> int:
    """Forget one recording by its id, as `speakerdb speakers --enrollments` lists it.

    \b
    Example:
      speakerdb remove-enrollment 7
    """
    done = gallery.remove_enrollment(enrollment)
    show(done, as_json, _removed_line(done))
    return YES


@click.command(short_help="Make one speaker of two.")
@click.argument("name")
@click.argument("into")
@shared_options
def merge(gallery: Gallery, as_json: bool, name: str, into: str) -> int:
    """Give all recordings of the speaker NAME to INTO, who is the same person; NAME is gone then.

    \b
    Example:
      speakerdb merge anna ana
    """
    done = gallery.merge(name, into)
    show(done, as_json, _merged_line(done))
    return YES


@click.command(short_help="Give recordings to another speaker.")
@click.argument("enrollments", nargs=-1, required=True, type=click.IntRange(1, LARGEST_ID))
@click.option("--to", "name", required=True, help="Whose they are; a new name makes a new speaker.")
@shared_options
def move_enrollment(gallery: Gallery, as_json: bool, enrollments: tuple[int, ...], name: str) -> int:
    """Give single recordings, by their ids, to another speaker.

    \b
    Example:
      speakerdb move-enrollment --to ben 7 8
    """
    done = gallery.move_enrollments(enrollments, name)
    show(done, as_json, _merged_line(done))
    return YES


def _merged_line(done: Merged) -> str:
    gone = "".join(f"; {name} is gone" for name in done.emptied)
    return f"Moved     {counted(done.enrollments, 'recording')} to {done.into}, {done.total} in all{gone}"


def _line(speaker: SpeakerInfo) -> str:
    recordings = counted(speaker.enrollments, "recording")
    head = f"{speaker.speaker:<16}  {recordings:>14}  {speaker.net_speech_s:>7.1f} s of speech"
    lines = [
        f"    {row.id:>6}  {row.net_speech_s:>7.1f} s  {row.source}{'  (its sound is kept)' if row.audio_kept else ''}"
        for row in speaker.recordings
    ]
    return "\n".join([head, *lines])


def _removed_line(done: Removed) -> str:
    line = f"Removed   {counted(done.enrollments, 'recording')} of {done.speaker}"
    line += "; the speaker is gone" if done.speaker_removed else ""
    if not done.log_erased:
        line += "; it may still lie in the file or its log (another process is reading, or the disk is full): "
        line += "run `speakerdb check` to erase that as well"
    return line
