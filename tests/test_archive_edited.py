"""Archives that somebody has edited, cut or damaged: refused in one line, and nobody comes in."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from archives import Edit, edited, enrolled, opened
from known_voices import voice
from twelve_people import PEOPLE

from speakerdb import Encoder, Gallery
from speakerdb.errors import EncoderMismatch, InputError, StateError
from speakerdb.store import archive


def first_line(change: Callable[[dict], None]) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        lines = members[archive.RECORDINGS].splitlines(keepends=True)
        line = json.loads(lines[0])
        change(line)
        members[archive.RECORDINGS] = b"".join([json.dumps(line).encode() + b"\n", *lines[1:]])

    return edit


def head(change: Callable[[dict], None]) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        content = json.loads(members[archive.HEAD])
        change(content)
        members[archive.HEAD] = json.dumps(content).encode()

    return edit


def vector(value: np.ndarray) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        blob = value.astype("<f4").tobytes()
        members[archive.VECTORS] = blob + members[archive.VECTORS][len(blob) :]

    return edit


def twice(members: dict[str, bytes]) -> None:
    lines = members[archive.RECORDINGS].splitlines(keepends=True)
    members[archive.RECORDINGS] = b"".join([lines[0], lines[0], *lines[2:]])


def signalling(members: dict[str, bytes]) -> None:
    """A NaN that floating-point units complain of."""
    members[archive.VECTORS] = (0x7FA00000).to_bytes(4, "little") + members[archive.VECTORS][4:]


def opposite(members: dict[str, bytes]) -> None:
    """The second speaker's two recordings, one the other's opposite."""
    rows = np.frombuffer(members[archive.VECTORS], "<f4").reshape(-1, 192).copy()
    rows[2] = -rows[1]
    members[archive.VECTORS] = rows.tobytes()


def foreign_sound(members: dict[str, bytes]) -> None:
    sound = b"OggS" + bytes(60)
    kept = {"size": len(sound), "sha256": hashlib.sha256(sound).hexdigest()}
    first_line(lambda one: one.update(audio=kept))(members)
    members[archive.AUDIO.format(1)] = sound


def calibration(**changes: object) -> Edit:
    """The shipped encoder's, changed."""

    def edit(members: dict[str, bytes]) -> None:
        members[archive.CALIBRATION] = json.dumps({**Encoder.load().card.raw["calibration"], **changes}).encode()
        head(lambda content: content["members"].update({archive.CALIBRATION: {}}))(members)

    return edit


EDITS: dict[str, tuple[Edit, str]] = {
    "another member": (lambda members: members.update({"more": b"x"}), "'more' does not belong"),
    "a member that climbs out": (lambda members: members.update({"../x": b"x"}), "'../x' does not belong"),
    "a sound that is not announced": (lambda m: m.update({"audio/000000099": b"x"}), "does not belong"),
    "a missing member": (lambda members: members.pop(archive.VECTORS), "missing"),
    "a newer format": (head(lambda h: h.update(format="speakerdb-archive/2")), "this program reads"),
    "a count too many": (head(lambda h: h.update(recordings=25)), "one row a recording"),
    "a count that is none": (head(lambda h: h.update(recordings=True)), "a count of True"),
    "a size that is no number": (
        head(lambda h: h.update(keep=1, members={archive.VECTORS: {"size": "1"}})),
        "a size of 1",
    ),
    "a making without a time": (head(lambda h: h.update(created="soon")), "archive.json: a time is none"),
    "a gallery without a name": (head(lambda h: h.update(gallery_uuid=None)), "archive.json: a text is missing"),
    "a dimension that is too large": (head(lambda h: h["encoder"].update(dimension=1 << 40)), "a count of"),
    "more speakers than there are": (head(lambda h: h.update(speakers=13)), "13 speakers are announced"),
    "not a number": (vector(np.full(192, np.nan)), "vectors.f32, row 1: a vector that is not of unit length"),
    "no length": (vector(np.zeros(192)), "unit length"),
    "twice as long": (vector(2.0 * voice("x")), "unit length"),
    "a number that signals": (signalling, "vectors.f32, row 1: a vector that is not of unit length"),
    "a voice that is nobody's": (opposite, "vectors.f32, speaker 'person b': "),
    "rows cut": (lambda m: m.update({archive.VECTORS: m[archive.VECTORS][:-4]}), "one row a recording"),
    "lines cut": (lambda m: m.update({archive.RECORDINGS: m[archive.RECORDINGS][:-5]}), "line 24: the line is cut"),
    "no JSON": (lambda m: m.update({archive.RECORDINGS: b"{" + m[archive.RECORDINGS]}), "line 1"),
    "a recording twice": (twice, "line 2: the same sound stands in two places"),
    "a name with a line feed": (first_line(lambda one: one.update(speaker="a\nb")), "cannot be shown"),
    "a name that is no text": (first_line(lambda one: one.update(speaker=7)), "a name must be text"),
    "a field more": (first_line(lambda one: one.update(more=1)), "other fields"),
    "a hash of other letters": (first_line(lambda one: one.update(audio_sha256="Z" * 64)), "no SHA-256"),
    "speech that is not finite": (first_line(lambda one: one.update(net_speech_s=float("nan"))), "NaN is no number"),
    "negative speech": (first_line(lambda one: one.update(net_speech_s=-1.0)), "no duration"),
    "a quality of objects": (first_line(lambda one: one.update(quality={"a": {}})), "quality"),
    "a making on a day without an hour": (
        head(lambda h: h.update(created="2026-11-29")),
        "archive.json: a time is none",
    ),
    "a time that is none": (first_line(lambda one: one.update(created="yesterday")), "line 1"),
    "a sound that is not there": (
        first_line(lambda one: one.update(audio={"size": 1, "sha256": "0" * 64})),
        "audio/000000001",
    ),
    "a sound of nobody": (lambda m: m.update({"audio/000000002": b"fLaC"}), "1 sounds are in the file, 0 of them"),
    "LLRs that rise by less than is kept": (calibration(llr_weights=[0, 1e-7, 0, 0, 0, 0, 0]), "must rise"),
    "a tail whose scores are kept as one": (
        calibration(tail={"scores": [1.00001, 1.00002], "rates": [0.1, 0.01]}),
        "a tail's scores rise",
    ),
    "a sound in another form": (foreign_sound, "not a sound as a gallery keeps it"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_archive_that_was_edited_is_refused_in_one_line_and_nobody_comes_in(exported, known_voices, tmp_path, what):
    edit, told = EDITS[what]
    file = edited(exported, tmp_path / "edited.speakerdb", edit)
    with opened(tmp_path / "new", known_voices) as gallery, pytest.raises(InputError) as caught:
        gallery.import_archive(file)
    message = str(caught.value)
    assert told in message
    assert "edited.speakerdb" in message
    assert "\n" not in message
    assert not (tmp_path / "new").exists()


def test_an_archive_cut_anywhere_is_refused(exported, known_voices, tmp_path):
    content, file = exported.read_bytes(), tmp_path / "cut.speakerdb"
    with opened(tmp_path / "new", known_voices) as gallery:
        for length in [*range(0, len(content), 97), *range(len(content) - 60, len(content))]:
            file.write_bytes(content[:length])
            with pytest.raises(InputError):
                gallery.import_archive(file)
    assert not (tmp_path / "new").exists()


def test_an_archive_with_a_flipped_bit_is_refused_or_means_the_same(exported, known_voices, tmp_path):
    content, file = exported.read_bytes(), tmp_path / "flipped.speakerdb"
    refused = 0
    for place in range(11, len(content), 331):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with opened(tmp_path / f"new {place}", known_voices) as gallery:
            try:
                gallery.import_archive(file)
            except InputError:
                refused += 1
            else:  # in ZIP's own fields, which say nothing of the gallery
                assert enrolled(gallery) == PEOPLE
                assert gallery.check().findings == []
    assert refused > 20


def test_a_file_that_unpacks_to_more_than_it_says_is_not_unpacked(exported, known_voices, tmp_path):
    def edit(members: dict[str, bytes]) -> None:
        members[archive.RECORDINGS] = b"x" * (1 << 22)

    with opened(tmp_path / "new", known_voices) as gallery, pytest.raises(InputError, match="too large"):
        gallery.import_archive(edited(exported, tmp_path / "bomb.speakerdb", edit))


def test_members_that_lie_over_one_another_are_not_read(exported, known_voices, tmp_path):
    sound = b"fLaC" + bytes(10_000)
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile(tmp_path / "over", "w") as out:
        for name in source.namelist():
            out.writestr(name, source.read(name), compress_type=archive.method_of(name))
        out.writestr(archive.AUDIO.format(1), sound)
        first = out.getinfo(archive.AUDIO.format(1))
        for number in range(2, 25):  # all of them the one sound
            again = zipfile.ZipInfo(archive.AUDIO.format(number), archive.EPOCH)
            again.CRC, again.header_offset = first.CRC, first.header_offset
            again.file_size = again.compress_size = len(sound)
            out.filelist.append(again)
    with opened(tmp_path / "new", known_voices) as gallery, pytest.raises(InputError, match="lie over one another"):
        gallery.import_archive(tmp_path / "over")


@pytest.mark.parametrize("content", [None, b"", b"PK", b"no archive at all" * 100])
def test_what_is_no_archive_is_refused(known_voices, tmp_path, content):
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    with opened(tmp_path / "new", known_voices) as gallery, pytest.raises(InputError, match="file"):
        gallery.import_archive(file)


def test_vectors_of_another_encoder_are_refused(exported, conflicting, known_voices, tmp_path):
    file = edited(exported, tmp_path / "a", head(lambda one: one["encoder"].update(sha256="0" * 64, name="another")))
    with opened(conflicting, known_voices) as gallery, pytest.raises(EncoderMismatch, match="another"):
        gallery.import_archive(file)
    with Gallery.open(tmp_path / "new") as gallery, pytest.raises(StateError, match=r"another .* is not here"):
        gallery.import_archive(file)


def test_an_archive_of_another_encoder_than_asked_for_is_told_as_that(exported, encoder, tmp_path):
    other = edited(exported, tmp_path / "a", head(lambda one: one["encoder"].update(sha256="0" * 64, name="another")))
    with (
        opened(tmp_path / "new", encoder) as gallery,
        pytest.raises(StateError, match="archive is of the encoder another"),
    ):
        gallery.import_archive(other)
