"""From a corpus of recordings to an encoder bundle; run from a checkout: `python -m training --help`."""
