"""Clips cut to their middle: which samples are left, and that a shorter clip is never padded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.evaluation.cut import middle


@given(st.integers(0, 400), st.integers(1, 400))
def test_what_is_left_is_the_middle_and_no_longer_than_asked(samples, length):
    clip = np.arange(samples, dtype=np.float32)
    cut = middle(clip, length)
    assert len(cut) == min(samples, length)
    if len(cut):
        before, after = cut[0], samples - 1 - cut[-1]
        assert 0 <= after - before <= 1
        assert np.array_equal(cut, np.arange(before, before + len(cut)))
