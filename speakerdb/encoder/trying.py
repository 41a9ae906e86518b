"""Before an encoder is believed: its graph is run on two sounds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from speakerdb.encoder.bundle import Bundle, Card, open_bundle, parse_card
from speakerdb.encoder.registry import cards
from speakerdb.encoder.runtime import Runtime
from speakerdb.errors import EncoderDamaged, StateError
from speakerdb.features import unusual

TRIED_S = (2.0, 0.9)
"""Lengths of the sounds that a graph is tried on."""

SAME = 1e-4
"""A graph that gives two sounds vectors nearer than this has not listened."""


def tried(raw: dict[str, Any], content: bytes, model: Path) -> Bundle:
    """The bundle of a card, once its graph has given vectors of two sounds; the card's dimension is theirs.

    Raises: EncoderDamaged.
    """
    if "dimension" not in raw:
        raw = {**raw, "dimension": 1}
        runtime = Runtime(Bundle(model, parse_card(raw, model), content))
        raw["dimension"] = runtime.dimension_of(_sounds(raw["rate_hz"])[0])
    card: Card = parse_card(raw, model)
    bundle = Bundle(model, card, content)
    runtime, sounds = Runtime(bundle), _sounds(card.rate_hz)
    first, second = runtime.vectors(sounds)
    if float(np.linalg.norm(first - second)) < SAME:
        raise EncoderDamaged(str(model), "gives a tone and noise one vector; are the features the right ones?")
    runtime.vector_and_windows(sounds[0])  # where it gives any, they are used when somebody is enrolled
    return bundle


def require_its_vectors(bundle: Bundle) -> None:
    """Raise EncoderDamaged where a card names another's vectors that are here, and its graph gives others; StateError
    where another's card names this graph's."""
    own, sounds = bundle.card, _sounds(bundle.card.rate_hz)
    for folder, card in cards():
        if isinstance(card, Card) and card.vectors_of == own.vectors_of and card.sha256 != own.sha256:
            theirs, ours = Runtime(open_bundle(folder)).vectors(_sounds(card.rate_hz)), Runtime(bundle).vectors(sounds)
            if theirs.shape != ours.shape or float(np.abs(theirs - ours).max()) > SAME:
                if own.vectors_of == own.sha256:
                    raise StateError(
                        f"{folder.name} says that it gives this graph's vectors, and does not; "
                        f"`speakerdb encoder remove {folder.name}` first"
                    )
                raise EncoderDamaged(
                    str(bundle.folder), f"its vectors are not those of {folder.name}, as its card says"
                )


def vectors_by(sha256: str, features: dict[str, Any], rate_hz: int) -> str:
    """Whose vectors a graph gives that is given these features: its own hash, or one of both where they are unusual."""
    how = unusual(features, rate_hz)
    return hashlib.sha256(json.dumps([sha256, how], sort_keys=True).encode()).hexdigest() if how else sha256


def untried_claim(bundle: Bundle) -> bool:
    """Whether its card names another graph's vectors, and no other bundle here gives them."""
    card = bundle.card
    if card.vectors_of in (card.sha256, vectors_by(card.sha256, card.features, card.rate_hz)):
        return False
    others = [one for folder, one in cards() if folder != bundle.folder and isinstance(one, Card)]
    return all(one.vectors_of != card.vectors_of for one in others)


def _sounds(rate_hz: int) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """A buzz as of a voice, and noise."""
    rng = np.random.default_rng(1)
    times = np.arange(round(TRIED_S[0] * rate_hz)) / rate_hz
    harmonics = np.arange(1, 25)[:, None]
    buzz = (np.sin(2.0 * np.pi * 120.0 * harmonics * times) / harmonics).sum(axis=0)
    noise = rng.normal(size=round(TRIED_S[1] * rate_hz))
    return [(0.05 * sound).astype(np.float32) for sound in (buzz, noise)]
