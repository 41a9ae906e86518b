"""Embeddings on disk: what was written is found again after a kill, and nothing that was half written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb.durable import take_lock
from training.evaluation.embeddings import Embeddings

PROJECT = Path(__file__).parents[2]
DIMENSION = 3
WRITER = """
import sys
from pathlib import Path
import numpy as np
from training.evaluation import embeddings
embeddings.KEPT_AFTER = 2
found = embeddings.Embeddings(Path(sys.argv[1]), "sha", 3, "source")
number = len(found)
while True:
    found.append(f"clip{number}", number / 8, np.full(3, number, np.float32))
    number += 1
    if number % 2 == 0:
        print(number, flush=True)
"""


def vector(number: int) -> np.ndarray:
    return np.full(DIMENSION, number, np.float32)


def open_at(folder: Path, encoder: str = "sha", source: str = "source") -> Embeddings:
    return Embeddings(folder / "e", encoder, DIMENSION, source)


def write(folder: Path, clips: int) -> None:
    found = open_at(folder)
    for number in range(clips):
        found.append(f"clip{number}", number / 8, vector(number))
    found.flush()


def check_prefix(found: Embeddings) -> None:
    """Whatever is there is right, and without a gap."""
    assert list(found) == [f"clip{number}" for number in range(len(found))]
    for number, clip in enumerate(found):
        assert np.array_equal(found[clip], vector(number))
        assert found.seconds[clip] == pytest.approx(number / 8, abs=0.001)


def test_what_was_appended_is_there_at_once_and_after_opening_again(tmp_path):
    found = open_at(tmp_path)
    found.append("a", 1.5, vector(7))
    assert np.array_equal(found["a"], vector(7)) and "b" not in found
    found.append("b", 2.5, vector(8))
    found.flush()
    again = open_at(tmp_path)
    assert list(again) == ["a", "b"] and again.seconds == {"a": 1.5, "b": 2.5}
    assert np.array_equal(again["b"], vector(8))


def test_of_two_that_write_the_same_files_the_second_is_told(tmp_path):
    first, second = open_at(tmp_path), open_at(tmp_path)
    first.append("a", 1.0, vector(1))
    first.flush()
    second.append("b", 1.0, vector(2))
    with pytest.raises(ValueError, match=r"e\.tsv: another process writes there"):
        second.flush()
    first.append("c", 1.0, vector(3))
    first.flush()
    again = open_at(tmp_path)
    assert list(again) == ["a", "c"] and np.array_equal(again["c"], vector(3))


def test_who_finds_the_files_to_be_of_another_source_is_told(tmp_path):
    writes, reads, looked = open_at(tmp_path), open_at(tmp_path), open_at(tmp_path)
    writes.append("a", 1.0, vector(1))
    writes.flush()
    reads, looked = open_at(tmp_path), open_at(tmp_path)
    assert np.array_equal(looked["a"], vector(1))
    write_other = open_at(tmp_path, source="others")
    write_other.append("a", 1.0, vector(9))
    write_other.flush()
    writes.append("b", 1.0, vector(2))
    with pytest.raises(ValueError, match="another process writes there"):
        writes.flush()
    with pytest.raises(ValueError, match="another process writes there"):
        reads["a"]
    assert np.array_equal(looked["a"], vector(1))
    again = open_at(tmp_path, source="others")
    assert list(again) == ["a"] and np.array_equal(again["a"], vector(9))


def test_files_that_somebody_holds_for_long_are_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr("training.evaluation.embeddings.LOCKED_S", 0.05)
    write(tmp_path, 1)
    with (tmp_path / "e.tsv").open("rb") as held:
        assert take_lock(held.fileno())
        with pytest.raises(ValueError, match="another process writes there"):
            open_at(tmp_path)


@given(cut=st.integers(0, 400), which=st.sampled_from(["e.f32", "e.tsv"]))
def test_files_cut_at_any_length_keep_what_is_whole_and_take_more(tmp_path_factory, cut, which):
    folder = tmp_path_factory.mktemp("cut")
    write(folder, 9)
    path = folder / which
    path.write_bytes(path.read_bytes()[:cut])
    found = open_at(folder)
    check_prefix(found)
    kept = len(found)
    if which == "e.f32":
        assert kept == min(9, cut // (4 * DIMENSION))
    for number in range(kept, 9):
        found.append(f"clip{number}", number / 8, vector(number))
    found.flush()
    whole = open_at(folder)
    check_prefix(whole)
    assert len(whole) == 9


@given(at=st.integers(0, 9 * 4 * DIMENSION - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_vectors_ends_what_is_believed(tmp_path_factory, at, bit):
    folder = tmp_path_factory.mktemp("flipped")
    write(folder, 9)
    content = bytearray((folder / "e.f32").read_bytes())
    content[at] ^= 1 << bit
    (folder / "e.f32").write_bytes(content)
    found = open_at(folder)
    check_prefix(found)
    assert len(found) == at // (4 * DIMENSION)


@pytest.mark.parametrize("other", [{"encoder": "another"}, {"source": "another"}])
def test_vectors_of_another_encoder_or_source_are_not_taken(tmp_path, other):
    write(tmp_path, 4)
    assert len(open_at(tmp_path, **other)) == 0
    assert len(open_at(tmp_path)) == 0  # they were begun anew


def test_nobody_else_may_read_them(tmp_path):
    write(tmp_path, 1)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.3])
def test_what_a_killed_process_had_acknowledged_is_there(tmp_path, delay_s):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "e")]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in writer.stdout.read().splitlines() if line] or [2]
    found = open_at(tmp_path)
    check_prefix(found)
    assert len(found) >= acknowledged[-1]
