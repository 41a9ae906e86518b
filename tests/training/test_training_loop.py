"""From archives to a gallery: a tiny training, stopped and gone on with, exported, and used to find a voice."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from tiny_corpus import EXAMPLES, write_archive, write_lists, write_noise, write_voices

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")
pytest.importorskip("tf2onnx", reason="exporting needs tf2onnx (the extra train)")

import h5py

from speakerdb import Encoder, Gallery, audio
from speakerdb.features import FilterBank
from training.augment import Augmentation
from training.batches import CropBatch, CropLength, CropSampler
from training.commands import training
from training.evaluate import dev_error_rates, embed_cached
from training.export import export_bundle
from training.features_cache import CachedFeatures, build_features, join_features
from training.loop import train
from training.networks.next_tdnn import NextTdnn, build
from training.recipe import RECIPES, Optimization, Recipe
from training.records import read_shard, write_shards
from training.teachers import load_targets

# Most of the time goes into TensorFlow's graphs: on a machine that trains beside, five minutes are not enough.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STEPS, CHECKPOINT = 6, 3
TRAIN = ("ana", "ben", "eva", "kal")
DEV, TEST = ("rms", "slt", "visitor"), ("visitor", "stranger", "rms")  # the last of each is not enrolled
RECIPE = Recipe(
    name="tiny",
    bundle={"name": "tiny-16k", "version": "0.1"},
    limits=["Made in seconds, for a test."],
    train=["common_voice-train"],
    dev=["common_voice-dev"],
    noise="noise",
    front_end=FRONT_ENDS["kaldi-16k"],
    teachers=Teachers(files=["campplus-train.npz", "ge2e-train.npz"], second_weight=0.4),
    network=NextTdnn(width=16, blocks=2, kernel=5, aggregated_blocks=2, pooled=24, attention=8, dimension=8),
    losses=Losses(cosine=1.0, relational=5.0, speaker=0.02, triplet=0.1, margin_rise_steps=4, sub_centers=2),
    optimization=Optimization(
        steps=STEPS,
        warmup_steps=2,
        learning_rate=1e-2,
        weight_decay=1e-4,
        report_steps=2,
        evaluate_steps=CHECKPOINT,
    ),
    augmentation=Augmentation(),
    lengths=[CropLength(frames=60, share=1.0, crops=8, corpora={"common_voice": 1.0}, clips_per_speaker=2)],
)


@dataclass(frozen=True)
class Material:
    """A tiny corpus's folders, and what training draws from."""

    corpora: Path
    trials: Path
    dev: dict[str, CachedFeatures]
    sampler: Callable[[], CropSampler]


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Material:
    corpora, work = tmp_path_factory.mktemp("corpora"), tmp_path_factory.mktemp("work")
    archives = [
        write_voices(corpora / "common_voice-train.tar", TRAIN),
        write_voices(corpora / "common_voice-dev.tar", DEV),
        write_noise(corpora / "noise.tar"),
    ]
    write_voices(corpora / "common_voice-test.tar", TEST)
    write_lists(corpora / "trials", "common_voice-dev", DEV[:2], DEV[2])
    write_lists(corpora / "trials", "common_voice-test", TEST[:2], TEST[2])
    found = {}
    for archive in archives:
        [shard] = write_shards(archive, work / "shards")
        found[archive.stem] = build_features(read_shard(shard), work / "features", archive.stem, FilterBank())
    speech = join_features([found["common_voice-train"]])
    names = [row["name"] for row in speech.clips]
    rng = np.random.default_rng(1)
    for file, dimension in zip(RECIPE.teachers, (10, 6), strict=True):
        voices = {voice: rng.standard_normal(dimension) for voice in TRAIN}
        vectors = np.stack([voices[name.split("/")[0]] + 0.3 * rng.standard_normal(dimension) for name in names])
        np.savez(work / file, clips=np.array(names), vectors=vectors.astype(np.float16))
    targets = load_targets([work / file for file in RECIPE.teachers], names, 0.4, RECIPE.network.dimension)

    def sampler(kind: type[CropSampler] = CropSampler) -> CropSampler:
        return kind(speech, targets, found["noise"], RECIPE.lengths, RECIPE.augmentation, 1)

    return Material(corpora, corpora / "trials", {"common_voice-dev": found["common_voice-dev"]}, sampler)


class StoppedSampler(CropSampler):
    """One that is interrupted a step after the checkpoint, as by Ctrl-C."""

    def batch(self, step: int) -> CropBatch:
        if step == CHECKPOINT + 1:
            raise KeyboardInterrupt
        return super().batch(step)


def run(material: Material, work: Path, sampler: CropSampler):
    return train(RECIPE, sampler, material.dev, material.trials, work, Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def unbroken(material, tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("unbroken")
    run(material, work, material.sampler())
    return work


def stored(weights: Path) -> dict[str, np.ndarray]:
    """Every array of a weights file: the layers' and, in a checkpoint, the optimizer's."""
    found = {}
    with h5py.File(weights) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def lines(work: Path) -> list[dict]:
    return [json.loads(line) for line in (work / "log.jsonl").read_text().splitlines()]


def test_a_stopped_training_goes_on_to_the_weights_of_an_unbroken_one(material, unbroken, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(material, tmp_path, material.sampler(StoppedSampler))
    assert json.loads((tmp_path / "last.json").read_text()) == {"step": CHECKPOINT}
    halfway = stored(tmp_path / "last.weights.h5")

    network = run(material, tmp_path, material.sampler())
    expected, found = stored(unbroken / "last.weights.h5"), stored(tmp_path / "last.weights.h5")
    assert found.keys() == expected.keys()
    assert any("optimizer" in name for name in found)
    for name, values in expected.items():
        assert np.allclose(found[name], values, rtol=0, atol=1e-5), name
    moved = [name for name in expected if not np.allclose(found[name], halfway[name], atol=1e-4)]
    assert len(moved) > len(expected) / 2  # the second half did train

    best = build(RECIPE.network)
    best.load_weights(unbroken / "best.weights.h5")
    for weight, values in zip(network.weights, best.weights, strict=True):
        assert np.allclose(weight, values, rtol=0, atol=1e-5), weight.path


def test_training_moves_the_statistics_that_normalise_a_clip_alone(unbroken):
    network = build(RECIPE.network)
    network.load_weights(unbroken / "best.weights.h5")
    means = [weight for weight in network.weights if weight.path.endswith("moving_mean")]
    variances = [weight for weight in network.weights if weight.path.endswith("moving_variance")]
    assert len(means) == len(variances) == 5  # the stem's, two blocks', the aggregation's and the pooling's
    assert all(np.any(mean.numpy() != 0.0) for mean in means)
    assert all(np.any(variance.numpy() != 1.0) for variance in variances)


def test_a_finished_training_is_not_gone_on_with(material, unbroken, tmp_path):
    before = {file.name: file.read_bytes() for file in unbroken.iterdir()}
    run(material, unbroken, material.sampler())
    assert {file.name: file.read_bytes() for file in unbroken.iterdir()} == before


def test_the_log_has_a_line_a_report_and_a_line_a_look_at_the_dev_lists(unbroken):
    log = lines(unbroken)
    assert [line["step"] for line in log if "dev" not in line] == [2, 4, 6]
    assert [line["step"] for line in log if "dev" in line] == [3, 6]
    for line in log:
        if "dev" not in line:
            assert line.keys() == {"step", "loss", "cosine", "speaker"}
            assert 0.0 <= line["cosine"] <= 2.0
            assert line["loss"] >= line["cosine"]
        else:
            assert 0.0 <= line["dev"]["common_voice-dev"] == line["dev"]["mean"] <= 100.0


def test_the_best_weights_are_those_of_the_lowest_dev_error(material, unbroken):
    looks = [line for line in lines(unbroken) if "dev" in line]
    best = json.loads((unbroken / "best.json").read_text())
    assert best["dev"]["mean"] == min(line["dev"]["mean"] for line in looks)
    network = build(RECIPE.network)
    network.load_weights(unbroken / "best.weights.h5")
    assert dev_error_rates(network, material.dev, material.trials) == best["dev"]


def test_dev_clips_are_embedded_as_if_alone(material, unbroken):
    network = build(RECIPE.network)
    network.load_weights(unbroken / "best.weights.h5")
    cached = material.dev["common_voice-dev"]
    vectors = embed_cached(network, cached)
    assert vectors.keys() == {row["path"] for row in cached.clips}
    for clip, row in enumerate(cached.clips):
        frames = cached.of(clip)[None]
        alone = np.asarray(network([frames, np.ones((*frames.shape[:2], 1), np.float32)]))[0]
        assert np.abs(vectors[row["path"]] - alone).max() <= 1e-5


@pytest.fixture(scope="module")
def bundle(material, unbroken, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny-16k"
    export_bundle(RECIPE, unbroken, material.corpora, material.trials, folder, Console(file=io.StringIO()))
    return folder


def test_the_exported_bundle_gives_the_networks_vectors(material, unbroken, bundle):
    network = build(RECIPE.network)
    network.load_weights(unbroken / "best.weights.h5")
    by_network = embed_cached(network, material.dev["common_voice-dev"])
    encoder = Encoder.load(bundle)
    for voice in DEV:
        samples = audio.read(str(EXAMPLES / f"{voice}_1.wav"), 16_000).samples
        found = encoder.runtime.vectors([samples])[0]
        assert np.abs(found - by_network[f"{voice}/{voice}_1.wav"]).max() <= 1e-2  # those are from float16 features


def test_the_card_says_how_the_bundle_was_made_and_how_good_it_is(unbroken, bundle):
    card = Encoder.load(bundle).card
    assert (card.id, card.dimension, card.rate_hz) == ("tiny-16k 0.1", 8, 16_000)
    assert card.raw["training"]["step"] == json.loads((unbroken / "best.json").read_text())["step"]
    assert card.raw["training"]["recipe"]["optimization"]["steps"] == STEPS
    assert card.raw["training"]["data"].keys() == {"common_voice-train", "noise"}
    assert card.raw["parameters"] == build(RECIPE.network).count_params()
    assert card.raw["figures"].keys() == {"common_voice-dev", "common_voice-test"}
    assert card.raw["limits"] == RECIPE.limits
    assert 0.0 <= card.threshold_distance <= 2.0
    assert card.threshold_origin.startswith("FMR 1 % on common_voice-dev, 3 clips enrolled")


def test_the_threshold_lets_no_more_than_a_hundredth_of_the_dev_trials_match_falsely(material, bundle):
    encoder = Encoder.load(bundle)
    distances = []
    for line in (material.trials / "common_voice-dev-models-trials.txt").read_text().splitlines():
        label, model, clip = line.split()
        if label == "0":
            enrolled = [encoder.runtime.vectors([whole(f"{model}_{number}")])[0] for number in (1, 2, 3)]
            mean = np.mean(enrolled, axis=0)
            probe = encoder.runtime.vectors([whole(clip.split("/")[1].removesuffix(".wav"))])[0]
            distances.append(np.linalg.norm(mean / np.linalg.norm(mean) - probe))
    assert len(distances) == 4
    assert min(distances) > encoder.card.threshold_distance - 1e-3  # a hundredth of four is none; rounded to 0.001


def whole(name: str) -> np.ndarray:
    return audio.read(str(EXAMPLES / f"{name}.wav"), 16_000).samples


def test_a_gallery_finds_a_voice_with_the_bundle(bundle, tmp_path):
    with Gallery.open(tmp_path / "people", encoder=bundle) as gallery:
        for voice in ("ana", "ben", "kal"):
            gallery.enroll(voice, [EXAMPLES / f"{voice}_1.wav"])
        for voice in ("ana", "ben", "kal"):
            found = gallery.identify(EXAMPLES / f"{voice}_1.wav", top=3)
            assert found.candidates[0].speaker == voice
            assert found.candidates[0].distance <= 1e-3  # the very clip that was enrolled
            assert found.speaker == voice
            assert len(found.candidates) == 3


def test_the_evaluate_command_prints_the_cards_figures(material, bundle):
    options = ["--corpora", str(material.corpora), "--trials", str(material.trials), "--list", "common_voice-dev"]
    result = CliRunner().invoke(training, ["evaluate", str(bundle), *options])
    assert result.exit_code == 0, result.output
    figures = json.loads((bundle / "card.json").read_text())["figures"]["common_voice-dev"]
    assert json.loads(result.stdout) == {"list": "common_voice-dev", **figures}


def test_a_corpus_that_shares_a_speaker_with_a_dev_corpus_is_not_trained_on(tmp_path):
    for name in (*Recipe.load("first").train, "noise"):
        write_archive(tmp_path / f"{name}.tar", [("somebody/1.wav", b"")])
    for name in Recipe.load("first").dev:
        write_archive(tmp_path / f"{name}.tar", [("somebody/2.wav", b"")])
    options = ["--corpora", str(tmp_path), "--work", str(tmp_path / "work")]
    result = CliRunner().invoke(training, ["prepare", *options])
    assert isinstance(result.exception, ValueError)
    assert "share 1 speakers, somebody among them" in str(result.exception)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_holds_what_its_file_says(path):
    recipe, values = Recipe.load(path.stem), tomllib.loads(path.read_text())
    stored = recipe.to_json()
    for table in ("network", "optimization"):
        assert {name: stored[table][name] for name in values[table]} == values[table]
    assert {name: stored["augmentation"][name] for name in values["augmentation"]} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in values["augmentation"].items()
    }
    assert stored["lengths"] == values["lengths"]
    assert recipe.limits == values["bundle"]["limits"]
    assert "limits" not in recipe.bundle


def test_a_key_that_no_recipe_knows_is_an_error(tmp_path):
    text = (RECIPES / "first.toml").read_text().replace("[network]", "[network]\nlayers = 3")
    (tmp_path / "odd.toml").write_text(text)
    with pytest.raises(TypeError, match="layers"):
        Recipe.load(str(tmp_path / "odd"))
