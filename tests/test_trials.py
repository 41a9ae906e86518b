"""Trial lists: what is read is what was written, what is malformed is named; scores worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerdb.errors import InputError
from speakerdb.trials import (
    Model,
    ModelTrial,
    Pair,
    Probe,
    read_model_trials,
    read_models,
    read_pairs,
    read_probes,
    score_models,
    score_open_set,
    score_pairs,
)

SHARED_LISTS = Path(__file__).parents[2] / "shared" / "trials"
DIAGONAL = math.sqrt(0.5)
VECTORS = {
    "east": np.array([1.0, 0.0], dtype=np.float32),
    "north": np.array([0.0, 1.0], dtype=np.float32),
    "west": np.array([-1.0, 0.0], dtype=np.float32),
    "northeast": np.array([DIAGONAL, DIAGONAL], dtype=np.float32),
}
EIGHTH_OF_A_TURN = 2 * math.sin(math.pi / 8)  # the chord between two unit vectors 45° apart

# "-" alone means a stranger; every other word of printable, non-space characters is a name.
words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8).filter(lambda word: word != "-")


def written(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_text(text, encoding="utf-8")
    return path


@given(st.lists(st.tuples(st.booleans(), words, words), min_size=1, max_size=10))
def test_pairs_and_model_trials_are_read_as_written(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[bool, str, str]]
) -> None:
    text = "".join(f"{int(target)} {first} {second}\n" for target, first, second in entries)
    path = written(tmp_path_factory.mktemp("lists"), text)
    assert read_pairs(path) == [Pair(*entry) for entry in entries]
    assert read_model_trials(path) == [ModelTrial(*entry) for entry in entries]


@given(st.dictionaries(words, st.lists(words, min_size=1, max_size=4), min_size=1, max_size=6))
def test_models_are_read_as_written(tmp_path_factory: pytest.TempPathFactory, models: dict[str, list[str]]) -> None:
    text = "".join(f"{name} {' '.join(clips)}\n" for name, clips in models.items())
    expected = [Model(name, tuple(clips)) for name, clips in models.items()]
    assert read_models(written(tmp_path_factory.mktemp("lists"), text)) == expected


@given(st.lists(st.tuples(st.none() | words, words), min_size=1, max_size=10))
def test_probes_are_read_as_written_with_a_dash_for_a_stranger(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str | None, str]]
) -> None:
    text = "".join(f"{'-' if speaker is None else speaker} {clip}\n" for speaker, clip in entries)
    expected = [Probe(*entry) for entry in entries]
    assert read_probes(written(tmp_path_factory.mktemp("lists"), text)) == expected


def test_tabs_empty_lines_windows_line_ends_and_a_missing_last_line_end_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "1\ta  b\r\n\r\n0 c d")
    assert read_pairs(str(path)) == [Pair(True, "a", "b"), Pair(False, "c", "d")]


@pytest.mark.parametrize(
    "read, good, bad, said",
    [
        (read_pairs, "1 a b", "1 a", "'1 a' is not `1|0 CLIP CLIP`"),
        (read_pairs, "1 a b", "1 a b c", "'1 a b c' is not `1|0 CLIP CLIP`"),
        (read_pairs, "1 a b", "2 a b", "'2 a b' is not `1|0 CLIP CLIP`"),
        (read_pairs, "1 a b", "True a b", "'True a b' is not `1|0 CLIP CLIP`"),
        (read_model_trials, "0 m a", "m a", "'m a' is not `1|0 MODEL CLIP`"),
        (read_model_trials, "0 m a", "target m a", "'target m a' is not `1|0 MODEL CLIP`"),
        (read_models, "m a b", "n", "'n' is not `MODEL CLIP …`"),
        (read_models, "m a b", "m c", "'m' occurs twice"),
        (read_probes, "- a", "a", "'a' is not `SPEAKER|- CLIP`"),
        (read_probes, "- a", "m a b", "'m a b' is not `SPEAKER|- CLIP`"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(
    tmp_path: Path, read: Callable[[Path], object], good: str, bad: str, said: str
) -> None:
    path = written(tmp_path, f"{good}\n\n{bad}\n")
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:3: {said}"
    assert caught.value.fields == {"path": str(path), "line": 3}


@pytest.mark.parametrize("read", [read_pairs, read_models, read_model_trials, read_probes])
@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_list_is_refused(tmp_path: Path, read: Callable[[Path], object], text: str) -> None:
    with pytest.raises(InputError, match=r"list\.txt: empty, where `.*` lines belong$"):
        read(written(tmp_path, text))


def test_a_missing_list_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.txt: No such file"):
        read_pairs(tmp_path / "absent.txt")
    with pytest.raises(InputError, match=r": "):
        read_pairs(tmp_path)
    (tmp_path / "clip.wav").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(InputError, match=r"clip\.wav: not UTF-8 text$"):
        read_pairs(tmp_path / "clip.wav")


def test_pairs_score_their_distance_times_minus_one() -> None:
    pairs = [
        Pair(False, "east", "north"),
        Pair(True, "east", "east"),
        Pair(False, "east", "west"),
        Pair(True, "northeast", "north"),
    ]
    scores = score_pairs(pairs, VECTORS)
    assert scores.target == pytest.approx([0.0, -EIGHTH_OF_A_TURN], abs=1e-6)
    assert scores.nontarget == pytest.approx([-math.sqrt(2), -2.0], abs=1e-6)
    assert scores.target.dtype == scores.nontarget.dtype == np.float64


def test_a_list_of_targets_alone_leaves_the_nontargets_empty() -> None:
    scores = score_pairs([Pair(True, "east", "east")], VECTORS)
    assert (len(scores.target), len(scores.nontarget)) == (1, 0)


def test_a_model_is_the_average_of_its_clips() -> None:
    models = [Model("between", ("east", "north")), Model("left", ("west",))]
    trials = [
        ModelTrial(True, "between", "northeast"),
        ModelTrial(False, "left", "east"),
        ModelTrial(True, "between", "east"),
    ]
    scores = score_models(models, trials, VECTORS)
    assert scores.target == pytest.approx([0.0, -EIGHTH_OF_A_TURN], abs=1e-6)
    assert scores.nontarget == pytest.approx([-2.0], abs=1e-6)


def test_a_search_gives_the_true_speakers_score_and_rank_or_the_strangers_top_score() -> None:
    gallery = [Model("e", ("east",)), Model("n", ("north",)), Model("w", ("west",))]
    probes = [
        Probe("e", "east"),
        Probe(None, "northeast"),
        Probe("w", "northeast"),
        Probe("e", "north"),
    ]
    scores = score_open_set(gallery, probes, VECTORS)
    assert scores.mated_scores == pytest.approx([0.0, -2 * math.sin(3 * math.pi / 8), -math.sqrt(2)], abs=1e-6)
    # The last probe is as far from e as from w: e takes the worse of the two places.
    assert scores.mated_ranks.tolist() == [1, 3, 3]
    assert scores.nonmated_scores == pytest.approx([-EIGHTH_OF_A_TURN], abs=1e-6)


def test_what_a_list_names_and_nobody_has_is_refused() -> None:
    gallery = [Model("e", ("east",))]
    with pytest.raises(InputError, match=r"^no vector for the clip 'up'$"):
        score_pairs([Pair(True, "east", "up")], VECTORS)
    with pytest.raises(InputError, match=r"^no vector for the clip 'up'$"):
        score_models([Model("u", ("up",))], [], VECTORS)
    with pytest.raises(InputError, match="model 'n'"):
        score_models(gallery, [ModelTrial(True, "n", "north")], VECTORS)
    with pytest.raises(InputError, match="'n', who is not in the gallery"):
        score_open_set(gallery, [Probe("n", "north")], VECTORS)
    with pytest.raises(InputError, match="at least one speaker"):
        score_open_set([], [Probe(None, "north")], VECTORS)


@pytest.mark.parametrize("vector", [[2.0, 0.0], [0.0, 0.0], [math.nan, 0.0]])
def test_a_vector_that_is_not_of_unit_length_is_refused(vector: list[float]) -> None:
    with pytest.raises(ValueError, match="'long' is not of unit length"):
        score_pairs([Pair(True, "long", "long")], {"long": np.array(vector, dtype=np.float32)})


@pytest.mark.skipif(not SHARED_LISTS.is_dir(), reason="the shared trial lists do not lie beside this checkout")
@pytest.mark.parametrize(
    "name, pairs, models, trials, gallery, probes",
    [
        ("common_voice-dev", (5338, 542), 44, (3259, 215), 44, (478, 215)),
        ("common_voice-test", (11810, 1092), 80, (6832, 405), 80, (1066, 405)),
        ("speech_commands-dev", (5015, 805), 66, (6572, 248), 33, (342, 124)),
        ("speech_commands-test", (11501, 1836), 152, (15486, 585), 76, (769, 292)),
    ],
)
def test_the_shared_lists_hold_what_their_readme_counts(
    name: str,
    pairs: tuple[int, int],
    models: int,
    trials: tuple[int, int],
    gallery: int,
    probes: tuple[int, int],
) -> None:
    read = {
        "pairs": read_pairs(SHARED_LISTS / f"{name}-pairs.txt"),
        "trials": read_model_trials(SHARED_LISTS / f"{name}-models-trials.txt"),
    }
    found_probes = read_probes(SHARED_LISTS / f"{name}-probes.txt")
    enrolled = read_models(SHARED_LISTS / f"{name}-gallery.txt")
    assert (len(read["pairs"]), sum(pair.target for pair in read["pairs"])) == pairs
    assert (len(read["trials"]), sum(trial.target for trial in read["trials"])) == trials
    assert (len(found_probes), sum(probe.speaker is not None for probe in found_probes)) == probes
    assert len(read_models(SHARED_LISTS / f"{name}-models.txt")) == models
    assert len(enrolled) == gallery
    assert {probe.speaker for probe in found_probes} - {None} <= {model.name for model in enrolled}
