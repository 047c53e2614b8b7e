"""The command line as its users meet it: results on stdout, progress on stderr, files that are never lost."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prepared
import pytest
from cli_runner import assert_refused, beft
from example_snapshots import LAYERS, base, example
from hostile_data import GOOD

from beft_core.cli import arguments, progress
from beft_core.cli.flags import FLAGS
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.merging import evaluate as merge_evaluation
from beft_core.merging.methods import METHODS
from beft_core.models.biases import LoadedModel
from beft_core.models.load import load_model
from beft_core.scores.formulas import projection_ratio
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot
from beft_core.training import workflow
from beft_core.training.checkpoint import held

QUICK = ["--epochs", "1", "--max-length", "16", "--device", "cpu"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(folder: Path) -> list[str]:
    """Flags of a small table of the user's own."""
    (folder / "films.csv").write_text(GOOD)
    return ["--train-file", "films.csv", "--text", "text", "--label", "label", *QUICK]


def stored(folder: Path, *, name: str = "a", **details: Any) -> Path:
    """A synthetic snapshot on disk."""
    path = folder / f"{name}.beft.safetensors"
    write_snapshot(path, example(**details))
    return path


# --- flags -----------------------------------------------------------------------------------------------------------


def test_several_words_after_one_flag() -> None:
    assert arguments.join_values(["train", "--terms", "v", "q", "--seed", "1"]) == [
        "train",
        "--terms",
        "v,q",
        "--seed",
        "1",
    ]
    assert arguments.join_values(["merge", "--weights", "1", ".5", "a.st", "b.st"]) == [
        "merge",
        "--weights",
        "1,.5",
        "a.st",
        "b.st",
    ]
    assert arguments.join_values(["x", "--terms"]) == ["x", "--terms"]
    assert arguments.join_values(["x", "--", "--terms", "v", "q"]) == ["x", "--", "--terms", "v", "q"]


def test_layers() -> None:
    assert arguments.layers(["3-5"]) == (3, 4, 5)
    assert arguments.layers(["5,0,2", "2-3"]) == (0, 2, 3, 5)
    assert arguments.layers(None) is None
    with pytest.raises(UserError):
        arguments.layers(["5-3"])


def test_every_setting_has_a_flag() -> None:
    fields = {field.name for field in dataclasses.fields(RunConfig)}
    # The mode is said with --terms; the duration would make equal runs write different bytes.
    assert fields - set(FLAGS) == {"mode", "record_wall_seconds"}
    help_ = beft("train", "--help").out
    for flag in FLAGS.values():
        assert (flag.name or f"--{flag.field.replace('_', '-')}") in help_


def test_every_parameter_of_a_merge_has_a_flag() -> None:
    help_ = beft("merge", "--help").out
    for method in METHODS.values():
        for parameter in method.parameters:
            assert f"--{parameter.name}" in help_


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--terms", "v", "q"], {"terms": ("v", "q")}),
        (["--terms", "v,q"], {"terms": ("v", "q")}),
        (["--terms", "v", "--terms", "q"], {"terms": ("v", "q")}),
        (["--terms", "all"], {"mode": "all", "terms": ()}),
        (["--terms", "head"], {"mode": "head", "terms": ()}),
        (["--terms", "full"], {"mode": "full", "terms": ()}),
        (["--terms", "random"], {"mode": "random", "terms": ()}),
        (["--layers", "3-5"], {"layers": (3, 4, 5)}),
        (["--layers", "0,2,5"], {"layers": (0, 2, 5)}),
        (["--add-bias", "q", "k"], {"add_bias": ("q", "k")}),
        (["--no-dropout", "--train-null", "--fisher"], {"dropout": False, "train_null": True, "fisher": True}),
        (
            ["--task", "sst2", "--regime", "low", "--preset", "paper"],
            {"task": "sst2", "regime": "low", "preset": "paper"},
        ),
        (
            ["--n-train", "64", "--epochs", "2", "--lr", "4e-4", "--schedule", "constant", "--batch-size", "8"],
            {"n_train": 64, "epochs": 2, "lr": 4e-4, "schedule": "constant", "batch_size": 8},
        ),
        (
            ["--seed", "3", "--max-length", "64", "--weight-decay", "0", "--clip", "0"],
            {"seed": 3, "max_length": 64, "weight_decay": 0.0, "clip": 0.0},
        ),
        (
            ["--device", "cpu", "--precision", "bfloat16", "--pad", "max", "--evaluate-when", "never"],
            {"device": "cpu", "precision": "bfloat16", "pad": "max", "evaluate": "never"},
        ),
        (
            ["--trajectory-every", "5", "--fisher-examples", "9", "--data-dir", "x", "--model", "./m"],
            {"trajectory_every": 5, "fisher_examples": 9, "data_dir": "x", "model": "./m"},
        ),
        (
            ["--train-file", "a.csv", "--eval-file", "b.csv", "--text", "s", "--text-pair", "t", "--label", "l"],
            {"train_file": "a.csv", "eval_file": "b.csv", "text": "s", "text_pair": "t", "label": "l"},
        ),
    ],
)
def test_flags_become_the_configuration(
    words: list[str], fields: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RunConfig] = []

    def fake(config: RunConfig, *_: object) -> Snapshot:
        seen.append(config)
        return example()

    monkeypatch.setattr("beft_core.training.workflow.train", fake)
    monkeypatch.setattr("beft_core.cli.fine_tune.locate", lambda name: None)
    result = beft("train", *words, "--out", "v.beft.safetensors", "--json")
    assert result.status == 0, result.err
    assert seen == [dataclasses.replace(RunConfig(), **fields)]


# --- training --------------------------------------------------------------------------------------------------------


def test_train_then_evaluate_gives_the_same_metrics(table: list[str], folder: Path) -> None:
    result = beft("train", *table, "--terms", "v", "q", "--eval-file", "films.csv", "--json")
    assert result.status == 0, result.err
    document = result.json
    assert document["file"] == "films-v-q-seed0.beft.safetensors"
    assert document["terms"] == ["q", "v"]
    assert document["trained_parameters"] == 2 * 6 * 384
    assert document["percentage"] == pytest.approx(100 * 2 * 6 * 384 / document["total_parameters"])
    assert document["seconds"] > 0
    snapshot = read_snapshot(folder / document["file"])
    assert list(snapshot.meta.metrics) == document["metrics"]

    evaluated = beft("evaluate", document["file"], *table[:-6], "--eval-file", "films.csv", "--device", "cpu", "--json")
    assert evaluated.status == 0, evaluated.err
    last = document["metrics"][-1]
    assert evaluated.json["metrics"] == pytest.approx({name: last[name] for name in evaluated.json["metrics"]})

    # A default name never replaces a file, and that is found out before anything is trained.
    before = (folder / document["file"]).read_bytes()
    assert "--force" in assert_refused(beft("train", *table, "--terms", "v", "q"))
    again = beft("train", *table, "--terms", "v", "q", "--eval-file", "films.csv", "--force")
    assert again.status == 0
    assert "replaced films-v-q-seed0.beft.safetensors" in again.err
    assert "train_loss" in again.out
    assert "4,608 of 22,713,216 parameters (0.020 %)" in again.out
    assert (folder / document["file"]).read_bytes() == before


def test_select_then_train(table: list[str], folder: Path) -> None:
    result = beft("select", *table, "--then-train", "--out", "probe.beft.safetensors", "--json")
    assert result.status == 0, result.err
    document = result.json
    winner = document["selected"]["projection_ratio"]
    assert winner in ("q", "v")
    assert document["null_terms"] == ["k"]
    assert {row["approach"] for row in document["means"]} == set(document["selected"])
    assert len(document["means"]) == 8 * 5
    assert document["trained"]["terms"] == [winner]
    assert document["trained"]["file"] == f"films-{winner}-seed0.beft.safetensors"
    assert read_snapshot(folder / document["trained"]["file"]).meta.trained_terms == (winner,)

    # The file holds what was printed, and score shows it in the same way.
    scored = beft("score", "probe.beft.safetensors", "--json").json["files"][0]
    assert scored["means"] == document["means"]
    assert scored["selected"]["encoder"] == document["selected"]

    # Which term will win is not known beforehand: any file that might be in the way stops it before the work.
    assert "--trained-out" in assert_refused(beft("select", *table, "--then-train"))


def test_select_prints_the_ranking(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from beft_core.scores.table import score_snapshot
    from beft_core.training import workflow

    probe = example(full=True, null_terms=("k",), n_train=32, mode="all", trained_parameters=72, total_parameters=7200)
    scores = score_snapshot(probe)
    selection = workflow.Selection(probe, scores, scores.selected())
    monkeypatch.setattr("beft_core.training.workflow.select", lambda *_: selection)
    result = beft("select")
    assert result.status == 0
    row = next(line for line in result.out.splitlines() if line.strip().startswith("v "))
    ranks = [scores.means.query("term == 'v' and approach == @key")["rank"].item() for key in scores.approaches]
    assert [int(cell.split(")")[0]) for cell in row.split("(")[1:]] == ranks
    assert "k null*" in result.out
    assert "* cannot change any output of this model" in result.out
    assert f"Fisher selects {scores.selected()['fisher']}" in result.out
    assert "72 of 7,200 parameters (1.000 %)" in result.out
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("any_rate")
def test_a_diverging_fine_tune_is_one_line_and_no_file(table: list[str], folder: Path) -> None:
    result = beft("train", *table, "--lr", "1e38", "--epochs", "5", "--clip", "0", "--out", "v.beft.safetensors")
    assert result.status == 1
    assert result.err.splitlines()[-1].startswith("beft: The fine-tune diverged")
    assert "Traceback" not in result.err
    assert not (folder / "v.beft.safetensors").exists()


def test_ctrl_c_keeps_what_was_trained(folder: Path) -> None:
    words = ["train", "--n-train", "8", "--epochs", "10000", "--max-length", "16", "--evaluate-when", "never"]
    command = prepared.start([*words, "--device", "cpu", "--out", "v.beft.safetensors", "--json"], folder / "says")
    try:
        while command.running() and "epoch 1:" not in command.said():
            time.sleep(0.01)
        command.interrupt()
        assert command.wait(120) == 130
    finally:
        command.kill()
    out, err = command.stdout.read_text(), command.said()
    assert "stopping after this step" in err
    assert "stopped early; what was trained until then is kept" in err
    assert "Traceback" not in err
    assert '"stopped_early": true' in out
    snapshot = read_snapshot(folder / "v.beft.safetensors")
    assert snapshot.meta.hyperparameters["stopped_early"] is True
    assert 2 <= snapshot.meta.hyperparameters["steps"] < 20_000
    assert not np.array_equal(snapshot.pre("encoder", "v"), snapshot.post("encoder", "v"))


def test_a_second_snapshot_without_a_second_fine_tune_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def began(_: str) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("beft_core.cli.fine_tune.locate", began)
    assert "without --then-train" in assert_refused(beft("select", "--trained-out", "v.beft.safetensors"))


@pytest.mark.parametrize("biases", ["post", "pre"])
def test_the_named_biases_are_evaluated(biases: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def fake(_: Snapshot, config: RunConfig, biases: str = "post", **_rest: object) -> dict[str, float]:
        asked.append((config.task, biases))
        return {"accuracy": 0.5}

    monkeypatch.setattr(workflow, "evaluate", fake)
    monkeypatch.setattr("beft_core.cli.evaluation.locate", lambda name: None)
    done = beft("evaluate", stored(folder, task="sst2"), "--task", "sst2", "--biases", biases, "--json")
    assert done.status == 0, done.err
    assert asked == [("sst2", biases)] and done.json["biases"] == biases


# --- reading ---------------------------------------------------------------------------------------------------------


def test_score_of_several_seeds(folder: Path) -> None:
    files = [stored(folder, name=str(seed), seed=seed, task="sst2", full=True) for seed in (1, 2, 3)]
    document = beft("score", *files, "--per-layer", "--json").json
    expected = []
    for file, scored in zip(files, document["files"], strict=True):
        snapshot = read_snapshot(file)
        ratio = projection_ratio(snapshot.pre("encoder", "v"), snapshot.post("encoder", "v"))
        layers = [r["score"] for r in scored["per_layer"] if r["term"] == "v" and r["approach"] == "projection_ratio"]
        assert layers == pytest.approx(ratio.tolist(), abs=1e-12)
        assert len(layers) == LAYERS
        mean = next(r for r in scored["means"] if r["term"] == "v" and r["approach"] == "projection_ratio")
        assert mean["score"] == pytest.approx(ratio.mean(), abs=1e-12)
        expected.append(ratio.mean())
    (group,) = document["aggregates"]
    row = next(r for r in group["terms"] if r["term"] == "v" and r["approach"] == "projection_ratio")
    assert row["mean"] == pytest.approx(np.mean(expected))
    assert row["std"] == pytest.approx(np.std(expected, ddof=1))
    text = beft("score", *files, "--per-layer").out
    assert "3 snapshots together" in text
    assert "length ratio" in text


def test_seeds_of_different_experiments_are_not_mixed(folder: Path) -> None:
    files = [stored(folder, name=task, seed=1, task=task) for task in ("sst2", "rte")]
    assert beft("score", *files, "--json").json["aggregates"] == []


def test_fine_tunes_of_other_terms_are_no_seeds_of_one_experiment(folder: Path) -> None:
    files = [
        stored(folder, name=str(seed), seed=seed, task="sst2", trained_terms=terms)
        for seed, terms in enumerate((("v",), ("q",), ("v",)))
    ]
    assert [group["files"] for group in beft("score", *files, "--json").json["aggregates"]] == [
        [str(files[0]), str(files[2])]
    ]


def test_a_trained_null_term_is_told(folder: Path) -> None:
    text = beft("score", stored(folder, null_terms=("k",))).out
    assert "k null*" in text
    assert "k is a null term and was trained" in text


def test_null_elements_are_counted(folder: Path) -> None:
    file = stored(folder, null_elements={"k": [[2, 8]]})
    text = beft("score", file).out
    assert "k 6/8 null" in text and "6 of 8 elements of k in each layer cannot act" in text
    assert beft("score", file, "--json").json["files"][0]["null_elements"] == {"k": {"null": 6, "of": 8}}
    assert "k: 6 of each layer" in beft("inspect", file).out


def test_one_trained_term_is_no_contest(folder: Path) -> None:
    file = stored(folder, null_terms=("k",), trained_terms=("v",))
    assert (
        "Projection ratio selects none: there is no contest among q, k, v, only v took part" in beft("score", file).out
    )
    assert set(beft("score", file, "--json").json["files"][0]["selected"]["encoder"].values()) == {None}


def test_inspect(folder: Path) -> None:
    file = stored(folder, full=True, seed=1)
    document = beft("inspect", file, "--json").json
    snapshot = read_snapshot(file)
    assert document["metadata"]["model"]["fingerprint"] == snapshot.meta.model.fingerprint
    assert {tensor["name"]: tensor["shape"] for tensor in document["tensors"]} == {
        name: list(array.shape) for name, array in snapshot.tensors().items()
    }
    text = beft("inspect", file).out
    assert "encoder.v.pre" in text
    assert "3x8" in text


def test_names_in_a_file_cannot_speak_to_the_terminal(folder: Path) -> None:
    file = stored(folder, hyperparameters={"note": "\x1b[31m[bold]red"})
    text = beft("inspect", file).out
    assert "\x1b" not in text
    assert "[bold]red" in text


def test_lists() -> None:
    assert "demo-sentiment" in beft("tasks").out
    assert {task["name"] for task in beft("tasks", "--json").json} >= {"sst2", "cb", "demo-similarity"}
    assert "bundled" in beft("models").out
    assert beft("models", "--json").json[0]["name"] == "bundled"
    assert "select" in beft().out


# --- merging and exchange --------------------------------------------------------------------------------------------


def test_merge_writes_the_average_and_compares(folder: Path) -> None:
    files = [stored(folder, name=str(n), seed=n, trained_terms=("v",), full=True) for n in (1, 2)]
    result = beft("merge", *files, "--method", "mean", "--out", "m.beft.safetensors", "--json")
    assert result.status == 0, result.err
    a, b = (read_snapshot(file) for file in files)
    merged = read_snapshot("m.beft.safetensors")
    both = [s.post("encoder", "v").astype(np.float64) for s in (a, b)]
    np.testing.assert_allclose(merged.post("encoder", "v"), sum(both) / 2, rtol=1e-6)
    assert set(merged.meta.heads) == {"task1", "task2"}

    da, db = (s.post("encoder", "v").astype(np.float64) - s.pre("encoder", "v") for s in (a, b))
    cosine = (da * db).sum() / np.sqrt((da**2).sum() * (db**2).sum())
    (pair,) = result.json["comparison"]["pairs"]
    assert pair["differences"]["cosine"] == pytest.approx(cosine)
    assert pair["differences"]["angle_degrees"] == pytest.approx(np.degrees(np.arccos(cosine)))
    assert pair["sign_conflicts"] == pytest.approx((da * db < 0).mean())
    assert len(pair["differences"]["cosine_per_layer"]["encoder.v"]) == LAYERS
    text = beft("merge", *files, "--method", "ties", "--density", "0.5").out
    overall = next(line for line in text.splitlines() if "overall" in line)
    assert f"{np.degrees(np.arccos(cosine)):.1f}°" in overall and f"{100 * (da * db < 0).mean():.1f} %" in overall
    assert f"encoder.v layer {LAYERS - 1}" in text


def test_merge_evaluates_every_row_with_each_tasks_own_head(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = ("demo-sentiment", "demo-entailment")
    files = [
        stored(
            folder, name=task, seed=n, task=task, trained_terms=("v",), full=True, hyperparameters={"max_length": 64}
        )
        for n, task in enumerate(tasks, 1)
    ]

    model = load_model("bundled")
    monkeypatch.setattr(workflow, "load_base", lambda snapshot, config: model)

    def fake(_: LoadedModel, head: dict[str, np.ndarray], *args: Any) -> Callable[[], dict[str, float]]:
        assert args[2] == 64
        return lambda: {"accuracy": float(written[-1]["encoder", "v"].sum()), "head": float(head["head.weight"].sum())}

    written: list[Any] = []
    monkeypatch.setattr(merge_evaluation, "write_biases", lambda _, values: written.append(values))
    monkeypatch.setattr(workflow, "scorer", fake)
    result = beft("merge", *files, "--evaluate", "--json")
    assert result.status == 0, result.err
    rows = result.json["evaluation"]
    assert [row["model"] for row in rows] == ["base model", *tasks, "merged"]
    sources = [read_snapshot(file) for file in files]
    sums = [float(base()["encoder", "v"].sum()), *(float(s.post("encoder", "v").sum()) for s in sources)]
    sums.append((sums[1] + sums[2]) / 2)
    for row, expected in zip(rows, sums, strict=True):
        for task, source in zip(tasks, sources, strict=True):
            assert row["tasks"][task]["accuracy"] == pytest.approx(expected, abs=1e-4)
            assert row["tasks"][task]["head"] == float(source.extra[f"extra.{task}.head.weight"].sum())
    text = beft("merge", *files, "--evaluate").out
    assert "each task with its own head, in %" in text
    assert "base model" in text


def test_extract_and_peft_there_and_back(folder: Path) -> None:
    result = beft("extract", "bundled", "bundled", "--out", "base.beft.safetensors", "--json")
    assert result.status == 0, result.err
    assert result.json["changed_terms"] == []
    untouched = read_snapshot("base.beft.safetensors")
    pre = {key: untouched.pre(*key) for key in untouched.keys()}  # noqa: SIM118 - a method of Snapshot
    moved = pre["encoder", "v"] + np.float32(0.25)
    tuned = Snapshot.build(
        dataclasses.replace(untouched.meta, trained_terms=("v",)), pre, pre | {("encoder", "v"): moved}
    )
    write_snapshot("v.beft.safetensors", tuned)
    assert beft("peft", "export", "v.beft.safetensors", "adapter").status == 0
    assert "exists" in assert_refused(beft("peft", "export", "v.beft.safetensors", "adapter"))
    words = ["--base", "bundled", "--task", "rte", "--out", "back.beft.safetensors", "--json"]
    back = beft("peft", "import", "adapter", *words)
    assert back.json["changed_terms"] == ["v"]
    imported = read_snapshot("back.beft.safetensors")
    np.testing.assert_allclose(imported.post("encoder", "v"), moved, atol=1e-6)
    assert imported.meta.task == "rte"


# --- the process -----------------------------------------------------------------------------------------------------


def test_reading_never_imports_torch(folder: Path) -> None:
    files = [str(stored(folder, name=str(n), seed=n)) for n in (1, 2)]
    commands = [
        ["--help"],
        ["tasks"],
        ["train", "--help"],
        ["score", *files],
        ["inspect", files[0]],
        ["merge", *files],
        ["extract", "bundled", "bundled", "--out", "e.beft.safetensors"],
    ]
    script = (
        "import sys\n"
        "from beft_core.cli import main\n"
        f"for words in {commands!r}:\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, (words, end.code)\n"
        "    heavy = {'torch', 'transformers', 'datasets', 'streamlit'} & set(sys.modules)\n"
        "    assert not heavy, (words, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m beft_core tasks --json | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=folder, check=False)
    assert done.stdout.startswith("[")
    assert done.stderr == ""


def test_python_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "beft_core", "train", "--task", "sst3"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_progress(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = stream()
    monkeypatch.setattr("sys.stderr", stderr)
    with progress.progress() as observer:
        observer.stage("load data")
        observer.stage("tokenise", 10)
        observer.advance(10)
        observer.stage("train", 4)
        observer.advance(0)
        observer.step(1, 4, [0.5])
        observer.advance()
        observer.epoch({"epoch": 1, "step": 4, "train_loss": 0.5, "accuracy": 0.75})
        observer.message("a [message]")
        assert not observer.should_stop()
        signal.raise_signal(signal.SIGINT)
        assert observer.should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            time.sleep(1)
    text = stderr.getvalue()
    assert "epoch 1: train_loss 0.5000, accuracy 0.7500" in text
    assert "a [message]" in text
    assert set(observer.seconds) == {"load data", "tokenise", "train"}
    assert isinstance(observer, progress.Bars if stream is Terminal else progress.Lines)


def test_an_interruption_outside_of_training_ends_at_once() -> None:
    with progress.Lines() as observer, pytest.raises(KeyboardInterrupt):
        observer.stage("tokenise", 10)
        signal.raise_signal(signal.SIGINT)


# --- one at a time, and a full disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "select"])
def test_the_second_fine_tune_on_a_checkpoint_is_told_who_has_it(command: str, table: list[str], folder: Path) -> None:
    with held(folder / "state"):
        line = assert_refused(beft(command, *table, "--checkpoint", "state", "--out", "a.beft.safetensors"))
    assert f"in use by process {os.getpid()}, since 2" in line and "another --checkpoint" in line
    assert not (folder / "a.beft.safetensors").exists()


def test_a_disk_that_is_full_at_the_end_is_told_and_loses_nothing(
    table: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("BEFT_WAIT_FOR_ROOM", "0.02")
    command = ["train", *table, "--checkpoint", "state", "--out", "a.beft.safetensors"]
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "a.beft.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        result = beft(*command)
    *_, waiting, kept, last = result.err.splitlines()
    assert result.status == 1 and last.startswith("beft: cannot write a.beft.safetensors: the disk is full (")
    assert "free); expected room for" in last and f"on the disk of {folder}, then the same again" in last
    assert waiting.endswith("seconds for room") and "kept in state: the same command goes on from there" in kept
    again = beft(*command)
    assert again.status == 0 and "resumed after step" in again.err and read_snapshot(folder / "a.beft.safetensors")
