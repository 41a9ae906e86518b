"""A finished graph goes on learning, in rooms: of a crop with echoes it is to say what it said of the crop itself.

The training's own augmentation smears log-mel frames, which is cheap and not how echoes sound: in a strong
room 0.7's error rate nearly doubled, where CAM++'s grows by two fifths (docs/LOG.md). Here rooms are simulated in the
waveform (pyroomacoustics), with noise, filters, telephones and codecs, never the same twice, and the graph's own
vectors of the clean crops are the targets, so that what it knows stays; of its weights before and after a mean is taken
(Wortsman et al., 2022, "Robust fine-tuning of zero-shot models").

`impulse_responses` are the rooms, `sounds` keeps clips, noises and rooms on disk, `channels` and `worsening` say what
befalls a crop, `crops` makes batches by `workers` beside the training, `graph_network` runs the graph in PyTorch,
`learn` trains it.
"""
