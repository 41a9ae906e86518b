"""`python -m training evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes
from training.commands.places import FILE, FOLDER

if TYPE_CHECKING:
    from training.evaluation.figures import Report
    from training.evaluation.lists import Lists
    from training.evaluation.run import Job

TEST_SETS = ("common_voice-test", "speech_commands-test")


@click.command(short_help="Print the figures of an encoder on trial lists.")
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--list", "names", multiple=True, help="A set with lists of its name; repeat.  [default: both test sets]")
@click.option("--corpora", type=FOLDER, default="../shared/corpora", show_default=True, help="Where NAME.tar lies.")
@click.option("--work", type=FOLDER, help="Where prepared sets lie, instead of archives.")
@click.option("--trials", type=FOLDER, default="../shared/trials", show_default=True, help="NAME-pairs.txt and so on.")
@click.option("--audio", type=click.Path(path_type=Path), help="A folder or corpus that holds the clips of --pairs.")
@click.option("--pairs", type=FILE, help="A list of one's own: VoxCeleb's form or Kaldi's.")
@click.option("--models", type=FILE, help="MODEL CLIP … lines, for --model-trials.")
@click.option("--model-trials", type=FILE, help="1|0 MODEL CLIP, or Kaldi's form.")
@click.option("--gallery", type=FILE, help="SPEAKER CLIP … lines, for --probes.")
@click.option("--probes", type=FILE, help="SPEAKER CLIP lines; - CLIP is a stranger.")
@click.option("--utt2spk", type=FILE, help="CLIP SPEAKER lines, where the clips' names do not begin with SPEAKER/.")
@click.option("--from-scores", type=FILE, help="Evaluate this score file of any system on --pairs; no BUNDLE.")
@click.option("--threshold", type=float, help="A distance; with --from-scores a score.  [default: the bundle's own]")
@click.option("--draws", type=click.IntRange(min=0), default=1000, show_default=True, help="For intervals; 0: none.")
@click.option("--out", type=FOLDER, help="report.json, pictures, scores and embeddings; a stopped run goes on there.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a list on stdout, instead of a table.")
def evaluate(bundle: Path | None, as_json: bool, out: Path | None, **options: Any) -> None:
    """Print the figures of a BUNDLE on trial lists: whole clips, the graph alone, no voice activity detection.

    Rates are in percent. Intervals hold 95 % of draws of the speakers.

    \b
    Examples:
      python -m training evaluate speakerdb/encoders/speakerdb-16k --list common_voice-test --out report
      python -m training evaluate bundle --audio vox1 --pairs veri_test2.txt
      python -m training evaluate --from-scores other.txt --pairs veri_test2.txt
    """
    with errors_as_exit_codes():
        if (bundle is None) == (options["from_scores"] is None):
            raise click.UsageError("name either a BUNDLE or --from-scores FILE")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True, mode=0o700)
        console = Console(stderr=True)
        reports = _reports(bundle, out, console, **options)
    if as_json:
        for report in reports:
            click.echo(json.dumps(report.to_json(), ensure_ascii=False))
        return
    from training.evaluation.report import table_of

    Console().print(table_of(reports))
    for note in dict.fromkeys(f"{report.name}: {note}" for report in reports for note in report.notes):
        click.echo(note, err=True)


def _reports(bundle: Path | None, out: Path | None, console: Console, **options: Any) -> list[Report]:
    from training.evaluation import run
    from training.evaluation.clips import read_utt2spk
    from training.evaluation.report import write_report

    speakers = read_utt2spk(options["utt2spk"]) if options["utt2spk"] else None
    threshold, bootstrap = options["threshold"], run.bootstrap_of(options["draws"], console)
    if bundle is None:
        job = run.own_job(_own_lists(**options), options["audio"])
        reports = [run.evaluate_scores(job, options["from_scores"], threshold, speakers, out, bootstrap)]
        evaluated = {"scores": str(options["from_scores"])}
    else:
        from speakerdb.encoder.bundle import open_bundle
        from training.apart import people_in, require_strangers, train_sets_of

        opened = open_bundle(bundle)
        encoder, at = run.Encoder.of(opened), run.threshold_of(opened, threshold)
        jobs = _jobs(**options)
        judged = {job.lists.name: people_in(job) for job in jobs}
        require_strangers(train_sets_of(opened.card.raw), judged, _shards(options["work"]), options["corpora"])
        found = [run.evaluate(job, encoder, console, at, speakers, out, bootstrap) for job in jobs]
        reports = [evaluated.report for evaluated in found]
        evaluated = {"encoder": opened.card.id, "sha256": opened.card.sha256}
    if out is not None:
        write_report(out, evaluated, reports)
    return reports


def _jobs(**options: Any) -> list[Job]:
    """Own lists where there are --pairs, else named sets."""
    from training.evaluation import run

    if options["pairs"] is not None:
        return [run.own_job(_own_lists(**options), options["audio"])]
    names = options["names"] or TEST_SETS
    return [run.named_job(name, options["trials"], _shards(options["work"]), options["corpora"]) for name in names]


def _shards(work: Path | None) -> Path | None:
    return work / "shards" if work else None


def _own_lists(**options: Any) -> Lists:
    from training.evaluation.lists import Lists

    if options["pairs"] is None:
        raise click.UsageError("name the list by --pairs FILE")
    for one, other in (("models", "model_trials"), ("gallery", "probes")):
        if (options[one] is None) != (options[other] is None):
            raise click.UsageError(f"--{one} and --{other.replace('_', '-')} go together")
    files = (options[name] for name in ("pairs", "models", "model_trials", "gallery", "probes"))
    return Lists(options["pairs"].stem, *files)
