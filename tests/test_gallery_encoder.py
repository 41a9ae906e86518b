"""The encoder that a gallery is bound to."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from galleries import listed

from speakerdb import Gallery, settings
from speakerdb.encoder.bundle import open_bundle
from speakerdb.errors import (
    EncoderDamaged,
    EncoderMismatch,
)


@pytest.fixture(scope="module")
def other_bundle(encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped graph under another hash: the same vectors, another encoder."""
    onnx = pytest.importorskip("onnx", reason="onnx is an extra (speakerdb[train])")
    folder = tmp_path_factory.mktemp("bundles") / "other"
    folder.mkdir()
    model = onnx.load_from_string(encoder._bundle.model)
    onnx.helper.set_model_props(model, {"purpose": "another hash"})
    content = model.SerializeToString()
    (folder / "encoder.onnx").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    named = {"name": "other", "version": "9", "sha256": sha256, "vectors_of": sha256}
    card = encoder.card.raw | named | {"calibration": None, "cohort": None}  # scores without a cohort are others
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_a_gallery_is_bound_to_the_encoder_of_its_first_enrollment(people, clips, other_bundle, encoder):
    with Gallery.open(people.folder, encoder=other_bundle) as gallery:
        for use in (
            lambda: gallery.enroll("kal", clips("kal_1")),
            lambda: gallery.identify(*clips("ana_1")),
            lambda: gallery.verify("ana", *clips("ana_1")),
        ):
            with pytest.raises(EncoderMismatch) as raised:
                use()
            message = str(raised.value)
            assert encoder.card.id in message
            assert encoder.card.vectors_of[:8] in message
            assert "other 9" in message
            assert "--encoder" in message
            assert "\n" not in message
        assert listed(gallery) == {"ana": 2, "ben": 1, "eva": 1}  # what needs no encoder works
        assert gallery.remove("eva").speaker_removed
        assert gallery.check().findings == []


@pytest.fixture
def successor(other_bundle, tmp_path) -> Path:
    """A bundle that says that its vectors are the other one's."""
    folder = shutil.copytree(other_bundle, tmp_path / "successor")
    content = (folder / "encoder.onnx").read_bytes() + b"\x32\x01x"  # the model's doc_string: another hash
    (folder / "encoder.onnx").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    changed = {"version": "10", "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "card.json").write_text(json.dumps(card | changed))
    return folder


def test_a_gallery_goes_on_with_an_encoder_that_gives_the_same_vectors(gallery_folder, clips, other_bundle, successor):
    with Gallery.open(gallery_folder, encoder=other_bundle) as gallery:
        gallery.enroll("ana", clips("ana_1"))
    with Gallery.open(gallery_folder, encoder=successor) as gallery:
        assert gallery.identify(*clips("ana_1")).candidates[0].distance < 1e-3
        gallery.enroll("ben", clips("ben_1"))
        assert gallery.check().findings == []
    with Gallery.open(gallery_folder, encoder=other_bundle) as gallery:
        assert listed(gallery) == {"ana": 1, "ben": 1}
        assert gallery.identify(*clips("ben_1")).candidates[0].distance < 1e-3


def test_an_archive_is_taken_in_by_an_encoder_that_gives_the_same_vectors(tmp_path, clips, other_bundle, successor):
    with Gallery.open(tmp_path / "before", encoder=other_bundle) as gallery:
        gallery.enroll("ana", clips("ana_1"))
        gallery.export(tmp_path / "people.spkdb")
    with Gallery.open(tmp_path / "after", encoder=successor) as gallery:
        assert gallery.import_archive(tmp_path / "people.spkdb").speakers == 1
        assert gallery.identify(*clips("ana_1")).candidates[0].distance < 1e-3


def test_vectors_of_another_dimension_are_another_encoders_whatever_its_card_says(
    gallery_folder, clips, other_bundle, successor
):
    with Gallery.open(gallery_folder, encoder=other_bundle) as gallery:
        gallery.enroll("ana", clips("ana_1"))
    card = json.loads((successor / "card.json").read_text())
    (successor / "card.json").write_text(json.dumps(card | {"dimension": 191}))
    with Gallery.open(gallery_folder, encoder=successor) as gallery:
        with pytest.raises(EncoderMismatch):
            gallery.enroll("ben", clips("ben_1"), force=True)
        assert listed(gallery) == {"ana": 1}


def test_comparing_by_another_encoder_uses_nothing_of_the_gallery(people, clips, other_bundle):
    with Gallery.open(people.folder, encoder=other_bundle) as gallery:
        found = gallery.compare(clips("ana_1", "ben_1"), threshold=0.5)
        first, second = (gallery._asked_encoder.embed(*clips(name)) for name in ("ana_1", "ben_1"))
    [pair] = found.pairs
    assert pair.distance == pytest.approx(float(np.linalg.norm(first - second)), abs=1e-6)
    assert (pair.llr, found.fmr) == (None, None)  # that encoder has no calibration, and the gallery's is of another


def test_a_gallery_of_another_encoder_needs_it_to_be_named(gallery_folder, clips, other_bundle):
    with Gallery.open(gallery_folder, encoder=other_bundle) as gallery:
        gallery.enroll("ana", clips("ana_1"))
        assert gallery.identify(*clips("ana_1")).speaker == "ana"
        assert gallery.check().encoder == "other 9"
    with (
        Gallery.open(gallery_folder) as gallery,
        pytest.raises(EncoderMismatch, match=r"made with encoder other 9 \("),
    ):
        gallery.identify(*clips("ana_1"))
    with Gallery.open(gallery_folder, encoder=str(other_bundle)) as gallery:
        assert gallery.identify(*clips("ana_1")).speaker == "ana"


def test_without_a_name_the_encoder_is_the_one_that_the_gallery_is_bound_to(people, clips, other_bundle, monkeypatch):
    monkeypatch.setenv(settings.ENCODER_VARIABLE, str(other_bundle))  # for new galleries
    with Gallery.open(people.folder) as gallery:
        assert gallery.identify(*clips("ana_1")).speaker == "ana"


def test_a_gallery_bound_by_another_process_meanwhile_is_not_searched_with_the_wrong_encoder(
    gallery_folder, clips, other_bundle, encoder
):
    with Gallery.open(gallery_folder, encoder=other_bundle) as early:
        assert early.encoder.card.id == "other 9"
        with Gallery.open(gallery_folder, encoder=encoder) as faster:
            faster.enroll("ana", clips("ana_1"))
        for use in (lambda: early.identify(*clips("ana_1")), lambda: early.enroll("ben", clips("ben_1"))):
            with pytest.raises(EncoderMismatch):
                use()
    with Gallery.open(gallery_folder / "elsewhere") as undecided:
        assert undecided.encoder.card.id == encoder.card.id
        with Gallery.open(gallery_folder / "elsewhere", encoder=other_bundle) as faster:
            faster.enroll("ana", clips("ana_1"))
        with pytest.raises(EncoderMismatch, match="made with encoder other 9"):
            undecided.identify(*clips("ana_1"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "its card says 000000000000"),
        ({"sha256": None}, "None is not a short text"),
        ({"format": "speakerdb-encoder/2"}, "not of the format speakerdb-encoder/1"),
        ({"dimension": 0}, "0 is not a whole number from 1 to 65536"),
        ({"dimension": 10**30}, "is not a whole number"),
        ({"dimension": True}, "is not a whole number"),
        ({"dimension": 192.0}, "is not a whole number"),
        ({"rate_hz": -1}, "-1 is not a whole number"),
        ({"least_speech_s": {"enroll": 1e999}}, "card.json is not JSON"),
        ({"limits": 5}, "not iterable"),
        ({"limits": ["a\nb"]}, "is not a short text"),
        ({"figures": {"eer": math.nan}}, "card.json is not JSON"),
        ({"least_speech_s": {"probe": -1}}, "-1 is not between"),
        ({"least_speech_s": []}, "AttributeError"),
        ({"threshold": {"distance": 2.5, "origin": "x"}}, "2.5 is not between 0.0 and 2.0"),
        ({"threshold": {"distance": 0.5}}, "KeyError: 'origin'"),
        ({"name": ""}, "'' is not a short text"),
        ({"vectors_of": "x"}, "'x' is no SHA-256"),
        ({"vectors_of": 7}, "7 is no SHA-256"),
        ({"name": "x" * 501}, "card.json: ValueError: 'xxx"),
        ({"name": "two\nlines"}, "is not a short text"),
        ({"features": {"kind": "mfcc"}}, "features of kind 'mfcc' are not known"),
        ({"features": 7}, "TypeError"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_card_that_does_not_hold_is_refused_in_one_line(encoder, tmp_path, gallery_folder, change, message):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "encoder.onnx").write_bytes(encoder._bundle.model)
    (bundle / "card.json").write_text(json.dumps(encoder.card.raw | change))
    assert_refused(bundle, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "card.json cannot be read (No such file or directory)"),
        (b"", "card.json is not JSON"),
        (b"{", "card.json is not JSON"),
        (b"\xff\xfe\x00", "card.json is not JSON"),
        (b"[" * 100_000, "card.json is not JSON"),
        (b"[]", "not of the format"),
        (b"null", "not of the format"),
        (b'{"format": "speakerdb-encoder/1"}', "KeyError: 'name'"),
        (b" " * ((1 << 20) + 1), "card.json is larger than 1 MiB"),
    ],
    ids=["missing", "empty", "cut", "no text", "brackets", "a list", "null", "too little", "too much"],
)
def test_a_card_that_is_no_card_is_refused_in_one_line(encoder, tmp_path, content, message):
    (tmp_path / "encoder.onnx").write_bytes(encoder._bundle.model)
    if content is not None:
        (tmp_path / "card.json").write_bytes(content)
    assert_refused(tmp_path, message)


def test_a_bundle_without_or_with_another_graph_is_refused_in_one_line(encoder, tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(encoder.card.raw))
    assert_refused(tmp_path, "encoder.onnx cannot be read")
    flipped = bytearray(encoder._bundle.model)
    flipped[len(flipped) // 2] ^= 1
    for content in (b"", bytes(flipped), encoder._bundle.model[:-1]):
        (tmp_path / "encoder.onnx").write_bytes(content)
        assert_refused(tmp_path, "encoder.onnx has SHA-256")


def assert_refused(bundle: Path, message: str) -> None:
    for open_it in (open_bundle, lambda folder: Gallery.open(folder / "people", encoder=folder)):
        with pytest.raises(EncoderDamaged) as raised:
            open_it(bundle)
        shown = str(raised.value)
        assert message in shown
        assert "\n" not in shown
        assert len(shown) < 600
    assert not (bundle / "people").exists()


def test_an_encoder_that_is_not_there_names_those_that_are(gallery_folder, encoder):
    with pytest.raises(EncoderDamaged, match=f"no such bundle; there are: .*{encoder.card.name}"):
        Gallery.open(gallery_folder, encoder="speakerdb-64k")
