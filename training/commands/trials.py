"""`python -m training trials`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.commands.outcome import errors_as_exit_codes, import_tensorflow
from training.commands.places import FILE, FOLDER

if TYPE_CHECKING:
    from speakerdb.trials import Pair


@click.command(short_help="Write a list of pairs.")
@click.argument("source")
@click.option("--work", type=FOLDER, help="SOURCE is the name of a set prepared there: draw pairs of its clips.")
@click.option("--form", type=click.Choice(["voxceleb", "kaldi"]), default="voxceleb", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the draw.")
@click.option("--out", type=FILE, required=True, help="Called SET-pairs.txt, `evaluate --list SET` finds it.")
def trials(source: str, work: Path | None, form: str, seed: int, out: Path) -> None:
    """Write a list of pairs: those of the list SOURCE in another form, or pairs drawn from a prepared set.

    Drawn are at most 1,000 pairs of one speaker, ten of each, and 4,000 of two.

    \b
    Examples:
      python -m training trials my-test --work work --out my-trials/my-test-pairs.txt
      python -m training trials veri_test2.txt --form kaldi --out veri_test2.kaldi
    """
    from speakerdb.trials import read_pairs, write_pairs

    with errors_as_exit_codes():
        pairs = read_pairs(source) if work is None else _drawn(source, work, seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_pairs(out, pairs, "kaldi" if form == "kaldi" else "voxceleb")
    targets = sum(pair.target for pair in pairs)
    click.echo(f"{out}: {targets} pairs of one speaker, {len(pairs) - targets} of two")


def _drawn(name: str, work: Path, seed: int) -> list[Pair]:
    import_tensorflow()
    from training.dev_pairs import draw_pairs
    from training.records import read_index

    rows = [{"speaker": row.speaker, "path": row.path} for row in read_index(work / "shards", name)]
    return draw_pairs(name, rows, seed)
