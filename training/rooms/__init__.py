"""A finished graph goes on learning, in rooms: of a copy with echoes it is to say what it said of the clip itself.

The training's own augmentation smears log-mel frames, which is cheap and not how echoes sound: in a room the shipped
graph's error rate nearly doubles where CAM++'s grows by two fifths (docs/LOG.md). Here rooms are simulated in the
waveform (pyroomacoustics), with noise and telephones, and the graph's own vectors of the clean clips are the targets,
so that what it knows stays; of its weights before and after a mean is taken (Wortsman et al., 2022, "Robust
fine-tuning of zero-shot models"). Few steps do: with more it learns the train clips' rooms by heart.

`copies` makes the clips, `graph_network` runs the graph in PyTorch, `learn` trains it.
"""
