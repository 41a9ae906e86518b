"""Archives in tests: galleries opened for them, what is in those, and files with other members."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from speakerdb import Encoder, Gallery
from speakerdb.store import archive

Edit = Callable[[dict[str, bytes]], None]


def opened(folder: Path, encoder: Encoder) -> Gallery:
    return Gallery.open(folder, encoder=encoder, index="numpy")


def enrolled(gallery: Gallery) -> dict[str, list[str]]:
    return {one.speaker: [row.source for row in one.recordings] for one in gallery.speakers(enrollments=True)}


def edited(file: Path, target: Path, edit: Edit) -> Path:
    """The archive with other members, and checksums that agree with them where they are known by name."""
    with zipfile.ZipFile(file) as source:
        members = {name: source.read(name) for name in source.namelist()}
    edit(members)
    head = json.loads(members[archive.HEAD])
    for name in head["members"]:
        if name in members and not head.get("keep"):
            digest = hashlib.sha256(members[name]).hexdigest()
            head["members"][name] = {"size": len(members[name]), "sha256": digest}
    members[archive.HEAD] = json.dumps(head).encode()
    with zipfile.ZipFile(target, "w") as out:
        for name, content in members.items():
            out.writestr(name, content, compress_type=archive.method_of(name))
    return target
