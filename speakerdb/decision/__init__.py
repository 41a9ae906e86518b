"""From a distance to an answer: what is asked for, where the line lies for two voices, and what the answer rests on."""
