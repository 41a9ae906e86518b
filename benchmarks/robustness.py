"""What noise, rooms, telephones, codecs and levels cost: the pairs of a list, the second clip of each worsened.

    python -m benchmarks.robustness speakerdb-16k campplus ge2e --lists common_voice-test speech_commands-test

The first clip of a pair is as recorded, as what people enroll mostly is. A clip is worsened the same way for every
encoder: what is by chance in it follows from its name. Encoders as for `benchmarks.accuracy`; the graphs alone.
"""

from __future__ import annotations

import argparse
import io
import json
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr
from rich.console import Console
from rich.progress import track
from rich.table import Table

from speakerdb import settings
from speakerdb.audio import Samples, read
from speakerdb.embedding import Vector
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.runtime import Runtime
from speakerdb.metrics import equal_error_rate
from speakerdb.trials import read_pairs, score_pairs
from training.evaluation.clips import named_set
from training.evaluation.run import named_job
from training.speech.mixtures import convolved, looped

RATE_HZ = 16_000
Worsened = Callable[[Samples, list[Samples], list[Samples], np.random.Generator], Samples]
"""From a clip, the recorded noises, other people's clips and what is by chance."""


def main() -> None:
    """An EER for each list, encoder and way; a table a list."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("encoders", nargs="+", help="names or folders of bundles that take 16 kHz")
    options.add_argument("--lists", nargs="+", required=True)
    options.add_argument("--out", type=Path, help="a file for the figures as JSON")
    options.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    options.add_argument("--trials", type=Path, default=Path("../shared/trials"))
    given = options.parse_args()
    runtimes = {name: Runtime(open_bundle(find_bundle(name)), threads=1) for name in given.encoders}
    noises = list(clips_of("noise", given.corpora).values())
    found = {}
    for name in given.lists:
        found[name] = measured(name, runtimes, noises, given.corpora, given.trials)
        table = Table("EER, %", *map(str, runtimes), title=name, title_justify="left")
        for way, rates in found[name].items():
            table.add_row(way, *(f"{rate:.2f}" for rate in rates.values()))
        Console(width=110).print(table)
    if given.out:
        given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf8")


def measured(
    name: str, runtimes: dict[str, Runtime], noises: list[Samples], corpora: Path, trials: Path
) -> dict[str, dict[str, float]]:
    """EERs in percent by way and encoder."""
    pairs, clips = read_pairs(trials / f"{name}-pairs.txt"), clips_of(name, corpora, trials)
    others = list(clips.values())
    second = sorted({pair.second for pair in pairs})
    enrolled = {encoder: embedded(runtime, clips) for encoder, runtime in runtimes.items()}
    found: dict[str, dict[str, float]] = {}
    for way, worsened in WAYS.items():
        asked = {clip: worsened(clips[clip], noises, others, seeded(clip, way)) for clip in second}
        found[way] = {}
        for encoder, runtime in runtimes.items():
            probes = {f"worse {clip}": vector for clip, vector in embedded(runtime, asked, way).items()}
            changed = [type(pair)(pair.target, pair.first, f"worse {pair.second}") for pair in pairs]
            scores = score_pairs(changed, {**enrolled[encoder], **probes})
            found[way][encoder] = 100.0 * equal_error_rate(scores.target, scores.nontarget).rate
        print(way, found[way], flush=True)
    return found


def embedded(runtime: Runtime, clips: dict[str, Samples], what: str = "as recorded") -> dict[str, Vector]:
    """A vector a clip, on all cores."""
    with ThreadPoolExecutor(settings.threads()) as pool:
        vectors = pool.map(lambda samples: runtime.vectors([samples])[0], clips.values())
        console = Console(stderr=True)
        return dict(zip(clips, track(vectors, what, len(clips), console=console), strict=True))


def clips_of(name: str, corpora: Path, trials: Path | None = None) -> dict[str, Samples]:
    """Samples at 16 kHz of the clips that a set's lists name; of all of it where there are no lists."""
    source = named_set(name, None, corpora) if trials is None else named_job(name, trials, None, corpora).source
    assert source is not None, name
    if trials is None:
        wanted = [line.split("\t")[0] for line in (corpora / f"{name}.tsv").read_text().splitlines()[1:]]
    else:
        wanted = sorted(
            {clip for pair in read_pairs(trials / f"{name}-pairs.txt") for clip in (pair.first, pair.second)}
        )
    return {clip: read(audio, RATE_HZ).samples for clip, audio in source.read(wanted)}


def seeded(clip: str, way: str) -> np.random.Generator:
    """The same chance for the same clip and way."""
    return np.random.default_rng(zlib.crc32(f"{way} {clip}".encode()))


def beside(snr_db: float, voices: bool = False) -> Worsened:
    """Recorded noise, or somebody else who speaks, so many dB below the clip's mean power."""

    def worsened(clip: Samples, noises: list[Samples], others: list[Samples], rng: np.random.Generator) -> Samples:
        sounds = others if voices else noises
        while True:
            sound = sounds[rng.integers(len(sounds))]
            noise = looped(sound, len(clip), rng)
            if np.square(noise).mean() > 1e-9 and not (voices and np.array_equal(noise, clip)):
                break
        gain = np.sqrt(np.square(clip).mean() / np.square(noise).mean() / 10.0 ** (snr_db / 10.0))
        return (clip + gain * noise).astype(np.float32)

    return worsened


def room(rt60_s: float, direct_db: float) -> Worsened:
    """Echoes as white noise that decays by 60 dB in `rt60_s`, and the direct sound so many dB above all of them."""

    def worsened(clip: Samples, noises: list[Samples], others: list[Samples], rng: np.random.Generator) -> Samples:
        length = round(rt60_s * RATE_HZ)
        echoes = rng.standard_normal(length) * 10.0 ** (-3.0 * np.arange(length) / length)
        echoes *= 10.0 ** (-direct_db / 20.0) / np.sqrt(np.square(echoes).sum())
        echoes[0] += 1.0
        return convolved(clip, echoes).astype(np.float32)

    return worsened


def coded(form: str, subtype: str, rate_hz: int, level: float | None = None) -> Worsened:
    """Written by a lossy codec and read again."""

    def worsened(clip: Samples, noises: list[Samples], others: list[Samples], rng: np.random.Generator) -> Samples:
        file = io.BytesIO()
        samples = np.clip(soxr.resample(clip, RATE_HZ, rate_hz), -1.0, 1.0)
        soundfile.write(file, samples, rate_hz, format=form, subtype=subtype, compression_level=level)
        return read(file.getvalue(), RATE_HZ).samples

    return worsened


def clipped(share: float) -> Worsened:
    """So loud that this share of the samples is cut off."""

    def worsened(clip: Samples, noises: list[Samples], others: list[Samples], rng: np.random.Generator) -> Samples:
        loudest = max(float(np.quantile(np.abs(clip), 1.0 - share)), 1e-4)
        return np.clip(clip / loudest, -1.0, 1.0).astype(np.float32)

    return worsened


def quiet(peak_db: float) -> Worsened:
    """Turned down to that peak, and then rounded to 16 bits."""

    def worsened(clip: Samples, noises: list[Samples], others: list[Samples], rng: np.random.Generator) -> Samples:
        gain = 10.0 ** (peak_db / 20.0) / max(float(np.abs(clip).max()), 1e-6)
        return (np.round(clip * gain * 32768.0) / 32768.0).astype(np.float32)

    return worsened


WAYS: dict[str, Worsened] = {
    "as recorded": lambda clip, noises, others, rng: clip,
    "noise at 10 dB": beside(10.0),
    "noise at 0 dB": beside(0.0),
    "another voice at 10 dB": beside(10.0, voices=True),
    "room, RT60 0.6 s, direct sound 0 dB": room(0.6, 0.0),
    "room, RT60 0.6 s, direct sound -6 dB": room(0.6, -6.0),
    "telephone, GSM 06.10": coded("WAV", "GSM610", 8_000),
    "MP3, least bit rate": coded("MP3", "MPEG_LAYER_III", 16_000, 0.99),
    "Opus, least bit rate": coded("OGG", "OPUS", 16_000, 0.99),
    "5 % of the samples clipped": clipped(0.05),
    "peak at -50 dBFS": quiet(-50.0),
}


if __name__ == "__main__":
    main()
