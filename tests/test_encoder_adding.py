"""Adding encoders: what a graph says of itself, what it is tried on, and what is on disk afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from tiny_graphs import SHERPA, pooling_graph

from speakerdb import Encoder, Gallery
from speakerdb.audio import read
from speakerdb.durable import MAKING
from speakerdb.encoder.adding import add_encoder, remove_encoder
from speakerdb.encoder.bundle import read_card
from speakerdb.encoder.registry import cards, find_bundle, find_by_hash
from speakerdb.errors import EncoderDamaged, EncoderMismatch, InputError, StateError, StorageError
from speakerdb.metrics import equal_error_rate
from speakerdb.trials import read_pairs, score_pairs

pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")

FBANK = {"kind": "kaldi-fbank"}


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def test_a_graph_is_added_and_found_by_name_and_by_hash(tmp_path, encoders_folder, examples):
    bundle = add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), FBANK)
    assert bundle.folder == encoders_folder / "mine" == find_bundle("mine") == find_by_hash(bundle.card.sha256)
    assert bundle.card.dimension == 16
    assert bundle.card.features == {"kind": "kaldi-fbank", "bins": 80, "rate_hz": 16_000}
    assert Encoder.load("mine").embed(examples / "ana_1.wav").shape == (16,)
    assert [folder.name for folder, _ in cards()] == ["speakerdb-16k", "mine"]


def test_a_graph_with_other_features_is_another_encoder_to_galleries(tmp_path, examples):
    usual = add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), {**FBANK, "window": "povey"}).card
    assert usual.vectors_of == usual.sha256  # what is the usual anyway makes no difference
    with Gallery.open(tmp_path / "people", encoder="mine") as gallery:
        gallery.enroll("ana", examples / "ana_1.wav")
    remove_encoder("mine")
    with_hamming = add_encoder("mine", tmp_path / "a.onnx", {**FBANK, "window": "hamming"}).card
    assert with_hamming.sha256 == usual.sha256 != with_hamming.vectors_of
    for encoder in ("mine", None):
        with Gallery.open(tmp_path / "people", encoder=encoder) as gallery, pytest.raises(EncoderMismatch):
            gallery.verify("ana", examples / "ana_1.wav", threshold=1.0)
    add_encoder("usual", tmp_path / "a.onnx", FBANK)
    with Gallery.open(tmp_path / "people") as gallery:
        assert gallery.verify("ana", examples / "ana_1.wav", threshold=0.01).accepted


def test_a_graph_that_is_here_with_another_card_is_refused_since_galleries_know_it_by_its_vectors(tmp_path):
    add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), FBANK)
    with pytest.raises(StateError, match="are here as mine, with another card"):
        add_encoder("other", tmp_path / "a.onnx", FBANK, threshold=(0.5, "somewhere"))
    add_encoder("twin", tmp_path / "a.onnx", FBANK)  # under two names it is the same encoder
    assert [folder.name for folder, _ in cards()] == ["speakerdb-16k", "mine", "twin"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_nobody_else_may_read_what_was_added(tmp_path, encoders_folder):
    add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), FBANK)
    assert files_in(encoders_folder) == ["mine", "mine/card.json", "mine/encoder.onnx"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (encoders_folder / "mine").iterdir()} == {0o600}
    assert stat.S_IMODE((encoders_folder / "mine").stat().st_mode) == 0o700


def test_a_graph_of_sherpas_form_says_itself_what_it_takes(tmp_path):
    bundle = add_encoder("mine", pooling_graph(tmp_path / "a.onnx", bins=60, **SHERPA))
    assert bundle.card.features == {
        "kind": "kaldi-fbank",
        "rate_hz": 16_000,
        "bins": 60,
        "window": "hamming",  # WeSpeaker's
        "scale": 32_768.0,
        "subtract_mean": True,
    }
    other = {**SHERPA, "framework": "3d-speaker", "normalize_samples": "1", "sample_rate": "8000"}
    bundle = add_encoder("other", pooling_graph(tmp_path / "b.onnx", **other))
    assert bundle.card.rate_hz == 8_000
    assert (bundle.card.features["window"], bundle.card.features["scale"]) == ("povey", 1.0)


@pytest.mark.parametrize("metadata", [{}, {**SHERPA, "framework": "nemo"}], ids=["nothing said", "NeMo"])
def test_what_a_graph_takes_is_never_guessed(tmp_path, encoders_folder, metadata):
    with pytest.raises(InputError, match="add --features kaldi-fbank, ge2e-windows or waveform"):
        add_encoder("mine", pooling_graph(tmp_path / "a.onnx", **metadata))
    assert files_in(encoders_folder) == []


def test_a_clip_of_several_windows_gets_the_mean_of_their_vectors(tmp_path, examples):
    add_encoder("windows", pooling_graph(tmp_path / "a.onnx", bins=40, frames=160), {"kind": "ge2e-windows"})
    encoder = Encoder.load("windows")
    samples = np.concatenate([read(examples / f"ana_{n}.wav", 16_000).samples for n in (1, 2)])
    from speakerdb.features.ge2e import ge2e_windows

    graph = encoder.runtime._session
    windows = graph.run(None, {"feats": ge2e_windows(samples)})[0]
    assert len(windows) > 1
    expected = windows.mean(axis=0) / np.linalg.norm(windows.mean(axis=0))
    assert np.abs(encoder.runtime.vectors([samples])[0] - expected).max() < 1e-6


def test_a_bundle_is_taken_over_with_its_card(tmp_path, encoders_folder):
    bundle = add_encoder("twin", find_bundle())
    assert bundle.card.raw == {**Encoder.load().card.raw, "name": "twin"}
    assert bundle.card.threshold_origin == Encoder.load().card.threshold_origin


def test_a_threshold_comes_with_its_origin(tmp_path):
    bundle = add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), FBANK, threshold=(0.7, "my own 2,000 pairs"))
    assert (bundle.card.threshold_distance, bundle.card.threshold_origin) == (0.7, "my own 2,000 pairs")


@pytest.mark.parametrize(
    ("name", "error"),
    [("speakerdb-16k", StateError), ("mine", StateError), ("", InputError), ("..", InputError), (".a", InputError),
     ("a/b", InputError), ("a b", InputError), ("ä", InputError), ("a" * 65, InputError)],
)  # fmt: skip
def test_a_name_that_is_taken_or_no_folders_is_refused(tmp_path, encoders_folder, name, error):
    add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), FBANK)
    before = files_in(encoders_folder)
    with pytest.raises(error):
        add_encoder(name, tmp_path / "a.onnx", FBANK)
    assert files_in(encoders_folder) == before


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ({"kind": "waveform"}, EncoderDamaged, "failed to run"),
        ({"kind": "ge2e-windows"}, EncoderDamaged, "failed to run"),
        ({"kind": "kaldi-fbank", "bins": 40}, EncoderDamaged, "failed to run"),
        ({"kind": "kaldi-fbank", "window": "none"}, InputError, "window 'none'"),
        ({"kind": "mfcc"}, InputError, "features of kind 'mfcc'"),
        ({"kind": "kaldi-fbank", "low_hz": 9_000.0}, InputError, "a filter bank from"),
        ({"kind": "kaldi-fbank", "low_hz": float("nan")}, InputError, "a filter bank from"),
    ],
)
def test_features_that_do_not_fit_the_graph_are_found_before_anything_is_written(
    tmp_path, encoders_folder, features, error, message
):
    with pytest.raises(error, match=message):
        add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), features)
    assert files_in(encoders_folder) == []


def test_a_graph_that_hears_no_difference_is_refused(tmp_path):
    import onnx

    path = pooling_graph(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.zeros((80, 16), np.float32), "mixed"))
    bias = onnx.numpy_helper.from_array(np.ones(16, np.float32), "bias")
    model.graph.initializer.append(bias)
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "bias"], ["embedding"]))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EncoderDamaged, match="gives a tone and noise one vector"):
        add_encoder("deaf", path, FBANK)


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x07" + bytes(100)])
def test_what_is_no_graph_is_one_line(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(EncoderDamaged, match=r"a\.onnx: onnxruntime cannot load it") as error:
        add_encoder("mine", tmp_path / "a.onnx", FBANK)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        add_encoder("mine", tmp_path / "a.onnx", FBANK)


def test_a_bundle_keeps_its_cohort_and_scores_as_it_did(encoders_folder, examples):
    shipped = find_bundle(None)
    assert add_encoder("mine", shipped).cohort is not None
    assert files_in(encoders_folder / "mine") == [
        "card.json",
        "cohort.npy",
        "encoder.onnx",
    ]
    found = Encoder.load("mine")
    np.testing.assert_array_equal(found.embed(examples / "ana_1.wav"), Encoder.load().embed(examples / "ana_1.wav"))
    assert found.cohort.nearest == Encoder.load().cohort.nearest


def changed_bundle(folder, **changes):
    """The shipped bundle under another hash, its card changed."""
    shutil.copytree(find_bundle(None), folder)
    content = (folder / "encoder.onnx").read_bytes() + b"\x32\x01x"  # the model's doc_string
    (folder / "encoder.onnx").write_bytes(content)
    card = json.loads((folder / "card.json").read_text()) | {"sha256": hashlib.sha256(content).hexdigest()} | changes
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_the_same_vectors_with_another_card_are_refused(tmp_path, encoders_folder):
    shipped = read_card(find_bundle(None)).vectors_of
    changed = changed_bundle(tmp_path / "b", vectors_of=shipped, calibration=None, threshold=None)
    with pytest.raises(StateError, match="the same vectors are here as speakerdb-16k, with another card"):
        add_encoder("mine", changed)
    assert files_in(encoders_folder) == []


def test_a_card_that_claims_anothers_vectors_is_refused(tmp_path, encoders_folder):
    onnx = pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
    shipped = read_card(find_bundle(None)).vectors_of
    folder = changed_bundle(tmp_path / "b", vectors_of=shipped)
    model = onnx.load(folder / "encoder.onnx")
    last = next(node for node in model.graph.node if "embedding" in node.output)
    last.output[:] = ["true"]
    model.graph.node.append(onnx.helper.make_node("Neg", ["true"], ["embedding"]))
    onnx.save(model, folder / "encoder.onnx")
    card = json.loads((folder / "card.json").read_text())
    card["sha256"] = hashlib.sha256((folder / "encoder.onnx").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(EncoderDamaged, match="its vectors are not those of speakerdb-16k, as its card says"):
        add_encoder("mine", folder)
    assert files_in(encoders_folder) == []


def test_windows_that_are_no_vectors_are_found_when_an_encoder_is_added(tmp_path, encoders_folder):
    onnx = pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
    folder = changed_bundle(tmp_path / "b")
    model = onnx.load(folder / "encoder.onnx")
    last = next(node for node in model.graph.node if "windows" in node.output)
    last.output[:] = ["true"]
    model.graph.node.append(onnx.helper.make_node("Sub", ["true", "true"], ["windows"]))
    onnx.save(model, folder / "encoder.onnx")
    sha256 = hashlib.sha256((folder / "encoder.onnx").read_bytes()).hexdigest()
    card = json.loads((folder / "card.json").read_text()) | {"sha256": sha256, "vectors_of": sha256}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(EncoderDamaged, match="windows: a vector of zero"):
        add_encoder("mine", folder)
    assert files_in(encoders_folder) == []


def test_of_a_card_that_names_vectors_which_nobody_here_gives_one_is_warned(tmp_path, encoders_folder, run):
    add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), {**FBANK, "window": "hamming"})
    folder = shutil.copytree(encoders_folder / "mine", tmp_path / "bundle")
    remove_encoder("mine")
    done = run("encoder", "add", "same", folder)
    assert (done.returncode, done.stderr) == (0, "")  # what unusual features make of its own hash is no claim
    card = json.loads((folder / "card.json").read_text()) | {"vectors_of": "f" * 64}
    (folder / "card.json").write_text(json.dumps(card))
    done = run("encoder", "add", "other", folder)
    assert (done.returncode, done.stderr) == (
        0,
        "speakerdb: warning: other says that it gives the vectors of ffffffff, which is not here to try it by\n",
    )


@pytest.mark.parametrize(
    "threshold", [(-1.0, "a guess"), (2.1, "a guess"), (float("nan"), "a guess"), (1.0, " "), (1.0, "a\nb")]
)
def test_a_threshold_that_is_none_or_has_no_origin_is_refused(tmp_path, encoders_folder, threshold):
    with pytest.raises(InputError, match="threshold"):
        add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), FBANK, threshold=threshold)
    assert files_in(encoders_folder) == []


def test_an_added_bundle_that_was_tampered_with_is_refused_and_hides_no_other(tmp_path, encoders_folder):
    add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), FBANK)
    other = add_encoder("other", pooling_graph(tmp_path / "b.onnx", bins=60), FBANK)
    (encoders_folder / "mine" / "card.json").write_text("{")
    with pytest.raises(EncoderDamaged, match=r"card\.json is not JSON"):
        Encoder.load("mine")
    assert find_by_hash(other.card.vectors_of) == other.folder
    (encoders_folder / "other" / "encoder.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    with pytest.raises(EncoderDamaged, match="has SHA-256"):
        Encoder.load("other")


def test_what_was_added_can_be_removed_and_nothing_else(tmp_path, encoders_folder):
    add_encoder("mine", pooling_graph(tmp_path / "a.onnx"), FBANK)
    remove_encoder("mine")
    assert files_in(encoders_folder) == []
    for name in ("mine", "speakerdb-16k", "..", "", "."):
        with pytest.raises(StateError, match="was added"):
            remove_encoder(name)


def test_a_write_that_was_cut_off_leaves_no_encoder(tmp_path, encoders_folder, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = pooling_graph(tmp_path / "a.onnx")
    with monkeypatch.context() as patched, pytest.raises(StorageError, match="added: No space"):
        patched.setattr(os, "fsync", full)
        add_encoder("mine", path, FBANK)
    assert files_in(encoders_folder) == []
    left = encoders_folder / f"{MAKING}killed"  # by a process that was killed there
    shutil.copytree(find_bundle(), left)
    assert [folder.name for folder, _ in cards()] == ["speakerdb-16k"]
    add_encoder("mine", path, FBANK)
    assert not left.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("graph", "features", "peers"),
    [
        ("campplus_zh_en", FBANK, {"speech_commands-dev": 8.95, "speech_commands-test": 8.33}),
        ("ge2e", {"kind": "ge2e-windows"}, {"speech_commands-dev": 10.31, "speech_commands-test": 9.64}),
    ],
)
def test_a_published_encoder_has_the_error_rate_that_was_published(shared, tmp_path, graph, features, peers):
    import tarfile

    add_encoder(graph, shared / "encoders" / f"{graph}.onnx", features)
    runtime = Encoder.load(graph).runtime
    for name, published in peers.items():
        with tarfile.open(shared / "corpora" / f"{name}.tar") as archive:
            clips = {
                member.name: read(archive.extractfile(member).read(), 16_000).samples
                for member in archive
                if member.isfile()
            }
        vectors = dict(zip(clips, runtime.vectors(list(clips.values())), strict=True))
        scores = score_pairs(read_pairs(shared / "trials" / f"{name}-pairs.txt"), vectors)
        assert 100 * equal_error_rate(scores.target, scores.nontarget).rate == pytest.approx(published, abs=0.1)


def test_the_card_holds_where_the_graph_came_from(tmp_path, encoders_folder):
    add_encoder("mine", pooling_graph(tmp_path / "a.onnx", **SHERPA))
    card = json.loads((encoders_folder / "mine" / "card.json").read_text())
    assert card["origin"] == {"file": "a.onnx", "metadata": SHERPA}


def test_a_threshold_for_an_encoder_that_decides_by_rates_is_refused(encoders_folder) -> None:
    with pytest.raises(InputError, match="decides by rates"):
        add_encoder("mine", find_bundle(None), threshold=(0.5, "guessed"))
