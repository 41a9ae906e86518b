"""What was decided, in words and as a picture: the line that everybody gets, and what it rests on."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from speakerdb.cli.output import counted, percent
from speakerdb.errors import InputError, StateError, StorageError, printable

if TYPE_CHECKING:
    from speakerdb.calibration import Calibration
    from speakerdb.decision.threshold import Threshold
    from speakerdb.gallery.answers import ComparedPair, Identification, Verification
    from speakerdb.speech import Quality

SIGNS = {"accepted": "≤", "rejected": ">", "unknown": ">", "inconclusive": "≈"}
LARGEST_SHOWN_LLR = 20.7  # a billion


def identification_line(found: Identification, source: str | None = None) -> str:
    """`identify  clip.wav  ana  distance 0.42 ≤ 0.93  LLR +9.2    next: ben 1.34`.

    Args: source: what to call the recording, where its name alone does not tell it from others.
    """
    head, best = f"identify  {_called(found.source, source)}", found.candidates[0]
    measured = f"{_measured(found.distance, SIGNS[found.outcome], found.threshold.distance, found.llr)}"
    if found.speaker is None:
        return f"{head}  {found.outcome:<12}  nearest: {best.speaker}  {measured}"
    others = found.candidates[1:2]
    after = "".join(f"    next: {second.speaker} {second.distance:.2f}" for second in others)
    return f"{head}  {found.speaker:<12}  {measured}{after}"


def candidate_lines(found: Identification) -> list[str]:
    """All candidates, the likeliest first: `  2  ben   distance 1.34 > 0.93  LLR -11.0`."""
    lines = []
    for number, one in enumerate(found.candidates, 1):
        sign = "≤" if one.distance <= one.threshold else ">"
        lines.append(f"  {number:>3}  {one.speaker:<16}  {_measured(one.distance, sign, one.threshold, one.llr)}")
    return lines


def verification_line(found: Verification, source: str | None = None) -> str:
    """`verify    ana  clip.wav  accepted  distance 0.42 ≤ 0.93  LLR +9.2`. Args: source: as `identification_line`."""
    measured = _measured(found.distance, SIGNS[found.outcome], found.threshold.distance, found.llr)
    return f"verify    {found.speaker}  {_called(found.source, source)}  {found.outcome:<12}  {measured}"


def comparison_line(pair: ComparedPair) -> str:
    """`compare   ana/1.wav  ben/1.wav  same  distance 0.62 ≤ 0.93  LLR +4.0`, by the paths given."""
    word, sign = ("same", "≤") if pair.same_speaker else ("different", ">")
    measured = _measured(pair.distance, sign, pair.threshold, pair.llr)
    return f"compare   {printable(pair.first, 200):<15}  {printable(pair.second, 200):<15}  {word:<9}  {measured}"


def explained(found: Identification | Verification) -> list[str]:
    """What the answer rests on, a line each."""
    lines = [f"threshold  {_threshold_in_words(found.threshold)}"]
    if found.llr is not None:
        lines.append(f"LLR        {found.llr:+.1f}: {_odds(found.llr)}")
    lines.append(f"probe      {_quality_in_words(found.quality)}")
    recordings, enrolled_s, name = _enrolled(found)
    lines.append(f"enrolled   {name}: {counted(recordings, 'recording')}, {enrolled_s:.1f} s of speech")
    candidates = getattr(found, "candidates", [])
    if len(candidates) > 1:
        second, ahead = candidates[1], found.ahead  # type: ignore[union-attr]
        lines.append(f"next       {second.speaker} at {second.distance:.2f}, {ahead:+.2f}")
    lines.append(f"decision   {found.decision}")
    return [f"  {line}" for line in lines]


def require_drawing(file: Path | None) -> None:
    """Before anything is heard: raise InputError where a picture is wanted and matplotlib is not installed."""
    if file is not None and importlib.util.find_spec("matplotlib") is None:
        raise InputError("matplotlib is not installed; run: pip install 'speakerdb[plot]'")


def draw_decision(file: Path, found: Identification | Verification, calibration: Calibration | None) -> None:
    """The answer's LLR among those of trials of one speaker and of two, and the second candidate's beside it.

    Raises: StateError where nobody has calibrated the encoder; StorageError where the file cannot be written.
    """
    from speakerdb import plots

    if calibration is None or found.llr is None:
        raise StateError("the encoder has no calibration to draw; run `speakerdb calibrate`")
    candidates = getattr(found, "candidates", [])
    marks = {_enrolled(found)[2]: found.llr}
    marks |= {f"next: {second.speaker}": second.llr for second in candidates[1:2]}
    title = f"{PurePath(found.source).name}: {found.outcome}"
    try:
        plots.draw_decision(file, title, calibration.quantiles, marks, found.threshold_llr)
    except OSError as error:
        raise StorageError(f"{printable(file, 200)}: {error.strerror or error}") from error


def _measured(distance: float, sign: str, limit: float, llr: float | None) -> str:
    ratio = "" if llr is None else f"  LLR {llr:+.1f}"
    return f"distance {distance:.2f} {sign} {limit:.2f}{ratio}"


def _threshold_in_words(threshold: Threshold) -> str:
    text = f"{threshold.distance:.2f}"
    if threshold.fpir is not None:
        text += f": FPIR {100 * threshold.fpir:g} %, which is FMR {percent(threshold.fmr or 0.0)} % a comparison"
    elif threshold.fmr is not None:
        text += f": FMR {100 * threshold.fmr:g} %"
    return f"{text}; {threshold.origin}"


def _odds(llr: float) -> str:
    """In words: `340 times likelier from one person than from two`."""
    times = math.exp(min(abs(llr), LARGEST_SHOWN_LLR))
    shown = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    more = "more than " if abs(llr) > LARGEST_SHOWN_LLR else ""
    first, second = ("one person", "two") if llr >= 0 else ("two persons", "one")
    return f"{more}{shown} times likelier from {first} than from {second}"


def _quality_in_words(quality: Quality) -> str:
    text = f"{quality.net_speech_s:.1f} s of speech in {quality.duration_s:.1f} s"
    if quality.snr_db is not None:
        text += f", SNR {quality.snr_db:.0f} dB"
    if quality.clipping > 0:
        text += f", {percent(quality.clipping)} % of samples clipped"
    if quality.bandwidth_hz is not None:
        text += f", up to {quality.bandwidth_hz / 1000:.1f} kHz"
    return text


def _enrolled(found: Identification | Verification) -> tuple[int, float, str]:
    """Recordings, seconds and name of the speaker that the probe was held to."""
    candidates = getattr(found, "candidates", None)
    if candidates:
        return candidates[0].recordings, candidates[0].net_speech_s, candidates[0].speaker
    return found.recordings, found.enrolled_s, found.speaker  # type: ignore[union-attr,return-value]


def _called(name: str, listed: str | None) -> str:
    """A recording as a list names it, else by its name alone."""
    return _short(name) if listed is None else printable(listed)


def _short(source: str) -> str:
    """A recording's name without its folder, padded so that lines stand under one another."""
    return f"{printable(PurePath(source).name or source):<15}"
