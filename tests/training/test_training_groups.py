"""EER by language, sex and length: the pairs of each group picked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from speakerdb.metrics import equal_error_rate
from speakerdb.trials import TrialTable
from training.evaluation.clips import Facts
from training.evaluation.figures import with_speakers
from training.evaluation.groups import by_groups

RNG = np.random.default_rng(4)
FACTS = {
    f"s{i}/{n}": Facts(f"s{i}", ("tr", "pt", "")[i % 3], ("f", "m", "f", "")[i % 4]) for i in range(12) for n in (0, 1)
}
SECONDS = {clip: float(RNG.choice([0.5, 1.0, 1.5, 2.0, 4.0, 9.0])) for clip in FACTS}
TRIALS = [(a.split("/")[0] == b.split("/")[0], a, b) for a in FACTS for b in FACTS if a < b]
SCORES = RNG.normal([2.0 * target for target, _, _ in TRIALS])
FOUND = by_groups(with_speakers(TrialTable.of(TRIALS), SCORES, FACTS), FACTS, SECONDS)


def by_hand(belongs) -> dict:
    target = [score for (label, a, b), score in zip(TRIALS, SCORES, strict=True) if belongs(a, b) and label]
    nontarget = [score for (label, a, b), score in zip(TRIALS, SCORES, strict=True) if belongs(a, b) and not label]
    rate = round(100 * equal_error_rate(target, nontarget).rate, 2) if target and nontarget else None
    return {"targets": len(target), "nontargets": len(nontarget), "eer": rate}


@pytest.mark.parametrize("what, group", [("language", "tr"), ("language", "pt"), ("sex", "f"), ("sex", "m")])
def test_a_group_holds_the_pairs_of_which_both_clips_belong_to_it(what, group):
    expected = by_hand(lambda a, b: getattr(FACTS[a], what) == getattr(FACTS[b], what) == group)
    assert FOUND[f"by_{what}"][group] == expected and expected["targets"]


def test_clips_of_which_a_fact_is_not_known_belong_to_no_group():
    assert set(FOUND["by_language"]) == {"tr", "pt"} and set(FOUND["by_sex"]) == {"f", "m"}


def test_a_pair_counts_by_its_shorter_clip_and_the_upper_edge_belongs_to_the_group():
    def shorter(a, b):
        return min(SECONDS[a], SECONDS[b])

    assert FOUND["by_length"]["0–1 s"] == by_hand(lambda a, b: shorter(a, b) <= 1.0)
    assert FOUND["by_length"]["1–2 s"] == by_hand(lambda a, b: 1.0 < shorter(a, b) <= 2.0)
    assert FOUND["by_length"]["over 5 s"] == by_hand(lambda a, b: shorter(a, b) > 5.0)
    assert sum(group["targets"] for group in FOUND["by_length"].values()) == 12


def test_a_group_without_both_classes_has_no_error_rate():
    facts = {"a/1": Facts("a", "tr"), "a/2": Facts("a", "tr"), "b/1": Facts("b", "pt")}
    table = TrialTable.of([(True, "a/1", "a/2"), (False, "a/1", "b/1")])
    found = by_groups(with_speakers(table, np.array([1.0, 0.0]), facts), facts, {})
    assert found == {"by_language": {"tr": {"targets": 1, "nontargets": 0, "eer": None}}, "by_sex": {}}
