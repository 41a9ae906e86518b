"""An encoder bundle: a folder with `encoder.onnx`, `card.json` and maybe `cohort.npy`, checked before it is used.

The card's format is `speakerdb-encoder/1` (docs/formats.md). A gallery is bound to a bundle by the SHA-256 of its
ONNX file.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb import settings
from speakerdb.calibration import Calibration, Cohort
from speakerdb.embedding import normalize
from speakerdb.errors import EncoderDamaged, no_number, printable
from speakerdb.features import check_features
from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ

FORMAT = "speakerdb-encoder/1"

SPEECH_STEPS_HZ = SAMPLE_RATE_HZ // math.gcd(SAMPLE_RATE_HZ, FRAME_SAMPLES)
"""A frame of speech detection, 32 ms, is a whole number of samples at every multiple of it."""


COHORT = "cohort.npy"
LONGEST_TEXT = 500
"""Characters of any text that is shown."""


@dataclass(frozen=True)
class Card:
    """What `card.json` says of an encoder; `raw` holds all of it.

    Attributes:
        dimension: of the vectors. rate_hz: of the samples.
        least_source_rate_hz: a recording made below it gets a warning, since it lacks what the encoder listens to;
            0 where the card names none.
        features: `kind` with every parameter (`speakerdb.features`).
        enroll_speech_s, probe_speech_s: least net speech.
        threshold_distance, threshold_origin: up to which distance two voices count as one person's, and in one
            line where that was chosen; None and empty where nobody has chosen one.
        calibration: what scores mean; None where nobody has found out.
        cohort_sha256, cohort_nearest: of `cohort.npy`; empty and 0 without one. cohort_shares: of mean and spread, as
            `Cohort` takes them.
        vectors_of: SHA-256 of the graph that first gave these vectors, but for rounding; `sha256` itself in most cases;
            of an added graph that is given unusual features, of both together. A gallery is bound to it, and outlives a
            graph that does more beside them, or the same faster.
        limits: what it is known not to do well, a line each.
    """

    name: str
    version: str
    sha256: str
    dimension: int
    rate_hz: int
    features: dict[str, Any]
    enroll_speech_s: float
    probe_speech_s: float
    threshold_distance: float | None
    threshold_origin: str
    raw: dict[str, Any]
    least_source_rate_hz: int = 0
    calibration: Calibration | None = None
    cohort_sha256: str = ""
    cohort_nearest: int = 0
    cohort_shares: tuple[float, float] = (1.0, 1.0)
    vectors_of: str = ""
    limits: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """How messages name the encoder: `speakerdb-16k 0.1`."""
        return f"{self.name} {self.version}"

    def warnings(self, source_rate_hz: int) -> list[str]:
        """What to say of a recording made at that rate: one line where the encoder was not made for it, else none."""
        if source_rate_hz >= self.least_source_rate_hz:
            return []
        return [
            f"recorded at {source_rate_hz} Hz; {self.name} was made for {self.least_source_rate_hz} Hz and more: "
            "its distances mean little here"
        ]


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files agree with its card."""

    folder: Path
    card: Card
    model: bytes
    cohort: Cohort | None = None


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle and check its hash, so that the bytes that run are the bytes that the card describes.

    Raises: EncoderDamaged naming the folder and what is missing or does not agree.
    """
    card = read_card(folder)
    model = read_own_model(folder, card)
    return Bundle(folder, card, model, read_cohort(folder, card) if card.cohort_sha256 else None)


def read_own_model(folder: Path, card: Card) -> bytes:
    """A bundle's graph. Raises: EncoderDamaged where it is not the one that the card describes."""
    model = read_model(folder / "encoder.onnx")
    found = hashlib.sha256(model).hexdigest()
    if found != card.sha256:
        raise EncoderDamaged(str(folder), f"encoder.onnx has SHA-256 {found[:12]}…, its card says {card.sha256[:12]}…")
    return model


def read_cohort(folder: Path, card: Card) -> Cohort:
    """Read and validate `cohort.npy`: float16 [speakers, dimension]. Raises: EncoderDamaged."""
    content = read_bounded(folder / COHORT, settings.MAX_COHORT_BYTES)
    if hashlib.sha256(content).hexdigest() != card.cohort_sha256:
        raise EncoderDamaged(str(folder), "cohort.npy is not the one that card.json names")
    try:
        vectors = _array(content, card.dimension)
        if not 2 <= card.cohort_nearest <= len(vectors):
            raise ValueError(f"{card.cohort_nearest} nearest of {len(vectors)}")
        return Cohort(normalize(vectors), card.cohort_nearest, *card.cohort_shares)
    except Exception as error:  # the header is read by Python's own parser, which raises whatever it likes
        raise EncoderDamaged(str(folder), printable(f"cohort.npy: {error}", 200)) from error


def _array(content: bytes, dimension: int) -> npt.NDArray[np.float16]:
    """NPY 1.0 of float16 [n, dimension], whose size is looked at before anything is made of it."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not NPY 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype != np.float16 or fortran or len(shape) != 2 or shape[1] != dimension:
        raise ValueError(f"{dtype} {shape}")
    if len(content) - file.tell() != shape[0] * shape[1] * dtype.itemsize:
        raise ValueError("other numbers than it announces")
    return np.frombuffer(content, np.float16, offset=file.tell()).reshape(shape)


def read_model(path: Path) -> bytes:
    """The bytes of an ONNX file. Raises: EncoderDamaged where it cannot be read or is too large."""
    return read_bounded(path, settings.MAX_ENCODER_BYTES)


def read_card(folder: Path) -> Card:
    """Read and validate `card.json`. Raises: EncoderDamaged."""
    try:
        raw = json.loads(read_bounded(folder / "card.json", settings.MAX_CARD_BYTES), parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise EncoderDamaged(str(folder), "card.json is not JSON") from error
    return parse_card(raw, folder)


def parse_card(raw: Any, folder: Path) -> Card:
    """A card of its JSON. Raises: EncoderDamaged, which names the folder."""
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise EncoderDamaged(str(folder), f"card.json is not of the format {FORMAT}")
    try:
        speech = raw.get("least_speech_s", {})
        threshold, calibration, cohort = raw.get("threshold"), raw.get("calibration"), raw.get("cohort") or {}
        card = Card(
            name=_text(raw["name"]),
            version=_text(raw["version"]),
            sha256=_text(raw["sha256"]),
            dimension=_whole(raw["dimension"], 1, 65_536),
            rate_hz=_whole(raw["rate_hz"], 4_000, 384_000),
            features=dict(raw["features"]),
            enroll_speech_s=_number(speech.get("enroll", settings.MIN_ENROLL_SPEECH_S), 0.0, 3600.0),
            probe_speech_s=_number(speech.get("probe", settings.MIN_PROBE_SPEECH_S), 0.0, 3600.0),
            threshold_distance=_number(threshold["distance"], 0.0, 2.0) if threshold else None,
            threshold_origin=_text(threshold["origin"]) if threshold else "",
            raw=raw,
            least_source_rate_hz=_whole(raw.get("least_source_rate_hz", 0), 0, 384_000),
            calibration=Calibration.parse(calibration) if calibration else None,
            cohort_sha256=_text(cohort["sha256"]) if cohort else "",
            cohort_nearest=_whole(cohort["nearest"], 2, 1_000_000) if cohort else 0,
            cohort_shares=(
                _number(cohort.get("mean_share", 1.0), 0.0, 1.0),
                _number(cohort.get("spread_share", 1.0), 0.0, 1.0),
            ),
            vectors_of=vectors_of(raw),
            limits=tuple(_text(limit) for limit in raw.get("limits") or ()),
        )
        check_features(card.features, card.rate_hz)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise EncoderDamaged(str(folder), printable(f"card.json: {type(error).__name__}: {error}", 200)) from error
    if card.rate_hz % SPEECH_STEPS_HZ:
        reason = f"wants samples at {card.rate_hz} Hz; multiples of {SPEECH_STEPS_HZ} Hz are served"
        raise EncoderDamaged(str(folder), reason)
    return card


def vectors_of(raw: dict[str, Any]) -> str:
    """`Card.vectors_of` of a card's JSON. Raises: KeyError; ValueError."""
    return _hash(raw["vectors_of"]) if "vectors_of" in raw else _text(raw["sha256"])


def read_bounded(path: Path, limit: int) -> bytes:
    """A bundle's file. Raises: EncoderDamaged where it cannot be read or is larger than the limit."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise EncoderDamaged(str(path.parent), f"{path.name} is not a file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise EncoderDamaged(str(path.parent), f"{path.name} cannot be read ({error.strerror})") from error
    if len(content) > limit:
        raise EncoderDamaged(str(path.parent), f"{path.name} is larger than {limit >> 20} MiB")
    return content


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"{value!r} is not a short text")
    return value


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{value!r} is no SHA-256")
    return value


def _whole(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{value!r} is not a whole number from {low} to {high}")
    return value


def _number(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    if not low <= value <= high:
        raise ValueError(f"{value!r} is not between {low} and {high}")
    return float(value)
