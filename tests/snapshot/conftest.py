"""Where snapshots of the index are written in tests, and of which kinds."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["numpy", "faiss-flat"])
def kind(request) -> str:
    if request.param == "faiss-flat":
        pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    return request.param


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where snapshots may be written; nothing is there yet."""
    return tmp_path / "index"
