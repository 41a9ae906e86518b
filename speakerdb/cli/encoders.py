"""encoder: list, add and remove encoders, and move a gallery to another one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speakerdb.cli.options import GivenPath, gallery_option, json_option
from speakerdb.cli.output import YES, counted, errors_as_exit_codes, json_text, print_line, progress_bar, show, tell
from speakerdb.errors import printable

if TYPE_CHECKING:
    from speakerdb.encoder.bundle import Card
    from speakerdb.errors import EncoderDamaged

FEATURES = click.Choice(["kaldi-fbank", "ge2e-windows", "waveform"])
WINDOWS = click.Choice(["povey", "hamming", "hanning", "rectangular", "blackman"])


@click.group(short_help="Encoders: list, add, remove, change to another.")
def encoder() -> None:
    """The encoders that turn a voice into a vector: the shipped one, and those you add.

    \b
    Example:
      speakerdb encoder list
      speakerdb encoder add campplus campplus.onnx --features kaldi-fbank
    """


@encoder.command("list", short_help="List the encoders that there are.")
@json_option
def list_(as_json: bool) -> None:
    """List the encoders that there are; the one of new galleries has a star.

    \b
    Example:
      speakerdb encoder list
    """
    with errors_as_exit_codes(as_json):
        from speakerdb import settings
        from speakerdb.encoder.registry import cards

        found = list(cards())
        if as_json:
            rows = [_row(folder, card) for folder, card in found]
            print_line(json_text(rows))
        else:
            for folder, card in found:
                star = "*" if folder.name == settings.encoder_name() else " "
                print_line(f"{star} {printable(folder.name):<20}  {_line(card)}")
    sys.exit(YES)


@encoder.command(short_help="Show what is known of an encoder.")
@click.argument("name", required=False)
@json_option
def info(name: str | None, as_json: bool) -> None:
    """Show what is known of an encoder (NAME, or a bundle's folder; that of new galleries where left out).

    \b
    Example:
      speakerdb encoder info
      speakerdb encoder info campplus --json
    """
    with errors_as_exit_codes(as_json):
        from speakerdb.encoder.bundle import open_bundle
        from speakerdb.encoder.registry import find_bundle

        bundle = open_bundle(find_bundle(name))
        if as_json:
            print_line(json_text({**bundle.card.raw, "folder": str(bundle.folder)}))
        else:
            print_line("\n".join(_described(bundle.card, len(bundle.model), bundle.folder)))
    sys.exit(YES)


@encoder.command(short_help="Add an ONNX model as an encoder.")
@click.argument("name")
@click.argument("model", type=GivenPath())
@click.option("--features", type=FEATURES, help="What the graph takes.  [default: what its metadata say]")
@click.option("--rate", "rate_hz", type=click.IntRange(4_000, 384_000), help="Of the samples.  [default: 16000]")
@click.option("--bins", type=click.IntRange(1, 1024), help="Mel bins.  [default: the graph's own, or 80]")
@click.option("--low-hz", type=float, help="Lowest edge of the mel bins.  [default: 20]")
@click.option("--high-hz", type=float, help="Highest edge of the mel bins.  [default: half the rate]")
@click.option("--window", type=WINDOWS, help="Of a frame.  [default: povey]")
@click.option("--scale", type=float, help="Samples of -1 to 1 are multiplied by it.  [default: 32768]")
@click.option(
    "--subtract-mean/--keep-mean", default=None, help="Over the clip, from the features.  [default: subtract]"
)
@click.option("--threshold", type=float, help="Distance 0 to 2 up to which a voice counts as the same.")
@click.option("--threshold-origin", help="Where that distance was chosen, in one line.")
@json_option
def add(
    name: str,
    model: Path,
    features: str | None,
    rate_hz: int | None,
    threshold: float | None,
    threshold_origin: str | None,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Add MODEL, an ONNX file or a bundle's folder, as the encoder NAME.

    ONNX files of sherpa-onnx's model list say themselves what they take; of others it must be said. The graph is
    tried on two sounds before anything is written. Without a threshold of its own, commands want --threshold.

    \b
    Example:
      speakerdb encoder add campplus campplus.onnx --features kaldi-fbank
      speakerdb encoder add resnet34 voxceleb_resnet34.onnx --features kaldi-fbank --window hamming
      speakerdb encoder add ge2e ge2e.onnx --features ge2e-windows
      speakerdb encoder add seed-48k path/to/bundle
    """
    with errors_as_exit_codes(as_json):
        from speakerdb.encoder.adding import add_encoder
        from speakerdb.encoder.trying import untried_claim

        chosen = {key: value for key, value in parameters.items() if value is not None}
        if chosen and features != "kaldi-fbank":
            raise click.UsageError(f"{', '.join(_option(key) for key in chosen)}: only with --features kaldi-fbank")
        if (threshold is None) != (threshold_origin is None):
            raise click.UsageError("--threshold and --threshold-origin go together: no threshold without its origin")
        limit = None if threshold is None or threshold_origin is None else (threshold, threshold_origin)
        wanted = {"kind": features, **chosen} if features else None
        bundle = add_encoder(name, model, wanted, rate_hz, limit)
        if as_json:
            print_line(json_text(_row(bundle.folder, bundle.card)))
        else:
            print_line(f"Added     {name}  {_line(bundle.card)}")
        if untried_claim(bundle):
            of = bundle.card.vectors_of[:8]
            tell(f"speakerdb: warning: {name} says that it gives the vectors of {of}, which is not here to try it by")
    sys.exit(YES)


@encoder.command(short_help="Forget an encoder that was added.")
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Forget the encoder NAME that was added; galleries that are bound to it cannot be searched then.

    \b
    Example:
      speakerdb encoder remove campplus
    """
    with errors_as_exit_codes(as_json):
        from speakerdb.encoder.adding import remove_encoder

        remove_encoder(name)
        print_line(json_text({"removed": name}) if as_json else f"Removed   {name}")
    sys.exit(YES)


@encoder.command(short_help="Move the gallery to another encoder.")
@click.argument("name")
@gallery_option
@json_option
def use(name: str, folder: Path | None, as_json: bool) -> None:
    """Move the gallery to the encoder NAME: every recording that was kept is embedded anew, all or nothing.

    The recordings must have been enrolled with --keep-audio. What was embedded is kept if the command is stopped,
    and the next one goes on from there; until all is done, the gallery answers with the encoder that it had. The
    gallery's own calibration and what `feedback` kept are of the old encoder's scores, and go.

    \b
    Example:
      speakerdb encoder use campplus
    """
    with errors_as_exit_codes(as_json):
        from speakerdb.gallery.gallery import Gallery

        with Gallery.open(folder) as gallery, progress_bar("embed") as progress:
            done = gallery.use_encoder(name, progress=progress)
        text = f"Moved     {counted(done.enrollments, 'recording')} from {done.before} to {done.after}"
        show(done, as_json, text if done.before != done.after else f"Encoder   {done.after}: nothing to do")
    sys.exit(YES)


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _row(folder: Path, card: Card | EncoderDamaged) -> dict[str, Any]:
    if isinstance(card, Exception):
        return {"name": folder.name, "folder": str(folder), **card.to_json()}
    return {
        "name": folder.name,
        "folder": str(folder),
        "version": card.version,
        "sha256": card.sha256,
        "vectors_of": card.vectors_of,
        "dimension": card.dimension,
        "rate_hz": card.rate_hz,
        "features": card.features["kind"],
        "threshold": {"distance": card.threshold_distance, "origin": card.threshold_origin}
        if card.threshold_distance is not None
        else None,
        "calibrated": card.calibration is not None,
    }


def _line(card: Card | EncoderDamaged) -> str:
    if isinstance(card, Exception):
        return f"cannot be used: {card}"
    if card.calibration is not None:
        decides = "calibrated"
    else:
        decides = "no threshold" if card.threshold_distance is None else f"threshold {card.threshold_distance:g}"
    return f"{card.version}, {card.dimension}-d, {card.rate_hz} Hz, {card.features['kind']}, {decides}"


def _described(card: Card, size: int, folder: Path) -> list[str]:
    """A card in lines that a person reads."""
    lines = [f"Encoder     {card.id}", f"Folder      {printable(folder, 200)}", f"SHA-256     {card.sha256}"]
    if card.vectors_of != card.sha256:
        lines.append(f"Vectors of  {card.vectors_of}")
    parameters = card.raw.get("parameters")
    counted = f", {parameters:,} parameters" if isinstance(parameters, int) else ""
    lines.append(f"Size        {size / 1e6:.1f} MB{counted}")
    lines.append(f"Takes       {card.features['kind']} of samples at {card.rate_hz} Hz; gives {card.dimension} numbers")
    lines.append(f"Speech      {card.enroll_speech_s:g} s to enroll, {card.probe_speech_s:g} s to compare, at least")
    if card.calibration is not None:
        lines.append(f"Calibrated  by {card.calibration.origin}")
    elif card.threshold_distance is None:
        lines.append("Threshold   none: commands want --threshold")
    else:
        lines.append(f"Threshold   {card.threshold_distance:g}: {card.threshold_origin}")
    return lines + [f"Limit       {limit}" for limit in card.limits]
