"""Recipes: what their files say, and one line for what is wrong with one."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training import recipe as recipes
from training.checkpoints import State
from training.loop import changed_since
from training.recipe import RECIPES, Recipe

TABLES = ("network", "losses", "optimization", "augmentation", "teachers", "transplant", "cutting", "speaker_means")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_holds_what_its_file_says(path):
    recipe, values = Recipe.load(path.stem), tomllib.loads(path.read_text())
    stored = recipe.to_json()
    for table in TABLES:
        said = {name: value for name, value in values.get(table, {}).items() if name != "kind"}
        front = said.pop("front", {})  # a transplant's, a table of its own
        assert {name: stored[table]["front"][name] for name in front} == front
        assert {name: _plain(stored[table][name]) for name in said} == said
    for found, said in zip(stored["lengths"], values["lengths"], strict=True):
        assert {name: found[name] for name in said} == said
    assert stored["front_end"] == values["front_end"]["kind"]
    assert (recipe.train, recipe.dev) == (values["corpora"]["train"], values["corpora"]["dev"])
    assert recipe.levelled == values["corpora"].get("levelled", [])
    assert recipe.warped == values["corpora"].get("warped")
    assert recipe.channels == values["corpora"].get("channels", [])
    assert recipe.known == values["corpora"].get("known")
    assert recipe.limits == values["bundle"]["limits"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[network]", "[network]\nlayers = 3", "network knows no layers"),
        ("[losses]", "[losse]", "a recipe knows no losse"),
        ('kind = "next-tdnn"', 'kind = "resnet"', "resnet"),
        ('files = ["campplus-train.npz", "ge2e-train.npz"]', "files = []", "want teachers"),
        ("steps = 6000", "steps = ", "first.toml"),
        ("[corpora]", '[corpora]\nlevelled = ["common_voice-train", "x"]', "levelled are two of the train sets"),
        ("[corpora]", '[corpora]\nlevelled = ["common_voice-train"]', "levelled are two of the train sets"),
        (
            "[corpora]",
            '[corpora]\nknown = "common_voice-train"',
            "known is one of the train sets, and wants two of them",
        ),
        ("[corpora]", '[corpora]\nwarped = "x"', "warped is one of the train sets, and wants a narrow-campplus that"),
        ("[corpora]", '[corpora]\nchannels = ["x"]', "channels are train sets, and want the corpora's noise and a"),
        ("[corpora]", '[corpora]\nnoises = "noise"', "corpora knows no noises"),
        ('kind = "kaldi-16k"', 'kind = "kaldi-16k"\nbins = 60', "front_end knows no bins"),
        ('kind = "kaldi-16k"', 'kind = "seed-48k"', "Kaldi's filter bank alone"),
        ('noise = "noise"', "", "wants the corpora's noise"),
        ("crops = 72", "crops = 72\nclips_per_speaker = 5", "72 crops are not whole speakers of 5 clips"),
    ],
)
def test_a_recipe_that_is_wrong_is_one_line_that_names_it(tmp_path, monkeypatch, old, new, message):
    text = (RECIPES / "first.toml").read_text()
    assert old in text
    (tmp_path / "first.toml").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(recipes, "RECIPES", tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        Recipe.load("first")
    assert str(caught.value).startswith("first.toml") and "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match=r"no recipe 'x'; there are first, second, seed, third"):
        Recipe.load("x")


def test_ones_own_recipe_is_named_by_its_file(tmp_path):
    (tmp_path / "mine.toml").write_text((RECIPES / "first.toml").read_text().replace("steps = 6000", "steps = 7"))
    found = Recipe.load(str(tmp_path / "mine.toml"))
    assert (found.name, found.optimization.steps) == ("mine", 7)
    with pytest.raises(ValueError, match=r"no recipe '.*absent\.toml'"):
        Recipe.load(str(tmp_path / "absent.toml"))


def test_virtual_speakers_want_the_teachers_graphs(tmp_path):
    text = (RECIPES / "first.toml").read_text() + "\n[virtual]\nspeeds = [0.9]\n"
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match="want the teachers' graphs"):
        Recipe.load(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop_frames = 50", "crop_frames = 150", "150 frames; 1 to 100"),
        ("[transplant.front]", "[transplant.fronts]", "transplant knows no fronts"),
        ('kind = "narrow-campplus"', 'kind = "bilstm"', "network knows no"),
        ("crops = 600", "crop = 600", "transplant knows no crop"),
    ],
)
def test_a_transplant_that_cannot_be_is_one_line_too(tmp_path, old, new, message):
    text = (RECIPES / "third.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        Recipe.load(str(tmp_path / "mine.toml"))


def test_other_corpora_are_drawn_from_alike():
    recipe = Recipe.load("first").with_corpora(["mine-train"], ["mine-dev"]).with_steps(7)
    assert (recipe.train, recipe.dev, recipe.optimization.steps) == (["mine-train"], ["mine-dev"], 7)
    assert all(not length.corpora for length in recipe.lengths)
    assert Recipe.load("third").with_corpora(["mine-train"], []).transplant.corpora == {}


THIRD = Recipe.load("third")


def changed_in(recipe: Recipe) -> list[str]:
    """What `train` refuses of a recipe where a training by the third has begun."""
    settings = json.loads(json.dumps(THIRD.to_json()))  # as a checkpoint holds them
    return changed_since(State(1, 0, {}, 0, 1, settings), recipe.to_json())


def test_what_a_recipe_says_of_its_bundle_alone_may_change_under_a_training():
    bundle = {"name": "mine", "version": "0.6", "origin": {"place": "here"}}
    of_the_bundle = replace(
        THIRD,
        bundle=bundle,
        limits=["none"],
        licences={"mine": "CC0"},
        levelled=[],
        warped=None,
        channels=[],
        known=None,
    )
    assert changed_in(of_the_bundle) == []


def test_how_often_a_training_looks_may_change_for_its_front_too():
    front = replace(THIRD.transplant.front, report_steps=7, evaluate_steps=70, patience=3)
    how = replace(THIRD.optimization, steps=9, report_steps=7, evaluate_steps=70, patience=3)
    assert changed_in(replace(THIRD, optimization=how, transplant=replace(THIRD.transplant, front=front))) == []


def test_what_training_depends_on_may_not_change_under_it_however_deep_it_stands():
    front = replace(THIRD.transplant.front, learning_rate=1.0, steps=9)
    other = replace(THIRD, transplant=replace(THIRD.transplant, front=front), train=["mine"])
    assert changed_in(other) == ["train", "transplant.front.learning_rate", "transplant.front.steps"]


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
