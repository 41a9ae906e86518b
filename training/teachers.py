"""Teachers' vectors → what the student learns to say of each clip.

Two published encoders are fused: each one's vectors are centred and brought to unit length, the second is weighted,
both are put side by side, and the leading singular directions are kept. The inner product of two targets is then
nearly (cosine₁ + weight · cosine₂) / (1 + weight), in as many dimensions as the student has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import normalize


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


def load_targets(
    files: Sequence[Path], names: Sequence[str], second_weight: float, dimension: int
) -> npt.NDArray[np.float32]:
    """Targets of the clips `names` from two `.npz` files with `clips` and `vectors`, in the order of `names`.

    Raises: ValueError where a clip has no vector, or there are not two files.
    """
    vectors = []
    for path in files:
        with np.load(path, allow_pickle=False) as stored:
            row_of = {str(clip): row for row, clip in enumerate(stored["clips"])}
            missing = [name for name in names if name not in row_of]
            if missing:
                raise ValueError(f"{path}: no vector of {missing[0]} and {len(missing) - 1} more")
            vectors.append(stored["vectors"][[row_of[name] for name in names]].astype(np.float32))
    first, second = vectors
    return fuse(first, second, second_weight, dimension)
