"""From a bundle to one that has learnt further."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto
from rich.console import Console

from speakerdb.encoder.bundle import open_bundle
from training.batches import CropLength
from training.card import Sets
from training.corpora.fingerprints import file_hash
from training.cutting import Cutting
from training.dev_pairs import lists_of
from training.further.course import Further
from training.further.crops import Crops, samples_of
from training.further.graph_network import GraphNetwork
from training.further.learn import PROCESSES, checkpoint_of, learn, learnt
from training.further.lessons import LONGEST_S, Lessons, make_lessons
from training.further.targets import Array, Targets, in_directions_of
from training.kept import kept, read_arrays, write_arrays
from training.last_steps import as_exported, of_last_steps, with_last_steps
from training.levelling import levelled
from training.rebundle import write_changed
from training.recipe import Recipe
from training.records import set_hash
from training.rooms.sounds import TABLE, Sounds, make_sounds
from training.rooms.workers import workers
from training.sessions import on_one_core
from training.teacher_encoders import RATE_HZ, open_teacher
from training.teachers import both_of
from training.virtual_speakers import in_other_voices, recorded_set

KEPT = "further"
"""Of the folder in the work folder."""


@dataclass(frozen=True)
class Material:
    """Where a process finds what it draws crops from, and how.

    Attributes: work: the folder. names: of the sets. targets, graph, front_end: files. lengths, cutting, how: as the
        recipe has them.
    """

    work: Path
    names: list[str]
    targets: Path
    graph: Path
    front_end: Path
    lengths: list[CropLength]
    cutting: Cutting
    how: Further

    def crops(self) -> Crops:
        """Opened."""
        return Crops(
            Lessons.opened(self.work / KEPT, self.names),
            Targets(**read_arrays(self.targets)),
            Sounds.opened(self.work / "rooms"),
            self.front_end.read_bytes(),
            self.lengths,
            self.cutting,
            self.how,
        )


def taught(
    bundle: Path,
    recipe: Recipe,
    work: Path,
    corpora: Path,
    teachers: Path,
    trials: Path,
    out: Path,
    version: str,
    console: Console,
) -> None:
    """Learn further, add the recipe's last steps anew, measure and write; a stopped run goes on.

    Args: work: with shards of the train sets; clips, targets and checkpoints come to lie in `further`, rooms in
        `rooms`. teachers: as of `training.teachers.both_of`.
    Raises: EncoderDamaged; ValueError for a recipe that says nothing of it, or lacks noise or teachers, or a graph that
        cannot be learnt further.
    """
    how, opened = recipe.further, open_bundle(bundle)
    if how is None or recipe.noise is None:  # the one wants the other, and two teachers (training/recipe.py)
        raise ValueError(f"recipe {recipe.name}: to learn further it has to name `further`, noise, and two teachers")
    graph = as_exported(onnx.load_from_string(opened.model), recipe)
    _refuse_what_will_fail(graph, recipe, [teachers / name for name in recipe.teachers.graphs])
    make_sounds(corpora, recipe.train, recipe.noise, work / "rooms", console)
    names = [*dict.fromkeys(recipe.virtual.sets(recipe.train)), *in_other_voices(recipe.train, how.voices)]
    made_of = _made_of(recipe, how, names, work, teachers)
    lessons = make_lessons(work / "shards", names, work / KEPT, console)
    key = hashlib.sha256(graph.SerializeToString() + made_of.encode()).hexdigest()[:12]
    targets = work / KEPT / f"targets-{key}.npz"
    if kept(targets, lambda file: Targets(**read_arrays(file)), console) is None:
        write_arrays(targets, **vars(_targets(graph, recipe, how, lessons, teachers, work, console)))
    drawn_of = f"{made_of} {recipe.lengths} {(work / 'rooms' / TABLE).read_text(encoding='utf8')}"
    file = checkpoint_of(graph, how, drawn_of, work / KEPT)
    with tempfile.TemporaryDirectory(dir=work / KEPT) as beside:
        files = Path(beside) / "graph.onnx", Path(beside) / "front-end.onnx"
        files[0].write_bytes(graph.SerializeToString())
        files[1].write_bytes(front_end_of(graph))
        _learn_in_processes(Material(work, names, targets, *files, recipe.lengths, recipe.cutting, how), file, console)
    changed = learnt(graph, file, how).mean_with(how.share)
    if recipe.levelled:
        archives = [corpora / f"{name}.tar" for name in recipe.levelled]
        changed, _ = levelled(changed, recipe.front_end.rate_hz, archives, work, console)
    changed = with_last_steps(changed, recipe, corpora, work, console)
    said = {"command": f"python -m training further, after {opened.card.id}", **asdict(how)}
    sets = Sets(work / "shards", corpora, trials, lists_of(work / recipe.name))
    write_changed(opened, changed, recipe, sets, out, version, {"further": said, **of_last_steps(recipe)}, console)


def front_end_of(graph: ModelProto) -> bytes:
    """The part of the graph from waveforms to the features that `GraphNetwork` takes, as a file's content."""
    named = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(graph))
    found: bytes = named.extract_model(["waveform"], [GraphNetwork(graph).features]).SerializeToString()
    return found


def _refuse_what_will_fail(graph: ModelProto, recipe: Recipe, teachers: Sequence[Path]) -> None:
    """Before minutes are spent: a graph that cannot be learnt further, crops that no clip fills, teachers that are not
    there or do not run."""
    _ = GraphNetwork(graph).front
    if max(samples_of(length) for length in recipe.lengths) > LONGEST_S * RATE_HZ:
        raise ValueError(
            f"lengths: crops of more than {LONGEST_S:g} s; clips are cut there where a graph learns further"
        )
    for teacher in teachers:
        open_teacher(teacher)(np.full(RATE_HZ, 0.1, np.float32))


def _made_of(recipe: Recipe, how: Further, names: Sequence[str], work: Path, teachers: Path) -> str:
    """What targets depend on beside the graph: recordings, what is done to them, and what the teachers say."""
    shards = {name: set_hash(work / "shards", recorded_set(name)) for name in names}
    files = [*(f"teacher-vectors/{file}" for file in recipe.teachers.files), *recipe.teachers.graphs]
    said = {file: file_hash(teachers / file) for file in files}
    weights = how.second_weight, how.weight_of_words
    return f"{shards} {said} {recipe.teachers} {recipe.speaker_means} {recipe.cutting} {weights}"


def _targets(
    graph: ModelProto, recipe: Recipe, how: Further, lessons: Lessons, teachers: Path, work: Path, console: Console
) -> Targets:
    session = on_one_core(graph.SerializeToString())

    def said_of(clip: int) -> Array:
        samples = lessons.part(clip, 0, int(lessons.lengths[clip])).astype(np.float32)
        found: Array = session.run(None, {"waveform": samples[None]})[0][0]
        return found

    both = both_of(recipe.teachers, [(one.name, one.rows) for one in lessons.sets], teachers, work, console)
    weight, joined = recipe.teachers.second_weight, recipe.cutting.joined
    return in_directions_of(said_of, both, lessons, how, weight, recipe.speaker_means, joined)


def _learn_in_processes(material: Material, file: Path, console: Console) -> None:
    """This process, and as many beside it as there are to be."""
    crops = material.crops()  # before another process begins: what is missing is raised here
    meeting = material.graph.with_name("meeting")
    pool = workers()
    try:
        beside = [pool.submit(_learn_beside, material, file, process, meeting) for process in range(1, PROCESSES)]
        try:
            learn(crops, onnx.load(material.graph), material.how, 0, meeting, file, console)
        except RuntimeError:
            for one in beside:
                if (error := one.exception()) is not None and (
                    isinstance(error, BrokenProcessPool) or not isinstance(error, RuntimeError)
                ):
                    raise error from None  # which says more than that nobody answers
            raise
    finally:
        pool.shutdown(cancel_futures=True)


def _learn_beside(material: Material, file: Path, process: int, meeting: Path) -> None:
    quiet = Console(quiet=True)
    learn(material.crops(), onnx.load(material.graph), material.how, process, meeting, file, quiet)
