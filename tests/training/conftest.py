"""What tests of training share."""

from __future__ import annotations

import io

import pytest


@pytest.fixture
def quiet():
    """A console that nobody reads."""
    from rich.console import Console

    return Console(file=io.StringIO())
