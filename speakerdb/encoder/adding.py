"""Adding an encoder: any ONNX graph, or a bundle, becomes one of the user's own bundles once it has been tried.

A graph of sherpa-onnx's form says itself what it takes, in its metadata; of others it must be said.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from speakerdb import settings
from speakerdb.durable import fsync_folder, making
from speakerdb.encoder.bundle import (
    COHORT,
    FORMAT,
    LONGEST_TEXT,
    Bundle,
    Card,
    open_bundle,
    parse_card,
    read_bounded,
    read_model,
    vectors_of,
)
from speakerdb.encoder.registry import added_folder, cards, shipped_names
from speakerdb.encoder.trying import require_its_vectors, tried, vectors_by
from speakerdb.errors import EncoderDamaged, InputError, StateError, StorageError, printable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A folder's name on any system."""

WHAT_CHANGES_NOTHING = ("name", "version", "origin", "dimension", "sha256", "vectors_of")
"""In a card: it changes no vector and no decision; the dimension is the graph's own."""

FRAMEWORKS = {"wespeaker": "hamming", "3d-speaker": "povey"}
"""Whose graphs sherpa-onnx's metadata describes, with the window that their makers' training used."""


@dataclass(frozen=True)
class GraphForm:
    """What a graph says of itself.

    Attributes:
        input_shape: of its first input; free axes are None. metadata: texts that its maker put into the file.
    """

    input_shape: tuple[int | None, ...]
    metadata: dict[str, str]


def add_encoder(
    name: str,
    model: Path,
    features: dict[str, Any] | None = None,
    rate_hz: int | None = None,
    threshold: tuple[float, str] | None = None,
) -> Bundle:
    """Make a bundle of an ONNX file, or take over a bundle's folder, under a name of its own.

    Args:
        features: `kind` with parameters, as cards have them; left out, what the graph's metadata say.
        rate_hz: of the samples; left out, the metadata's or 16,000. threshold: a distance and where it was chosen.
    Raises: InputError for a name that is none, or where it is not known what the graph takes; StateError where the
        name is taken, or the graph is here with another card; EncoderDamaged where the graph does not load, run, or
        tell two sounds apart. What is wrong with an argument is an InputError, too.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{printable(name)!r}: an encoder's name has letters, digits, '.', '_' and '-', at most 64")
    if name in shipped_names() or os.path.lexists(added_folder() / name):
        raise StateError(
            f"there is an encoder named {name} already; `speakerdb encoder remove {name}` takes an added one out"
        )
    if not model.exists():
        raise InputError(f"{printable(model, 200)}: no such file or folder", path=str(model))
    cohort = b""
    if model.is_dir():
        if features or rate_hz:
            raise InputError(f"{printable(model, 200)} is a bundle; its card says what it takes")
        found = open_bundle(model)
        raw, content = {**found.card.raw, "name": name}, found.model
        if found.cohort:
            cohort = read_bounded(model / COHORT, settings.MAX_COHORT_BYTES)
    else:
        content = read_model(model)
        form = read_form(content, model)
        raw = card_of(name, content, form, features, rate_hz)
        _require_usable(raw)
        raw["origin"] = {"file": printable(model.name, 200), "metadata": form.metadata}
    if threshold:
        _require_threshold(*threshold)
        if raw.get("calibration"):
            raise InputError("a calibrated encoder decides by rates; a threshold of its own would never be looked at")
        raw["threshold"] = {"distance": threshold[0], "origin": threshold[1]}
    _require_only(raw)
    bundle = tried(raw, content, model)
    require_its_vectors(bundle)
    return _write(name, bundle, cohort)


def read_form(content: bytes, model: Path) -> GraphForm:
    """What a graph says of itself. Raises: EncoderDamaged where onnxruntime cannot load it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        inputs, found = session.get_inputs(), session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime raises its own types, none of them public
        reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
        raise EncoderDamaged(str(model), f"onnxruntime cannot load it ({reason})") from error
    if not inputs:
        raise EncoderDamaged(str(model), "takes no input")
    shape = tuple(size if isinstance(size, int) else None for size in inputs[0].shape)
    return GraphForm(shape, {printable(key, 100): printable(value, 300) for key, value in found.items()})


def card_of(
    name: str, content: bytes, form: GraphForm, features: dict[str, Any] | None, rate_hz: int | None
) -> dict[str, Any]:
    """The card of a graph as far as it is known before it is tried: all but the dimension.

    Raises: InputError where neither the caller nor the graph says what it takes.
    """
    rate = rate_hz or _number(form.metadata.get("sample_rate")) or 16_000
    features = dict(features) if features else features_said(form)
    if features is None:
        raise InputError(
            f"{name}: the graph does not say what it takes; add --features kaldi-fbank, ge2e-windows or waveform"
        )
    if features["kind"] == "kaldi-fbank":
        bins = form.input_shape[-1] if len(form.input_shape) == 3 else None
        features = {"rate_hz": rate, "bins": bins or 80, **features}
    sha256 = hashlib.sha256(content).hexdigest()
    vectors = vectors_by(sha256, features, rate)
    own = {"vectors_of": vectors} if vectors != sha256 else {}
    least = {"enroll": settings.MIN_ENROLL_SPEECH_S, "probe": settings.MIN_PROBE_SPEECH_S}
    return {
        "format": FORMAT,
        "name": name,
        "version": sha256[:8],
        "sha256": sha256,
        **own,
        "rate_hz": rate,
        "features": features,
        "least_speech_s": least,
        "threshold": None,
    }


def _require_usable(raw: dict[str, Any]) -> None:
    """Raise InputError where a caller's features make no card."""
    try:
        parse_card({**raw, "dimension": 1}, Path(raw["name"]))
    except EncoderDamaged as error:
        reason = str(error.fields["reason"]).removeprefix("card.json: ").removeprefix("ValueError: ")
        raise InputError(f"what the graph is said to take cannot be: {reason}") from error


def _require_only(raw: dict[str, Any]) -> None:
    """Raise StateError where its vectors are here with another card: a gallery knows its encoder by them alone."""
    for folder, card in cards():
        if (
            isinstance(card, Card)
            and card.vectors_of == vectors_of(raw)
            and _what_counts(card.raw) != _what_counts(raw)
        ):
            raise StateError(
                f"the same vectors are here as {folder.name}, with another card, and a gallery knows its encoder by "
                f"them alone; `speakerdb encoder remove {folder.name}` first, where it is one that was added"
            )


def _what_counts(raw: dict[str, Any]) -> dict[str, Any]:
    """A card without `WHAT_CHANGES_NOTHING`."""
    return {key: value for key, value in raw.items() if key not in WHAT_CHANGES_NOTHING}


def _require_threshold(distance: float, origin: str) -> None:
    if not 0.0 <= distance <= 2.0:
        raise InputError(f"a threshold of {distance:g}; distances lie between 0 and 2")
    if not origin.strip() or not origin.isprintable() or len(origin) > LONGEST_TEXT:
        raise InputError("a threshold wants its origin: where it was chosen, in one line")


def features_said(form: GraphForm) -> dict[str, Any] | None:
    """The features that sherpa-onnx's metadata name; None where there are none that are known here."""
    window = FRAMEWORKS.get(form.metadata.get("framework", ""))
    if window is None:
        return None
    return {
        "kind": "kaldi-fbank",
        "window": window,
        "scale": 1.0 if _number(form.metadata.get("normalize_samples")) else 32_768.0,
        "subtract_mean": form.metadata.get("feature_normalize_type") == "global-mean",
    }


def remove_encoder(name: str) -> None:
    """Forget an encoder that was added. Raises: StateError for one that was not."""
    folder = added_folder() / name
    if not NAME.fullmatch(name) or not folder.is_dir():
        raise StateError(f"no encoder named {printable(name)} was added; `speakerdb encoder list` shows them")
    try:
        folder.unlink() if folder.is_symlink() else shutil.rmtree(folder)
    except FileNotFoundError:
        pass  # somebody else has removed it meanwhile
    except OSError as error:
        raise StorageError(f"{printable(folder, 200)}: {error.strerror or error}", path=str(folder)) from error


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        return None


def _write(name: str, bundle: Bundle, cohort: bytes) -> Bundle:
    """Files beside, fsynced and read again, then the folder's name: an encoder is there whole or not at all."""
    home = added_folder()
    card = json.dumps(bundle.card.raw, indent=2) + "\n"  # in ASCII: a foreign card may hold what is no text
    files = {"encoder.onnx": bundle.model, "card.json": card.encode()} | ({COHORT: cohort} if cohort else {})
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with making(home) as beside:
            draft = beside / name
            draft.mkdir(0o700)
            for file, content in files.items():
                with (draft / file).open("xb") as out:
                    (draft / file).chmod(0o600)
                    out.write(content)
                    out.flush()
                    os.fsync(out.fileno())
            written = open_bundle(draft)
            draft.rename(home / name)
            fsync_folder(home)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise StateError(f"there is an encoder named {name} by now") from error
        raise StorageError(f"{printable(home, 200)}: {error.strerror or error}", path=str(home)) from error
    return replace(written, folder=home / name)
