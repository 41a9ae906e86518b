"""A disk whose n-th write, fsync, rename, link, cut or deletion fails, for every n: nothing is lost or half there.

`failing_disk.c` stands between the program and the system, so SQLite's own calls fail too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILER = shutil.which("cc")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux's"),
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler"),
]

SCRIPT = """
import ctypes, errno, json, shutil, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import numpy as np
from speakerdb import Encoder, Gallery, SpeakerdbError
from test_crash import assert_whole
from known_voices import KnownVoices

disk = ctypes.CDLL(None)
known, work, order, error, torn, stay = KnownVoices(Encoder.load()._bundle), Path(sys.argv[2]), *sys.argv[3:7]
disk.failing_disk_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int]
BEFORE = {"ana": {"1 0", "1 1"}, "ben": {"3 0"}}
AFTER = {
    "enroll": BEFORE | {"eva": {"5 0", "5 1"}},
    "more": BEFORE | {"ben": {"3 0", "4 0"}},
    "remove": {"ben": {"3 0"}},
    "rename": {"ana too": {"1 0", "1 1"}, "ben": {"3 0"}},
    "rebuild": BEFORE,
    "import": BEFORE | {"zoe": {"z 0"}},
    "export": BEFORE,
    "backup": BEFORE,
    "make": {"ana": {"1 0"}},
}[order]


def opened(folder):
    return Gallery.open(folder, encoder=known, index="faiss-flat")


def give(gallery, folder):
    if order == "enroll":
        gallery.enroll("eva", ["5 0", "5 1"])
    elif order == "more":
        gallery.enroll("ben", ["4 0"])
    elif order == "remove":
        gallery.remove("ana")
    elif order == "rename":
        gallery.rename("ana", "ana too")
    elif order == "rebuild":
        gallery.rebuild()
    elif order == "import":
        gallery.import_archive(work / "zoe.speakerdb")
    elif order == "export":
        gallery.export(beside(folder))
    elif order == "backup":
        gallery.backup(beside(folder))
    else:
        gallery.enroll("ana", ["1 0"])


def beside(folder):
    return folder.with_name(f"{folder.name} beside") / "copy"  # begins as the folder does, whose calls fail


def people(folder):
    with opened(folder) as gallery:
        found = {one.speaker: {row.source for row in one.recordings} for one in gallery.speakers(enrollments=True)}
        findings = gallery.check().findings if found else []
        for name in found:
            from known_voices import voice

            mean = np.mean([voice(source).astype(float) for source in found[name]], axis=0)
            near = gallery.nearest((mean / np.linalg.norm(mean)).astype(np.float32), top=1)[0]
            assert near.speaker == name and near.distance < 1e-5
    return found, [one for one in findings if "left from" not in one]


template = work / "template"
with opened(template) as gallery:
    gallery.enroll("ana", ["1 0", "1 1"])
    gallery.enroll("ben", ["3 0"])
    gallery.rebuild()
with opened(work / "zoe") as gallery:
    gallery.enroll("zoe", ["z 0"])
    gallery.export(work / "zoe.speakerdb")
n, failed, wrong = 0, 0, []
while True:
    folder = work / f"{n}"
    if order != "make":
        shutil.copytree(template, folder)
    gallery, told = opened(folder), None
    beside(folder).parent.mkdir()
    disk.failing_disk_arm(str(folder).encode(), n, getattr(errno, error), int(torn), int(stay))
    try:
        give(gallery, folder)
    except SpeakerdbError as caught:
        told = caught
    except Exception as caught:
        wrong.append(f"{n}: a traceback: {caught!r}")
    hit = disk.failing_disk_disarm()
    try:
        gallery.close()
    except SpeakerdbError:
        pass
    if told is not None:
        failed += 1
        if told.exit_code != 5 or "\\n" in str(told):
            wrong.append(f"{n}: {told.exit_code} {told}")
        if order in ("backup", "export") and str(beside(folder)) not in str(told):
            wrong.append(f"{n}: another file is named: {told}")
    before = {} if order == "make" else BEFORE
    try:
        found, findings = people(folder) if folder.exists() else ({}, [])
        if told is None and found != AFTER:
            wrong.append(f"{n}: acknowledged, and yet {found}")
        if found not in (before, AFTER):
            wrong.append(f"{n}: half there: {found}")
        wrong += [f"{n}: {one}" for one in findings]
    except Exception as caught:
        wrong.append(f"{n}: the gallery afterwards: {caught!r}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(beside(folder).parent)
    if not hit:
        break
    n += 1
print(json.dumps({"calls": n, "told": failed, "wrong": wrong}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("disk") / f"failing_disk{sysconfig.get_config_var('SHLIB_SUFFIX')}"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", target, HERE / "failing_disk.c", "-ldl"], check=True)
    return target


ORDERS = ["enroll", "more", "remove", "rename", "rebuild", "import", "export", "backup", "make"]
DISKS = {
    "one call gives EIO": ("EIO", 0, 0),
    "one write is torn": ("EIO", 1, 0),
    "it is full from then on": ("ENOSPC", 0, 1),
    "it is full and writes are torn": ("ENOSPC", 1, 1),
}


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("order", ORDERS)
def test_whichever_call_fails_an_order_is_carried_out_whole_or_told_and_undone(library, tmp_path, order, disk):
    error, torn, stay = DISKS[disk]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(HERE), str(tmp_path), order, error, str(torn), str(stay)],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["calls"] >= (1 if order == "rename" else 3)
    assert found["told"] > 0
