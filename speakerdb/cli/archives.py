"""export, import: a gallery in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from speakerdb.cli.options import GivenPath, shared_options
from speakerdb.cli.output import YES, counted, show, shown_size
from speakerdb.errors import printable

if TYPE_CHECKING:
    from speakerdb.gallery.gallery import Gallery


@click.command(short_help="Write everybody to one file.")
@click.argument("file", type=GivenPath())
@shared_options
def export(gallery: Gallery, as_json: bool, file: Path) -> int:
    """Write everybody to the new FILE, which `speakerdb import` reads elsewhere; others may use the gallery meanwhile.

    \b
    Example:
      speakerdb export people.speakerdb
    """
    done = gallery.export(file)
    what = f"{counted(done.speakers, 'speaker')}, {counted(done.recordings, 'recording')}"
    show(done, as_json, f"Exported  {what}, {shown_size(done.size_bytes)} to {printable(done.file, 200)}")
    return YES


@click.command(name="import", short_help="Take in everybody of an exported file.")
@click.argument("file", type=GivenPath())
@click.option(
    "--on-conflict",
    type=click.Choice(["fail", "skip", "rename", "merge"]),
    default="fail",
    show_default=True,
    help="Where a name is taken: import nobody; leave that speaker out; call them `ana (2)`; join the recordings.",
)
@shared_options
def import_(gallery: Gallery, as_json: bool, file: Path, on_conflict: str) -> int:
    """Take in everybody of FILE, which `speakerdb export` wrote: all of them or, where anything is wrong, nobody.

    A recording that is enrolled already is passed over; with `fail` it stops the import, as a name does.

    \b
    Example:
      speakerdb import people.speakerdb --on-conflict merge
    """
    done = gallery.import_archive(file, on_conflict=on_conflict)
    lines = [f"Imported  {counted(done.speakers, 'new speaker')}, {counted(done.recordings, 'recording')}"]
    if done.merged:
        lines.append(f"          {counted(len(done.merged), 'speaker')} here already, given more recordings")
    lines += [f"          {before} is here, and came in as {after}" for before, after in done.renamed.items()]
    if done.skipped:
        lines.append(f"          {counted(len(done.skipped), 'speaker')} here already, left out")
    lines += [f"          {name} is here already, as {known}" for name, known in done.known_as.items()]
    if done.already:
        lines.append(f"          {counted(done.already, 'recording')} enrolled already")
    if done.calibration_taken:
        lines.append("          with that gallery's own calibration")
    show(done, as_json, "\n".join(lines))
    return YES
