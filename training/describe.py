"""What is in a corpus, before any work: people, clips, seconds, languages, sexes, sample rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from speakerdb.audio import AudioStream
from speakerdb.errors import AudioUnreadable
from training.corpora.clip import SPLITS, Corpus, Row, order_of_sets, set_name

QUANTILES = (0, 25, 50, 75, 100)
SHOWN_LANGUAGES = 20


@dataclass(frozen=True)
class Header:
    """What a recording's own header says."""

    seconds: float
    rate_hz: int


@dataclass(frozen=True)
class Description:
    """One set.

    Attributes:
        paired_speakers: those with two clips or more, from whom pairs can be made.
        clips_a_speaker, clip_seconds: least, quartiles, most.
        languages, sexes, rates_hz: clips of each, the most frequent first; "" is unknown.
        unreadable: clips that are no sound.
    """

    name: str
    clips: int
    speakers: int
    paired_speakers: int
    clips_a_speaker: list[float]
    clip_seconds: list[float]
    hours: float
    languages: dict[str, int]
    sexes: dict[str, int]
    rates_hz: dict[str, int]
    unreadable: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def read_headers(corpus: Corpus, rows: list[Row], console: Console) -> dict[str, Header | None]:
    """The header of every clip by its path, None for one that is no sound."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found: dict[str, Header | None] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(corpus.name, total=len(rows))
        for clip in corpus.clips(rows):
            found[clip.path] = _header(clip.audio)
            progress.advance(task)
    return found


def _header(audio: bytes) -> Header | None:
    try:
        info = soundfile.info(BytesIO(audio))
        return Header(info.duration, info.samplerate)
    except (soundfile.LibsndfileError, RuntimeError):
        pass
    try:
        with AudioStream(audio) as stream:  # M4A and WebM
            return Header(stream.length_s or 0.0, stream.source_rate_hz)
    except AudioUnreadable:
        return None


def describe(corpus: Corpus, rows: list[Row], headers: dict[str, Header | None]) -> list[Description]:
    """One description a set, in the order of their names."""
    sets: dict[str, list[Row]] = {}
    for row in rows:
        sets.setdefault(set_name(corpus.name, row.split), []).append(row)
    return [_describe(name, sets[name], headers) for name in sorted(sets, key=order_of_sets)]


def _describe(name: str, rows: list[Row], headers: dict[str, Header | None]) -> Description:
    known = [header for row in rows if (header := headers[row.path]) is not None]
    seconds = [header.seconds for header in known]
    clips_of = Counter(row.speaker for row in rows if row.speaker)
    return Description(
        name=name,
        clips=len(rows),
        speakers=len(clips_of),
        paired_speakers=sum(count > 1 for count in clips_of.values()),
        clips_a_speaker=_quantiles(list(clips_of.values())),
        clip_seconds=_quantiles(seconds),
        hours=round(sum(seconds) / 3600, 4),
        languages=_counted(row.language for row in rows),
        sexes=_counted(row.sex for row in rows),
        rates_hz=_counted(str(header.rate_hz) for header in known),
        unreadable=len(rows) - len(known),
    )


def _quantiles(values: Sequence[float]) -> list[float]:
    return [round(float(value), 2) for value in np.percentile(values, QUANTILES)] if len(values) else []


def _counted(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common())


def table_of(descriptions: list[Description]) -> Table:
    """A column a set."""
    table = Table(title="clips and people; in brackets: least, quartiles, most", title_justify="left")
    table.add_column()
    for found in descriptions:
        table.add_column(found.name, overflow="fold")
    lines = {
        "clips": lambda d: f"{d.clips}",
        "hours": lambda d: f"{d.hours:.2f}",
        "speakers": lambda d: f"{d.speakers}",
        "… with 2 clips or more": lambda d: f"{d.paired_speakers}",
        "clips a speaker": lambda d: _brackets(d.clips_a_speaker, ".0f"),
        "seconds a clip": lambda d: _brackets(d.clip_seconds, ".1f"),
        "languages": lambda d: _shares(d.languages, d.clips),
        "sexes": lambda d: _shares(d.sexes, d.clips),
        "sample rates, Hz": lambda d: _shares(d.rates_hz, d.clips),
        "not readable": lambda d: f"{d.unreadable}",
    }
    for title, text in lines.items():
        table.add_row(title, *(text(found) for found in descriptions))
    return table


def _brackets(values: list[float], form: str) -> str:
    return "  ".join(format(value, form) for value in values) or "none"


def _shares(counts: dict[str, int], clips: int) -> str:
    shown = [f"{name or 'unknown'} {100 * count / clips:.0f} %" for name, count in list(counts.items())[:6]]
    return ", ".join(shown) + (f" and {len(counts) - 6} more" if len(counts) > 6 else "")


def plot(rows: list[Row], headers: dict[str, Header | None], title: str, file: Path) -> None:
    """Four histograms: clips a speaker, seconds a clip, languages, and sexes by split."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(12, 8), layout="constrained")
    figure.suptitle(title)
    counts = list(Counter(row.speaker for row in rows if row.speaker).values())
    axes[0, 0].hist(counts, bins=np.arange(0.5, max(counts, default=1) + 1.5), color="tab:blue")
    axes[0, 0].set(xlabel="clips of a speaker", ylabel="speakers", yscale="log" if len(counts) > 50 else "linear")
    seconds = [header.seconds for header in headers.values() if header is not None]
    axes[0, 1].hist(seconds, bins=50, color="tab:orange")
    axes[0, 1].set(xlabel="seconds of a clip", ylabel="clips")
    languages = Counter(row.language or "unknown" for row in rows).most_common()
    named = languages[:SHOWN_LANGUAGES]
    axes[1, 0].barh([name for name, _ in named][::-1], [count for _, count in named][::-1], color="tab:green")
    rest = len(languages) - len(named)
    axes[1, 0].set(xlabel="clips", ylabel="language", title=f"and {rest} more languages" if rest else "")
    splits = sorted({row.split for row in rows}, key=("", *SPLITS).index)
    bottom = np.zeros(len(splits))
    for sex, name, color in (("f", "women", "tab:purple"), ("m", "men", "tab:cyan"), ("", "unknown", "lightgray")):
        values = np.array([sum(row.split == split and row.sex == sex for row in rows) for split in splits])
        axes[1, 1].bar([split or "no split" for split in splits], values, bottom=bottom, label=name, color=color)
        bottom += values
    axes[1, 1].set(ylabel="clips")
    axes[1, 1].legend()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
