"""Trial lists, the scores that an encoder's vectors give them, and score files of any system.

Plain UTF-8 text, one entry a line, fields separated by white space; empty lines are skipped:

    pairs           1|0 CLIP CLIP, or CLIP CLIP target|nontarget    VoxCeleb's form, or Kaldi's; the first line tells
    models          MODEL CLIP …         who is enrolled with which clips (Kaldi's spk2utt); a gallery has the same form
    model trials    1|0 MODEL CLIP, or MODEL CLIP target|nontarget
    probes          SPEAKER|- CLIP       who a search is for; - is a stranger
    scores          CLIP CLIP SCORE      with a label behind, or without; higher is more alike

A clip is any name without white space: a path within a corpus, mostly. Scores are −distance, so higher is
more alike, as `speakerdb.metrics` takes them; a model's vector is the average of its clips' vectors.
"""

from speakerdb.trials.lists import (
    Form,
    Model,
    ModelTrial,
    Pair,
    Probe,
    iter_pairs,
    read_model_trials,
    read_models,
    read_pairs,
    read_probes,
    write_pairs,
)
from speakerdb.trials.score_files import read_scores, write_scores
from speakerdb.trials.scoring import OpenSetScores, Scores, Vectors, score_models, score_open_set, score_pairs
from speakerdb.trials.table import TrialTable

__all__ = [
    "Form",
    "Model",
    "ModelTrial",
    "OpenSetScores",
    "Pair",
    "Probe",
    "Scores",
    "TrialTable",
    "Vectors",
    "iter_pairs",
    "read_model_trials",
    "read_models",
    "read_pairs",
    "read_probes",
    "read_scores",
    "score_models",
    "score_open_set",
    "score_pairs",
    "write_pairs",
    "write_scores",
]
