"""What the documents list is all that there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from speakerdb import Encoder, Gallery, errors
from speakerdb.cli.main import COMMANDS
from speakerdb.errors import SpeakerdbError
from speakerdb.gallery import answers, reports, results

DOCS = Path(__file__).parent.parent / "docs"

PRINTED = {
    "enroll": results.Enrolled,
    "enroll --manifest": results.EnrolledMany,
    "identify": answers.Identification,
    "verify": answers.Verification,
    "compare": answers.Comparison,
    "feedback": answers.FeedbackKept,
    "calibrate": answers.Calibrated,
    "doctor": reports.Diagnosis,
    "speakers": results.SpeakerInfo,
    "rename": reports.Renamed,
    "merge": reports.Merged,
    "remove": reports.Removed,
    "check": reports.CheckReport,
    "backup": reports.BackedUp,
    "export": reports.Exported,
    "import": reports.Imported,
    "rebuild": reports.Rebuilt,
    "encoder use": reports.Moved,
}
"""What a command prints with `--json`."""


@pytest.mark.parametrize("one", [Gallery, Encoder])
def test_every_public_method_is_in_the_list(one: type) -> None:
    text = (DOCS / "python.md").read_text(encoding="utf8")
    named = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]*)`", text))))
    assert {name for name in dir(one) if not name.startswith("_")} <= named


def test_every_error_is_in_the_list_under_its_exit_code() -> None:
    text = (DOCS / "formats.md").read_text(encoding="utf8").split("\n## Errors")[1]
    code, listed = "", {}
    for first, second in re.findall(r"^\|(.*?)\|(.*?)\|", text, re.MULTILINE):
        code = first.strip() or code
        listed.update(dict.fromkeys(re.findall(r"`(\w+)`", second), code))
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SpeakerdbError)}
    leaves = {kind for kind in kinds if not any(issubclass(other, kind) and other is not kind for other in kinds)}
    assert len(leaves) > 15
    assert {kind.__name__: str(kind.exit_code) for kind in leaves}.items() <= listed.items()


def test_every_command_is_in_the_table_of_json() -> None:
    text = (DOCS / "formats.md").read_text(encoding="utf8").split("## `--json`")[1]
    listed = set(re.findall(r"`([a-z- ]+)`", " ".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE))))
    assert {*COMMANDS} - {"encoder", "db"} <= listed  # these two are groups, whose own commands stand there


@pytest.mark.parametrize("command", PRINTED)
def test_the_fields_of_json_are_those_that_are_listed(command: str) -> None:
    text = (DOCS / "formats.md").read_text(encoding="utf8").split("## `--json`")[1]
    [row] = re.findall(rf"^\| `{command}`.*? \| (.*) \|$", text, re.MULTILINE)
    plain = re.sub(r"\([^()]*\)", "", row).split("; ")[0]  # what is behind is of other options
    if plain.startswith("[{"):  # a list of such objects
        plain = plain[2:-2]
    inner = dict(re.findall(r"`(\w+)` \[?\{(`[^{}]*)\}", plain))
    fields = re.findall(r"`(\w+)`", re.sub(r"\{[^{}]*\}", "", plain))
    hints = get_type_hints(PRINTED[command])
    assert sorted(fields) == sorted(field.name for field in dataclasses.fields(PRINTED[command]))
    for name, listed in inner.items():
        [kind] = [one for one in (hints[name], *get_args(hints[name])) if dataclasses.is_dataclass(one)]
        assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(field.name for field in dataclasses.fields(kind))
