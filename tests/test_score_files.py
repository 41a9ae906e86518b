"""Score files and Kaldi's trial lists: read as written, in any order, and what does not fit is named by its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb.errors import InputError
from speakerdb.trials import (
    Pair,
    TrialTable,
    iter_pairs,
    read_model_trials,
    read_pairs,
    read_scores,
    score_pairs,
    write_pairs,
    write_scores,
)

names = st.text("abc/", min_size=1, max_size=3)
trials = st.lists(st.tuples(st.booleans(), names, names), min_size=1, max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
TABLE = TrialTable.of([(True, "a", "b"), (False, "a", "c")])


@given(trials, st.sampled_from(["voxceleb", "kaldi"]))
def test_pairs_are_read_as_written_in_either_form(tmp_path_factory: pytest.TempPathFactory, entries, form) -> None:
    path = tmp_path_factory.mktemp("lists") / "list.txt"
    pairs = [Pair(*entry) for entry in entries]
    write_pairs(path, pairs, form)
    assert read_pairs(path) == pairs == list(iter_pairs(path))
    table = TrialTable.read(path)
    again = zip(table.target, table.first, table.second, strict=True)
    assert [Pair(bool(t), table.firsts[a], table.seconds[b]) for t, a, b in again] == pairs


@pytest.mark.parametrize("name", ["two words", "", "line\n", " a"])
def test_a_name_that_no_list_can_hold_is_refused_and_what_was_there_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text("1 a b\n")
    with pytest.raises(InputError, match="has white space in it, or is empty"):
        write_pairs(path, [Pair(True, "one", "two"), Pair(True, "one", name)])
    with pytest.raises(InputError, match="has white space in it, or is empty"):
        write_scores(path, TrialTable.of([(True, "one", name)]), np.zeros(1))
    assert path.read_text() == "1 a b\n"


def test_kaldis_model_trials_are_read(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("m a target\nm b nontarget\n")
    assert [trial.target for trial in read_model_trials(tmp_path / "list.txt")] == [True, False]


@pytest.mark.parametrize("bad", ["1 a b", "a b same", "a target"])
def test_a_list_keeps_the_form_of_its_first_line(tmp_path: Path, bad: str) -> None:
    (tmp_path / "list.txt").write_text(f"a b target\n{bad}\n")
    with pytest.raises(InputError, match=r"list\.txt:2: .* is not `CLIP CLIP target\|nontarget`$"):
        read_pairs(tmp_path / "list.txt")


@given(entries=trials, data=st.data())
def test_scores_are_read_as_written_whatever_their_order(
    tmp_path_factory: pytest.TempPathFactory, entries, data
) -> None:
    table = TrialTable.of(entries)
    of_pair = {pair: data.draw(finite) for pair in {entry[1:] for entry in entries}}
    scores = np.array([of_pair[entry[1:]] for entry in entries])
    path = tmp_path_factory.mktemp("scores") / "scores.txt"
    write_scores(path, table, scores)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*data.draw(st.permutations(lines)), "nobody nowhere 1"]))
    assert np.array_equal(read_scores(path, table), scores)


def test_a_label_behind_a_score_is_checked_against_the_list(tmp_path: Path) -> None:
    path = tmp_path / "scores.txt"
    path.write_text("a b 0.5 target\na c 0.25 nontarget\n")
    assert read_scores(path, TABLE).tolist() == [0.5, 0.25]
    path.write_text("a b 0.5 target\na c 0.25 1\n")
    with pytest.raises(InputError, match=r"scores\.txt:2: 1, where the list says otherwise$"):
        read_scores(path, TABLE)


@pytest.mark.parametrize(
    "lines, said",
    [
        ("a b 0.5\n", r"scores\.txt: no score for 1 trials, 'a c' among them$"),
        ("a b 0.5\na c high\n", r":2: 'high' is not a score$"),
        ("a b 0.5\na c nan\n", r":2: 'nan' is not a score$"),
        ("a b 0.5\na c inf\n", r":2: 'inf' is not a score$"),
        ("a b 0.5\na b 0.6\n", r":2: a second score of this trial, another than the first$"),
        ("a b 0.5 same\n", r":1: 'same' is not a label"),
        ("a b\n", r":1: 'a b' is not `CLIP CLIP SCORE …`$"),
        ("", r"scores\.txt: empty"),
    ],
)
def test_a_score_file_that_does_not_fit_is_refused(tmp_path: Path, lines: str, said: str) -> None:
    (tmp_path / "scores.txt").write_text(lines)
    with pytest.raises(InputError, match=said):
        read_scores(tmp_path / "scores.txt", TABLE)


def test_scores_of_many_blocks_are_those_of_each_pair_alone() -> None:
    rng = np.random.default_rng(0)
    units = rng.standard_normal((50, 8))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    vectors = {f"c{row}": unit.astype(np.float32) for row, unit in enumerate(units)}
    chosen = rng.integers(50, size=(10_000, 2))
    found = score_pairs([Pair(True, f"c{a}", f"c{b}") for a, b in chosen], vectors).target
    rounded = units.astype(np.float32).astype(np.float64)
    expected = [-np.sqrt(np.sum((rounded[a] - rounded[b]) ** 2)) for a, b in chosen]
    assert found == pytest.approx(expected, abs=1e-12)
