"""The exported graph: its front end is `speakerdb.features`, and it says what Keras says, padded or not."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from tiny_corpus import EXAMPLES

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")
pytest.importorskip("tf2onnx", reason="exporting needs tf2onnx (the extra train)")

import onnx
from tiny_training import RECIPE

from speakerdb import Encoder, audio
from speakerdb.embedding import normalize
from speakerdb.encoder.bundle import open_bundle
from speakerdb.encoder.registry import find_bundle
from speakerdb.errors import EncoderDamaged
from speakerdb.features.filter_bank import log_mel
from training import export
from training.card import Sets, described, int8_card, make_card
from training.checkpoints import State
from training.export import LogMel, disagreement, export_bundle, waveform_model, write_bundle, write_graph, write_onnx
from training.front_ends import FRONT_ENDS
from training.known_voices import VOICES
from training.last_steps import parameters
from training.networks.bilstm import Bilstm
from training.networks.bilstm import build as build_bilstm
from training.networks.next_tdnn import NextTdnn, build

BANK = FRONT_ENDS["kaldi-16k"]
SMALL = NextTdnn(width=16, blocks=2, kernel=5, aggregated_blocks=2, pooled=24, attention=8, dimension=12)
# From 128 ms, the least that speech detection lets through, whole numbers of frames and others.
LENGTHS = (2_048, 4_000, 4_160, 16_000, 30_321, 40_000)


def network(seed: int):
    """A small network whose every weight is random, and the same each time: some lose more digits than others."""
    keras.utils.set_random_seed(seed)
    model = build(SMALL)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        noise = rng.standard_normal(weight.shape)
        weight.assign(weight.numpy() + 0.1 * (np.abs(noise) if "variance" in weight.path else noise))
    return waveform_model(model, BANK)


def voice(samples: int) -> np.ndarray:
    return np.resize(audio.read(str(EXAMPLES / "ana_1.wav"), 16_000).samples[3_000:], samples)


@pytest.fixture(scope="module")
def keras_model():
    return network(seed=1)


@pytest.fixture(scope="module")
def exported(keras_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "encoder.onnx"
    write_onnx(keras_model, path)
    return path


@pytest.fixture(scope="module")
def session(exported):
    return onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])


def by_keras(model, waveform: np.ndarray, lengths: list[int]) -> np.ndarray:
    return np.asarray(model([waveform, np.array(lengths, np.int64)]))


def alone(session, samples: np.ndarray) -> np.ndarray:
    return session.run(None, {"waveform": samples[None]})[0][0]


@pytest.mark.parametrize("name", ["ana_1", "kal_2", "slt_1"])
def test_the_front_end_in_the_graph_equals_the_one_in_numpy(name):
    samples = audio.read(str(EXAMPLES / f"{name}.wav"), 16_000).samples
    features, mask = LogMel(BANK)([samples[None], np.array([len(samples)], np.int64)])
    found, expected = np.asarray(features)[0], log_mel(samples, BANK)
    assert found.shape == expected.shape
    assert np.all(np.asarray(mask) == 1.0)
    difference = np.abs(found - expected)
    audible = expected >= expected.max(axis=1, keepdims=True) - 45.0 * math.log(10) / 10
    assert difference[audible].max() <= 1e-3
    assert difference.max() <= 1e-2  # 65 dB below its frame's loudest bin float32 has three digits


def test_the_front_ends_floor_is_that_of_digital_silence():
    features, _ = LogMel(BANK)([np.zeros((1, 2_000), np.float32), np.array([2_000], np.int64)])
    assert np.allclose(features, math.log(2.0**-23), atol=1e-6)


@pytest.mark.parametrize("length", [0, 399, 400, 559, 560, 1_999, 2_000, 5_000])
def test_the_mask_holds_the_frames_that_lie_wholly_within_the_clip(length):
    _, mask = LogMel(BANK)([np.zeros((1, 2_000), np.float32), np.array([length], np.int64)])
    expected = [float(160 * frame + 400 <= length) for frame in range(11)]
    assert np.asarray(mask)[0, :, 0].tolist() == expected
    assert sum(expected) == BANK.frames(min(length, 2_000))


def test_the_graphs_inputs_and_output_are_what_the_card_says(session):
    [waveform] = session.get_inputs()
    [lengths] = session.get_overridable_initializers()
    [embedding] = session.get_outputs()
    assert (waveform.name, waveform.type, waveform.shape) == ("waveform", "tensor(float)", ["batch", "samples"])
    assert (lengths.name, lengths.type) == ("lengths", "tensor(int64)")
    assert (embedding.name, embedding.type, embedding.shape) == ("embedding", "tensor(float)", ["batch", 12])


@pytest.mark.parametrize("length", LENGTHS)
def test_a_clip_alone_has_the_vector_that_keras_gives(keras_model, session, length):
    samples = voice(length)
    assert np.abs(alone(session, samples) - by_keras(keras_model, samples[None], [length])[0]).max() <= 1e-5


@pytest.mark.parametrize("beyond", ["zeros", "noise"])
def test_a_padded_batch_has_the_vectors_that_keras_gives_and_of_each_clip_alone(keras_model, session, beyond):
    longest = max(LENGTHS)
    rng = np.random.default_rng(2)
    padded = (rng.standard_normal if beyond == "noise" else np.zeros)((len(LENGTHS), longest)).astype(np.float32)
    for row, length in zip(padded, LENGTHS, strict=True):
        row[:length] = voice(length)
    found = session.run(None, {"waveform": padded, "lengths": np.array(LENGTHS, np.int64)})[0]
    assert np.abs(found - by_keras(keras_model, padded, list(LENGTHS))).max() <= 1e-5
    for row, length in zip(found, LENGTHS, strict=True):
        assert np.abs(row - alone(session, voice(length))).max() <= 1e-5


def test_without_lengths_every_sample_counts(session):
    pair = np.stack([voice(16_000), voice(32_000)[16_000:]])
    without = session.run(None, {"waveform": pair})[0]
    with_lengths = session.run(None, {"waveform": pair, "lengths": np.array([16_000, 16_000], np.int64)})[0]
    assert np.array_equal(without, with_lengths)


def test_the_check_before_a_bundle_is_written_finds_agreement_and_its_lack(keras_model, exported):
    assert disagreement(keras_model, exported, 16_000) <= 1e-5
    assert disagreement(network(seed=3), exported, 16_000) > 1e-2


def test_the_graph_carries_no_path_of_the_machine_that_made_it(exported, tmp_path_factory):
    content = exported.read_bytes()
    assert str(EXAMPLES.parent).encode() not in content
    assert str(tmp_path_factory.getbasetemp()).encode() not in content


@pytest.mark.slow
@pytest.mark.parametrize("front_end", ["seed-16k", "seed-48k", "kaldi-16k"])
def test_the_seeds_network_is_exported_with_any_front_end_and_agrees_with_keras(tmp_path, front_end):
    keras.utils.set_random_seed(1)  # an untrained output may be short, and its unit vector lose digits
    small = build_bilstm(Bilstm(units=6, dimension=5))
    assert write_graph(small, FRONT_ENDS[front_end], tmp_path / "encoder.onnx") <= 1e-5


def test_an_int8_graph_that_tells_people_apart_much_worse_is_not_written(monkeypatch):
    card, sets = {"version": "1", "figures": {"x-dev": {"eer": 6.0}}}, Sets(Path(), Path(), Path(), Path())
    monkeypatch.setattr("training.card.all_figures", lambda *_: ({"x-dev": {"eer": 30.0}}, None))
    with pytest.raises(ValueError, match=r"x-dev: EER 6\.00 % before, 30\.00 % after; this network does not"):
        int8_card(card, RECIPE, Path(), Path(), sets)


@pytest.mark.slow
def test_a_training_becomes_a_bundle_with_its_figures_and_its_data(tiny, trained, tmp_path, quiet):
    work = tmp_path / "work"
    shutil.copytree(tiny.work, work)
    shutil.copytree(trained, work / "tiny")
    out = tmp_path / "bundle"
    export_bundle(RECIPE, work / "tiny", tiny.corpora, tiny.trials, out, quiet, int8=True)
    card = open_bundle(out).card
    assert (card.id, card.rate_hz, card.dimension) == ("tiny-16k 0.1", 16_000, 8)
    data = card.raw["training"]["data"]["common_voice-train"]
    assert (data["speakers"], data["clips"]) == (4, 16)
    assert 0.0 < data["hours"] < 0.1
    assert 0.0 <= card.raw["figures"]["common_voice-dev"]["eer"] <= 100.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle-int8", "work"]
    small = open_bundle(tmp_path / "bundle-int8").card
    assert small.id == "tiny-16k 0.1-int8"
    assert small.raw["int8"]["float"]["figures"] == card.raw["figures"]
    assert small.raw["int8"]["int8"]["figures"] == small.raw["figures"]
    assert small.raw["int8"]["int8"]["cpu_s_for_5_s"] > 0.0


@pytest.mark.slow
def test_a_recipe_that_says_whose_voices_are_known_is_exported_with_the_step(
    tiny, trained, monkeypatch, tmp_path, quiet
):
    voices = normalize(np.pad(np.random.default_rng(0).standard_normal((VOICES, 7)), ((0, 0), (0, 1))))
    monkeypatch.setattr("training.known_voices.voices_of", lambda *_: voices)  # four people leave no direction free
    out = tmp_path / "bundle"
    export_bundle(replace(RECIPE, known="common_voice-train"), trained, tiny.corpora, tiny.trials, out, quiet)
    card, graph = open_bundle(out).card, onnx.load(out / "encoder.onnx")
    assert card.raw["training"]["known_voices"]["of"] == card.raw["training"]["recipe"]["known"] == "common_voice-train"
    assert parameters(graph) == 8 * VOICES < card.raw["parameters"]
    assert len(Encoder.load(out).embed(str(EXAMPLES / "ana_1.wav"))) == 8


@pytest.mark.slow
def test_a_recipe_that_is_not_what_was_trained_by_is_not_exported(tiny, trained, tmp_path, quiet):
    other = replace(RECIPE, network=replace(RECIPE.network, floor_below_peak_db=50.0), limits=["another"])
    with pytest.raises(ValueError, match=r"other settings \(network\.floor_below_peak_db\)"):
        export_bundle(other, trained, tiny.corpora, tiny.trials, tmp_path / "bundle", quiet)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_a_graph_that_disagrees_with_keras_leaves_the_bundle_that_was_there(
    tiny, trained, tmp_path, quiet, monkeypatch
):
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "encoder.onnx").write_bytes(b"before")
    monkeypatch.setattr(export, "AGREEMENT", -1.0)
    with pytest.raises(ValueError, match="differ"):
        export_bundle(RECIPE, trained, tiny.corpora, tiny.trials, out, quiet)
    assert [path.name for path in out.iterdir()] == ["encoder.onnx"]
    assert (out / "encoder.onnx").read_bytes() == b"before"


def test_a_card_that_nobody_could_open_leaves_the_bundle_that_was_there(tmp_path):
    shipped = find_bundle()
    card = json.loads((shipped / "card.json").read_text(encoding="utf8")) | {"cohort": None}
    write_bundle(shipped / "encoder.onnx", card, tmp_path)
    before = (tmp_path / "card.json").read_bytes()
    with pytest.raises(EncoderDamaged, match="KeyError: 'version'"):
        write_bundle(shipped / "encoder.onnx", {name: card[name] for name in card if name != "version"}, tmp_path)
    assert (tmp_path / "card.json").read_bytes() == before and open_bundle(tmp_path).card.version == card["version"]


def test_the_card_says_the_steps_that_were_trained_and_not_the_recipes(exported, tmp_path, quiet):
    state = State(3, 3, {"mean": 10.0}, 0, seed=1, settings=RECIPE.with_steps(9).to_json())
    card = make_card(RECIPE, state, 1, exported, tmp_path / "tiny", tmp_path, tmp_path, quiet)
    assert card["training"]["recipe"] == RECIPE.with_steps(9).to_json()


def test_a_corpus_that_nobody_described_has_an_unknown_licence(tmp_path):
    own = replace(RECIPE, licences={"mine": "CC0"})
    assert described(own, "mine", tmp_path) == {"licence": "CC0"}
    assert described(own, "another", tmp_path)["licence"].startswith("unknown")
