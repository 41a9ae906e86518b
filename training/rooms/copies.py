"""Clips and their copies in rooms, as the graph's features: written once, memory-mapped from then on."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import soundfile
import soxr
from rich.console import Console
from rich.progress import track

from speakerdb import settings
from speakerdb.audio import Samples, read
from training.corpora import open_corpus
from training.sessions import on_one_core
from training.speech.mixtures import convolved, looped

RATE_HZ = 16_000
COPIES = 2
"""Of each clip, beside itself."""
LONGEST_S, SHORTEST_S = 12.0, 0.4
ROOMS = 400
SIZE_M = ((2.5, 2.5, 2.2), (10.0, 8.0, 4.0))
RT60_S = (0.2, 1.0)
DISTANCE_M = (0.3, 5.0)
REFLECTIONS = 14
"""Order up to which images are followed; the rest of a room's echoes is noise that decays as they do."""
ROOM_SHARE, NOISE_SHARE, TELEPHONE_SHARE = 0.85, 0.4, 0.2
"""Of the copies, each by itself; one of ten is the clip again, or nearly."""
SNR_DB = (5.0, 25.0)
TELEPHONE_HZ, TELEPHONE_CODECS = 8_000, ("GSM610", "ULAW")
SEED = 7

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Copies:
    """Features, clip after clip: of the clips themselves, then of each of their copies.

    Attributes:
        features: float16 [frames of all clips, bins], memory-mapped. lengths: int64 [clips], frames. sets: their names.
    """

    features: list[npt.NDArray[np.float16]]
    lengths: npt.NDArray[np.int64]
    sets: npt.NDArray[np.str_]

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The first frame of each clip."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]])


def make_copies(graph: Path, features: str, corpora: Path, sets: Sequence[str], noise: str, work: Path) -> Copies:
    """The copies of these sets' clips, made where they are not in `work` yet.

    Args: graph, features: the encoder's graph, and its tensor of features, slowed where a clip is short.
    """
    made_of = {"graph": hashlib.sha256(graph.read_bytes()).hexdigest(), "sets": [*sets, noise], "seed": SEED}
    made_of["corpora"] = [open_corpus(str(corpora / f"{name}.tar")).fingerprint() for name in (*sets, noise)]
    table = work / "copies.json"
    if not table.exists() or json.loads(table.read_text(encoding="utf8")) != made_of:
        table.unlink(missing_ok=True)
        _write(graph, features, corpora, sets, noise, work)
        table.write_text(json.dumps(made_of), encoding="utf8")
    with np.load(work / "clips.npz", allow_pickle=False) as stored:
        lengths, names = stored["lengths"], stored["sets"]
    return Copies([np.load(work / f"copy{k}.npy", mmap_mode="r") for k in range(COPIES + 1)], lengths, names)


def _write(graph: Path, features: str, corpora: Path, sets: Sequence[str], noise: str, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    onnx.utils.extract_model(graph, work / "front.onnx", ["waveform", "lengths"], [features])
    session = on_one_core(str(work / "front.onnx"))

    def heard(samples: Samples) -> npt.NDArray[np.float16]:
        found: npt.NDArray[np.float32] = session.run(None, {"waveform": samples[None]})[0][0]
        return found.astype(np.float16)

    rng = np.random.default_rng(SEED)
    rooms = [impulse_response(rng) for _ in range(ROOMS)]
    noises = [samples for _, samples in _clips(corpora, [noise]) if np.square(samples).mean() > 1e-8]
    clips = list(_clips(corpora, sets))
    seeds = rng.integers(1 << 31, size=(len(clips), COPIES))

    def copies(place: int) -> list[npt.NDArray[np.float16]]:
        samples = clips[place][1]
        made = [worsened(samples, rooms, noises, np.random.default_rng(seed)) for seed in seeds[place]]
        return [heard(one) for one in (samples, *made)]

    with ThreadPoolExecutor(settings.threads()) as pool:
        told = track(pool.map(copies, range(len(clips))), "rooms", len(clips), console=Console(stderr=True))
        found = list(told)
    for number in range(COPIES + 1):
        np.save(work / f"copy{number}.npy", np.concatenate([one[number] for one in found]))
    lengths = np.array([len(one[0]) for one in found])
    np.savez(work / "clips.npz", lengths=lengths, sets=np.array([name for name, _ in clips]))


def _clips(corpora: Path, sets: Sequence[str]) -> Iterator[tuple[str, Samples]]:
    for name in sets:
        corpus = open_corpus(str(corpora / f"{name}.tar"))
        for clip in corpus.clips(corpus.rows()):
            samples = read(clip.audio, RATE_HZ).samples[: round(LONGEST_S * RATE_HZ)]
            if len(samples) >= SHORTEST_S * RATE_HZ:
                yield name, samples


def impulse_response(rng: np.random.Generator) -> Samples:
    """Of a shoebox of any size and RT60, its direct sound first and 1: float32 [samples].

    Images up to an order (Allen and Berkley, 1979), and from where they thin out on noise that decays by 60 dB in RT60.
    """
    import pyroomacoustics

    while True:
        size, rt60_s = rng.uniform(*SIZE_M), rng.uniform(*RT60_S)
        try:
            absorption, order = pyroomacoustics.inverse_sabine(rt60_s, size)
        except ValueError:  # so large a room is never so dry
            continue
        source, microphone = rng.uniform(0.4, size - 0.4), rng.uniform(0.4, size - 0.4)
        if not DISTANCE_M[0] < np.linalg.norm(source - microphone) < DISTANCE_M[1]:
            continue
        room = pyroomacoustics.ShoeBox(
            size,
            fs=RATE_HZ,
            materials=pyroomacoustics.Material(absorption),
            max_order=min(order, REFLECTIONS),
            air_absorption=True,
        )
        room.add_source(source)
        room.add_microphone(microphone)
        room.compute_rir()
        images = np.asarray(room.rir[0][0], np.float64)
        images = images[max(0, int(np.abs(images).argmax()) - BEFORE_DIRECT) :]
        echoes = _with_tail(images, round(rt60_s * RATE_HZ), rng)
        return (echoes / np.abs(echoes).max()).astype(np.float32)


BEFORE_DIRECT = 16
"""Samples of the fractional delay's filter before its peak."""


def _with_tail(images: Floats, length: int, rng: np.random.Generator) -> Floats:
    """Images, and noise of the level that they end at, faded in over 25 ms."""
    fade, end = RATE_HZ // 40, len(images) - RATE_HZ // 20
    if end <= fade or len(images) >= length:
        return images
    level = np.sqrt(np.square(images[end - fade : end]).mean())
    times = np.arange(length - end)
    tail = level * rng.standard_normal(len(times)) * 10.0 ** (-3.0 * times / length)
    rising = np.clip(times / fade, 0.0, 1.0)
    whole = np.concatenate([images, np.zeros(length - len(images))])
    whole[end:] = whole[end:] * (1.0 - rising) + tail * rising
    return whole


def worsened(clip: Samples, rooms: list[Samples], noises: list[Samples], rng: np.random.Generator) -> Samples:
    """A clip in a room, with noise, by telephone, or not: float32 [samples], aligned with the clip."""
    found = clip.astype(np.float64)
    if rng.random() < ROOM_SHARE:
        echoes = rooms[rng.integers(len(rooms))]
        found = convolved(np.pad(found, (0, BEFORE_DIRECT)), echoes)[BEFORE_DIRECT:]
        found *= np.sqrt(np.square(clip).mean() / max(np.square(found).mean(), 1e-12))
    if rng.random() < NOISE_SHARE:
        noise = looped(noises[rng.integers(len(noises))], len(clip), rng)
        snr = 10.0 ** (rng.uniform(*SNR_DB) / 10.0)
        found += noise * np.sqrt(np.square(found).mean() / max(np.square(noise).mean(), 1e-10) / snr)
    if rng.random() < TELEPHONE_SHARE:
        found = _by_telephone(found, TELEPHONE_CODECS[int(rng.integers(len(TELEPHONE_CODECS)))])
    return found.astype(np.float32)


def _by_telephone(samples: Floats, codec: str) -> Floats:
    file = io.BytesIO()
    narrow = np.clip(soxr.resample(samples, RATE_HZ, TELEPHONE_HZ), -1.0, 1.0)
    soundfile.write(file, narrow, TELEPHONE_HZ, format="WAV", subtype=codec)
    file.seek(0)
    heard, _ = soundfile.read(file)
    found: Floats = np.resize(soxr.resample(heard, TELEPHONE_HZ, RATE_HZ), len(samples))
    return found
