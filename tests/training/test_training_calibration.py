"""Calibrating a bundle: whom it is fitted on, and whom scores are normalised by, are other people."""

from __future__ import annotations

import shutil

from click.testing import CliRunner
from tiny_corpus import write_voices

from speakerdb import Encoder
from training.commands import training


def test_a_speaker_of_the_cohort_who_is_in_a_dev_set_is_refused_before_anything_is_heard(tmp_path, encoder: Encoder):
    shutil.copytree(encoder._bundle.folder, tmp_path / "bundle")
    write_voices(tmp_path / "own-train.tar", ["ana", "ben", "eva"])
    write_voices(tmp_path / "own-dev.tar", ["rms", "ben"])
    sets = ["--corpora", tmp_path, "--cohort", "own-train", "--dev", "own-dev", "--work", tmp_path / "work"]
    found = CliRunner().invoke(training, ["calibrate", *map(str, [tmp_path / "bundle", *sets])])
    assert found.exit_code == 3
    assert found.stderr.splitlines()[-1] == "Error: own-train and own-dev share 1 speakers, ben among them"
    assert not (tmp_path / "work").exists()


def test_a_graph_that_is_not_its_cards_is_not_calibrated(tmp_path, encoder: Encoder):
    """Else what it heard would be kept as what the card's own graph heard."""
    shutil.copytree(encoder._bundle.folder, tmp_path / "bundle")
    with (tmp_path / "bundle" / "encoder.onnx").open("ab") as graph:
        graph.write(b"\0")
    found = CliRunner().invoke(training, ["calibrate", str(tmp_path / "bundle"), "--work", str(tmp_path / "work")])
    assert (found.exit_code, "its card says" in found.stderr) == (5, True)
    assert not (tmp_path / "work").exists()
