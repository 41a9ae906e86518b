"""The steps that a recipe adds to a finished graph: the command, and what a card says of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from rich.console import Console
from tiny_corpus import write_lists, write_voices

from speakerdb.embedding import normalize
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from training import channel_offsets, known_voices, warped_views
from training.card import Sets
from training.channel_clips import WAYS, Worsened
from training.commands import training
from training.known_voices import VOICES
from training.last_steps import KEYS, of_last_steps, parameters, with_last_steps, without_last_steps
from training.rebundle import write_changed
from training.recipe import Recipe

DIMENSION, BINS = 192, 80
NUMBERS = {
    "warped": DIMENSION**2,
    "channels": channel_offsets.DIRECTIONS * (3 * BINS + 1 + DIMENSION),
    "known": VOICES * DIMENSION,
}
"""That each step adds."""


@pytest.fixture
def of_train_sets(monkeypatch) -> None:
    """What the graph would say of corpora that are not committed."""
    rng = np.random.default_rng(0)
    voices = normalize(np.pad(rng.standard_normal((VOICES, DIMENSION - 1)), ((0, 0), (0, 1))))
    monkeypatch.setattr("training.known_voices.voices_of", lambda *_: voices)
    monkeypatch.setattr("training.warped_views.clips_of", lambda *_: {"ana": list(voices)})
    heard = Worsened(*(rng.standard_normal((20, 1 + WAYS, count)) for count in (3 * BINS, DIMENSION)))
    monkeypatch.setattr("training.channel_offsets.heard_worsened", lambda *_: heard)


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
    assert recipe["channels"] == Recipe.load("third").train


def test_figures_of_lists_that_a_training_drew_are_measured_again_and_others_told(of_train_sets, places, tmp_path):
    corpora = tmp_path / "corpora"
    corpora.mkdir()
    write_voices(corpora / "common_voice-dev.tar", ["rms", "slt", "visitor"])
    write_lists(tmp_path / "lists", "common_voice-dev", ["rms", "slt"], "visitor")
    (tmp_path / "third" / "trials").mkdir(parents=True)  # of the training in --work; a training draws pairs alone
    (tmp_path / "lists" / "common_voice-dev-pairs.txt").rename(
        tmp_path / "third" / "trials" / "common_voice-dev-pairs.txt"
    )
    command = ["last-steps", str(find_bundle()), *places, "--corpora", str(corpora), "--version", "9"]
    done = CliRunner().invoke(training, command)
    assert done.exit_code == 0, done.output
    made = open_bundle(tmp_path / "out").card
    assert made.raw["figures"].keys() == {"common_voice-dev"}
    assert made.threshold_distance is not None and "on common_voice-dev" in made.threshold_origin
    told = [line.split(":")[0] for line in done.stderr.splitlines() if "its figures are left out" in line]
    assert told == ["common_voice-test", "speech_commands-dev", "speech_commands-test"]


def test_steps_made_twice_are_the_steps_made_once(of_train_sets, tmp_path):
    shipped, quiet = onnx.load(find_bundle() / "encoder.onnx"), Console(quiet=True)
    once, twice = (
        with_last_steps(graph, Recipe.load("third"), tmp_path, tmp_path, quiet)
        for graph in (without_last_steps(shipped), shipped)
    )
    assert once.SerializeToString() == twice.SerializeToString()
    assert parameters(once) == parameters(shipped) == sum(NUMBERS.values())


@pytest.mark.parametrize("asked", [["warped"], ["channels"], ["known"], ["warped", "known"], []])
def test_a_graph_gets_the_steps_that_its_recipe_asks_for_and_no_others(of_train_sets, asked, tmp_path):
    shipped, third = onnx.load(find_bundle() / "encoder.onnx"), Recipe.load("third")
    recipe = replace(
        third, **({"warped": None, "channels": [], "known": None} | {one: vars(third)[one] for one in asked})
    )
    made = with_last_steps(shipped, recipe, tmp_path, tmp_path, Console(quiet=True))
    assert parameters(made) == sum(NUMBERS[one] for one in asked)
    assert [said["of"] for said in of_last_steps(recipe).values()] == [vars(third)[one] for one in asked]
    assert without_last_steps(made).SerializeToString() == without_last_steps(shipped).SerializeToString()


def test_each_step_can_be_taken_off_from_behind(of_train_sets, tmp_path):
    third = Recipe.load("third")
    whole = with_last_steps(onnx.load(find_bundle() / "encoder.onnx"), third, tmp_path, tmp_path, Console(quiet=True))
    for taken_off, count in (
        (known_voices.without_step, NUMBERS["warped"] + NUMBERS["channels"]),
        (channel_offsets.without_step, NUMBERS["warped"]),
        (warped_views.without_views, 0),
    ):
        whole = taken_off(whole)
        onnx.checker.check_model(whole, full_check=True)
        assert parameters(whole) == count


def test_channels_without_noise_are_refused(tmp_path):
    recipe = replace(Recipe.load("third"), warped=None, noise=None)
    with pytest.raises(ValueError, match="channels: the recipe names no noise"):
        with_last_steps(onnx.load(find_bundle() / "encoder.onnx"), recipe, tmp_path, tmp_path, Console(quiet=True))


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
    assert made.raw["parameters"] == shipped.card.raw["parameters"] - sum(NUMBERS.values())
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
