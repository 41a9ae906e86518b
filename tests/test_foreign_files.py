"""Files that somebody else made: archives, bundles, rows and links are believed no further than they were checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from known_voices import DIMENSION, voice
from twelve_people import change, posix

from speakerdb import Encoder, Gallery
from speakerdb.encoder.adding import add_encoder
from speakerdb.encoder.registry import find_bundle
from speakerdb.errors import EncoderDamaged, GalleryDamaged, InputError, StateError
from speakerdb.gallery.feedback import Compared, Decision
from speakerdb.index import snapshot
from speakerdb.store.archive import HEAD, RECORDINGS, VECTORS, method_of

Members = dict[str, bytes]


def gallery_of(folder: Path, encoder: Encoder, people: dict[str, list[str]]) -> Gallery:
    gallery = Gallery.open(folder, encoder=encoder, index="numpy")
    for name, recordings in people.items():
        gallery.enroll(name, recordings)
    return gallery


@pytest.fixture
def archive(tmp_path: Path, known_voices) -> Callable[[Callable[[Members], None]], Path]:
    """An archive of one person, whose members a test may change; heads agree with them afterwards."""

    def made(edit: Callable[[Members], None], people: dict[str, list[str]] | None = None) -> Path:
        with gallery_of(tmp_path / "elsewhere", known_voices, people or {"zoe": ["zoe 0", "zoe 1"]}) as gallery:
            gallery.export(tmp_path / "honest")
        with zipfile.ZipFile(tmp_path / "honest") as file:
            members = {name: file.read(name) for name in file.namelist()}
        edit(members)
        head = json.loads(members[HEAD])
        for name in head["members"]:
            digest = hashlib.sha256(members[name]).hexdigest()
            head["members"][name] = {"size": len(members[name]), "sha256": digest}
        members[HEAD] = json.dumps(head).encode()
        with zipfile.ZipFile(tmp_path / "edited", "w") as file:
            for name, content in members.items():
                file.writestr(zipfile.ZipInfo(name), content, compress_type=method_of(name))
        return tmp_path / "edited"

    return made


def lines(members: Members, edit: Callable[[dict], None]) -> None:
    """Change each recording's line."""
    found = [json.loads(line) for line in members[RECORDINGS].splitlines()]
    for line in found:
        edit(line)
    members[RECORDINGS] = "".join(json.dumps(line) + "\n" for line in found).encode()


def taken_in(tmp_path: Path, encoder: Encoder, file: Path, policy: str = "fail") -> None:
    """Import it beside somebody, who is still there afterwards, whatever came of it."""
    with gallery_of(tmp_path / "here", encoder, {"ana": ["ana 0"]}) as gallery:
        try:
            gallery.import_archive(file, on_conflict=policy)
        finally:
            assert gallery.nearest(voice("ana 0"), top=1)[0].speaker == "ana"
            assert gallery.check().findings == []


def test_vectors_of_another_length_than_the_encoders_stay_out(archive, tmp_path, known_voices):
    def shorter(members: Members) -> None:
        head = json.loads(members[HEAD])
        head["encoder"]["dimension"] = 8
        members[HEAD] = json.dumps(head).encode()
        unit = np.full(8, 8**-0.5, np.float32)
        members[VECTORS] = np.tile(unit, (2, 1)).astype("<f4").tobytes()

    with pytest.raises(InputError, match="have 8 numbers, its encoder's 192"):
        taken_in(tmp_path, known_voices, archive(shorter))


def test_recordings_that_cancel_out_are_nobodys(archive, tmp_path, known_voices):
    def opposite(members: Members) -> None:
        vectors = np.frombuffer(members[VECTORS], "<f4").reshape(2, DIMENSION).copy()
        vectors[1] = -vectors[0]
        members[VECTORS] = vectors.tobytes()

    with pytest.raises(InputError, match=r"vectors.f32, speaker '.*': the vectors cancel out"):
        taken_in(tmp_path, known_voices, archive(opposite))


@pytest.mark.parametrize("name", ["\ud800", "\x1b[31m", "a" * 60_000, "net speech"])
def test_measures_have_short_plain_names(archive, tmp_path, known_voices, name):
    named = archive(lambda members: lines(members, lambda line: line["quality"].update({name: 1.0})))
    with pytest.raises(InputError, match="quality holds something else"):
        taken_in(tmp_path, known_voices, named)


def test_measures_are_few_so_that_every_line_of_an_export_can_be_read_again(archive, tmp_path, known_voices):
    many = {f"a{number}": 1e15 for number in range(51)}
    named = archive(lambda members: lines(members, lambda line: line.update(quality=many)))
    with pytest.raises(InputError, match="quality holds something else"):
        taken_in(tmp_path, known_voices, named)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("member", [HEAD, VECTORS])
def test_members_are_packed_as_export_does_so_that_little_unpacks_to_little(
    archive, tmp_path, known_voices, method, member
):
    if method == method_of(member):
        pytest.skip("that is how export packs it")
    with zipfile.ZipFile(archive(lambda members: None)) as file, zipfile.ZipFile(tmp_path / "bomb", "w") as bomb:
        for name in file.namelist():
            how = method if name == member else method_of(name)
            bomb.writestr(zipfile.ZipInfo(name), file.read(name), compress_type=how)
    with pytest.raises(InputError, match="is not packed as `speakerdb export` does"):
        taken_in(tmp_path, known_voices, tmp_path / "bomb")


def test_a_name_is_not_free_where_the_archive_has_it(archive, tmp_path, known_voices):
    both = archive(lambda members: None, {"ana": ["other 0"], "ana (2)": ["another 0"]})
    taken_in(tmp_path, known_voices, both, policy="rename")
    with Gallery.open(tmp_path / "here", encoder=known_voices) as gallery:
        assert [one.speaker for one in gallery.speakers()] == ["ana", "ana (2)", "ana (3)"]


def test_two_exports_at_once_do_not_write_into_each_other_nor_into_what_a_link_names(tmp_path, known_voices):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (tmp_path / "people.partial").symlink_to(victim)
    with gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"]}) as gallery:
        gallery.export(tmp_path / "people")
    assert victim.read_text() == "mine" and (tmp_path / "people").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "people", "people.partial", "victim.txt"]


@posix
def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path, known_voices):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a file"):
        taken_in(tmp_path, known_voices, tmp_path / "pipe")
    bundle = shutil.copytree(find_bundle(None), tmp_path / "bundle")
    (bundle / "card.json").unlink()
    os.mkfifo(bundle / "card.json")
    with pytest.raises(EncoderDamaged, match=r"card\.json is not a file"):
        Encoder.load(bundle)


@posix
@pytest.mark.parametrize("place", ["gallery.sqlite", "index/voiceprints.index", "index/lock"])
def test_a_pipe_in_the_gallerys_folder_is_waited_for_by_nobody(tmp_path, known_voices, place):
    gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"], "ben": ["ben 0"]}).close()
    pipe = tmp_path / "here" / place
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe, 0o600)
    script = """
import sys
from speakerdb import Gallery, errors
try:
    with Gallery.open(sys.argv[1], index="numpy") as gallery:
        gallery.nearest(gallery.encoder.cohort.vectors[0])
        gallery.remove("ben")
except errors.SpeakerdbError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "here"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == (place != "index/voiceprints.index")


@pytest.mark.parametrize(
    "change_of", ["net_speech_s = 'long'", "audio_sha256 = 'short'", "net_speech_s = 9e999", "quality = '{\"a\": NaN}'",
                  "source = x'00'", "quality = '{\"a\": 9e999}'"]
)  # fmt: skip
def test_no_archive_is_written_that_could_not_be_read(tmp_path, known_voices, change_of):
    with gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"], "ben": ["ben 0"]}) as gallery:
        change(tmp_path / "here" / "gallery.sqlite", f"UPDATE enrollment SET {change_of} WHERE id = 2")
        with pytest.raises(GalleryDamaged):
            gallery.export(tmp_path / "archive")
        if "quality" not in change_of and "sha256" not in change_of:
            with pytest.raises(GalleryDamaged):
                gallery.doctor()
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_check_names_what_another_program_put_into_the_file(tmp_path, known_voices):
    with gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"], "ben": ["ben 0"]}) as gallery:
        change(
            tmp_path / "here" / "gallery.sqlite",
            "CREATE TRIGGER more AFTER DELETE ON speaker BEGIN INSERT INTO speaker VALUES (99, OLD.name, 0, ''); END",
            "CREATE VIEW everybody AS SELECT name FROM speaker",
            "UPDATE enrollment SET net_speech_s = 'long' WHERE id = 2",
        )
        findings = gallery.check().findings
    assert [finding for finding in findings if "is not of speakerdb" in finding] == [
        f"{kind} is not of speakerdb; it may change what is written" for kind in ("trigger 'more'", "view 'everybody'")
    ]
    why = "a str stands where a float belongs"
    assert f"recording 2 is not what was written ({why}); `speakerdb remove-enrollment 2` takes it out" in findings


def bundle_with(tmp_path: Path, cohort: bytes) -> Path:
    bundle = shutil.copytree(find_bundle(None), tmp_path / "bundle")
    card = json.loads((bundle / "card.json").read_text())
    card["cohort"]["sha256"] = hashlib.sha256(cohort).hexdigest()
    (bundle / "card.json").write_text(json.dumps(card))
    (bundle / "cohort.npy").write_bytes(cohort)
    return bundle


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


@pytest.mark.parametrize(
    "cohort",
    [
        b"PK\x05\x06" + bytes(18),
        b"",
        npy("{'descr':("),
        npy("{[]}"),
        npy("{'descr': '<f2', 'fortran_order': False, 'shape': (1000000000000, 192), }"),
        npy(f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({10**30}, 192), }}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 192), }", bytes(768)),
        npy("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 191), }", bytes(764)),
        npy("(" * 5000),
    ],
)
def test_a_cohort_that_is_none_is_one_line(tmp_path, cohort):
    with pytest.raises(EncoderDamaged, match=r"cohort\.npy"):
        Encoder.load(bundle_with(tmp_path, cohort))


def test_a_card_with_a_number_beyond_all_is_one_line(tmp_path):
    bundle = shutil.copytree(find_bundle(None), tmp_path / "bundle")
    card = json.loads((bundle / "card.json").read_text())
    for part in ({"threshold": {"distance": 10**400, "origin": "x"}}, {"least_speech_s": {"enroll": 10**400}}):
        (bundle / "card.json").write_text(json.dumps({**card, **part}))
        with pytest.raises(EncoderDamaged, match=r"card\.json: OverflowError"):
            Encoder.load(bundle)


def test_weights_in_a_file_of_their_own_are_refused_for_no_hash_covers_them(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="graphs are made with onnx (the extra train)")
    from tiny_graphs import pooling_graph

    model = onnx.load(pooling_graph(tmp_path / "whole.onnx"))
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "split.onnx")
    assert (tmp_path / "weights.bin").exists()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EncoderDamaged, match="cannot load it"):
        add_encoder("mine", Path("split.onnx"), {"kind": "kaldi-fbank"})


@pytest.mark.parametrize("vector", [np.zeros(DIMENSION), np.full(DIMENSION, np.nan), np.ones(DIMENSION), np.ones(8)])
def test_a_stored_vector_that_is_none_is_damage_and_near_to_nobody(tmp_path, known_voices, vector):
    with gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"], "ben": ["ben 0"]}):
        pass
    blob = vector.astype("<f4").tobytes()
    with sqlite3.connect(tmp_path / "here" / "gallery.sqlite") as connection:
        connection.execute(
            "UPDATE voiceprint SET vector = ?, vector_crc32 = ? WHERE speaker_id = 1", (blob, zlib.crc32(blob, 1))
        )
    connection.close()
    shutil.rmtree(tmp_path / "here" / "index")
    with Gallery.open(tmp_path / "here", encoder=known_voices, index="numpy") as gallery:
        for ask in (lambda: gallery.verify("ana", "ben 0", threshold=1.9), lambda: gallery.nearest(voice("ben 0"))):
            with pytest.raises(GalleryDamaged):
                ask()
        assert any("'ana'" in finding for finding in gallery.check().findings)


def test_a_damaged_gallery_is_named_and_not_the_archive_that_it_should_go_into(tmp_path, known_voices):
    with gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"]}) as gallery:
        change(tmp_path / "here" / "gallery.sqlite", "UPDATE enrollment SET vector_crc32 = 1")
        with pytest.raises(GalleryDamaged, match=r"gallery\.sqlite is damaged"):
            gallery.export(tmp_path / "archive")
    assert not (tmp_path / "archive").exists()


def test_check_says_that_a_reader_keeps_the_removed_in_the_file(tmp_path, known_voices):
    with gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"], "ben": ["ben 0"]}) as gallery:
        reader = sqlite3.connect(tmp_path / "here" / "gallery.sqlite", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM speaker").fetchone()
        assert not gallery.remove("ana").log_erased
        [finding] = gallery.check().findings
        assert "who was removed may still be in the file" in finding
        reader.close()
        assert gallery.check().findings == []


def test_check_looks_at_kept_sounds_and_the_gallerys_own_calibration(tmp_path, examples):
    with Gallery.open(tmp_path / "here") as gallery:
        gallery.enroll("ana", examples / "ana_1.wav", keep_audio=True)
    file = tmp_path / "here" / "gallery.sqlite"
    change(file, "UPDATE kept_audio SET file = x'00'", "INSERT INTO calibration VALUES (1, '{}', 0, '2026')")
    with Gallery.open(tmp_path / "here") as gallery:
        findings = "\n".join(gallery.check().findings)
    assert "the kept sound of enrollment 1" in findings and "calibration" in findings


@posix
def test_a_link_in_the_snapshots_place_is_not_written_through(tmp_path, known_voices):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    with gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"]}) as gallery:
        (tmp_path / "here" / "index").mkdir(exist_ok=True)
        (tmp_path / "here" / "index" / snapshot.PARTIAL).symlink_to(victim)
        gallery.nearest(voice("ana 0"))
    assert victim.read_text() == "mine"
    assert not (tmp_path / "here" / "index" / snapshot.FILE).is_symlink()


@posix
def test_an_empty_folder_is_closed_to_others_and_those_above_it_cannot_be_written_by_them(tmp_path, known_voices):
    before = os.umask(0)
    try:
        (tmp_path / "open").mkdir(0o777)
        for folder in (tmp_path / "open", tmp_path / "new" / "below" / "here"):
            with gallery_of(folder, known_voices, {"ana": ["ana 0"]}):
                pass
            assert folder.stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "new").stat().st_mode & 0o022 == 0
    finally:
        os.umask(before)


@pytest.mark.parametrize("one", [Compared(1 << 63, 1.0, 1.0, 1), Compared(1, float("nan"), 1.0, 1)])
def test_a_decisions_id_that_could_not_have_been_given_is_none(tmp_path, known_voices, one):
    with gallery_of(tmp_path / "here", known_voices, {"ana": ["ana 0"]}) as gallery:
        forged = Decision("identify", "accepted", 1.0, (one,)).id(gallery._identity())
        with pytest.raises((InputError, StateError)):
            gallery.feedback(forged, "correct")


def test_onnxruntime_reports_to_nobody_and_leaves_nothing_in_the_home_folder(tmp_path, examples):
    home = tmp_path / "home"
    home.mkdir()
    script = f"from speakerdb import Encoder; Encoder.load().embed({str(examples / 'ana_1.wav')!r})"
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", script], env={**kept, "HOME": str(home)}, check=True, timeout=120)
    assert list(home.rglob("*")) == []
    asked = "import os, speakerdb; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", asked], env=kept, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
