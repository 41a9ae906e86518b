"""A finished graph learns further, from its teachers, of voices that nobody has.

What a training on few hours lacks is people. So every speaker is also heard at other speeds and in other voices
(`training.other_voices`), worsened as recordings are (`training.rooms`), and what the teachers say of the clean clip is
to be said of any crop of it. The graph's own operations run in PyTorch, in two processes, whose products are of
bfloat16 where the processor has such: twice as many crops a second as a training on frames in Keras.

`course` says how long and how fast, `lessons` keeps clips on disk, `targets` brings the teachers' vectors into the
graph's own directions, `crops` draws batches, `graph_network` runs the graph, `learn` trains it.
"""
