"""Recordings as the world makes them: rooms, noise, telephones, codecs, levels.

A training's own augmentation smears log-mel frames, which is cheap and not how echoes sound. Here rooms are simulated
in the waveform (pyroomacoustics), with noise, filters, telephones and codecs, never the same twice.

`impulse_responses` are the rooms, `sounds` keeps clips, noises and rooms on disk, `channels` and `worsening` say what
befalls a crop, `workers` are processes beside the one that asks.
"""
