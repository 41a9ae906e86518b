"""Ridge regression, and which inputs to keep of many: what the fit of a narrow block is made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def ridge(x: Array, y: Array, share: float) -> tuple[Array, Array]:
    """Least squares of y on x with an offset.

    Args: x: [rows, inputs]; y: [rows, outputs]; share: of the inputs' mean square, added to their squares: what keeps
        inputs that are nearly alike from large weights of opposite signs.
    Returns: float32 [inputs, outputs] and offsets [outputs].
    """
    with_one = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
    gram = (with_one.T @ with_one).astype(np.float64)
    gram += share * gram.diagonal().mean() * np.eye(len(gram))
    solved = np.linalg.solve(gram, (with_one.T @ y).astype(np.float64)).astype(np.float32)
    return solved[:-1], solved[-1]


def eliminate(x: Array, y: Array, taps: int, keep: int, share: float = 1e-4) -> tuple[list[int], Array, Array]:
    """Keep the channels that least squares misses most, by leaving out one after the other; no weight is fitted twice.

    Leaving a group J of inputs out raises the squared error by tr(W_J' (P_JJ)⁻¹ W_J), where P is the inverse of the
    inputs' products and W the weights (Hassibi & Stork, 1993, for groups); both are updated, not computed anew. Of
    more than twice as many channels as are to be kept, those of the largest part in the outputs come into question.

    Args: x: [rows, taps · channels], the channels of a tap beside each other; y: [rows, outputs];
        share: as in `ridge`.
    Returns: the channels kept, ascending; float32 weights [taps · kept, outputs] and offsets [outputs].
    """
    channels = x.shape[1] // taps
    index = np.arange(taps * channels).reshape(taps, channels)
    mean_x, mean_y = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    x, y = x - mean_x.astype(np.float32), y - mean_y.astype(np.float32)
    inverse, weights = _solved(x, y, share)
    alive = list(range(channels))
    if channels > 2 * keep:
        part = (np.square(weights).sum(axis=1) * x.var(axis=0)).reshape(taps, channels).sum(axis=0)
        alive = sorted(np.argsort(-part, kind="stable")[: 2 * keep].tolist())
        rows = index[:, alive].ravel()
        x, mean_x, index = x[:, rows], mean_x[rows], np.arange(len(rows)).reshape(taps, -1)
        inverse, weights = _solved(x, y, share)
    names, alive = alive, list(range(len(alive)))
    while len(alive) > keep:
        groups = index[:, alive].T  # [channels, taps]
        blocks = inverse[groups[:, :, None], groups[:, None, :]]
        cost = (weights[groups] * np.linalg.solve(blocks, weights[groups])).sum(axis=(1, 2))
        least = int(cost.argmin())
        gone = groups[least]
        gain = inverse[:, gone] @ np.linalg.inv(blocks[least])
        weights = weights - gain @ weights[gone]
        inverse = inverse - gain @ inverse[gone]
        alive.pop(least)
    rows = index[:, alive].ravel()
    kept = weights[rows]
    offset = mean_y - mean_x[rows] @ kept
    return [names[channel] for channel in alive], kept.astype(np.float32), offset.astype(np.float32)


def principal(x: Array, rank: int) -> Array:
    """The orthonormal directions of most variance: x [rows, channels] → [channels, rank]."""
    centred = x - x.mean(axis=0)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(directions[:, ::-1][:, :rank]).astype(np.float32)


def _solved(x: Array, y: Array, share: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The inverse of the inputs' products, and the weights."""
    gram = (x.T @ x).astype(np.float64)
    gram += share * gram.diagonal().mean() * np.eye(len(gram))
    inverse = np.linalg.inv(gram)
    return inverse, inverse @ (x.T @ y).astype(np.float64)
