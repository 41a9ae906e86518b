"""Teachers' vectors → what the student learns to say of each clip.

Two published encoders are fused: each one's vectors are centred and brought to unit length, the second is weighted,
both are put side by side, and the leading singular directions are kept. The inner product of two targets is then
nearly (cosine₁ + weight · cosine₂) / (1 + weight), in as many dimensions as the student has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from speakerdb.embedding import Vector, normalize
from training.corpora.fingerprints import file_hash
from training.evaluation.clips import Facts
from training.evaluation.embed import embed_clips
from training.evaluation.embeddings import Embeddings
from training.kept import read_arrays, whole
from training.recipe_values import Weight
from training.records import set_hash
from training.teacher_encoders import RATE_HZ, open_teacher
from training.virtual_speakers import clips_of, recorded_set

Rows = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Teachers:
    """Two published encoders, fused; none for a training by labels alone.

    Attributes:
        files: what they say of the recorded clips. graphs: they themselves, to ask them about virtual clips; in the
            order of the files.
        second_weight: of the second one's cosine against the first's.
    """

    files: list[str] = field(default_factory=list)
    graphs: list[str] = field(default_factory=list)
    second_weight: Weight = 0.4

    def __post_init__(self) -> None:
        if len(self.files) not in (0, 2) or len(self.graphs) not in (0, len(self.files)):
            raise ValueError("teachers are two, or none")


def fuse(first: npt.ArrayLike, second: npt.ArrayLike, second_weight: float, dimension: int) -> npt.NDArray[np.float32]:
    """Fuse two teachers' vectors of the same clips.

    Args: first: [clips, d1]; second: [clips, d2]; second_weight: of its cosine against the first's.
    Returns: float32 [clips, dimension], unit length.
    Raises: ValueError where there are fewer clips, or fewer dimensions of the two together, than `dimension`.
    """
    parts = [normalize(v - v.mean(axis=0)) for v in (np.asarray(first, float), np.asarray(second, float))]
    joined = np.concatenate([parts[0], np.sqrt(second_weight) * parts[1]], axis=1)
    if min(joined.shape) < dimension:
        raise ValueError(f"{dimension} dimensions from {joined.shape[0]} clips and {joined.shape[1]} of the teachers")
    _, _, directions = np.linalg.svd(joined, full_matrices=False)
    kept = directions[:dimension]
    # A direction's sign is free; fixed here, so that a resumed training aims at the same targets.
    signs = np.sign(kept[np.arange(dimension), np.abs(kept).argmax(axis=1)])
    return normalize(joined @ (kept * signs[:, None]).T)


def published(path: Path, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """A teacher's vectors of these clips from an `.npz` file with `clips` and `vectors`: float32 [names, dimension].

    Raises: ValueError where a clip has no vector, or the file is damaged.
    """
    clips, vectors = whole(path, _read, "nothing here makes it; bring it back")
    row_of = {str(clip): row for row, clip in enumerate(clips)}
    missing = [name for name in names if name not in row_of]
    if missing:
        raise ValueError(f"{path}: no vector of {missing[0]} and {len(missing) - 1} more")
    found: npt.NDArray[np.float32] = vectors[[row_of[name] for name in names]].astype(np.float32)
    return found


def _read(path: Path) -> tuple[npt.NDArray[np.str_], npt.NDArray[Any]]:
    stored = read_arrays(path)
    clips, vectors = stored["clips"], stored["vectors"]
    if vectors.ndim != 2 or len(clips) != len(vectors) or not np.isfinite(vectors).all():
        raise ValueError(f"{len(clips)} clips, and vectors {vectors.shape}, not a finite one for each")
    return clips, vectors


@dataclass(frozen=True)
class VirtualClips:
    """The clips of a virtual set, as `embed_clips` reads them."""

    shards: Path
    name: str

    def fingerprint(self) -> str:
        """The recorded set's clips and recordings, and what is done to them.

        Not the archive they came from: one that was only copied, or mounted anew, has the same clips.
        """
        return f"{self.name} {set_hash(self.shards, recorded_set(self.name))}"

    def facts(self, wanted: Collection[str]) -> dict[str, Facts]:
        """Nothing is asked of them."""
        return {clip: Facts() for clip in wanted}

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Made as they are needed."""
        names = set(wanted)
        clips = clips_of(self.shards, self.name, RATE_HZ)
        return ((clip.path, clip.audio) for clip in clips if clip.path in names)


def taught(graph: Path, clips: VirtualClips, paths: Sequence[str], work: Path, console: Console) -> list[Vector]:
    """A teacher's vectors of virtual clips, computed on all cores and kept in `work/teachers` as they come."""
    encode, sha256 = open_teacher(graph), file_hash(graph)
    dimension = len(encode(np.full(RATE_HZ, 0.1, np.float32)))
    stem = work / "teachers" / f"{graph.stem}-{clips.name}"
    vectors = Embeddings(stem, sha256, dimension, clips.fingerprint())
    if unheard := sum(path not in vectors for path in paths):
        console.print(f"{clips.name}: asking {graph.stem} about {unheard} clips", highlight=False, soft_wrap=True)
    embed_clips(paths, clips, encode, RATE_HZ, vectors, console, f"{graph.stem} {clips.name}")
    return [vectors[path] for path in paths]


def load_targets(
    how: Teachers, sets: Sequence[tuple[str, Rows]], folder: Path, work: Path, dimension: int, console: Console
) -> npt.NDArray[np.float32]:
    """What the student learns to say of each clip of these sets, in their order: float32 [clips, dimension].

    Args, raises: as `both_of`.
    """
    return fuse(*both_of(how, sets, folder, work, console), how.second_weight, dimension)


def both_of(
    how: Teachers, sets: Sequence[tuple[str, Rows]], folder: Path, work: Path, console: Console
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What either teacher says of each clip of these sets, in their order: float32 [clips, its dimension] each.

    Of recorded clips what was published, of virtual ones what the teachers say of the shards' recordings: two kinds of
    vectors, where what was published is of better recordings.

    Args: sets: names with the rows (`path`, `name`) of their clips. folder: the teachers' graphs, and in
        `teacher-vectors` what they say of recorded clips. work: with the shards, of which virtual clips are made.
    Raises: ValueError where a clip has no vector.
    """
    both = []
    for file, graph in zip(how.files, how.graphs or ("", ""), strict=True):
        parts: list[npt.ArrayLike] = []
        for name, rows in sets:
            if name == recorded_set(name):
                parts.append(published(folder / "teacher-vectors" / file, [row["name"] for row in rows]))
            else:
                clips = VirtualClips(work / "shards", name)
                parts.append(taught(folder / graph, clips, [row["path"] for row in rows], work, console))
        both.append(np.concatenate([np.asarray(part, np.float32) for part in parts]))
    return both[0], both[1]
