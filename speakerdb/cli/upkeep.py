"""check, doctor, backup, rebuild, db: the commands about the gallery's own state."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from speakerdb.cli.options import GivenPath, gallery_option, json_option, shared_options
from speakerdb.cli.output import NO, YES, counted, errors_as_exit_codes, json_text, print_line, show, shown_size
from speakerdb.errors import NoSuchGallery, StorageError, printable

if TYPE_CHECKING:
    from speakerdb.gallery.gallery import Gallery
    from speakerdb.gallery.reports import BackedUp, CheckReport, Diagnosis


@click.command(short_help="Look for damage in the files.")
@shared_options
def check(gallery: Gallery, as_json: bool) -> int:
    """Go through database, voiceprints, index and files; exit code 5 where anything is wrong.

    \b
    Example:
      speakerdb check
    """
    report = gallery.check()
    lines = [f"Checked   {_whole(report)}, encoder {report.encoder}"]
    lines += [f"          {finding}" for finding in report.findings]
    show(report, as_json, "\n".join(lines if report.findings else [f"{lines[0]}: sound"]))
    return StorageError.exit_code if report.findings else YES


@click.command(short_help="Look for profiles that are likely to answer wrongly.")
@shared_options
def doctor(gallery: Gallery, as_json: bool) -> int:
    """Look for profiles that are likely to give wrong answers; exit code 1 where there is any.

    Recordings that do not sound like their speaker's others, two people under one name, one person under two, profiles
    that nothing matches, too little speech. Nothing is changed: each line has the command that mends it.

    \b
    Example:
      speakerdb doctor
      speakerdb doctor --json | jq -r '.complaints[].mend'
    """
    found = gallery.doctor()
    head = f"Examined  {_whole(found)}"
    if not found.calibrated:
        head += " (their seconds alone: the encoder is not calibrated)"
    lines = [head if found.complaints else f"{head}: healthy"]
    for complaint in found.complaints:
        lines.append(f"{' and '.join(complaint.speakers)}: {complaint.message}")
        lines.append(f"          → {complaint.mend}")
    show(found, as_json, "\n".join(lines))
    return NO if found.complaints else YES


@click.command(short_help="Copy the gallery, in use or not, into a new folder.")
@click.argument("target", type=GivenPath())
@shared_options
def backup(gallery: Gallery, as_json: bool, target: Path) -> int:
    """Copy the gallery, in use or not, into the folder TARGET, which is a gallery itself then.

    TARGET is made where it is missing, and must hold no gallery.

    To bring it back, move the gallery's whole folder away and put TARGET in its place.

    \b
    Example:
      speakerdb backup people-monday
    """
    done = gallery.backup(target)
    size = shown_size(done.size_bytes)
    show(done, as_json, f"Backed up {_whole(done)}, {size} to {printable(done.folder, 200)}")
    return YES


@click.command(short_help="Make the search index anew from the database.")
@shared_options
def rebuild(gallery: Gallery, as_json: bool) -> int:
    """Make the search index anew from the database.

    \b
    Example:
      speakerdb rebuild
    """
    done = gallery.rebuild()
    show(done, as_json, f"Rebuilt   an index of {counted(done.speakers, 'speaker')} ({done.kind})")
    return YES


def _whole(found: CheckReport | Diagnosis | BackedUp) -> str:
    return f"{counted(found.speakers, 'speaker')}, {counted(found.enrollments, 'recording')}"


@click.group(short_help="The database's schema: upgrade it.")
def db() -> None:
    """The database's schema.

    \b
    Example:
      speakerdb db upgrade
    """


@db.command()
@gallery_option
@json_option
def upgrade(folder: Path | None, as_json: bool) -> None:
    """Bring an older gallery's tables up to this program's.

    \b
    Example:
      speakerdb db upgrade
    """
    with errors_as_exit_codes(as_json):
        from speakerdb import settings
        from speakerdb.store.database import FILE
        from speakerdb.store.upgrade import upgrade as run

        path = (folder or settings.gallery_folder()) / FILE
        if not path.exists():
            raise NoSuchGallery(str(path.parent))
        before, after = run(path)
        text = f"Upgraded  from {before} to {after}" if before != after else f"Schema    {after}: nothing to do"
        print_line(json_text({"before": before, "after": after}) if as_json else text)
    sys.exit(YES)
