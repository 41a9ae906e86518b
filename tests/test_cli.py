"""The command line as its help describes it: examples that run, data on stdout, errors on stderr, exit codes.

`test_commands` holds what every command has; `test_bad_recordings`, `test_bad_names`, `test_refusing_disks` what goes
wrong.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import click
import numpy as np
import pytest
import soundfile

from speakerdb import Encoder, Gallery
from speakerdb.cli.main import main, speakerdb
from speakerdb.embedding import normalize
from speakerdb.encoder.adding import add_encoder
from speakerdb.encoder.registry import find_bundle
from speakerdb.gallery.opened import identity_of
from speakerdb.store import binding, records, voiceprints
from speakerdb.store.records import NewEnrollment

Command: TypeAlias = Callable[..., "Outcome"]
Outcome: TypeAlias = tuple[int, str, str]

PROVIDED = {"clip.wav": "ana_4", "call_1.wav": "kal_1", "call_2.wav": "kal_1"}
"""The files that examples name beside the demo's own, each a copy of one of those."""


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, gallery_folder: Path) -> Command:
    """The program in this process on `gallery_folder`: exit code, stdout and stderr."""
    monkeypatch.setenv("SPEAKERDB_GALLERY", str(gallery_folder))

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["speakerdb", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        return (int(stopped.value.code or 0), *capfd.readouterr())

    return run


def commands(group: click.Group = speakerdb, name: str = "speakerdb") -> Iterator[tuple[str, click.Command]]:
    yield name, group
    for part in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), part)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, f"{name} {part}")
        else:
            yield f"{name} {part}", found


def examples_of(found: click.Command) -> list[str]:
    after = (found.epilog or "").partition("Example:\n")[2]
    return [line.strip() for line in after.splitlines() if line.strip().startswith("speakerdb ")]


ALL = dict(commands())
EXAMPLES = list(dict.fromkeys(example for found in ALL.values() for example in examples_of(found)))


@pytest.fixture(scope="module")
def everyone(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery in which every example finds what it names: ana, anna, and eight recordings."""
    folder = tmp_path_factory.mktemp("everyone") / "people"
    with Gallery.open(folder) as gallery:
        gallery.enroll("ana", examples / "ana_4.wav", keep_audio=True)
        gallery.enroll("anna", examples / "visitor_1.wav", keep_audio=True, force=True)
        for name in ("ben", "eva"):
            gallery.enroll(name, [examples / f"{name}_{number}.wav" for number in (1, 2, 3)], keep_audio=True)
    return folder


def provide_people(gallery_folder: Path, here: Path) -> None:
    """As many as a calibration needs, and a list of trials of all of them by all recordings."""
    from known_voices import QUALITY

    shutil.rmtree(gallery_folder)
    rng, near = np.random.default_rng(0), Encoder.load()
    voices = normalize(rng.normal(size=(130, near.dimension)))
    with Gallery.open(gallery_folder, encoder=near) as gallery, gallery._writable().writing() as connection:
        card = near.card
        binding.bind(connection, identity_of(card))
        for number, voice in enumerate(voices):
            speaker = records.add_speaker(connection, f"voice{number}")
            said = normalize(voice + rng.normal(size=(3, near.dimension)) * 0.05)
            for part, vector in enumerate(said):
                new = NewEnrollment(f"{part}", f"{number}-{part}", 2.5, QUALITY.to_json(), vector)
                records.add_enrollment(connection, speaker, new)
            voiceprints.refresh(connection, speaker, added=3)
            binding.record_change(connection, [speaker])
    clips = sorted({path.resolve(): path.name for path in here.glob("*_[1234].wav")}.values())[:24]
    lines = [f"{int(turn < 30)} voice{turn % 130} {clips[turn // 130]}" for turn in range(130 * len(clips))]
    (here / "last_month.txt").write_text("\n".join(lines))


def provide_encoders(here: Path, example: str) -> None:
    """The graphs that the examples of `speakerdb encoder` name, and campplus added, but where it is to be added."""
    pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")
    from tiny_graphs import pooling_graph

    for name in ("campplus", "voxceleb_resnet34"):
        pooling_graph(here / f"{name}.onnx")
    pooling_graph(here / "ge2e.onnx", bins=40, frames=160)
    (here / "path" / "to").mkdir(parents=True)
    (here / "path" / "to" / "bundle").symlink_to(find_bundle())
    if "encoder add" not in example:
        add_encoder("campplus", here / "campplus.onnx", {"kind": "kaldi-fbank"})


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_in_a_help_text_runs(
    example: str, everyone: Path, examples: Path, gallery_folder: Path, command: Command, monkeypatch
) -> None:
    shutil.copytree(everyone, gallery_folder)
    here = gallery_folder.parent
    for path in examples.glob("*.wav"):
        (here / path.name).symlink_to(path)
    for name, clip in PROVIDED.items():
        (here / name).symlink_to(examples / f"{clip}.wav")
    if "call.wav" in example:
        sides = [soundfile.read(examples / f"{clip}.wav")[0][:40_000] for clip in ("stranger_1", "ana_4")]
        soundfile.write(here / "call.wav", np.stack(sides, axis=1), 16_000)
    (here / "people.tsv").write_text("rms\trms_1.wav\nslt\tslt_1.wav\n")
    (here / "calls.txt").write_text("clip.wav\nana_4.wav\n")
    if "last_month" in example:
        (here / "last_month.txt").write_text("1 ana ana_4.wav\n0 ana clip.wav\n")
    if "encoder" in example:
        provide_encoders(here, example)
    if "calibrate" in example:
        provide_people(gallery_folder, here)
    if "import" in example:
        with Gallery.open(gallery_folder) as gallery:
            gallery.export(here / "people.speakerdb")
    if "DECISION" in example:
        with Gallery.open(gallery_folder) as gallery:
            example = example.replace("DECISION", gallery.verify("ana", examples / "ana_4.wav").decision)
    monkeypatch.chdir(here)
    words = shlex.split(example, comments=True)
    for shell in ("|", ">"):  # what another program does with the output
        words = words[: words.index(shell)] if shell in words else words
    code, out, err = command(*words[1:])
    assert (code, err) == (words[1] == "doctor", "")  # ana has said little
    assert out.endswith("\n")
    assert not out.endswith("\n\n")
    if "--json" in words:
        json.loads(out)


def test_every_command_and_group_has_an_example_that_calls_it() -> None:
    for name, found in ALL.items():
        assert any(example.startswith(name) for example in examples_of(found)), name


@pytest.mark.parametrize("name", [name for name in ALL if ALL[name] is not speakerdb])
def test_help_is_on_stdout_and_no_line_is_wider_than_a_terminal(name: str, command: Command) -> None:
    code, out, err = command(*name.split()[1:], "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: {name} ")
    assert out.splitlines()[-1].strip() == examples_of(ALL[name])[-1]
    assert max(map(len, out.splitlines())) <= 100
    assert (code, out, err) == command(*name.split()[1:], "-h")


@pytest.mark.parametrize("name", [name for name in ALL if isinstance(ALL[name], click.Group)])
def test_what_a_command_does_is_said_in_the_list_of_commands_without_being_cut(name: str, command: Command) -> None:
    _, out, _ = command(*name.split()[1:], "--help")
    listed = out[out.index("\nCommands:") : out.index("\n  Example:")].splitlines()[2:]
    assert listed and not any(line.endswith("...") for line in listed)


def test_a_yes_is_0_and_a_clear_no_is_1_with_the_answer_on_stdout(
    enrolled: Path, examples: Path, command: Command
) -> None:
    same, other = examples / "ben_1.wav", examples / "slt_1.wav"
    for words, code, answer in (
        (["identify", same, "--threshold", "2"], 0, "  ben  "),
        (["identify", other, "--threshold", "0"], 1, "  unknown  "),
        (["verify", "ben", same], 0, "  accepted  "),
        (["verify", "ana", other, "--threshold", "0"], 1, "  rejected  "),
        (["compare", same, same], 0, "  same  "),
        (["compare", same, same, other, "--threshold", "0"], 1, " different "),
    ):
        found = command(*words)
        assert (found[0], found[2]) == (code, "")
        assert answer in found[1]


def test_every_failure_has_its_exit_code_and_leaves_stdout_empty(
    enrolled: Path, examples: Path, command: Command, tmp_path: Path
) -> None:
    clip = examples / "ben_1.wav"
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "gallery.sqlite").write_bytes(b"no database" * 100)
    for code, words in (
        (2, ["verify", "ana"]),
        (3, ["verify", "ana", tmp_path / "gone.wav"]),
        (4, ["verify", "zoe", clip]),
        (4, ["enroll", "ana", clip]),
        (4, ["enroll", "ben", clip]),
        (5, ["verify", "ana", clip, "--gallery", damaged]),
        (5, ["verify", "ana", clip, "--encoder", tmp_path]),
    ):
        text, as_json = command(*words), command(*words, "--json")
        assert (text[:2], as_json[:2]) == ((code, ""), (code, ""))
        assert text[2].startswith("speakerdb: ")
        assert text[2].count("\n") == as_json[2].count("\n") == 1
        fields = json.loads(as_json[2])
        assert fields["exit_code"] == code
        assert text[2] == f"speakerdb: {fields['message']}\n"


def test_json_of_every_command_is_one_object_or_list_in_one_line(
    enrolled: Path, examples: Path, command: Command
) -> None:
    clips = [examples / f"{name}_3.wav" for name in ("ana", "ben")]
    for words, keys in (
        (["enroll", "zoë", clips[0], "--force"], {"speaker", "new_speaker", "enrolled", "refused", "total"}),
        (["identify", clips[0], "--top", "2"], {"source", "speaker", "distance", "threshold", "candidates", "quality"}),
        (["verify", "zoë", clips[0]], {"source", "speaker", "accepted", "distance", "threshold", "quality"}),
        (["compare", *clips], {"pairs", "origin", "fmr"}),
        (["rename", "zoë", "chloé"], {"before", "after"}),
        (["doctor"], {"speakers", "enrollments", "calibrated", "complaints"}),
        (["calibrate", "--reset"], {"reset"}),
        (["move-enrollment", "2", "--to", "ben"], {"into", "enrollments", "emptied", "total"}),
        (["move-enrollment", "2", "--to", "ana"], {"into", "enrollments", "emptied", "total"}),
        (["check"], {"gallery", "encoder", "generation", "speakers", "enrollments", "findings"}),
        (["rebuild"], {"speakers", "kind"}),
        (["encoder", "use", "speakerdb-16k"], {"before", "after", "enrollments"}),
        (["encoder", "info"], {"name", "version", "sha256", "folder"}),
        (["db", "upgrade"], {"before", "after"}),
        (["remove-enrollment", "1"], {"speaker", "enrollments", "speaker_removed", "log_erased"}),
        (["remove", "chloé"], {"speaker", "enrollments", "speaker_removed", "log_erased"}),
    ):
        _, out, err = command(*words, "--json")
        assert err == ""
        assert out.count("\n") == 1
        assert keys <= set(json.loads(out))
    listed = json.loads(command("speakers", "--enrollments", "--json")[1])
    assert [(speaker["speaker"], len(speaker["recordings"])) for speaker in listed] == [("ana", 1), ("ben", 1)]


def test_a_name_is_printed_as_it_is_written(gallery_folder: Path, examples: Path, command: Command) -> None:
    assert command("enroll", "Zoë 山田", examples / "eva_1.wav")[0] == 0
    assert "Zoë 山田" in command("speakers")[1]
    assert "Zoë 山田" in command("speakers", "--json")[1]


def test_keep_going_enrolls_the_rest_and_names_each_refusal(
    enrolled: Path, examples: Path, command: Command, tmp_path: Path
) -> None:
    files = [examples / "eva_1.wav", tmp_path / "gone.wav", examples / "ben_1.wav", examples / "eva_2.wav"]
    code, out, err = command("enroll", "zoe", *files, "--keep-going")
    assert (code, out.startswith("Enrolled  zoe  2 recordings; ")) == (3, True)
    first, second = err.splitlines()
    assert first.startswith("speakerdb: refused ") and first.endswith("gone.wav: no such file")
    assert second.startswith("speakerdb: refused ") and "is enrolled for 'ben', not 'zoe'" in second
    code, out, err = command("enroll", "zoe", *files, "--keep-going", "--json")
    assert (code, err) == (3, "")
    assert [refused["error"]["exit_code"] for refused in json.loads(out)["refused"]] == [3, 4, 4, 4]


def test_the_environment_names_the_gallery_and_the_option_outdoes_it(
    enrolled: Path, command: Command, tmp_path: Path
) -> None:
    assert "ana" in command("speakers")[1]
    code, out, err = command("speakers", "--gallery", tmp_path / "other")
    assert (code, out) == (4, "")
    assert err == f"speakerdb: no gallery in {tmp_path}/other; the first `speakerdb enroll NAME FILE` makes one\n"
    code, out, err = command("speakers", "--json", "--gallery", tmp_path / "other")
    assert (code, out, json.loads(err)["error"]) == (4, "", "NoSuchGallery")
    assert not (tmp_path / "other").exists()


def test_a_gallery_that_everybody_was_removed_from_lists_nobody(enrolled: Path, command: Command) -> None:
    for name in ("ana", "ben"):
        assert command("remove", name)[0] == 0
    code, out, err = command("speakers")
    assert (code, out) == (0, "") and "nobody is enrolled yet" in err
    assert json.loads(command("speakers", "--json")[1]) == []


def test_recordings_of_one_name_in_two_folders_are_compared_by_the_paths_given(
    examples: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ana", "ben"):
        (tmp_path / name).mkdir()
        shutil.copy(examples / f"{name}_1.wav", tmp_path / name / "1.wav")
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("compare", "ana/1.wav", "ben/1.wav")
    assert (code, out.split()[:4]) == (1, ["compare", "ana/1.wav", "ben/1.wav", "different"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_the_signs_gets_an_answer_all_the_same(
    encoding: str, enrolled: Path, examples: Path
) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "SPEAKERDB_GALLERY": str(enrolled)}
    program = [sys.executable, "-m", "speakerdb.cli.main", "verify", "ben", str(examples / "ben_1.wav")]
    done = subprocess.run(program, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"accepted" in done.stdout


def test_an_answer_that_nobody_reads_keeps_its_exit_code(enrolled: Path, examples: Path, run) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = run("verify", "ben", examples / "slt_1.wav", "--threshold", "0", "--json", stdout=gone)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_alone_and_the_version_are_on_stdout(command: Command) -> None:
    assert command("--version")[0] == 0
    assert command("--version")[1].startswith("speakerdb, version ")
    code, out, err = command()
    assert (code, "Usage: speakerdb" in out + err) == (2, True)
