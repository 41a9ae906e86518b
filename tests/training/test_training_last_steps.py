"""The steps that a recipe adds to a finished graph: the command, and what a card says of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from rich.console import Console

from speakerdb.embedding import normalize
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from training.card import Sets
from training.commands import training
from training.known_voices import VOICES
from training.last_steps import KEYS, of_last_steps, parameters, with_last_steps, without_last_steps
from training.rebundle import write_changed
from training.recipe import Recipe

DIMENSION = 192


@pytest.fixture
def of_train_sets(monkeypatch) -> None:
    """What the graph would say of corpora that are not committed."""
    rng = np.random.default_rng(0)
    voices = normalize(np.pad(rng.standard_normal((VOICES, DIMENSION - 1)), ((0, 0), (0, 1))))
    monkeypatch.setattr("training.known_voices.voices_of", lambda *_: voices)
    monkeypatch.setattr("training.warped_views.clips_of", lambda *_: {"ana": list(voices)})


@pytest.fixture
def places(tmp_path) -> list[str]:
    nowhere = str(tmp_path / "nowhere")
    return ["--corpora", nowhere, "--trials", nowhere, "--work", str(tmp_path), "--out", str(tmp_path / "out")]


def test_the_command_writes_a_bundle_that_says_how_it_was_made(of_train_sets, places, tmp_path):
    done = CliRunner().invoke(training, ["last-steps", str(find_bundle()), *places, "--version", "9"])
    assert done.exit_code == 0, done.output
    made, shipped = open_bundle(tmp_path / "out").card, open_bundle(find_bundle()).card
    assert made.version == "9"
    assert made.raw["parameters"] == shipped.raw["parameters"]
    assert {key: made.raw["training"][key] for key in KEYS} == {key: shipped.raw["training"][key] for key in KEYS}
    assert made.raw["training"]["command"] == f"python -m training last-steps, after {shipped.id}"
    recipe = made.raw["training"]["recipe"]
    assert (recipe["warped"], recipe["known"]) == ("speech_commands-train", "common_voice-train")


def test_steps_made_twice_are_the_steps_made_once(of_train_sets, tmp_path):
    shipped, quiet = onnx.load(find_bundle() / "encoder.onnx"), Console(quiet=True)
    once, twice = (
        with_last_steps(graph, Recipe.load("third"), tmp_path, tmp_path, quiet)
        for graph in (without_last_steps(shipped), shipped)
    )
    assert once.SerializeToString() == twice.SerializeToString()
    assert parameters(once) == parameters(shipped) == VOICES * DIMENSION + DIMENSION**2


@pytest.mark.parametrize(("warped", "known"), [("w", None), (None, "k"), (None, None)])
def test_a_graph_gets_the_steps_that_its_recipe_asks_for_and_no_others(of_train_sets, warped, known, tmp_path):
    shipped = onnx.load(find_bundle() / "encoder.onnx")
    recipe = replace(Recipe.load("third"), warped=warped, known=known)
    made = with_last_steps(shipped, recipe, tmp_path, tmp_path, Console(quiet=True))
    assert parameters(made) == (DIMENSION**2 if warped else 0) + (VOICES * DIMENSION if known else 0)
    assert [said["of"] for said in of_last_steps(recipe).values()] == [name for name in (warped, known) if name]
    assert without_last_steps(made).SerializeToString() == without_last_steps(shipped).SerializeToString()


def test_the_shipped_card_is_of_the_recipes_version():
    assert open_bundle(find_bundle()).card.version == Recipe.load("third").bundle["version"]


def test_a_recipe_that_asks_for_no_step_ends_in_one_line(places, tmp_path):
    done = CliRunner().invoke(
        training, ["last-steps", str(find_bundle()), *places, "--recipe", "second", "--version", "1"]
    )
    assert done.exit_code == 3
    assert "recipe second: it asks for none of these steps" in done.output
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_another_graph_keeps_nothing_that_was_true_of_the_vectors_before(tmp_path):
    shipped, nowhere = open_bundle(find_bundle()), tmp_path / "nowhere"
    plain = without_last_steps(onnx.load_from_string(shipped.model))
    sets = Sets(nowhere, nowhere, nowhere, nowhere)
    how = {"rooms": "some"}
    write_changed(shipped, plain, Recipe.load("third"), sets, tmp_path / "b", "9", how, Console(quiet=True))
    made = open_bundle(tmp_path / "b").card
    assert (made.version, made.calibration, made.raw["figures"]) == ("9", None, {})
    assert made.raw["parameters"] == shipped.card.raw["parameters"] - VOICES * DIMENSION - DIMENSION**2
    assert not made.raw["training"].keys() & set(KEYS) and made.raw["training"]["rooms"] == "some"
    assert made.sha256 != shipped.card.sha256 and not made.raw.keys() & {"cohort", "vectors_of"}


def test_a_bundle_that_gives_the_same_vectors_says_whose_they_are(tmp_path):
    shipped, nowhere = open_bundle(find_bundle()), tmp_path / "nowhere"
    other = onnx.load_from_string(shipped.model)
    other.doc_string = "written anew"
    sets = Sets(nowhere, nowhere, nowhere, nowhere)
    write_changed(shipped, other, Recipe.load("third"), sets, tmp_path / "b", "9", {}, Console(quiet=True))
    made = open_bundle(tmp_path / "b").card
    assert made.sha256 != shipped.card.sha256 and made.vectors_of == shipped.card.vectors_of
    assert "windows_wanted" in made.raw["features"] and "lengths" not in made.raw["features"]
