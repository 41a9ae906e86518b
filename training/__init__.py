"""From a corpus of recordings to an encoder bundle; run from a checkout: `python -m training --help`."""

import speakerdb  # noqa: F401 (first of all: it keeps onnxruntime from reporting)
