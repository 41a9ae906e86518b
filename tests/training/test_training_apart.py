"""Nobody is trained on and judged by: told before anything is trained, heard or measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner
from tiny_corpus import write_archive, write_lists, write_voices

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from tiny_training import RECIPE, TRAIN

from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from training.apart import people_of, require_strangers, train_sets_of
from training.card import Sets, all_figures
from training.commands import training
from training.material import gather
from training.prepare import prepare_corpora
from training.rebundle import write_changed


@pytest.fixture
def leaky(tiny, tmp_path):
    """A folder of archives with the tiny test set, in which two people of the train set speak."""
    corpora = shutil.copytree(tiny.corpora, tmp_path / "corpora")
    write_voices(corpora / "common_voice-test.tar", ["stranger", "ben", "ana"])
    return corpora


LEAK = "common_voice-train and common_voice-test share 2 speakers, ana, ben among them"


def test_a_test_set_with_people_of_the_train_set_is_told_before_training(tiny, leaky, quiet, monkeypatch):
    monkeypatch.setattr("training.material.features", None)  # nothing is computed before
    with pytest.raises(ValueError, match=LEAK):
        gather(RECIPE, tiny.work, tiny.teachers, quiet, leaky)


def test_a_prepared_test_set_is_asked_too(tiny, leaky, tmp_path, quiet, monkeypatch):
    work = shutil.copytree(tiny.work, tmp_path / "work")
    (work / "shards" / "common_voice-train.json").rename(tmp_path / "aside")  # else `prepare` itself refuses
    prepare_corpora([str(leaky / "common_voice-test.tar")], work / "shards", None, quiet)
    (tmp_path / "aside").rename(work / "shards" / "common_voice-train.json")
    monkeypatch.setattr("training.material.features", None)
    with pytest.raises(ValueError, match=LEAK):
        gather(RECIPE, work, tiny.teachers, quiet)


def test_a_dev_set_with_people_of_the_train_set_is_told_before_training(tiny, quiet):
    with pytest.raises(ValueError, match=r"train and common_voice-train share 4 speakers, ana, ben, eva among them"):
        gather(replace(RECIPE, dev=["common_voice-train"]), tiny.work, tiny.teachers, quiet)


def test_other_sets_are_trained_on_as_before(tiny, quiet):
    assert gather(RECIPE, tiny.work, tiny.teachers, quiet, tiny.corpora).train


def test_no_figure_is_measured_on_people_of_the_train_set(tiny, leaky, tmp_path):
    sets = Sets(tmp_path / "nowhere", leaky, tiny.trials, tiny.trials)
    with pytest.raises(ValueError, match=LEAK):
        all_figures(RECIPE, find_bundle() / "encoder.onnx", sets)


def test_no_changed_bundle_is_written_of_figures_that_leak(tiny, leaky, tmp_path, quiet):
    import onnx

    bundle, sets = open_bundle(find_bundle()), Sets(tmp_path / "nowhere", leaky, tiny.trials, tiny.trials)
    graph = onnx.load_from_string(bundle.model)
    with pytest.raises(ValueError, match=LEAK):
        write_changed(bundle, graph, RECIPE, sets, tmp_path / "out", "9", {}, quiet)
    assert not (tmp_path / "out").exists()


def evaluated(corpora, *arguments):
    command = ["evaluate", str(find_bundle()), "--corpora", str(corpora), "--draws", "0", *map(str, arguments)]
    return CliRunner().invoke(training, command)


def test_an_encoder_is_not_evaluated_on_people_whom_its_card_names_as_trained_on(leaky, tmp_path):
    write_lists(tmp_path / "trials", "common_voice-test", ["stranger", "ben"], "ana")
    done = evaluated(leaky, "--list", "common_voice-test", "--trials", tmp_path / "trials")
    assert (done.exit_code, done.stderr) == (3, f"Error: {LEAK}\n")
    done = evaluated(
        leaky, "--audio", leaky / "common_voice-test.tar", "--pairs", tmp_path / "trials/common_voice-test-pairs.txt"
    )
    assert (done.exit_code, "common_voice-train and common_voice-test-pairs share 2 speakers" in done.stderr) == (
        3,
        True,
    )


def test_people_who_are_in_no_list_are_no_leak_of_an_evaluation(leaky, tmp_path):
    write_lists(tmp_path / "trials", "common_voice-test", ["rms"], "visitor")
    write_voices(leaky / "common_voice-test.tar", ["rms", "visitor", "ana"])
    done = evaluated(leaky, "--list", "common_voice-test", "--trials", tmp_path / "trials")
    assert done.exit_code == 0, done.output


def test_a_cohorts_encoder_is_not_calibrated_on_people_whom_it_was_trained_on(leaky, tmp_path):
    bundle = shutil.copytree(find_bundle(), tmp_path / "bundle")
    write_voices(leaky / "own-train.tar", ["visitor"])
    write_voices(leaky / "own-dev.tar", ["rms", *TRAIN])
    sets = ["--corpora", leaky, "--cohort", "own-train", "--dev", "own-dev", "--work", tmp_path / "work"]
    done = CliRunner().invoke(training, ["calibrate", *map(str, [bundle, *sets])])
    assert done.exit_code == 3
    assert done.stderr == "Error: common_voice-train and own-dev share 4 speakers, ana, ben, eva among them\n"
    assert not (tmp_path / "work").exists()


def test_sets_that_are_not_at_hand_and_noise_tell_nothing(leaky):
    assert people_of(["absent-train", "noise"], None, leaky) == {"noise": set()}
    require_strangers(["absent-train", "noise"], {"x": {"ana"}}, None, leaky)


@pytest.mark.parametrize("card", [{}, {"training": "by hand"}, {"training": {"data": ["x"]}}, {"training": {}}])
def test_a_card_of_another_form_names_no_train_sets(card):
    assert train_sets_of(card) == []


def test_the_shipped_card_names_its_train_sets():
    card = json.loads((find_bundle() / "card.json").read_text())
    assert {"common_voice-train", "speech_commands-train"} <= set(train_sets_of(card))


def test_a_speaker_without_a_name_is_nobody(tmp_path):
    archive = write_archive(tmp_path / "a-train.tar", [("x/1.wav", b"")])
    archive.with_suffix(".tsv").write_text("path\tspeaker\nx/1.wav\t\n")
    assert people_of(["a-train"], None, tmp_path) == {"a-train": set()}
