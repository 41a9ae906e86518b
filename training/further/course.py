"""How a graph learns further: how long, how fast, of whom."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.recipe_values import Count, Natural, Positive, Share, Weight


@dataclass(frozen=True)
class Further:
    """The recipe's table of that name.

    Attributes:
        rate: of AdamW, at most: rising for `warmup_steps`, then for a share of `held` of all steps, then down to 0 as
            a half cosine. inherited_share: of it, for the blocks that are inherited.
        share: of the weights that come out, in a mean with those before, which keeps more of both than either
            (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models").
        voices: other voices of each speaker. virtual_share: of the crops, those of virtual clips.
        second_weight: of the second teacher's cosine against the first's, in what is said of crops of one second, and
            of three and longer ones; between them along a line. weight_of_words: the same in corpora of single words,
            those that the recipe's `cutting` joins, at any length.
        made_words_share: of the crops that one such word fills, those that are made of pieces of its speaker's words.
    """

    steps: Count
    rate: Positive
    warmup_steps: Natural = 100
    held: Share = 0.3
    inherited_share: Share = 0.4
    share: Share = 0.7
    voices: Natural = 3
    virtual_share: Share = 0.65
    second_weight: tuple[Weight, Weight] = (0.4, 0.15)
    weight_of_words: Weight = 0.8
    made_words_share: Share = 0.6
    seed: Natural = 5

    def rate_at(self, step: int) -> float:
        """Of what is not inherited."""
        rising = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        gone = step / self.steps
        if gone < self.held or self.held == 1.0:
            return self.rate * rising
        return self.rate * rising * (1.0 + math.cos(math.pi * (gone - self.held) / (1.0 - self.held))) / 2.0
