"""speakerdb: a speaker enrollment database with vector search.

    from speakerdb import Gallery

    with Gallery.open("people") as gallery:
        gallery.enroll("ana", ["ana_1.wav", "ana_2.wav"])
        print(gallery.identify("clip.wav").speaker)

The names below are imported at their first use, so that `import speakerdb` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speakerdb.audio import Channel
    from speakerdb.encoder.encoder import Encoder
    from speakerdb.errors import InputError, SpeakerdbError, StateError, StorageError
    from speakerdb.gallery.gallery import Gallery

__all__ = ["Channel", "Encoder", "Gallery", "InputError", "SpeakerdbError", "StateError", "StorageError"]
__version__ = "0.1.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported: it would report runs to its maker

_HOMES = {
    "Channel": "speakerdb.audio",
    "Encoder": "speakerdb.encoder.encoder",
    "Gallery": "speakerdb.gallery.gallery",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'speakerdb' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "speakerdb.errors")), name)
