"""Sound: any source → float32 mono samples at a wanted rate."""

from speakerdb.audio.decoders import READ_SAMPLES, Samples
from speakerdb.audio.sources import Source, Sources, each
from speakerdb.audio.stream import LOUDEST, AudioStream, Recording, read

__all__ = ["LOUDEST", "READ_SAMPLES", "AudioStream", "Recording", "Samples", "Source", "Sources", "each", "read"]
