"""`python -m training describe`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from training.commands.outcome import errors_as_exit_codes


@click.command(short_help="Say what is in corpora before any work.")
@click.argument("corpora", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="A JSON object a set on stdout, instead of a table.")
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw histograms into it.")
def describe(corpora: tuple[str, ...], as_json: bool, picture: Path | None) -> None:
    """Say what is in CORPORA before any work: speakers, clips, seconds, languages, sexes, sample rates.

    Every clip's header is read, so an archive is gone through twice.

    Example: python -m training describe cv-corpus-17.0-2024-03-15-tr.tar.gz --plot turkish.png
    """
    from training import describe as work
    from training.corpora import open_corpus

    descriptions, rows, headers = [], [], {}
    with errors_as_exit_codes():
        for source in corpora:
            corpus = open_corpus(source)
            found = corpus.rows()
            headers_of = work.read_headers(corpus, found, Console(stderr=True))
            descriptions += work.describe(corpus, found, headers_of)
            rows += found
            headers |= {f"{corpus.name} {path}": header for path, header in headers_of.items()}
        if picture:
            work.plot(rows, headers, ", ".join(corpora), picture)
    if as_json:
        click.echo(json.dumps([found.to_json() for found in descriptions], ensure_ascii=False))
    else:
        Console().print(work.table_of(descriptions))
