"""Names and arguments that cannot be used, or fit nothing that is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from handed_in import EXAMPLES, Run, assert_refused, listing, only_line, run_here

from speakerdb import Gallery
from speakerdb.errors import EncoderDamaged, InputError, NoSuchSpeaker

BAD_NAMES = {
    "empty": ("", "must not be empty"),
    "blanks": ("   ", "must not be empty"),
    "10 kB": ("a" * 10_240, "has 10240 bytes; 256 are allowed"),
    "257 bytes": ("é" * 128 + "a", "has 257 bytes"),
    "a line feed": ("zoe\nben", r"'zoe\\nben' holds a character that cannot be shown (U+000A)"),
    "a terminal's control sequence": ("zoe\x1b[31m", "(U+001B)"),
    "a delete character": ("zo\x7fe", "(U+007F)"),
    "a right-to-left override": ("zoe\u202eana", "(U+202E)"),
    "a line separator": ("zoe\u2028ana", "(U+2028)"),
    "a byte order mark": ("zoe\ufeff", "(U+FEFF)"),
    "a zero-width space": ("z\u200boe", "(U+200B)"),
    "a private character": ("zoe\ue000", "(U+E000)"),
    "bytes that are no text": ("zo\udcff", "(U+DCFF)"),
}


@pytest.mark.parametrize(("name", "says"), BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_name_that_cannot_be_used_is_refused_in_one_line_wherever_it_is_given(
    name: str, says: str, enrolled: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = listing(enrolled)
    clip = EXAMPLES / "ana_1.wav"
    for command in (
        ("enroll", name, clip),
        ("verify", name, clip),
        ("remove", name),
        ("rename", "ana", name),
    ):
        code, out, err = run_here(capfd, *command, "--gallery", enrolled)
        assert (code, out) == (3, "")
        assert says in only_line(err)
    assert listing(enrolled) == before


@pytest.mark.parametrize("name", [b"zo\xff\xfe", b"a\nb", b"a" * 10_240], ids=["no text", "line feed", "10 kB"])
def test_a_bad_name_is_refused_on_a_real_command_line(name: bytes, enrolled: Path, run: Run) -> None:
    before = listing(enrolled)
    assert_refused(run("enroll", name, EXAMPLES / "eva_1.wav"), 3)
    assert listing(enrolled) == before


def test_both_of_unicodes_normal_forms_of_a_name_are_one_speaker(
    gallery_folder: Path, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    assert run_here(capfd, "enroll", composed, EXAMPLES / "eva_1.wav", "--gallery", gallery_folder)[0] == 0
    done = json.loads(run("enroll", f" {decomposed} ", EXAMPLES / "eva_2.wav", "--json").stdout)
    assert (done["speaker"], done["new_speaker"], done["total"]) == (composed, False, 2)
    again = ["verify", decomposed, EXAMPLES / "eva_1.wav", "--threshold", "2", "--gallery", gallery_folder]
    assert run_here(capfd, *again)[0] == 0
    assert [speaker.speaker for speaker in listing(gallery_folder)] == [composed]


def test_a_name_of_256_bytes_and_one_with_a_joiner_can_be_used(enrolled: Path) -> None:
    with Gallery.open(enrolled) as gallery:
        for name in ("é" * 128, "علی\u200cرضا"):
            gallery.rename("ana", name)
            assert name in [speaker.speaker for speaker in gallery.speakers()]
            gallery.rename(name, "ana")


def test_names_that_are_no_text_are_refused_in_python(enrolled: Path) -> None:
    with Gallery.open(enrolled) as gallery:
        for name in (None, b"ana", 7, ["ana"]):
            with pytest.raises(InputError, match="a name must be text"):
                gallery.verify(name, EXAMPLES / "ana_1.wav")  # type: ignore[arg-type]


# What does not fit what is stored.


def test_an_unknown_speaker_is_named_and_nothing_changes(
    enrolled: Path, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    before = listing(enrolled)
    clip = EXAMPLES / "ana_1.wav"
    assert_refused(run("verify", "zoe", clip), 4, "no speaker named 'zoe'; `speakerdb speakers` lists them")
    for command, says in (
        (["remove", "zoe"], "no speaker named 'zoe'"),
        (["rename", "zoe", "eva"], "no speaker named 'zoe'"),
        (["remove-enrollment", "99"], "no enrollment 99"),
    ):
        for as_json in (False, True):
            code, out, err = run_here(capfd, *command, "--gallery", enrolled, *(["--json"] if as_json else []))
            assert (code, out) == (4, "")
            assert says in only_line(err, as_json)
    with Gallery.open(enrolled) as gallery, pytest.raises(NoSuchSpeaker):
        gallery.remove("zoe")
    assert listing(enrolled) == before


def test_where_nobody_is_enrolled_everything_says_how_to_begin(
    gallery_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = EXAMPLES / "ana_1.wav"
    commands = (["identify", clip], ["verify", "ana", clip], ["remove", "ana"], ["check"], ["rebuild"])
    for command in commands:
        code, out, err = run_here(capfd, *command, "--gallery", gallery_folder)
        assert (code, out) == (4, "")
        assert "`speakerdb enroll NAME FILE`" in only_line(err)
    assert not gallery_folder.exists()
    with Gallery.open(gallery_folder) as gallery:
        assert gallery.speakers() == []
        gallery.enroll("ana", clip)
        gallery.remove("ana")
    code, out, err = run_here(capfd, "identify", clip, "--gallery", gallery_folder)
    assert (code, out, only_line(err)[:24]) == (4, "", "nobody is enrolled yet; ")
    assert listing(gallery_folder) == []


def test_a_command_line_that_cannot_be_understood_is_one_line_too(
    enrolled: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = str(EXAMPLES / "ana_1.wav")
    for command, says in (
        (["identify"], "Missing argument 'FILE'"),
        (
            ["identify", clip, clip],
            "2 files, and FILE is one; --manifest takes a folder, or a list with a path a line.",
        ),
        (["verify", "ana", clip, clip], "2 files, and FILE is one; --trials takes a list with NAME<tab>PATH a line."),
        (["rename", "a", "b", "c"], "unexpected extra argument"),
        (["identify", clip, "--top", "0"], "0 is not in the range"),
        (["identify", clip, "--top", "1000000000"], "1000000000 is not in the range"),
        (["identify", clip, "--threshold", "near"], "'near' is not a valid float"),
        (["identify", clip, "--\x1b[31m"], r"\x1b[31m"),
        (["remove-enrollment", "9" * 30], "is not in the range"),
        (["listen"], "No such command 'listen'"),
    ):
        for as_json in (False, True):
            code, out, err = run_here(capfd, *command, *(["--json"] if as_json else []))
            assert (code, out) == (2, "")
            assert says in only_line(err, as_json)


def test_a_threshold_outside_of_all_distances_is_refused(enrolled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for threshold in ("nan", "inf", "-0.1", "2.1"):
        code, out, err = run_here(
            capfd, "identify", EXAMPLES / "ana_1.wav", f"--threshold={threshold}", "--gallery", enrolled
        )
        assert (code, out) == (3, "")
        assert "distances lie between 0 and 2" in only_line(err)


@pytest.mark.parametrize("command", [["speakers"], ["db", "upgrade"]])
def test_an_empty_gallery_path_is_a_usage_error(run: Run, command: list[str]) -> None:
    result = run(*command, "--gallery", "")
    assert (result.returncode, "the path is empty" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", ""])
def test_an_encoder_that_cannot_be_a_path_is_not_found(gallery_folder: Path, name: str) -> None:
    with pytest.raises(EncoderDamaged, match="no such bundle"):
        Gallery.open(gallery_folder, encoder=name)


def test_a_gallery_whose_name_is_no_path_is_refused() -> None:
    with pytest.raises(InputError, match="not a path"):
        Gallery.open("a\0b")
