"""enroll, identify, verify, compare: the commands that take recordings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from speakerdb import settings
from speakerdb.cli.answering import print_identifications, print_verifications
from speakerdb.cli.explaining import (
    candidate_lines,
    comparison_line,
    draw_decision,
    explained,
    identification_line,
    verification_line,
)
from speakerdb.cli.options import (
    INCONCLUSIVE,
    NO,
    YES,
    GivenPath,
    counted,
    fmr_option,
    missing,
    progress_bar,
    shared_options,
    show,
    tell,
    threshold_option,
    why_options,
)
from speakerdb.errors import InputError, printable

if TYPE_CHECKING:
    from speakerdb.audio import Source
    from speakerdb.gallery.gallery import Gallery
    from speakerdb.gallery.results import Enrolled, EnrolledMany, RefusedRecording

FILES = click.argument("files", nargs=-1, required=True)
MANY_FILES = click.option("--manifest", type=GivenPath(), help="Identify many: a file with a path a line, or a folder.")
MANY_CLAIMS = click.option(
    "--trials",
    type=GivenPath(),
    help="Verify many: lines of NAME<tab>PATH, of `1|0 NAME PATH`, or Kaldi's `NAME PATH target|nontarget`.",
)
SCORES = click.option(
    "--scores",
    type=GivenPath(dir_okay=False),
    help="Write NAME PATH SCORE lines: LLRs, or −distance uncalibrated; white space in names as %20.",
)
COUNT = click.IntRange(1, 10_000)
GRADES = ("high", "fair", "low")
EXIT_CODES = {"accepted": YES, "rejected": NO, "unknown": NO, "inconclusive": INCONCLUSIVE}


@click.command()
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
) -> int:
    """Remember recordings (FILES, - for stdin) as the speaker NAME's: all of them, or none.

    A recording of several voices, one that does not sound like the speaker's others, and a new speaker who sounds like
    an enrolled one are refused, before anything is written. With --keep-going the exit code is 3 or 4 where any was.

    With --manifest recordings that are enrolled under that name and path already are passed over: the same command goes
    on where it was stopped. What cannot be enrolled is reported, as with --keep-going.

    \b
    Example:
      speakerdb enroll ana ana_1.wav ana_2.wav ana_3.wav
      speakerdb enroll --manifest people.tsv
    """
    if manifest is not None:
        if name is not None:
            raise click.UsageError("a manifest names its speakers and files; give no others")
        with progress_bar("enroll") as progress:
            many = gallery.enroll_manifest(manifest, keep_audio=keep_audio, force=force, progress=progress)
        show(many, as_json, _enrolled_many_line(many))
        return _refusals(many.refused, as_json)
    if name is None or not files:
        raise missing("NAME" if name is None else "FILES", "--manifest")
    with progress_bar(f"enroll {printable(name, 20)}") as progress:
        sources = map(_source, files)
        done = gallery.enroll(
            name, sources, keep_going=keep_going, keep_audio=keep_audio, force=force, progress=progress
        )
    show(done, as_json, _enrolled_line(done) if done.enrolled else "")
    return _refusals(done.refused, as_json)


@click.command()
@click.argument("file", required=False)
@MANY_FILES
@SCORES
@click.option(
    "--top",
    type=COUNT,
    default=settings.TOP,
    help=f"List so many candidates, a line each.  [default: {settings.TOP}, in --json and --scores alone]",
)
@click.option(
    "--fpir",
    type=float,
    help="How often a stranger may be given a name, whatever the gallery's size.  "
    "[default: 0.01, where the encoder is calibrated]",
)
@threshold_option
@why_options
@shared_options
def identify(
    gallery: Gallery,
    as_json: bool,
    file: str | None,
    manifest: Path | None,
    scores: Path | None,
    top: int,
    fpir: float | None,
    threshold: float | None,
    margin: float,
    explain: bool,
    plot: Path | None,
) -> int:
    """Say who speaks in FILE (- for stdin), or that it is nobody known (exit code 1).

    With --manifest the exit code is 0, or 3 where a recording could not be used.

    \b
    Example:
      speakerdb identify clip.wav
      speakerdb identify clip.wav --fpir 0.001 --explain
      speakerdb identify clip.wav --top 3
      speakerdb identify clip.wav --json | jq .speaker
      speakerdb identify --manifest calls.txt --scores calls.scores
    """
    if manifest is not None:
        if file is not None or explain or plot:
            raise click.UsageError("a manifest names its files; give no other, nor --explain or --plot")
        _require_other(scores, manifest)
        with progress_bar("identify", lines=True) as progress:
            answered = gallery.identify_many(
                manifest, top=top, threshold=threshold, fpir=fpir, margin=margin, progress=progress
            )
            return print_identifications(answered, scores, as_json, _is_given("top"))
    if scores is not None:
        raise click.UsageError("--scores belongs to --manifest")
    if file is None:
        raise missing("FILE", "--manifest")
    with progress_bar("identify") as progress:
        found = gallery.identify(
            _source(file), top=top, threshold=threshold, fpir=fpir, margin=margin, progress=progress
        )
    if plot:
        draw_decision(plot, found, gallery.calibration)
    lines = [identification_line(found), *(candidate_lines(found) if _is_given("top") else [])]
    show(found, as_json, "\n".join([*lines, *(explained(found) if explain else [])]))
    return EXIT_CODES[found.outcome]


@click.command()
@click.argument("name", required=False)
@click.argument("file", required=False)
@MANY_CLAIMS
@SCORES
@fmr_option
@threshold_option
@why_options
@shared_options
def verify(
    gallery: Gallery,
    as_json: bool,
    name: str | None,
    file: str | None,
    trials: Path | None,
    scores: Path | None,
    fmr: float | None,
    threshold: float | None,
    margin: float,
    explain: bool,
    plot: Path | None,
) -> int:
    """Say whether FILE (- for stdin) is the speaker NAME: accepted (exit code 0) or rejected (1).

    With --trials the exit code is 0, or that of the first claim that could not be answered.

    \b
    Example:
      speakerdb verify ana clip.wav
      speakerdb verify ana clip.wav --fmr 0.001 --margin 0.05
      speakerdb verify --trials last_month.txt --scores last_month.scores
    """
    if trials is not None:
        if name is not None or explain or plot:
            raise click.UsageError("a list names its speakers and files; give no others, nor --explain or --plot")
        _require_other(scores, trials)
        with progress_bar("verify", lines=True) as progress:
            claimed = gallery.verify_many(trials, threshold=threshold, fmr=fmr, margin=margin, progress=progress)
            return print_verifications(claimed, scores, as_json)
    if scores is not None:
        raise click.UsageError("--scores belongs to --trials")
    if name is None or file is None:
        raise missing("NAME" if name is None else "FILE", "--trials")
    with progress_bar("verify") as progress:
        found = gallery.verify(name, _source(file), threshold=threshold, fmr=fmr, margin=margin, progress=progress)
    if plot:
        draw_decision(plot, found, gallery.calibration)
    text = verification_line(found)
    show(found, as_json, "\n".join([text, *explained(found)]) if explain else text)
    return EXIT_CODES[found.outcome]


@click.command()
@FILES
@fmr_option
@threshold_option
@shared_options
def compare(gallery: Gallery, as_json: bool, files: tuple[str, ...], fmr: float | None, threshold: float | None) -> int:
    """Print the distance of every pair of FILES; nobody needs to be enrolled.

    Exit code 1 where any pair is of two speakers.

    \b
    Example:
      speakerdb compare call_1.wav call_2.wav
    """
    found = gallery.compare(map(_source, files), threshold=threshold, fmr=fmr)
    show(found, as_json, "\n".join(map(comparison_line, found.pairs)))
    return YES if all(pair.same_speaker for pair in found.pairs) else NO


def _is_given(option: str) -> bool:
    """Whether an option stands in the command line itself."""
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def _require_other(scores: Path | None, listed: Path) -> None:
    """Raise UsageError where scores would be written over the very list that is read."""
    if scores is not None and scores.exists() and listed.exists() and scores.samefile(listed):
        raise click.UsageError("--scores names the list itself, which it would overwrite")


def _source(file: str) -> Source:
    if not file:
        raise InputError("the path of a recording is empty")
    if file != "-":
        return file
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("-: stdin is closed or a terminal; pipe a recording into it")
    return sys.stdin.buffer


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
