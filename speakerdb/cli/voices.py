"""The commands that ask about voices: identify, verify, compare."""

from __future__ import annotations

import os
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
    require_drawing,
    verification_line,
)
from speakerdb.cli.options import (
    GivenPath,
    channel_option,
    fmr_option,
    missing,
    require_no_file,
    shared_options,
    source_of,
    threshold_option,
    why_options,
)
from speakerdb.cli.output import INCONCLUSIVE, NO, YES, progress_bar, show

if TYPE_CHECKING:
    from speakerdb.gallery.gallery import Gallery

ONE_FILE = click.argument("files", nargs=-1, metavar="[FILE]")
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
EXIT_CODES = {"accepted": YES, "rejected": NO, "unknown": NO, "inconclusive": INCONCLUSIVE}


@click.command(short_help="Say who speaks in a recording.")
@ONE_FILE
@MANY_FILES
@SCORES
@click.option(
    "--top",
    metavar="N",
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
@channel_option
@shared_options
def identify(
    gallery: Gallery,
    as_json: bool,
    files: tuple[str, ...],
    manifest: Path | None,
    scores: Path | None,
    top: int,
    fpir: float | None,
    threshold: float | None,
    margin: float,
    explain: bool,
    plot: Path | None,
    channel: int | None,
) -> int:
    """Say who speaks in FILE (- for stdin), or that it is nobody known (exit code 1).

    With --manifest the exit code is 0, or 3 where a recording could not be used.

    \b
    Example:
      speakerdb identify clip.wav
      speakerdb identify clip.wav --fpir 0.001 --explain
      speakerdb identify clip.wav --top 3
      speakerdb identify clip.wav --json | jq .speaker
      speakerdb identify call.wav --channel 2
      speakerdb identify --manifest calls.txt --scores calls.scores
    """
    if manifest is not None:
        if files or explain or plot:
            raise click.UsageError("a manifest names its files; give no other, nor --explain or --plot")
        _require_other(scores, manifest, gallery)
        with progress_bar("identify", lines=True) as progress:
            answered = gallery.identify_many(
                manifest,
                top=top,
                threshold=threshold,
                fpir=fpir,
                margin=margin,
                channel=channel,
                progress=progress,
            )
            return print_identifications(answered, scores, as_json, _is_given("top"))
    if scores is not None:
        raise click.UsageError("--scores belongs to --manifest")
    file = _only(files, "--manifest takes a folder, or a list with a path a line")
    require_drawing(plot)
    with progress_bar("identify") as progress:
        source = source_of(file, channel)
        found = gallery.identify(source, top=top, threshold=threshold, fpir=fpir, margin=margin, progress=progress)
    if plot:
        draw_decision(plot, found, gallery.calibration)
    lines = [identification_line(found), *(candidate_lines(found) if _is_given("top") else [])]
    show(found, as_json, "\n".join([*lines, *(explained(found) if explain else [])]))
    return EXIT_CODES[found.outcome]


@click.command(short_help="Say whether a recording is of the named speaker.")
@click.argument("name", required=False)
@ONE_FILE
@MANY_CLAIMS
@SCORES
@fmr_option
@threshold_option
@why_options
@channel_option
@shared_options
def verify(
    gallery: Gallery,
    as_json: bool,
    name: str | None,
    files: tuple[str, ...],
    trials: Path | None,
    scores: Path | None,
    fmr: float | None,
    threshold: float | None,
    margin: float,
    explain: bool,
    plot: Path | None,
    channel: int | None,
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
        _require_other(scores, trials, gallery)
        with progress_bar("verify", lines=True) as progress:
            claimed = gallery.verify_many(
                trials, threshold=threshold, fmr=fmr, margin=margin, channel=channel, progress=progress
            )
            return print_verifications(claimed, scores, as_json)
    if scores is not None:
        raise click.UsageError("--scores belongs to --trials")
    if name is None:
        raise missing("NAME", "--trials")
    file = _only(files, "--trials takes a list with NAME<tab>PATH a line")
    if file != "-" and not os.path.exists(file):  # noqa: PTH110 (Path raises where a name is too long for one)
        require_no_file(name, "verify NAME FILE")
    require_drawing(plot)
    with progress_bar("verify") as progress:
        source = source_of(file, channel)
        found = gallery.verify(name, source, threshold=threshold, fmr=fmr, margin=margin, progress=progress)
    if plot:
        draw_decision(plot, found, gallery.calibration)
    text = verification_line(found)
    show(found, as_json, "\n".join([text, *explained(found)]) if explain else text)
    return EXIT_CODES[found.outcome]


@click.command(short_help="Say whether recordings are of one speaker.")
@FILES
@fmr_option
@threshold_option
@channel_option
@shared_options
def compare(
    gallery: Gallery,
    as_json: bool,
    files: tuple[str, ...],
    fmr: float | None,
    threshold: float | None,
    channel: int | None,
) -> int:
    """Print the distance of every pair of FILES; nobody needs to be enrolled.

    Exit code 1 where any pair is of two speakers.

    \b
    Example:
      speakerdb compare call_1.wav call_2.wav
    """
    found = gallery.compare((source_of(file, channel) for file in files), threshold=threshold, fmr=fmr)
    show(found, as_json, "\n".join(map(comparison_line, found.pairs)))
    return YES if all(pair.same_speaker for pair in found.pairs) else NO


def _only(files: tuple[str, ...], instead: str) -> str:
    """The one recording that is asked about. Args: instead: the option that takes many, and how."""
    if not files:
        raise missing("FILE", instead.split()[0])
    if len(files) > 1:
        raise click.UsageError(f"{len(files)} files, and FILE is one; {instead}")
    return files[0]


def _is_given(option: str) -> bool:
    """Whether an option stands in the command line itself."""
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def _require_other(scores: Path | None, listed: Path, gallery: Gallery) -> None:
    """Raise where scores would be written over the very list that is read, or the gallery's files."""
    from speakerdb.gallery.naming import require_outside

    if scores is None:
        return
    require_outside(gallery.folder, scores)
    if scores.exists() and listed.exists() and scores.samefile(listed):
        raise click.UsageError("--scores names the list itself, which it would overwrite")
