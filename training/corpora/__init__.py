"""Corpora in the forms in which people have them → clips, one at a time."""

from training.corpora.archive import read_clips
from training.corpora.clip import Clip, Corpus, Row
from training.corpora.opening import open_corpus

__all__ = ["Clip", "Corpus", "Row", "open_corpus", "read_clips"]
