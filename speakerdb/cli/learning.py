"""feedback and calibrate: the commands by which a gallery learns from its own people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from speakerdb import settings
from speakerdb.cli.options import GivenPath, channel_option, shared_options
from speakerdb.cli.output import YES, counted, json_text, percent, print_line, progress_bar, show

if TYPE_CHECKING:
    from speakerdb.gallery.answers import Calibrated, ChangedAnswer, FeedbackKept
    from speakerdb.gallery.gallery import Gallery

SHOWN = 10


@click.command(short_help="Say whether an answer was right.")
@click.argument("decision")
@click.argument("answer", type=click.Choice(["correct", "wrong"]))
@click.option("--speaker", help="With `wrong`: who it really was.")
@click.option("--stranger", is_flag=True, help="With `wrong`: it was nobody who is enrolled.")
@shared_options
def feedback(
    gallery: Gallery,
    as_json: bool,
    decision: str,
    answer: Literal["correct", "wrong"],
    speaker: str | None,
    stranger: bool,
) -> int:
    """Say whether an answer was right; DECISION is the id that --explain and --json print.

    No audio is kept, and nothing changes by it: `speakerdb calibrate` uses the answers once there are enough.

    \b
    Example:
      speakerdb feedback DECISION correct
      speakerdb feedback DECISION wrong --stranger
    """
    done = gallery.feedback(decision, answer, speaker=speaker, stranger=stranger)
    show(done, as_json, _kept_line(done))
    return YES


@click.command(short_help="Find out what distances mean among these people.")
@click.option(
    "--trials",
    type=GivenPath(),
    help="Lines of `1 NAME FILE` (the speaker says it) and `0 NAME FILE`.  [default: the enrolled recordings]",
)
@click.option("--fmr", type=float, default=settings.VERIFY_FMR, show_default=True, help="The rate to find out about.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and for whom; change nothing.")
@click.option("--reset", is_flag=True, help="Decide by the encoder's own calibration again.")
@channel_option
@shared_options
def calibrate(
    gallery: Gallery,
    as_json: bool,
    trials: Path | None,
    fmr: float,
    dry_run: bool,
    reset: bool,
    channel: int | None,
) -> int:
    """Find out what distances mean among the people of this gallery, and decide by that from now on.

    Each enrolled recording is held to its speaker's others and to everybody else. An FMR of 1 % needs 3,000 comparisons
    with others (33 speakers of three recordings each), a tenth of it ten times as many; too few are refused.

    \b
    Example:
      speakerdb calibrate --dry-run
      speakerdb calibrate --trials last_month.txt
    """
    if channel and not trials:
        raise click.UsageError("--channel belongs to --trials")
    if reset:
        if dry_run or trials:
            raise click.UsageError("--reset goes alone; it calibrates nothing.")
        had = gallery.forget_calibration()
        decides = "the encoder's calibration" if gallery.encoder.card.calibration else "its threshold or --threshold"
        text = f"Reset     {decides} decides" + ("" if had else ", as it did before")
        print_line(json_text({"reset": True}) if as_json else text)
        return YES
    with progress_bar("calibrate") as progress:
        done = gallery.calibrate(trials=trials, fmr=fmr, dry_run=dry_run, channel=channel, progress=progress)
    show(done, as_json, "\n".join(_calibrated_lines(done)))
    return YES


def _changed_lines(changed: list[ChangedAnswer]) -> list[str]:
    """For whom anything changes, a line each; the first of them."""
    counts = Counter((one.speaker, f"{one.before} → {one.after}") for one in changed)
    lines = [
        f"  {speaker}: {counted(count, 'recording')} {how}" for (speaker, how), count in list(counts.items())[:SHOWN]
    ]
    more = len(counts) - len(lines)
    return [*lines, f"  … and {more} more; --json lists every recording"] if more else lines


def _kept_line(done: FeedbackKept) -> str:
    told = done.targets + done.nontargets
    nothing = "nothing: whom a search finds near a stranger is no stranger by chance"
    kept = counted(told, "comparison") if told else nothing
    enough = min(done.all_targets, done.all_nontargets) >= settings.LEAST_ERRORS
    after = "uses them" if enough else f"uses them from {settings.LEAST_ERRORS} of either kind on"
    total = f"{done.all_targets} of one speaker and {done.all_nontargets} of two"
    return f"Kept      {kept}; {total} so far, `speakerdb calibrate` {after}"


def _counted(before: float | None, after: float, trials: int) -> str:
    """`0.68 % → 1 %`: shares of so many trials. None of them is no share of 0, but one too small for them."""
    shares = [share for share in (before, after) if share is not None]
    return " → ".join(f"{percent(share)} %" if share else f"less than 1 in {trials:,}" for share in shares)


def _calibrated_lines(done: Calibrated) -> list[str]:
    lines = [f"{'Calibrated' if done.applied else 'Would calibrate'}  by {done.origin}"]
    for rate in done.rates:
        few = "" if rate.shown else f"; {done.nontargets:,} trials are too few to show so rare a rate"
        lines.append(
            f"  at FMR {100 * rate.fmr:g} %: "
            f"others accepted {_counted(rate.fmr_before, rate.fmr_after, done.nontargets)}, "
            f"own recordings rejected {_counted(rate.fnmr_before, rate.fnmr_after, done.targets)}{few}"
        )
    lines += _changed_lines(done.changed)
    if done.feedback_waiting:
        lines.append(
            f"  {counted(done.feedback_waiting, 'comparison')} kept by feedback: "
            f"{settings.LEAST_ERRORS} of either kind are needed"
        )
    if not done.applied:
        lines.append("  nothing was changed; leave --dry-run out to decide by it")
    return lines
