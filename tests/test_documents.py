"""What the documents list is all that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from speakerdb import Encoder, Gallery, errors
from speakerdb.cli.main import COMMANDS
from speakerdb.errors import SpeakerdbError

DOCS = Path(__file__).parent.parent / "docs"


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
