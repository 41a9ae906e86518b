"""Archives, tables and trial lists as training reads them, small, made of the example voices."""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE_HZ = 16_000


def write_archive(archive: Path, clips: Sequence[tuple[str, bytes]], table: Sequence[str] | None = None) -> Path:
    """A tar with these members, and beside it a table: of the same clips, or of those in `table`."""
    with tarfile.open(archive, "w") as tar:
        for path, content in clips:
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    rows = [f"{path}\t{path.split('/')[0]}\ten\tf\t1.00" for path in table or [path for path, _ in clips]]
    archive.with_suffix(".tsv").write_text("\n".join(["path\tspeaker\tlanguage\tsex\tseconds", *rows]) + "\n")
    return archive


def write_voices(archive: Path, names: Sequence[str]) -> Path:
    """An archive of the four example clips of each of these voices."""
    clips = [(f"{name}/{name}_{number}.wav", f"{name}_{number}.wav") for name in names for number in (1, 2, 3, 4)]
    return write_archive(archive, [(path, (EXAMPLES / file).read_bytes()) for path, file in clips])


def write_noise(archive: Path) -> Path:
    """An archive of three noises, its table with the columns that noise has."""
    rng = np.random.default_rng(5)
    clips = [(f"kind/{i}.wav", wav(0.1 * rng.standard_normal(RATE_HZ + 500 * i))) for i in range(3)]
    write_archive(archive, clips)
    rows = [f"{path}\ttiny\tkind" for path, _ in clips]
    archive.with_suffix(".tsv").write_text("\n".join(["path\tcorpus\tkind", *rows]) + "\n")
    return archive


def wav(samples: np.ndarray) -> bytes:
    """16-bit WAV at 16 kHz."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def write_lists(trials: Path, name: str, gallery: Sequence[str], stranger: str) -> None:
    """The five trial lists of a corpus: the gallery's voices enrolled with their first three clips."""
    trials.mkdir(exist_ok=True)

    def clip(voice: str, number: int) -> str:
        return f"{voice}/{voice}_{number}.wav"

    def write(kind: str, lines: Sequence[str]) -> None:
        (trials / f"{name}-{kind}.txt").write_text("\n".join(lines) + "\n")

    clips = [(voice, clip(voice, number)) for voice in [*gallery, stranger] for number in (1, 2, 3, 4)]
    pairs = itertools.combinations(clips, 2)
    write("pairs", [f"{int(first[0] == second[0])} {first[1]} {second[1]}" for first, second in pairs])
    enrolled = [f"{voice} {clip(voice, 1)} {clip(voice, 2)} {clip(voice, 3)}" for voice in gallery]
    write("gallery", enrolled)
    # One model is one clip, tried with that clip: the nearest trial of all is a target whatever the encoder.
    write("models", [*enrolled, f"same {clip(gallery[0], 4)}"])
    tries = [f"{int(voice == model)} {model} {clip(voice, 4)}" for model in gallery for voice in [*gallery, stranger]]
    write("models-trials", [*tries, f"1 same {clip(gallery[0], 4)}"])
    write("probes", [*[f"{voice} {clip(voice, 4)}" for voice in gallery], f"- {clip(stranger, 1)}"])
