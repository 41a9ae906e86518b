"""A million voices: the train speakers' own, and made-up ones that lie among them as people do.

    python -m benchmarks.voices --corpora ../shared/corpora --work ../work

Made-up voiceprints are drawn from a mixture of 32 Gaussians with full covariances, fitted to the voiceprints of all
train speakers, and brought to unit length. A single Gaussian puts nobody near anybody (people are alike in groups: of
one sex, language, microphone), and 64 components copy people; both are printed beside it. What is compared is how far
the nearest, and the tenth nearest, voice is, in samples of one size.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from speakerdb.embedding import Vectors, average, cosine_to_distance, normalize
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from training.calibration.heard import WHOLE, heard

TRAIN = ("common_voice-train", "librispeech-train", "speech_commands-train", "speechocean762-train")
COMPONENTS = 32
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True)
class Voices:
    """Real people.

    Attributes:
        enrolled: voiceprints of all clips but each speaker's last, float32 [speakers, dimension].
        probes: that last clip of those who have two or more; owners: whose, rows of `enrolled`.
    """

    enrolled: Vectors
    probes: Vectors
    owners: npt.NDArray[np.int64]


def real_voices(corpora: Path, work: Path, console: Console) -> Voices:
    """The train speakers, heard by the shipped encoder, from `work` where that was done before."""
    bundle = open_bundle(find_bundle(None))
    sets = [heard(corpora / f"{name}.tar", bundle, WHOLE, work / "calibration" / "heard", console) for name in TRAIN]
    vectors = np.concatenate([one.vectors for one in sets])
    speakers = np.concatenate([one.speakers for one in sets])
    enrolled, probes, owners = [], [], []
    for name in np.unique(speakers):
        own = vectors[speakers == name]
        if len(own) > 1:
            probes.append(own[-1])
            owners.append(len(enrolled))
        enrolled.append(average(own[:-1] if len(own) > 1 else own))
    return Voices(np.stack(enrolled), np.stack(probes), np.array(owners))


def with_fillers(real: Vectors, size: int, components: int = COMPONENTS, seed: int = 0) -> Vectors:
    """The real voiceprints, and made-up ones up to the size: float32 [size, dimension]."""
    if size <= len(real):
        return real[:size]
    return np.concatenate([real, made_up(real, size - len(real), components, seed)])


def made_up(real: Vectors, count: int, components: int, seed: int) -> Vectors:
    """Voices that nobody has, float32 [count, dimension]."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(components, covariance_type="full", reg_covar=2e-4, random_state=seed, max_iter=50)
    drawn, _ = mixture.fit(real.astype(np.float64)).sample(count)
    np.random.default_rng(seed).shuffle(drawn)
    return normalize(drawn)


def nearest(voices: Vectors, others: Vectors | None = None) -> npt.NDArray[np.float64]:
    """Distances of each to its nearest and its tenth nearest, float64 [n, 2]; itself left out where none are given."""
    cosines = voices @ (voices if others is None else others).T
    if others is None:
        np.fill_diagonal(cosines, -1.0)
    ordered = -np.partition(-cosines, (0, 9), axis=1)
    return cosine_to_distance(ordered[:, [0, 9]])


def main() -> None:
    """Print how far voices are from one another, real and made up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    console = Console()
    real = real_voices(given.corpora, given.work, console).enrolled
    half, other = real[::2], real[1::2]
    cases = {
        f"{len(real):,} real": nearest(real),
        **{f"as many made up, {count}": nearest(made_up(real, len(real), count, 0)) for count in (1, 16, 32, 64)},
        "half, nearest of the other half": nearest(half, other),
        "half, nearest made up of the other": nearest(half, made_up(other, len(other), COMPONENTS, 0)),
    }
    for place, title in enumerate(("nearest", "tenth nearest")):
        table = Table("distance to the " + title, *(f"{q:.0%}" for q in QUANTILES))
        for name, found in cases.items():
            table.add_row(name, *(f"{value:.2f}" for value in np.quantile(found[:, place], QUANTILES)))
        console.print(table)


if __name__ == "__main__":
    main()
