"""Sound: any source → float32 mono samples at a wanted rate."""

from speakerdb.audio.decoders import READ_SAMPLES, Samples
from speakerdb.audio.sources import Channel, Source, Sources, channel_of, each, name_of
from speakerdb.audio.stream import LOUDEST, AudioStream, Recording, read

__all__ = [
    "LOUDEST",
    "READ_SAMPLES",
    "AudioStream",
    "Channel",
    "Recording",
    "Samples",
    "Source",
    "Sources",
    "channel_of",
    "each",
    "name_of",
    "read",
]
