"""The networks that a recipe can name: a size, and how a model of that size is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from training.networks import bilstm, narrow_campplus, next_tdnn
from training.networks.bilstm import Bilstm
from training.networks.narrow_campplus import NarrowCampplus
from training.networks.next_tdnn import NextTdnn

NetworkSize: TypeAlias = NextTdnn | Bilstm | NarrowCampplus

NETWORKS: dict[str, tuple[type[NetworkSize], Callable[[Any], keras.Model]]] = {
    "next-tdnn": (NextTdnn, next_tdnn.build),
    "bilstm": (Bilstm, bilstm.build),
    "narrow-campplus": (NarrowCampplus, narrow_campplus.build),
}


def build(size: NetworkSize) -> keras.Model:
    """A network of that size: [features, mask] → unit vectors."""
    return next(make for kind, make in NETWORKS.values() if isinstance(size, kind))(size)
