"""`python -m training evaluate`: its figures computed again another way, on real voices and on made-up scores."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
from click.testing import CliRunner
from tiny_corpus import EXAMPLES, write_archive, write_lists, write_voices

from training.commands import training
from training.commands.outcome import Refused, errors_as_exit_codes

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="training needs scikit-learn (the extra train)")

BUNDLE = Path(__file__).parents[2] / "speakerdb" / "encoders" / "speakerdb-16k"
VOICES = ("ana", "ben", "slt")
CLIPS = {f"{voice}/{voice}_{number}.wav": voice for voice in VOICES for number in (1, 2, 3, 4)}


def run(*arguments: object):
    return CliRunner().invoke(training, ["evaluate", *map(str, arguments)])


def reports(*arguments: object) -> list[dict]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Path:
    """A folder SPEAKER/CLIP, with VoxCeleb's form of list beside it."""
    folder = tmp_path_factory.mktemp("voices")
    for clip, voice in CLIPS.items():
        (folder / voice).mkdir(exist_ok=True)
        shutil.copyfile(EXAMPLES / Path(clip).name, folder / clip)
    pairs = itertools.combinations(CLIPS, 2)
    (folder / "pairs.txt").write_text("".join(f"{int(CLIPS[a] == CLIPS[b])} {a} {b}\n" for a, b in pairs))
    return folder


@pytest.fixture(scope="module")
def by_hand(voices) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of the list from the graph alone, with nothing of ours between."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(BUNDLE / "encoder.onnx"), options, providers=["CPUExecutionProvider"])
    vectors = {}
    for clip in CLIPS:
        samples, rate_hz = soundfile.read(voices / clip, dtype="float32")
        assert rate_hz == 16_000 and samples.ndim == 1
        vectors[clip] = session.run(None, {"waveform": samples[None]})[0][0].astype(np.float64)
    lines = [line.split() for line in (voices / "pairs.txt").read_text().splitlines()]
    scores = [-np.linalg.norm(vectors[first] - vectors[second]) for _, first, second in lines]
    return np.array([int(label) for label, _, _ in lines]), np.array(scores)


def equal_error_percent(labels: np.ndarray, scores: np.ndarray) -> float:
    """Where scikit-learn's ROC, its points joined by lines, meets the diagonal."""
    false_alarms, hits, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    gaps = (1 - hits) - false_alarms  # falls along the curve
    at = int(np.flatnonzero(gaps <= 0)[0])
    if at == 0 or gaps[at] == 0:
        return 100 * false_alarms[at]
    share = gaps[at - 1] / (gaps[at - 1] - gaps[at])
    return 100 * (false_alarms[at - 1] + share * (false_alarms[at] - false_alarms[at - 1]))


def least_cost(labels: np.ndarray, scores: np.ndarray, prior: float) -> float:
    """minDCF by trying every threshold."""
    costs = []
    for threshold in [-np.inf, *scores, np.inf]:
        miss = np.mean(scores[labels == 1] < threshold)
        false_alarm = np.mean(scores[labels == 0] >= threshold)
        costs.append((prior * miss + (1 - prior) * false_alarm) / min(prior, 1 - prior))
    return min(costs)


def test_the_figures_of_a_bundle_are_what_its_graph_gives(voices, by_hand):
    labels, scores = by_hand
    [found] = reports(BUNDLE, "--audio", voices, "--pairs", voices / "pairs.txt", "--threshold", 1.0, "--draws", 20)
    assert found["list"] == "pairs"
    assert found["counts"] == {"targets": 18, "nontargets": 48}
    assert found["eer"] == pytest.approx(equal_error_percent(labels, scores), abs=0.0051)
    assert found["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores), abs=5.1e-5)
    assert found["min_dcf_0.05"] == pytest.approx(least_cost(labels, scores, 0.05), abs=5.1e-4)
    assert found["min_dcf_0.01"] == pytest.approx(least_cost(labels, scores, 0.01), abs=5.1e-4)
    assert found["sensitivity"] == pytest.approx(100 * np.mean(scores[labels == 1] >= -1.0), abs=0.0051)
    assert found["specificity"] == pytest.approx(100 * np.mean(scores[labels == 0] < -1.0), abs=0.0051)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_the_figures_of_any_score_file_are_scikit_learns_with_ties_too(tmp_path, decimals):
    rng = np.random.default_rng(decimals)
    labels = (np.arange(400) % 4 == 0).astype(int)
    scores = np.round(rng.normal(1.5 * labels), decimals)
    names = [(f"s{i % 20}/{i}", f"s{i % 20 if label else (i % 20) + 20}/x{i}") for i, label in enumerate(labels)]
    (tmp_path / "kaldi.txt").write_text(
        "".join(f"{a} {b} {'target' if label else 'nontarget'}\n" for label, (a, b) in zip(labels, names, strict=True))
    )
    lines = [f"{a} {b} {score}\n" for (a, b), score in zip(names, scores.tolist(), strict=True)]
    (tmp_path / "scores.txt").write_text("".join(rng.permutation(lines)))
    [found] = reports("--from-scores", tmp_path / "scores.txt", "--pairs", tmp_path / "kaldi.txt", "--draws", 50)
    assert found["eer"] == pytest.approx(equal_error_percent(labels, scores), abs=0.0051)
    assert found["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores), abs=5.1e-5)
    assert found["min_dcf_0.01"] == pytest.approx(least_cost(labels, scores, 0.01), abs=5.1e-4)
    assert found["notes"] == [] and found["threshold"] is None
    low, high = found["intervals_95"]["eer"]
    assert low < found["eer"] < high


def test_scores_that_were_written_give_the_same_report(voices, tmp_path):
    pairs = ["--pairs", voices / "pairs.txt", "--draws", 0]
    [first] = reports(BUNDLE, "--audio", voices, *pairs, "--threshold", 1.0, "--out", tmp_path)
    [again] = reports("--from-scores", tmp_path / "pairs-pairs-scores.txt", *pairs, "--threshold", -1.0)
    for figure in ("eer", "auc", "min_dcf_0.01", "sensitivity", "specificity", "counts"):
        assert first[figure] == again[figure]
    assert json.loads((tmp_path / "report.json").read_text())["lists"] == [first]
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {f"pairs-{name}.png" for name in ("boxes", "histogram", "roc", "operation", "det")}


def test_every_place_of_the_clips_gives_the_same_figures(voices, tmp_path):
    [plain] = reports(BUNDLE, "--audio", voices, "--pairs", voices / "pairs.txt", "--draws", 0)
    archive = write_voices(tmp_path / "tiny-test.tar", VOICES)
    write_lists(tmp_path / "trials", "tiny-test", VOICES[:2], VOICES[2])
    shutil.copyfile(voices / "pairs.txt", tmp_path / "trials" / "tiny-test-pairs.txt")
    kaldi = tmp_path / "kaldi"
    kaldi.mkdir()
    (kaldi / "wav.scp").write_text("".join(f"{clip} {voices / clip}\n" for clip in CLIPS))
    (kaldi / "utt2spk").write_text("".join(f"{clip} {voice}\n" for clip, voice in CLIPS.items()))
    [named] = reports(
        BUNDLE, "--list", "tiny-test", "--corpora", archive.parent, "--trials", tmp_path / "trials", "--draws", 0
    )
    [utterances] = reports(BUNDLE, "--audio", kaldi, "--pairs", voices / "pairs.txt", "--draws", 0)
    assert plain["eer"] == named["eer"] == utterances["eer"]
    assert named["by_sex"] == {"f": {"targets": 18, "nontargets": 48, "eer": plain["eer"]}}
    assert {"eer_models", "tpir_at_fpir_1", "rank_1"} <= named.keys()
    assert plain["by_sex"] == {} and "eer_models" not in plain


def test_without_speakers_there_are_figures_but_no_intervals(voices, tmp_path):
    (tmp_path / "utt2spk").write_text("".join(f"{clip} {voice}\n" for clip, voice in list(CLIPS.items())[1:]))
    options = ["--audio", voices, "--pairs", voices / "pairs.txt", "--utt2spk", tmp_path / "utt2spk", "--draws", 5]
    [found] = reports(BUNDLE, *options)
    assert found["intervals_95"] == {} and "eer" in found
    assert found["notes"] == ["pairs: no intervals, since not every clip's speaker is known"]


def test_labels_that_contradict_the_speakers_are_said_and_give_no_intervals(voices, tmp_path):
    lines = (voices / "pairs.txt").read_text().replace("1 ana/ana_1.wav ana/ana_2.wav", "0 ana/ana_1.wav ana/ana_2.wav")
    (tmp_path / "pairs.txt").write_text(lines)
    [found] = reports(BUNDLE, "--audio", voices, "--pairs", tmp_path / "pairs.txt", "--draws", 5)
    assert found["notes"] == ["pairs: no intervals, since 1 labels contradict the clips' speakers"]


def test_a_stopped_run_goes_on_with_what_it_has(voices, tmp_path):
    options = [BUNDLE, "--audio", voices, "--pairs", voices / "pairs.txt", "--draws", 0, "--out", tmp_path]
    [first] = reports(*options)
    [vectors] = tmp_path.glob("embeddings-*.f32")
    content = vectors.read_bytes()
    vectors.write_bytes(content[: 5 * 192 * 4 + 7])  # as a kill leaves it
    hidden = voices / "ana" / "hidden.wav"
    (voices / "ana/ana_1.wav").rename(hidden)  # the first clip, whose vector is kept: it is not read again
    try:
        result = run(*options)
    finally:
        hidden.rename(voices / "ana/ana_1.wav")
    assert result.exit_code == 3 and "1 clips of the lists are not there, 'ana/ana_1.wav' among them" in result.stderr
    assert reports(*options) == [first]
    assert vectors.read_bytes() == content


@pytest.mark.parametrize(
    "lines, said",
    [
        ("", "empty, where `1|0 CLIP CLIP` lines belong"),
        ("1 ana/ana_1.wav ana/ana_2.wav\n", "pairs: no nontargets among the pairs; error rates need both"),
        ("0 ana/ana_1.wav ben/ben_2.wav\n", "pairs: no targets among the pairs; error rates need both"),
        ("1 ana/ana_1.wav ana/no.wav\n", "1 clips of the lists are not there, 'ana/no.wav' among them"),
        ("1 ana/ana_1.wav ../ben/ben_1.wav\n", "the clip '../ben/ben_1.wav' lies outside of"),
        ("1 ana/ana_1.wav\n", "pairs.txt:1: '1 ana/ana_1.wav' is not `1|0 CLIP CLIP`"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line_and_exit_code_3(voices, tmp_path, lines, said):
    (tmp_path / "pairs.txt").write_text(lines)
    result = run(BUNDLE, "--audio", voices, "--pairs", tmp_path / "pairs.txt")
    assert result.exit_code == 3
    assert said in result.stderr and result.stderr.count("\n") == 1


def test_clips_that_are_no_sound_are_counted_and_the_others_kept(tmp_path):
    good = [(f"{voice}/1.wav", (EXAMPLES / f"{voice}_1.wav").read_bytes()) for voice in VOICES]
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(160), 16_000, format="WAV")
    bad = [("ana/cut.mp3", b"ID3"), ("ben/short.wav", silence.getvalue())]
    archive = write_archive(tmp_path / "c-test.tar", [*good, *bad])
    (tmp_path / "pairs.txt").write_text("1 ana/1.wav ana/cut.mp3\n0 ben/short.wav slt/1.wav\n0 ana/1.wav ben/1.wav\n")
    result = run(BUNDLE, "--audio", archive, "--pairs", tmp_path / "pairs.txt", "--out", tmp_path / "out")
    assert result.exit_code == 3 and "2 clips cannot be embedded, 'ana/cut.mp3': " in result.stderr
    [table] = (tmp_path / "out").glob("embeddings-*.tsv")
    assert len(table.read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "name either a BUNDLE or --from-scores FILE"),
        (["--from-scores", "scores.txt"], "name the list by --pairs FILE"),
        ([BUNDLE, "--pairs", "pairs.txt", "--models", "m.txt"], "--models and --model-trials go together"),
    ],
)
def test_options_that_do_not_fit_are_a_usage_error(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2 and said in result.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([BUNDLE, "--list", "nobody"], "nobody-pairs.txt: there is no such list"),
        ([EXAMPLES, "--list", "nobody"], "card.json cannot be read"),
        ([BUNDLE, "--pairs", "absent.txt", "--audio", "absent"], "absent.txt: No such file"),
    ],
)
def test_what_is_not_there_is_named(arguments, said):
    result = run(*arguments)
    assert result.exit_code in (3, 5) and said in result.stderr and result.stderr.count("\n") == 1


def test_a_library_that_is_not_installed_is_named_with_the_command_that_installs_it(voices, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run(BUNDLE, "--audio", voices, "--pairs", voices / "pairs.txt", "--draws", 0, "--out", tmp_path)
    assert result.exit_code == 1
    assert "matplotlib.figure is not installed; run: pip install" in result.stderr and result.stderr.count("\n") == 1


def test_the_table_shows_every_figure(voices):
    result = run(BUNDLE, "--audio", voices, "--pairs", voices / "pairs.txt", "--draws", 10)
    assert result.exit_code == 0
    for title in ("EER, %", "minDCF, p 0.01", "AUC", "sensitivity at the", "pairs, one speaker and two"):
        assert title in result.stdout


def test_the_shared_test_list_gives_what_the_card_says(shared):
    options = ["--corpora", shared / "corpora", "--trials", shared / "trials", "--draws", 0]
    [found] = reports(BUNDLE, "--list", "speech_commands-test", *options)
    figures = json.loads((BUNDLE / "card.json").read_text())["figures"]["speech_commands-test"]
    stated = {figure: value for figure, value in figures.items() if not isinstance(value, dict)}  # the whole list's
    assert len(stated) == 8
    assert {figure: found[figure] for figure in stated} == pytest.approx(stated, abs=0.011)


def test_a_list_is_written_in_the_other_form_and_back(voices, tmp_path):
    for form, source, out in (("kaldi", voices / "pairs.txt", "k.txt"), ("voxceleb", tmp_path / "k.txt", "v.txt")):
        result = CliRunner().invoke(training, ["trials", str(source), "--form", form, "--out", str(tmp_path / out)])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "k.txt").read_text().startswith("ana/ana_1.wav ana/ana_2.wav target\n")
    assert (tmp_path / "v.txt").read_text() == (voices / "pairs.txt").read_text()


def test_pairs_drawn_from_a_prepared_set_are_evaluated_by_its_name(tmp_path):
    pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")
    archive = write_voices(tmp_path / "tiny-test.tar", VOICES)
    work, lists = tmp_path / "work", tmp_path / "lists"
    for command in (
        ["prepare", archive, "--work", work],
        ["trials", "tiny-test", "--work", work, "--out", lists / "tiny-test-pairs.txt"],
    ):
        result = CliRunner().invoke(training, [*map(str, command)])
        assert result.exit_code == 0, result.output
    [found] = reports(BUNDLE, "--list", "tiny-test", "--work", work, "--trials", lists, "--draws", 5)
    assert found["counts"] == {"targets": 18, "nontargets": 48}


@pytest.mark.parametrize(("module", "extras"), [("torch", "train,further"), ("onnx", "cpu,train")])
def test_a_module_that_lacks_is_named_with_the_extras_that_bring_it(module: str, extras: str) -> None:
    told = re.escape(f"{module} is not installed; run: pip install '.[{extras}]'")
    with pytest.raises(Refused, match=told), errors_as_exit_codes():
        raise ModuleNotFoundError(name=module)
