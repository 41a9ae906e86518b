"""Many questions at once: each is answered as it is alone, and what cannot be answered stops nobody else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from speakerdb import Gallery
from speakerdb.audio import read
from speakerdb.encoder.registry import find_bundle
from speakerdb.encoder.runtime import Runtime
from speakerdb.errors import EmptyGallery, EncoderDamaged, EncoderMismatch, InputError, NoSuchGallery
from speakerdb.gallery.answers import Identification, Verification
from speakerdb.gallery.results import RefusedRecording
from speakerdb.trials import TrialTable, read_pairs, read_scores

CLIPS = ("ana_4", "ben_4", "eva_4", "stranger_4")


@pytest.fixture
def listed(examples: Path, tmp_path: Path) -> Path:
    """Four recordings, and one that is not there, between them."""
    lines = [str(examples / f"{clip}.wav") for clip in CLIPS]
    file = tmp_path / "calls.txt"
    file.write_text("\n".join(["path", *lines[:2], "nothing.wav", "", *lines[2:]]) + "\n")
    return file


def test_every_recording_of_a_list_is_identified_as_it_is_alone(enrolled: Path, examples: Path, listed: Path):
    with Gallery.open(enrolled) as gallery:
        found = list(gallery.identify_many(listed, top=2))
        alone = [gallery.identify(examples / f"{clip}.wav", top=2) for clip in CLIPS]
    assert isinstance(found[2], RefusedRecording)
    assert found[2].error["error"] == "AudioUnreadable"
    del found[2]
    for one, other in zip(found, alone, strict=True):
        assert isinstance(one, Identification)
        assert (one.speaker, one.outcome, one.quality) == (other.speaker, other.outcome, other.quality)
        assert one.distance == pytest.approx(other.distance, abs=1e-5)


def test_a_folder_is_a_list_of_what_is_in_it(enrolled: Path, examples: Path, tmp_path: Path):
    folder = tmp_path / "calls"
    (folder / "monday").mkdir(parents=True)
    (folder / "monday" / "a.wav").symlink_to(examples / "ana_4.wav")
    (folder / ".hidden").write_text("")
    with Gallery.open(enrolled) as gallery:
        [found] = gallery.identify_many(folder)
    assert found.speaker == "ana"


def test_a_recording_that_was_heard_once_can_be_asked_about_again(enrolled: Path, examples: Path):
    with Gallery.open(enrolled) as gallery:
        heard = gallery.encoder.probe(examples / "ana_4.wav")
        assert gallery.identify(heard) == gallery.identify(examples / "ana_4.wav")
        assert gallery.verify("ben", heard) == gallery.verify("ben", examples / "ana_4.wav")
        for wrong in (heard.vector[:-1], 2.0 * heard.vector, heard.vector * float("nan")):
            with pytest.raises(InputError, match="its vector is not one of speakerdb-16k"):
                gallery.identify(replace(heard, vector=wrong))


def test_a_recording_at_which_the_encoder_fails_is_named_and_the_list_goes_on(
    enrolled: Path, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = ["ana_3.wav", "ben_3.wav", "eva_3.wav"]
    (tmp_path / "calls.txt").write_text("".join(f"{examples / name}\n" for name in names))
    length = len(read(examples / "ben_3.wav", 16_000).samples)
    outputs_of = Runtime._outputs_of

    def failing(runtime: Runtime, clips: list, names: list):
        if len(clips[0]) == length:
            raise EncoderDamaged("mine", "gave a vector that is not finite")
        return outputs_of(runtime, clips, names)

    monkeypatch.setattr(Runtime, "_outputs_of", failing)
    with Gallery.open(enrolled) as gallery:
        first, refused, last = gallery.identify_many(tmp_path / "calls.txt")
    assert isinstance(first, Identification) and isinstance(last, Identification)
    assert isinstance(refused, RefusedRecording)
    assert refused.error["error"] == "EncoderDamaged" and "ben_3.wav" in refused.error["message"]


@pytest.mark.parametrize("target", ["gallery.sqlite", "scores", "index/scores"])
def test_scores_are_not_written_among_the_gallerys_own_files(enrolled: Path, examples: Path, tmp_path, run, target):
    (tmp_path / "calls.txt").write_text(f"{examples / 'ana_3.wav'}\n")
    (tmp_path / "trials.txt").write_text(f"ana\t{examples / 'ana_3.wav'}\n")
    (tmp_path / "link").symlink_to(enrolled)
    before = (enrolled / "gallery.sqlite").read_bytes()
    for words in (["identify", "--manifest", tmp_path / "calls.txt"], ["verify", "--trials", tmp_path / "trials.txt"]):
        done = run(*words, "--scores", tmp_path / "link" / target, "--gallery", enrolled)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.endswith("is in the gallery's own folder; name another place\n")
    assert (enrolled / "gallery.sqlite").read_bytes() == before


def test_claims_are_verified_as_they_are_alone_and_scores_agree_with_the_list(
    enrolled: Path, examples: Path, tmp_path: Path, run
):
    lines = [(name == clip[:3], name, examples / f"{clip}.wav") for clip in CLIPS for name in ("ana", "ben")]
    trials = tmp_path / "trials.txt"
    trials.write_text("".join(f"{int(target)} {name} {path}\n" for target, name, path in lines))
    with Gallery.open(enrolled) as gallery:
        for (claim, found), (target, name, path) in zip(gallery.verify_many(trials), lines, strict=True):
            assert isinstance(found, Verification)
            assert (claim.speaker, claim.path, claim.target) == (name, str(path), target)
            assert found.accepted == gallery.verify(name, path).accepted == target
    done = run("verify", "--trials", trials, "--scores", tmp_path / "scores", "--gallery", enrolled)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", len(lines))
    assert all(str(path) in line for line, (_, _, path) in zip(done.stdout.splitlines(), lines, strict=True))
    table = TrialTable.of((pair.target, pair.first, pair.second) for pair in read_pairs(trials))
    scores = read_scores(tmp_path / "scores", table)
    assert scores[table.target].min() > scores[~table.target].max()


def test_a_name_that_is_not_enrolled_stops_no_other_claim(enrolled: Path, examples: Path, tmp_path: Path, run):
    claims = tmp_path / "claims.tsv"
    claims.write_text("".join(f"{name}\t{examples / 'ana_4.wav'}\n" for name in ("ana", "zoe", "ben")))
    done = run("verify", "--trials", claims, "--gallery", enrolled, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("outcome") for line in lines] == ["accepted", None, "rejected"]
    assert lines[1]["error"]["error"] == "NoSuchSpeaker"
    assert (done.returncode, done.stderr) == (4, "")


def test_the_command_says_a_line_each_and_tells_what_it_could_not_use(enrolled: Path, listed: Path, tmp_path, run):
    done = run("identify", "--manifest", listed, "--gallery", enrolled, "--scores", tmp_path / "scores", "--top", "1")
    assert (done.returncode, done.stdout.count("\n"), done.stderr.count("\n")) == (3, 8, 1)  # one candidate each
    assert "nothing.wav" in done.stderr
    first = (tmp_path / "scores").read_text().splitlines()[0].split()
    assert (first[0], Path(first[1]).name, float(first[2]) > 0) == ("ana", "ana_4.wav", True)


def test_what_another_encoder_has_heard_is_compared_with_nobody(enrolled: Path, examples: Path):
    with Gallery.open(enrolled) as gallery:
        heard = replace(gallery.encoder.probe(examples / "ana_4.wav"), heard_by="0" * 64)
        for ask in (lambda: gallery.identify(heard), lambda: gallery.verify("ana", heard)):
            with pytest.raises(EncoderMismatch, match="the one that heard"):
                ask()


@pytest.mark.parametrize("form", ["{name}\t{path}\n", "1 {name} {path}\n", "{name} {path} target\n"])
def test_a_claim_that_cannot_be_answered_is_told_by_its_line(
    enrolled: Path, examples: Path, tmp_path: Path, run, form: str
):
    clip, claims = examples / "ana_4.wav", tmp_path / "claims"
    wanted = [("ana", clip), ("zoe", clip), ("a\u200bb", clip), ("ana", tmp_path / "gone.wav")]
    claims.write_text("\n" + "".join(form.format(name=name, path=path) for name, path in wanted))
    told = run("verify", "--trials", claims, "--gallery", enrolled).stderr.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in told] == ["line 3", "line 4", "line 5"]
    assert "no speaker named 'zoe'" in told[0] and told[2].endswith("gone.wav: no such file")
    lines = map(json.loads, run("verify", "--trials", claims, "--gallery", enrolled, "--json").stdout.splitlines())
    assert [line["error"]["line"] for line in lines if "error" in line] == [3, 4, 5]


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_all_that_could_not_be_used_are_told_and_not_the_first_alone(enrolled, examples, tmp_path, run, as_json):
    calls, claims = tmp_path / "calls.txt", tmp_path / "claims.tsv"
    calls.write_text(f"one.wav\ntwo.wav\n{examples / 'ana_4.wav'}\nthree.wav\n")
    claims.write_text(f"nobody\t{examples / 'ana_4.wav'}\nana\tone.wav\nzoe\t{examples / 'ana_4.wav'}\n")
    for words, missing in ((["identify", "--manifest", calls], "one two three"), (["verify", "--trials", claims], "")):
        done = run(*words, "--gallery", enrolled, *as_json)
        told = done.stdout if as_json else done.stderr
        assert [name for name in missing.split() if f"{name}.wav" not in told] == []
        assert told.count("exit_code" if as_json else "speakerdb: ") == 3


def test_top_lists_so_many_candidates_a_line_each(enrolled: Path, examples: Path, run):
    done = run("identify", examples / "ana_4.wav", "--top", "2", "--gallery", enrolled)
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["1", "ana"], ["2", lines[2].split()[1]]]
    assert "≤" in lines[1] and ">" in lines[2]
    assert run("identify", examples / "ana_4.wav", "--gallery", enrolled).stdout.count("\n") == 1


def test_white_space_in_names_stands_in_score_files_as_percent_and_digits(examples: Path, tmp_path: Path, run):
    folder, spaced = tmp_path / "gallery", tmp_path / "a call.wav"
    spaced.write_bytes((examples / "ana_4.wav").read_bytes())
    assert run("enroll", "Ana 100%", examples / "ana_1.wav", "--gallery", folder).returncode == 0
    (tmp_path / "calls.txt").write_text("a call.wav\n")
    done = run("identify", "--manifest", tmp_path / "calls.txt", "--scores", tmp_path / "scores", "--gallery", folder)
    assert (done.returncode, done.stderr) == (0, "")
    [line] = (tmp_path / "scores").read_text().splitlines()
    assert line.split()[0] == "Ana%20100%25" and line.split()[1].endswith("/a%20call.wav")


def test_warnings_of_a_list_are_told_as_those_of_one_recording(enrolled: Path, examples: Path, tmp_path: Path, run):
    """By a bundle whose card asks for more than these recordings have."""
    bundle = tmp_path / "asking"
    shutil.copytree(find_bundle(None), bundle)
    card = json.loads((bundle / "card.json").read_text())
    (bundle / "card.json").write_text(json.dumps({**card, "least_source_rate_hz": 44_100}))
    (tmp_path / "calls.txt").write_text(f"{examples / 'ana_4.wav'}\n")
    (tmp_path / "claims.tsv").write_text(f"ana\t{examples / 'ana_4.wav'}\n")
    (tmp_path / "people.tsv").write_text(f"zoe\t{examples / 'eva_1.wav'}\n")
    for words in (
        ["identify", "--manifest", tmp_path / "calls.txt"],
        ["verify", "--trials", tmp_path / "claims.tsv"],
        ["enroll", "--force", "--manifest", tmp_path / "people.tsv"],
    ):
        done = run(*words, "--gallery", enrolled, "--encoder", bundle)
        assert (done.returncode, done.stderr.count("speakerdb: warning: ")) == (0, 1), words


def test_empty_lines_and_a_header_are_no_claims(enrolled: Path, examples: Path, tmp_path: Path):
    file = tmp_path / "claims.tsv"
    file.write_text(f"\nspeaker\tpath\nana\t{examples / 'ana_4.wav'}\n\nben\t{examples / 'ben_4.wav'}\n")
    with Gallery.open(enrolled) as gallery:
        assert [claim.speaker for claim, _ in gallery.verify_many(file)] == ["ana", "ben"]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_list_that_cannot_be_read_is_told(enrolled: Path, tmp_path: Path, content):
    file = tmp_path / "list"
    if content is not None:
        file.write_bytes(content)
    with Gallery.open(enrolled) as gallery:
        for ask in (gallery.identify_many, gallery.verify_many):
            with pytest.raises(InputError, match="list"):
                list(ask(file))


def test_a_line_that_is_no_claim_is_told_by_its_number(enrolled: Path, tmp_path: Path):
    file = tmp_path / "claims.tsv"
    file.write_text("ana\tx.wav\nben\n")
    with Gallery.open(enrolled) as gallery, pytest.raises(InputError, match="line 2: NAME<tab>PATH is wanted"):
        list(gallery.verify_many(file))


def test_nobody_to_find_is_told_before_anything_is_heard(listed: Path, tmp_path: Path):
    with Gallery.open(tmp_path / "none") as gallery, pytest.raises((EmptyGallery, NoSuchGallery)):
        gallery.identify_many(listed)
