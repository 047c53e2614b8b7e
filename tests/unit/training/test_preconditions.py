"""What is told of a fine-tune or an evaluation before PyTorch is started."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from example_snapshots import example

from beft_core.architectures.resolve import layout_for
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.methods import METHODS
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.snapshots.snapshot import read_snapshot, write_snapshot
from beft_core.tasks.registry import TASKS, get_task
from beft_core.training import preconditions
from beft_core.training.observer import Observer
from beft_core.training.preconditions import (
    checked_data,
    head_of,
    inputs_of,
    outputs_of,
    read_data,
    require_data,
    require_model,
    require_something_to_train,
    require_suited,
    with_adapter,
    with_candidates,
)

SILENT = Observer()
ROWS = "".join(f"text {number},{number % 2}\n" for number in range(20))


@pytest.fixture
def table(tmp_path: Path) -> RunConfig:
    """A fine-tune on a table of twenty rows, of which sixteen are left to train on."""
    path = tmp_path / "films.csv"
    path.write_text("words,kind\n" + ROWS)
    return RunConfig(train_file=str(path), text="words", label="kind")


def test_the_examples_are_read_once_and_whole(table: RunConfig) -> None:
    limited = dataclasses.replace(table, n_eval=2)
    data = checked_data(limited, SILENT)
    assert (len(data.train), len(data.evals["validation"])) == (16, 4), "who trains on them limits them"
    assert read_data(limited).train.text == data.train.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"train_file": "none.csv"}, "does not exist"),
        ({"text": "sentence"}, "no column 'sentence'"),
        ({"label": "class"}, "no column 'class'"),
        ({"eval_file": "none.csv"}, "does not exist"),
        ({"n_train": 17}, "at most 16"),
    ],
)
def test_what_is_wrong_with_a_table(fields: dict[str, object], said: str, table: RunConfig) -> None:
    wrong = dataclasses.replace(table, **fields)  # type: ignore[arg-type]
    for check in (lambda: checked_data(wrong, SILENT), lambda: require_data([table, wrong])):
        with pytest.raises(UserError, match=said):
            check()


def test_folders_of_many_runs_are_looked_for_and_what_is_generated_is_there(tmp_path: Path) -> None:
    require_data([RunConfig(), RunConfig(seed=1)])
    with pytest.raises(UserError, match="SST-2"):
        require_data([RunConfig(), RunConfig(task="sst2", data_dir=str(tmp_path))])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "/nowhere/at-all"}, "nowhere"),
        ({"layers": (6,)}, "0 to 5, the layers of this model"),
        ({"mode": "all", "layers": (3, 17)}, "got layer 17"),
    ],
)
def test_what_is_wrong_with_a_model(fields: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        require_model(RunConfig(**fields), SILENT)  # type: ignore[arg-type]
    require_model(RunConfig(mode="head", layers=(17,)), SILENT)  # which trains no layer


def test_models_of_many_runs_are_checked_once_for_what_they_train(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunConfig] = []
    monkeypatch.setattr(preconditions, "require_model", lambda config, observer: asked.append(config))
    runs = [RunConfig(terms=(term,), seed=seed) for term in ("v", "q") for seed in range(3)]
    lora = [RunConfig(mode="lora", terms=(), targets=targets) for targets in (("q",), ("q", "v"))]
    preconditions.require_models([*runs, *lora], SILENT)
    assert asked == [runs[0], runs[3], *lora]
    prompted = [RunConfig(mode=mode, terms=(), task="prompt-sst2") for mode in ("all", "head")]
    with pytest.raises(UserError, match="got --terms head for prompt-sst2"):
        preconditions.require_models(prompted, SILENT)


def test_heads_are_known_by_their_tensors() -> None:
    snapshot = example(task="sst2", full=True)
    assert set(head_of(snapshot, "sst2")) == {"head.weight", "head.bias", "pooler.bias"}
    with pytest.raises(UserError, match="without a head for rte; expected one of its tasks: sst2"):
        head_of(snapshot, "rte")
    assert inputs_of(snapshot, "sst2") == "lab"


def test_labels_of_a_table_are_those_of_its_head(table: RunConfig) -> None:
    data = checked_data(table, SILENT)
    name = data.spec.name
    require_suited(example(task=name, heads={name: {"kind": "classification", "labels": ["0", "1"]}}), data.spec)
    with pytest.raises(UserError, match="those of the head"):
        require_suited(example(task=name, heads={name: {"kind": "classification", "labels": ["1", "0"]}}), data.spec)


@pytest.mark.parametrize("task", ["rte", "wnli"])
def test_a_task_of_the_lab_suits_no_head_whose_classes_are_in_another_order(task: str) -> None:
    spec = TASKS[task]
    assert spec.labels is not None
    for labels, suits in ((list(spec.labels), True), (None, True), (list(spec.labels[::-1]), False)):
        snapshot = example(task=task, heads={task: {"kind": "classification", "labels": labels}})
        if suits:  # of an import nobody knows
            require_suited(snapshot, spec)
        else:
            with pytest.raises(UserError, match="with the labels"):
                require_suited(snapshot, spec)


def test_a_table_of_pairs_is_not_scored_by_one_text_nor_the_other_way_round(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("a,b,label\n" + "x,y,0\nz,w,1\n" * 10)
    run = RunConfig(train_file=str(file), text="a", label="label")
    specs = {pair: checked_data(dataclasses.replace(run, text_pair=pair), SILENT).spec for pair in (None, "b")}
    name = specs[None].name
    for trained, spec in specs.items():
        columns = {"columns": {"text": "a", "text_pair": trained, "label": "label"}}
        head = {"kind": "classification", "labels": ["0", "1"], **columns}
        snapshot = example(task=name, heads={name: head})
        require_suited(snapshot, spec)
        (other,) = [one for pair, one in specs.items() if pair != trained]
        got, expected = ("pairs of texts", "one text each") if trained is None else ("one text each", "pairs")
        with pytest.raises(UserError, match=f"with {got} for the head {name}; expected {expected}, as it was trained"):
            require_suited(snapshot, other)


def test_none_of_it_imports_what_takes_long(table: RunConfig) -> None:
    """The whole command until the error, in a process of its own."""
    script = (
        "import sys\n"
        "from beft_core.cli.app import run\n"
        "status = run(sys.argv[1:])\n"
        "slow = {'torch', 'transformers', 'datasets', 'sklearn', 'scipy', 'peft', 'accelerate', 'streamlit'}\n"
        "print(status, *sorted(slow & set(sys.modules)))\n"
    )
    words = ["train", "--train-file", str(table.train_file), "--text", "words", "--label", "class"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert "no column 'class'" in done.stderr and done.stdout.split() == ["2"]


def test_prompts_want_a_language_model_and_heads_a_fine_tune() -> None:
    prompted, headed = get_task("prompt-sst2"), get_task("sst2")
    with pytest.raises(UserError, match="got bert, which is no language model"):
        require_model(RunConfig(task="prompt-sst2"), SILENT)
    require_something_to_train(RunConfig(mode="none", terms=()), prompted)
    require_something_to_train(RunConfig(mode="head", terms=()), headed)
    for config, spec, said in (
        (RunConfig(mode="none", terms=()), headed, "whose answers a head gives"),
        (RunConfig(mode="head", terms=()), prompted, "without a trained head.*try --terms v .with --add-bias v"),
        (RunConfig(mode="none", terms=(), fisher=True), prompted, "got --fisher with --terms none"),
    ):
        with pytest.raises(UserError, match=said):
            require_something_to_train(config, spec)


def test_a_snapshot_of_a_prompted_task_has_no_head_and_others_need_one() -> None:
    head = {"kind": "classification", "labels": ["a", "b"], "objective": "candidates"}
    prompted = example(heads={"prompt-sst2": head, "sst2": {**head, "objective": None}})
    assert head_of(prompted, "prompt-sst2") == {} and outputs_of({}) is None
    with pytest.raises(UserError, match="without a head for sst2"):
        head_of(prompted, "sst2")


LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA |= {"num_key_value_heads": 2, "intermediate_size": 128}


@pytest.mark.parametrize("mode", [name for name, row in METHODS.items() if not row.names_terms and name != "ln-tuning"])
def test_a_model_without_biases_needs_zero_ones(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But where a head or every weight is trained, and a snapshot has the head to hold."""
    monkeypatch.setattr(preconditions, "locate", lambda model: SimpleNamespace(layout=layout_for(LLAMA)))
    kept = []
    for task in ("prompt-sst2", "sst2"):
        config = RunConfig(mode=mode, terms=(), task=task)
        try:
            require_model(config, SILENT)
            kept.append(task)
        except UserError as error:
            said = (
                f"got a llama model without a bias term for --method {mode}, which leaves nothing to train or to keep"
            )
            assert str(error).startswith(said) and str(error).endswith("try --add-bias q k v")
        require_model(dataclasses.replace(config, add_bias=("v",)), SILENT)
    assert kept == (["sst2"] if mode in ("head", "full") else [])
    probe = RunConfig(task="sst2").probe()
    with pytest.raises(UserError, match="without a bias term for --method all"):
        require_model(probe, SILENT)


def test_a_selection_adds_the_biases_that_it_compares() -> None:
    said: list[str] = []
    heard = Observer()
    heard.message = said.append  # type: ignore[method-assign]
    added = with_candidates(RunConfig(task="prompt-sst2"), layout_for(LLAMA), heard)
    assert added.add_bias == ("q", "k", "v") and len(said) == 1 and "--add-bias q k v" in said[0]
    mine = RunConfig(task="prompt-sst2", add_bias=("v",))
    assert with_candidates(mine, layout_for(LLAMA), heard) == mine
    assert with_candidates(RunConfig(), layout_for({**LLAMA, "attention_bias": True}), heard) == RunConfig()
    assert len(said) == 1


def test_an_adapter_is_taken_where_it_can_be_put_into_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = AdapterFolder({}, {"x": np.ones(3, np.float32)})
    snapshot = example(mode="lora", provenance={"adapter": adapter.digest()})
    snapshot.adapter = adapter
    file = tmp_path / "one.beft.safetensors"
    write_snapshot(file, snapshot)
    found = with_adapter(read_snapshot(file), file).adapter
    assert found is not None and found.digest() == adapter.digest()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="got --method lora in an installation without peft"):
        with_adapter(read_snapshot(file), file)
