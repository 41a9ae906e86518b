"""The networks that a recipe can name: a size, and how a model of that size is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from training.networks import bilstm, next_tdnn
from training.networks.bilstm import Bilstm
from training.networks.next_tdnn import NextTdnn

NetworkSize: TypeAlias = NextTdnn | Bilstm

NETWORKS: dict[str, tuple[type[NextTdnn] | type[Bilstm], Callable[[Any], keras.Model]]] = {
    "next-tdnn": (NextTdnn, next_tdnn.build),
    "bilstm": (Bilstm, bilstm.build),
}


def build(size: NetworkSize) -> keras.Model:
    """A network of that size: [features, mask] → unit vectors."""
    return next(make for kind, make in NETWORKS.values() if isinstance(size, kind))(size)
