"""Every default in one place, and the environment variables that change them."""

from __future__ import annotations

import os
from pathlib import Path

GALLERY_VARIABLE = "SPEAKERDB_GALLERY"
ENCODER_VARIABLE = "SPEAKERDB_ENCODER"
ENCODERS_VARIABLE = "SPEAKERDB_ENCODERS"

ENCODER = "speakerdb-16k"
"""The shipped bundle that a new gallery is bound to."""

TOP = 5
"""Candidates that `identify` shows."""

MIN_ENROLL_SPEECH_S = 1.0
"""Least net speech to enroll where an encoder's card says nothing."""

MIN_PROBE_SPEECH_S = 0.3
"""Least net speech to identify or verify where an encoder's card says nothing."""

WHOLE_S = 20.0
"""Recordings up to this length go through the encoder in one piece; longer ones in windows."""

WINDOW_S = 10.0
"""Length of a long recording's windows."""

WINDOW_MIN_SPEECH_S = 1.0
"""A window with less speech is left out of a long recording's vector."""

BATCH_CLIPS = 8
"""Clips or windows in one run of the encoder; 8 windows of 10 s take about 100 MB while they run."""

MAX_KEPT_S = 300.0
"""Longest recording whose sound a gallery keeps."""

BUSY_TIMEOUT_S = 30.0
"""How long a write waits for other processes' writes before it gives up. Sixteen that never rest, on a disk that others
keep busy, made one wait for more than 10."""

READERS_TIMEOUT_S = 10.0
"""How long a removal waits for readers who still need what it would wipe out, which is no error."""

MAX_NAME_BYTES = 256
"""Longest speaker name in UTF-8."""

MAX_ENCODER_BYTES = 512 << 20
"""An ONNX file beyond this is no speaker encoder."""

MAX_CARD_BYTES = 1 << 20
"""A card beyond this is no card."""

MAX_COHORT_BYTES = 64 << 20
"""A cohort beyond this is no cohort."""

VERIFY_FMR = 0.01
"""How often `verify` may accept a stranger, where nothing else is asked for."""

IDENTIFY_FPIR = 0.01
"""How often `identify` may name somebody for a stranger, where nothing else is asked for."""

LEAST_ERRORS = 30
"""The rule of 30 (Doddington): with 30 errors seen, a rate is within ±30 % with 90 % confidence."""

CHANGE_LLR = 0.0
"""A recording in which two voices, one after the other, are likelier than this is not enrolled."""

ONE_VOICE_LLR = 3.0
"""Windows that have heard the whole recording are believed from here on that one voice speaks (docs/LOG.md)."""

OUTLIER_LLR = -1.0
"""A recording that is less like its speaker's others than this is not enrolled."""

DUPLICATE_FPIR, DUPLICATE_LLR = 0.01, 5.0
"""Two speakers are taken for one person within both: the threshold of a search, and so likely a ratio (in a small
gallery the threshold alone is a low bar for somebody who does not claim to be anybody)."""

COMPLETE_SPEECH_S = 12.0
"""Net speech of a speaker beyond which more makes answers no surer (the calibration's own limit)."""

LITTLE_SPEECH_S = 3.0
"""Net speech of a speaker below which `doctor` asks for more."""

RESCORED = 20
"""Candidates of the vector search that are scored, where fewer are asked for."""

REWRITE_BELOW_BYTES = 256 << 20
"""After a removal a database up to this size (some 60,000 speakers with three recordings each) is written anew."""

SNAPSHOT_STALE_SHARE = 0.1
"""The index is written to disk again on closing once this share of its speakers has changed."""


def threads() -> int:
    """Threads for one run of the encoder: the cores that this process may use, at most 4."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def gallery_folder() -> Path:
    """The gallery where none is named: `SPEAKERDB_GALLERY`, or `speakerdb/gallery` in the user's data folder."""
    return _own_folder(GALLERY_VARIABLE, "gallery")


def encoders_folder() -> Path:
    """Where added encoders lie: `SPEAKERDB_ENCODERS`, or `speakerdb/encoders` in the user's data folder."""
    return _own_folder(ENCODERS_VARIABLE, "encoders")


def _own_folder(variable: str, name: str) -> Path:
    named = os.environ.get(variable)
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_data_dir("speakerdb", appauthor=False)) / name


def encoder_name() -> str:
    """The encoder where none is named: `SPEAKERDB_ENCODER`, or the shipped one."""
    return os.environ.get(ENCODER_VARIABLE) or ENCODER
