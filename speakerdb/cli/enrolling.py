"""The command that remembers voices: enroll."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from speakerdb import settings
from speakerdb.cli.options import GivenPath, channel_option, missing, require_no_file, shared_options, source_of
from speakerdb.cli.output import YES, counted, progress_bar, show, tell
from speakerdb.errors import printable

if TYPE_CHECKING:
    from speakerdb.gallery.gallery import Gallery
    from speakerdb.gallery.results import Enrolled, EnrolledMany, RefusedRecording

GRADES = ("high", "fair", "low")


@click.command(short_help="Remember recordings as a speaker's.")
@click.argument("name", required=False)
@click.argument("files", nargs=-1)
@click.option(
    "--manifest",
    type=GivenPath(),
    help="Enroll many speakers: lines of SPEAKER<tab>PATH, a Kaldi folder, or a folder with a folder a speaker.",
)
@click.option("--keep-going", is_flag=True, help="Enroll what can be enrolled; report the rest.")
@click.option("--force", is_flag=True, help="Enroll several voices, outliers and possible duplicates all the same.")
@click.option("--keep-audio", is_flag=True, help="Keep the sounds in the gallery, so that it can change its encoder.")
@channel_option
@shared_options
def enroll(
    gallery: Gallery,
    as_json: bool,
    name: str | None,
    files: tuple[str, ...],
    manifest: Path | None,
    keep_going: bool,
    force: bool,
    keep_audio: bool,
    channel: int | None,
) -> int:
    """Remember recordings (FILES, - for stdin) as the speaker NAME's: all of them, or none.

    A recording of several voices or of two channels that carry different sounds, one that does not sound like the
    speaker's others, and a new speaker who sounds like an enrolled one are refused, before anything is written. With
    --keep-going the exit code is 3 or 4 where any was.

    With --manifest recordings that are enrolled under that name, path and channel already are passed over: the same
    command goes on where it was stopped. What cannot be enrolled is reported, as with --keep-going.

    \b
    Example:
      speakerdb enroll ana ana_1.wav ana_2.wav ana_3.wav
      speakerdb enroll agent call.wav --channel 1
      speakerdb enroll --manifest people.tsv
    """
    if manifest is not None:
        if name is not None:
            raise click.UsageError("a manifest names its speakers and files; give no others")
        with progress_bar("enroll") as progress:
            many = gallery.enroll_manifest(
                manifest, keep_audio=keep_audio, force=force, channel=channel, progress=progress
            )
        show(many, as_json, _enrolled_many_line(many))
        return _refusals(many.refused, as_json)
    if name is None or not files:
        raise missing("NAME" if name is None else "FILES", "--manifest")
    require_no_file(name, "enroll NAME FILES")
    with progress_bar(f"enroll {printable(name, 20)}") as progress:
        sources = (source_of(file, channel) for file in files)
        done = gallery.enroll(
            name, sources, keep_going=keep_going, keep_audio=keep_audio, force=force, progress=progress
        )
    show(done, as_json, _enrolled_line(done) if done.enrolled else "")
    return _refusals(done.refused, as_json)


def _refusals(refused: list[RefusedRecording], as_json: bool) -> int:
    """A line each on stderr; the first one's exit code."""
    if not as_json:
        for one in refused:
            tell(f"speakerdb: refused {one.error['message']}")
    return YES if not refused else int(refused[0].error["exit_code"])


def _enrolled_many_line(many: EnrolledMany) -> str:
    what = f"{counted(many.speakers, 'speaker')}, {counted(many.recordings, 'recording')}"
    line = f"Enrolled  {what}, {many.net_speech_s:.0f} s of speech"
    line += f"; {many.known} were enrolled before" if many.known else ""
    return line + (f"; {len(many.refused)} refused" if many.refused else "")


def _enrolled_line(done: Enrolled) -> str:
    count, complete_s = len(done.enrolled), settings.COMPLETE_SPEECH_S
    line = f"Enrolled  {done.speaker}  {counted(count, 'recording')}"
    line += "" if done.new_speaker else f", {done.total} in all"
    speech = (
        f"{done.total_speech_s:.1f} s" if done.enrollment_complete else f"{done.total_speech_s:.1f} of {complete_s:g} s"
    )
    worst = max((recording.quality for recording in done.enrolled), key=GRADES.index)
    return f"{line}; {speech} of speech, quality {worst}"
