"""An encoder's figures on trial lists: clips → embeddings on disk → scores → figures, intervals, pictures."""
