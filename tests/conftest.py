"""What several test files share: where recordings lie, a gallery with people in it, and the program as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import twelve_people
from galleries import PEOPLE
from hypothesis import settings
from known_voices import KnownVoices

from speakerdb import Encoder, Gallery

PROJECT = Path(__file__).parents[1]
settings.register_profile("speakerdb", deadline=None)  # a busy disk is no fault of what is tested
settings.load_profile("speakerdb")
ENROLLED = {"ana": ["ana_1", "ana_2"], "ben": ["ben_1"]}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder with the demo's recordings."""
    return PROJECT / "examples"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with corpora and published encoders, which is no part of the project."""
    folder = PROJECT.parent / "shared"
    if not all((folder / part).is_dir() for part in ("corpora", "encoders", "trials")):
        pytest.skip("the folder ../shared is not beside the checkout")
    return folder


@pytest.fixture(autouse=True)
def encoders_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where added encoders lie: for each test a place of its own, never the user's."""
    folder = tmp_path_factory.mktemp("encoders") / "added"
    monkeypatch.setenv("SPEAKERDB_ENCODERS", str(folder))
    return folder


@pytest.fixture
def gallery_folder(tmp_path: Path) -> Path:
    """Where a gallery may be made; nothing is there yet."""
    return tmp_path / "people"


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The shipped one."""
    return Encoder.load()


@pytest.fixture(scope="session")
def known_voices(encoder: Encoder) -> KnownVoices:
    """An encoder whose vectors the sources' names decide."""
    return KnownVoices(encoder._bundle)


@pytest.fixture(scope="session")
def heard(encoder: Encoder, examples: Path) -> Callable[[str], np.ndarray]:
    """A recording's vector, straight from the encoder."""
    vectors: dict[str, np.ndarray] = {}

    def embed(clip: str) -> np.ndarray:
        if clip not in vectors:
            vectors[clip] = encoder.embed(examples / f"{clip}.wav")
        return vectors[clip]

    return embed


@pytest.fixture
def clips(examples: Path) -> Callable[..., list[Path]]:
    """The demo's recordings of these names."""
    return lambda *names: [examples / f"{name}.wav" for name in names]


@pytest.fixture
def exact(heard) -> Callable[..., float]:
    """A recording's distance to the voiceprint of others, in float64 from the encoder's vectors."""

    def distance(probe: str, enrolled: Iterable[str]) -> float:
        units = [heard(clip).astype(float) for clip in enrolled]
        mean = np.mean([unit / np.linalg.norm(unit) for unit in units], axis=0)
        return float(np.linalg.norm(heard(probe) - mean / np.linalg.norm(mean)))

    return distance


@pytest.fixture
def gallery(gallery_folder: Path, encoder: Encoder) -> Iterator[Gallery]:
    """A gallery in which nobody is enrolled yet."""
    with Gallery.open(gallery_folder, encoder=encoder) as opened:
        yield opened


@pytest.fixture
def people(gallery: Gallery, clips) -> Gallery:
    """A gallery with ana (two recordings), ben (one) and eva (one): `galleries.PEOPLE`."""
    for name, recordings in PEOPLE.items():
        gallery.enroll(name, clips(*recordings))
    return gallery


@pytest.fixture(scope="session")
def enrolled_once(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery with ana (two recordings) and ben (one); not to be changed, `enrolled` is its copy."""
    folder = tmp_path_factory.mktemp("template") / "people"
    with Gallery.open(folder) as gallery:
        for name, clips in ENROLLED.items():
            gallery.enroll(name, [examples / f"{clip}.wav" for clip in clips])
    return folder


@pytest.fixture
def enrolled(enrolled_once: Path, gallery_folder: Path) -> Path:
    """A gallery of the test's own with ana and ben in it."""
    shutil.copytree(enrolled_once, gallery_folder)
    return gallery_folder


@pytest.fixture
def run(gallery_folder: Path) -> Run:
    """The program as a process of its own: `run("identify", path)`; its gallery is `gallery_folder`.

    `before` stands in front of the command (`["setpriv", …]`); all else goes to `subprocess.run`.
    """

    def run_program(*arguments: str | Path | bytes, before: list[str] | None = None, **options: object):
        command = [*(before or []), sys.executable, "-m", "speakerdb.cli.main", *arguments]
        environment = os.environ | {"SPEAKERDB_GALLERY": str(gallery_folder)}
        options = {"stdin": subprocess.DEVNULL, "text": True, "encoding": "utf8"} | options
        if "stdout" not in options:
            options["stdout"] = subprocess.PIPE
        return subprocess.run(command, stderr=subprocess.PIPE, env=environment, timeout=240, check=False, **options)

    return run_program


@pytest.fixture(scope="session")
def twelve_once(known_voices, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed gallery of twelve with a snapshot of its index; not to be changed."""
    folder = tmp_path_factory.mktemp("people") / "people"
    with Gallery.open(folder, encoder=known_voices, index="numpy") as gallery:
        for name, recordings in twelve_people.PEOPLE.items():
            gallery.enroll(name, recordings)
        gallery.rebuild()
    return folder


@pytest.fixture
def twelve(twelve_once: Path, tmp_path: Path) -> Path:
    """The gallery of twelve, the test's own."""
    return shutil.copytree(twelve_once, tmp_path / "people")


@pytest.fixture(scope="session")
def exported(twelve_once: Path, known_voices, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the gallery of twelve; not to be changed."""
    file = tmp_path_factory.mktemp("archive") / "people.speakerdb"
    with Gallery.open(twelve_once, encoder=known_voices, index="numpy") as gallery:
        done = gallery.export(file)
    assert (done.speakers, done.recordings, done.size_bytes) == (12, 24, file.stat().st_size)
    return file


@pytest.fixture
def conflicting(known_voices, tmp_path: Path) -> Path:
    """A gallery with another person of a name among the twelve, and one of their recordings under another name."""
    with Gallery.open(tmp_path / "conflicting", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("person a", ["z1"])
        gallery.enroll("person x", ["c1"])
    return tmp_path / "conflicting"


@pytest.fixture
def three_people(gallery: Gallery, clips) -> Gallery:
    """A gallery with ana, ben and kal, three recordings each."""
    for name in ("ana", "ben", "kal"):
        gallery.enroll(name, clips(*(f"{name}_{part}" for part in (1, 2, 3))))
    return gallery
