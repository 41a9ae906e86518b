"""Checkpoints: whole or not there, the newest one counts, the log follows."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from speakerdb.trials import read_pairs
from training import checkpoints
from training.checkpoints import FRONT_STAGE, State
from training.dev_pairs import draw_pairs, gather_pairs
from training.journal import Journal, draw_curves


def state(step: int) -> State:
    return State(step, step, {"mean": 10.0}, 0, seed=1, settings={"recipe": "tiny"})


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    checkpoints.write(tmp_path, "checkpoint", lambda path: path.write_bytes(b"weights"), state(5))
    folder = checkpoints.newest(tmp_path, "checkpoint")
    assert checkpoints.read_state(folder) == state(5)
    assert (folder / checkpoints.WEIGHTS).read_bytes() == b"weights"


def test_a_new_checkpoint_removes_its_elders_and_leaves_the_best(tmp_path):
    for kind, step in (("best", 5), ("checkpoint", 5), ("checkpoint", 10)):
        checkpoints.write(tmp_path, kind, lambda path: path.write_bytes(b"weights"), state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best-00000005", "checkpoint-00000010"]


def test_what_another_training_left_at_the_same_step_is_written_over(tmp_path):
    for content in (b"another's", b"own"):
        folder = checkpoints.write(tmp_path, "best", lambda path, content=content: path.write_bytes(content), state(5))
    assert (folder / checkpoints.WEIGHTS).read_bytes() == b"own"


def test_a_checkpoint_that_fails_half_way_leaves_the_elder(tmp_path):
    checkpoints.write(tmp_path, "checkpoint", lambda path: path.write_bytes(b"weights"), state(5))

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        checkpoints.write(tmp_path, "checkpoint", fail, state(10))
    assert checkpoints.read_state(checkpoints.newest(tmp_path, "checkpoint")).step == 5


WRITER = """
import sys
from pathlib import Path
from training import checkpoints
work = Path(sys.argv[1])
for step in range(1, 100000):
    state = checkpoints.State(step, step, {"mean": 1.0}, 0, 1, {})
    checkpoints.write(work, "checkpoint", lambda path: path.write_bytes(str(step).encode() * 100_000), state)
    print(step, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    root = Path(__file__).parents[2]
    for pause in (0.0, 0.003, 0.007, 0.011, 0.02):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as writer:
            writer.stdout.readline()
            time.sleep(pause)
            os.kill(writer.pid, signal.SIGKILL)
            said = 1 + len(writer.stdout.read().splitlines())
        folder = checkpoints.newest(tmp_path, "checkpoint")
        step = checkpoints.read_state(folder).step
        assert step >= said
        assert (folder / checkpoints.WEIGHTS).read_bytes() == str(step).encode() * 100_000
        for old in tmp_path.iterdir():  # start over, as a new training would
            subprocess.run(["rm", "-r", str(old)], check=True)


def test_no_weights_yet_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="train first"):
        checkpoints.best_weights(tmp_path)


def test_the_log_drops_what_a_resumed_run_does_again(tmp_path):
    journal = Journal(tmp_path, Console(file=io.StringIO()), 100, 0)
    for step in (10, 20, 30):
        journal.report(step, {"loss": 1.0 / step})
    journal.look(30, {"dev": 10.0, "mean": 10.0}, 0.1)
    Journal(tmp_path, Console(file=io.StringIO()), 100, 20)
    assert [line.split(",")[0] for line in (tmp_path / "log.csv").read_text().splitlines()] == ["step", "10", "20"]
    assert not (tmp_path / "dev.csv").exists()


def test_the_curves_are_drawn_once_there_is_something_to_see(tmp_path):
    journal = Journal(tmp_path, Console(file=io.StringIO()), 100, 0)
    journal.report(10, {"loss": 1.0})
    assert draw_curves(tmp_path) is None
    for step in (20, 30):
        journal.report(step, {"loss": 1.0 / step})
    journal.look(30, {"dev": 10.0, "mean": 10.0}, 0.1)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


GIVEN = "1 s0/0.wav s0/40.wav\n0 s0/0.wav s1/1.wav\n"
ROWS = [{"speaker": f"s{i % 40}", "path": f"s{i % 40}/{i}.wav"} for i in range(200)]


def test_drawn_pairs_are_what_they_say_and_the_same_for_the_same_seed():
    pairs = draw_pairs("dev", ROWS, seed=3)
    assert pairs == draw_pairs("dev", ROWS, seed=3)
    assert pairs != draw_pairs("dev", ROWS, seed=4)
    assert len(set(pairs)) == len(pairs)
    for pair in pairs:
        assert (pair.first.split("/")[0] == pair.second.split("/")[0]) == pair.target
        assert pair.first != pair.second
    targets = sum(pair.target for pair in pairs)
    assert targets == 400  # 40 speakers of 5 clips
    assert len(pairs) - targets > 3_000


def test_a_given_list_of_pairs_is_taken_and_a_missing_one_drawn(tmp_path):
    (tmp_path / "given-pairs.txt").write_text(GIVEN)
    folder = gather_pairs(tmp_path, tmp_path / "work", {"given": ROWS, "own": ROWS}, seed=1)
    assert (folder / "given-pairs.txt").read_text() == GIVEN
    assert read_pairs(folder / "own-pairs.txt") == draw_pairs("own", ROWS, 1)


@pytest.mark.parametrize("stage", [".", FRONT_STAGE], ids=["of the whole", "of its front"])
def test_a_training_that_has_begun_keeps_the_list_that_it_began_with(tmp_path, stage):
    (tmp_path / "given-pairs.txt").write_text(GIVEN)
    gather_pairs(tmp_path, tmp_path / "work", {"given": ROWS}, seed=1)
    (tmp_path / "work" / stage / "checkpoint-00000001").mkdir(parents=True)
    folder = gather_pairs(tmp_path / "elsewhere", tmp_path / "work", {"given": ROWS}, seed=1)
    assert (folder / "given-pairs.txt").read_text() == GIVEN


def test_a_list_that_names_a_clip_that_cannot_be_heard_is_told_before_the_training(tmp_path):
    (tmp_path / "given-pairs.txt").write_text(GIVEN + "0 s0/0.wav s0/none.wav\n")
    with pytest.raises(ValueError, match=r"no clip s0/none\.wav in given"):
        gather_pairs(tmp_path, tmp_path / "work", {"given": ROWS}, seed=1)


@pytest.mark.parametrize("rows", [ROWS[:1], [], ROWS[:40], [{**row, "speaker": "one"} for row in ROWS]])
def test_a_dev_corpus_without_pairs_of_both_kinds_is_refused(rows):
    with pytest.raises(ValueError, match="two speakers"):
        draw_pairs("dev", rows, seed=1)
