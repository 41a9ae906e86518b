"""CAM++'s blocks 2 and 3 → the narrow network's upper layers, by least squares on CAM++'s own frames.

Layer after layer, each on what the narrowed ones before it give and towards what CAM++'s give: what one misses, the
next ones make good. Several dense layers become a group of one bottleneck: the channels of all their bottlenecks are
computed from one relu, those that their taps need most are kept (`eliminate`), and the taps and the gate are fitted.

Weights go by the names of the Keras layers, as lists of arrays in the order of `Layer.get_weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from training.networks.narrow_campplus import VARIANCE_FLOOR, NarrowCampplus
from training.transplant.campplus import Array, Campplus, DenseLayer, Transit, relu, sigmoid, taps
from training.transplant.least_squares import eliminate, principal, ridge

Weights = dict[str, list[Array]]

GATE_SHARE = 1e-2
"""Ridge of the gates: a row a clip, and not a row a frame."""

PRODUCT_SHARE = 1e-3
"""Ridge of what is fitted on relus of up to 1,024 channels, many of them nearly alike."""


def fit_upper(
    teacher: Campplus, frames: Array, size: NarrowCampplus, say: Callable[[str], None] = lambda line: None
) -> Weights:
    """All upper layers but the embedding.

    Args: frames: CAM++'s after its first block, [clips, frames, channels], at most 100 frames each.
        say: told how much of the variance each group explains.
    """
    weights: Weights = {}
    x, truth = _fit_block(teacher.second, frames, frames, size, "second", weights, say)
    every = np.arange(teacher.second_transit.matrix.shape[1])
    x, truth = _fit_transit(teacher.second_transit, x, truth, every, size.rank, "second", weights, say)
    x, truth = _fit_block(teacher.third, x, truth, size, "third", weights, say)
    kept = telling_channels(teacher, relu(teacher.third_transit(truth)), size.kept)
    _fit_transit(teacher.third_transit, x, truth, kept, size.rank, "third", weights, say)
    return weights


def fit_embedding(statistics: Array, targets: Array, weights: Weights) -> float:
    """Add the last layer, fitted to the targets of whole clips; their mean cosine to what it gives.

    Args: statistics: [clips, 2 · kept], as `pooled` has them; targets: [clips, dimension], unit length.
    """
    matrix, bias = ridge(statistics, targets, PRODUCT_SHARE)
    weights["embedding"] = [matrix, bias]
    vectors = statistics @ matrix + bias
    return float(((vectors * targets).sum(axis=1) / np.linalg.norm(vectors, axis=1)).mean())


def pooled(weights: Weights, frames: Array, size: NarrowCampplus) -> Array:
    """What the upper layers give before the embedding: frames [clips, frames, channels] → [clips, 2 · kept]."""
    x = frames
    for name in _names("second", size.second_layers // size.grouped):
        x = np.concatenate([x, _group(weights, name, x)], axis=2)
    x = _through(weights, "second", x)
    for name in _names("third", size.third_layers // size.grouped):
        x = np.concatenate([x, _group(weights, name, x)], axis=2)
    x = relu(_through(weights, "third", x))
    return np.concatenate([x.mean(axis=1), np.sqrt(x.var(axis=1) + VARIANCE_FLOOR)], axis=1)


def telling_channels(teacher: Campplus, outputs: Array, keep: int) -> Array:
    """The channels that the teacher's embedding moves with most: its weights times how much their statistics vary."""
    half = outputs.shape[2]
    weight = np.linalg.norm(teacher.embedding, axis=1)
    moves = weight[:half] * outputs.mean(axis=1).std(axis=0) + weight[half:] * outputs.std(axis=1).std(axis=0)
    return np.sort(np.argsort(-moves, kind="stable")[:keep])


def _fit_block(
    dense: Sequence[DenseLayer],
    x: Array,
    truth: Array,
    size: NarrowCampplus,
    block: str,
    weights: Weights,
    say: Callable[[str], None],
) -> tuple[Array, Array]:
    """Fit a block's groups; what the narrow block and what the teacher's gives."""
    for index, name in enumerate(_names(block, len(dense) // size.grouped)):
        group = dense[index * size.grouped : (index + 1) * size.grouped]
        width = x.shape[2]
        hidden, locals_, logits = [], [], []
        for layer in group:
            hidden.append(layer.bottleneck(truth))
            locals_.append(taps(hidden[-1]) @ layer.local)
            logits.append(layer.gate_logits(hidden[-1]))
            truth = np.concatenate([truth, locals_[-1] * sigmoid(logits[-1])[:, None]], axis=2)
        scale, shift = group[0].scale, group[0].shift
        matrix, bias = _shared_bottleneck(group, x, truth, scale, shift)
        wide = relu(relu(x * scale + shift) @ matrix + bias)
        rows = taps(wide)
        kept, local, offset = eliminate(
            rows.reshape(-1, rows.shape[2]), _rows(np.concatenate(locals_, axis=2)), 3, size.bottleneck
        )
        gate, gate_bias = ridge(wide[:, :, kept].mean(axis=1), np.concatenate(logits, axis=1), GATE_SHARE)
        weights[f"{name}_scale"] = [scale, shift]
        weights[f"{name}_bottleneck"] = [np.ascontiguousarray(matrix[:, kept]), bias[kept]]
        weights[f"{name}_local"] = [local.reshape(3, size.bottleneck, -1), offset]
        weights[f"{name}_gate"] = [gate, gate_bias]
        added = _group(weights, name, x)
        say(f"{name}: {_explained(added, truth[:, :, width:]):.2f} of the variance")
        x = np.concatenate([x, added], axis=2)
    return x, truth


def _shared_bottleneck(
    group: Sequence[DenseLayer], x: Array, truth: Array, scale: Array, shift: Array
) -> tuple[Array, Array]:
    """All layers' bottlenecks from the first one's relu.

    A later layer sees the channels that the ones before it in the group add, which the narrow group has not: they
    count as their mean. Its own scale and shift are lost, so its weights are fitted to what it computed before.
    """
    width = x.shape[2]
    activated = _rows(relu(x * scale + shift))[::2]  # half of the rows say as much
    matrices, biases = [group[0].matrix], [group[0].bias]
    for layer in group[1:]:
        seen = layer.scale.shape[0]
        unseen = relu(truth[:, :, width:seen] * layer.scale[width:] + layer.shift[width:]).mean(axis=(0, 1))
        bias = layer.bias + unseen @ layer.matrix[width:]
        own = _rows(relu(x * layer.scale[:width] + layer.shift[:width]))[::2] @ layer.matrix[:width] + bias
        matrix, offset = ridge(activated, own, PRODUCT_SHARE)
        matrices.append(matrix)
        biases.append(offset)
    return np.concatenate(matrices, axis=1), np.concatenate(biases)


def _fit_transit(
    transit: Transit,
    x: Array,
    truth: Array,
    channels: Array,
    rank: int,
    block: str,
    weights: Weights,
    say: Callable[[str], None],
) -> tuple[Array, Array]:
    """Fit the product that ends a block, in two of a low rank: least squares, then its leading directions."""
    wanted = transit(truth)
    activated = _rows(relu(x * transit.scale + transit.shift))
    matrix, bias = ridge(activated, _rows(wanted)[:, channels], PRODUCT_SHARE)
    fitted = activated @ matrix
    directions, mean = principal(fitted, rank), fitted.mean(axis=0)
    weights[f"{block}_transit_scale"] = [transit.scale, transit.shift]
    weights[f"{block}_transit_rank"] = [matrix @ directions]
    weights[f"{block}_transit"] = [
        np.ascontiguousarray(directions.T),
        bias + mean - (mean @ directions) @ directions.T,
    ]
    found = _through(weights, block, x)
    say(f"{block}_transit: {_explained(found, wanted[:, :, channels]):.2f} of the variance")
    return found, wanted


def _group(weights: Weights, name: str, x: Array) -> Array:
    """What a group adds: [clips, frames, channels] → [clips, frames, growth · grouped]."""
    (scale, shift), (matrix, bias) = weights[f"{name}_scale"], weights[f"{name}_bottleneck"]
    (local, offset), (gate, gate_bias) = weights[f"{name}_local"], weights[f"{name}_gate"]
    hidden = relu(relu(x * scale + shift) @ matrix + bias)
    added = taps(hidden) @ local.reshape(-1, local.shape[2]) + offset
    return added * sigmoid(hidden.mean(axis=1) @ gate + gate_bias)[:, None]


def _through(weights: Weights, block: str, x: Array) -> Array:
    """A block's transit."""
    (scale, shift), [rank], (matrix, bias) = (weights[f"{block}_transit{part}"] for part in ("_scale", "_rank", ""))
    return relu(x * scale + shift) @ rank @ matrix + bias


def _names(block: str, groups: int) -> Iterator[str]:
    return (f"{block}_{index}" for index in range(groups))


def _rows(x: Array) -> Array:
    """[clips, frames, channels] → [all frames, channels]."""
    return x.reshape(-1, x.shape[2])


def _explained(found: Array, truth: Array) -> float:
    """1 − squared error / variance, over all channels."""
    return 1.0 - float(np.square(found - truth).sum() / np.square(truth - truth.mean(axis=(0, 1))).sum())
