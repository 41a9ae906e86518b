"""How well speech is told from noise, beside Silero's model, and what it costs.

    python -m benchmarks.speech_detection

What counts as speech is what Silero finds in the clean clips of the dev sets. They are mixed with recordings of noise
that nobody was trained on at 0, 5, 10 and 20 dB, and both detectors are asked again: F1 over frames of 32 ms, at
probability 0.5. Then the clean clips without what lies under 300 Hz, and by telephone: F1 again, and the seconds of
speech in a clip, as the program counts them. Then noise, hum, tones, music and silence alone: the share of it that
counts as speech. CPU time is of one thread, in one run, beside the encoder's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from speakerdb import Encoder
from speakerdb.encoder.runtime import Runtime
from speakerdb.speech import speech_frames
from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples, SpeechDetector
from training.rooms.channels import TELEPHONE_HZ, encoded, within
from training.speech.mixtures import coloured, hum, tones
from training.speech.teacher import SILERO, Clip, Silero, labelled, noises

SETS = ("common_voice-dev", "speech_commands-dev")
SNRS_DB = (0, 5, 10, 20)
CLIPS = 400
"""Of each set."""
ALONE_S = 10
ALONE = 40
"""Recordings of each kind that nobody speaks in."""

TELEPHONE_BAND_HZ = (300.0, 3400.0)

Detect = Callable[[Samples], np.ndarray]
Change = Callable[[Samples, np.random.Generator], Samples]


def main() -> None:
    """Print three tables and the cost."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    options.add_argument("--work", type=Path, default=Path.home() / "speakerdb-work")
    given = options.parse_args()
    console, silero = Console(width=110), Silero(SILERO)
    detectors: dict[str, Detect] = {"speakerdb": ours, "Silero": silero.probabilities}
    kept = noises(given.corpora / "noise.tar")
    unheard = [noise.samples for found in kept.values() for noise in found if noise.held_out]
    table = Table(title="F1 of frames, %", title_justify="left")
    for column in ("set", "detector", "clean", *(f"{snr} dB" for snr in SNRS_DB)):
        table.add_column(column, justify="left" if column in ("set", "detector") else "right")
    sets: dict[str, list[Clip]] = {}
    for name in SETS:
        sets[name] = labelled(given.corpora / f"{name}.tar", silero, given.work / "speech", console)[:CLIPS]
        for detector, detect in detectors.items():
            changes = [as_recorded, *(partial(mixed, noises_=unheard, snr_db=snr) for snr in SNRS_DB)]
            found = [f1(sets[name], probabilities(sets[name], detect, change)) for change in changes]
            table.add_row(name, detector, *(f"{100 * value:.1f}" for value in found))
    console.print(table)
    console.print(cut_steeply(detectors, sets))
    console.print(alone(detectors, unheard))
    console.print(cost(detectors))


def ours(samples: Samples) -> np.ndarray:
    """The shipped detector's probabilities."""
    detector = SpeechDetector()
    return np.concatenate([detector.detect(samples), detector.finish()])


def probabilities(clips: list[Clip], detect: Detect, change: Change) -> list[np.ndarray]:
    """Of the frames of each clip, changed as for every other detector."""
    rng = np.random.default_rng(0)
    return [detect(change(samples, rng)) for samples, _ in clips]


def f1(clips: list[Clip], found: list[np.ndarray]) -> float:
    """Over all frames of all clips."""
    true = np.concatenate([speech >= 0.5 for _, speech in clips])
    called = np.concatenate(found) >= 0.5
    return float(2 * np.sum(true & called) / (true.sum() + called.sum()))


def as_recorded(clip: Samples, _: np.random.Generator) -> Samples:
    """The clip itself."""
    return clip


def mixed(clip: Samples, rng: np.random.Generator, noises_: list[Samples], snr_db: float) -> Samples:
    """The clip with noise under it; the powers are those of the whole of either."""
    noise = np.resize(np.roll(noises_[rng.integers(len(noises_))], rng.integers(SAMPLE_RATE_HZ)), len(clip))
    gain = np.sqrt(np.square(clip).mean() / (np.square(noise).mean() + 1e-12) / 10 ** (snr_db / 10))
    return np.asarray(clip + gain * noise, np.float32)


def without_lows(clip: Samples, _: np.random.Generator) -> Samples:
    """The clip without what lies under a telephone's band."""
    return np.asarray(within(clip, TELEPHONE_BAND_HZ[0], SAMPLE_RATE_HZ / 2), np.float32)


def by_telephone(clip: Samples, _: np.random.Generator, subtype: str) -> Samples:
    """The clip within a telephone's band, at 8 kHz and coded."""
    narrow = within(clip, *TELEPHONE_BAND_HZ)
    return np.asarray(encoded(narrow, TELEPHONE_HZ, format="WAV", subtype=subtype), np.float32)


def cut_steeply(detectors: dict[str, Detect], sets: dict[str, list[Clip]]) -> Table:
    """F1 in percent and mean seconds of speech in a clip."""
    ways: dict[str, Change] = {
        "as recorded": as_recorded,
        "300 Hz and up": without_lows,
        "telephone, µ-law": partial(by_telephone, subtype="ULAW"),
        "telephone, GSM": partial(by_telephone, subtype="GSM610"),
    }
    table = Table(title="Cut steeply: F1 of frames, %, and seconds of speech in a clip", title_justify="left")
    for column in ("set", "detector", *ways):
        table.add_column(column, justify="left" if column in ("set", "detector") else "right")
    for name, clips in sets.items():
        for detector, detect in detectors.items():
            row = []
            for change in ways.values():
                found = probabilities(clips, detect, change)
                frames = np.mean([speech_frames(one).sum() for one in found])
                row.append(f"{100 * f1(clips, found):.1f} {frames * FRAME_SAMPLES / SAMPLE_RATE_HZ:6.2f} s")
            table.add_row(name, detector, *row)
    return table


def alone(detectors: dict[str, Detect], unheard: list[Samples]) -> Table:
    """Seconds called speech where nobody speaks, in percent."""
    rng, size = np.random.default_rng(1), ALONE_S * SAMPLE_RATE_HZ

    def level(samples: np.ndarray) -> Samples:
        return np.asarray(samples / (np.abs(samples).max() + 1e-9) * 10 ** (rng.uniform(-30, -3) / 20), np.float32)

    kinds = {
        "recorded noise": [np.asarray(noise, np.float32) for noise in unheard],
        "coloured noise": [level(coloured(size, rng)) for _ in range(ALONE)],
        "hum": [level(hum(size, rng)) for _ in range(ALONE)],
        "tones and tunes": [level(tones(size, rng)) for _ in range(ALONE)],
        "digital silence": [np.zeros(size, np.float32)],
    }
    table = Table(title="Called speech where nobody speaks, % of the time", title_justify="left")
    for column in ("detector", *kinds):
        table.add_column(column, justify="left" if column == "detector" else "right")
    for detector, detect in detectors.items():
        shares = []
        for recordings in kinds.values():
            frames = [speech_frames(detect(samples)) for samples in recordings]
            shares.append(100 * np.concatenate(frames).mean())
        table.add_row(detector, *(f"{share:.2f}" for share in shares))
    return table


def cost(detectors: dict[str, Detect]) -> Table:
    """CPU time for 4.1 s of speech, one thread, the fastest of some rounds."""
    runtime = Runtime(Encoder.load()._bundle, threads=1)
    clip = np.random.default_rng(2).normal(0, 0.05, round(4.1 * SAMPLE_RATE_HZ)).astype(np.float32)
    clip = clip[: len(clip) // FRAME_SAMPLES * FRAME_SAMPLES]
    tried = {"encoder": lambda samples: runtime.vectors([samples]), **detectors}
    times = {}
    for name, run in tried.items():
        rounds = []
        for _ in range(30):
            began = time.process_time()
            run(clip)
            rounds.append(time.process_time() - began)
        times[name] = min(rounds[5:])
    table = Table(title="CPU time of 4.1 s, one thread", title_justify="left")
    for column in ("", "ms", "of the encoder's, %"):
        table.add_column(column, justify="right" if column else "left")
    for name, seconds in times.items():
        table.add_row(name, f"{1000 * seconds:.2f}", f"{100 * seconds / times['encoder']:.0f}")
    return table


if __name__ == "__main__":
    main()
