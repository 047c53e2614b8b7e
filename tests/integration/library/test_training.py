"""Fine-tunes from a notebook: data and models in memory give what files and names give, and stay as they were."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from example_decoder import write_decoder, write_reviews
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from beft_core import Observer, RunConfig, Snapshot, evaluate, merge, select, train
from beft_core.errors import UserError
from beft_core.models.source import bundled_path
from beft_core.tasks.sources.demo import load_demo
from beft_core.training import workflow

ROOT = Path(__file__).parents[3]
DEMO, HELD_OUT = load_demo("demo-sentiment")
TEXTS, LABELS = DEMO.text[:40], ["bad" if label == 0 else "good" for label in DEMO.labels[:40]]
DEV = {"eval_texts": HELD_OUT.text[:24], "eval_labels": ["bad" if n == 0 else "good" for n in HELD_OUT.labels[:24]]}
SETTINGS: dict[str, Any] = {"terms": "v", "epochs": 1, "lr": 1e-2}


@pytest.fixture(scope="module")
def tuned() -> Snapshot:
    """A fine-tune on lists."""
    return train(texts=TEXTS, labels=LABELS, **DEV, **SETTINGS)


@pytest.fixture
def loaded() -> dict[str, Any]:
    """A classifier of transformers in training mode, with its tokenizer."""
    folder = bundled_path()
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2).train()
    return {"model": model, "tokenizer": AutoTokenizer.from_pretrained(folder)}


def same(one: Snapshot, other: Any) -> bool:
    """Whether two fine-tunes ended at the same values, heads included, whatever their heads are called."""
    a, b = ([value for _, value in sorted(s.tensors().items())] for s in (one, other))
    return len(a) == len(b) and all(map(np.array_equal, a, b))


def test_what_is_wrong_is_told_and_what_is_odd_is_warned_of_before_the_work(
    tmp_path: Path, tuned: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[Any] = []
    monkeypatch.setattr(workflow, "train", lambda *_, **given: began.append(given["data"]) or tuned)
    (tmp_path / "films.csv").write_text("film,verdict\n" + "".join(f"text {n},{n % 2}\n" for n in range(20)))
    with pytest.raises(UserError, match="no column 'review'"):
        train(data=tmp_path / "films.csv", text="review", label="verdict")
    with pytest.raises(UserError, match="got a prompt over examples in memory; expected the path of a file"):
        train(texts=TEXTS, labels=LABELS, prompt="{text} It was")
    with pytest.raises(UserError, match="no column 'review'"):
        train(data=tmp_path / "films.csv", label="verdict", prompt="{review} It was", candidates=["bad", "good"])
    with pytest.raises(UserError, match="0 to 5, the layers of this model"):
        train(layers=[9])
    with pytest.raises(UserError, match=r"unknown keyword fp16.*float32 always"):
        train(fp16=True)  # type: ignore[call-arg]
    assert not began
    with pytest.warns(UserWarning, match="2e-05 is one for full fine-tuning") as warned:
        train(data=tmp_path / "films.csv", text="film", label="verdict", lr=2e-5)
    assert warned[0].filename == __file__, "at the line that called"
    assert len(began[0].train) == 16, "what was read for the checks is trained on"


def test_lists_give_what_the_same_rows_in_files_give(tuned: Snapshot, tmp_path: Path) -> None:
    pd.DataFrame({"film": TEXTS, "verdict": LABELS}).to_csv(tmp_path / "train.csv", index=False)
    dev = pd.DataFrame({"film": DEV["eval_texts"], "verdict": DEV["eval_labels"]})
    dev.to_csv(tmp_path / "dev.csv", index=False)
    columns = {"text": "film", "label": "verdict"}
    from_files = train(data=tmp_path / "train.csv", eval_data=str(tmp_path / "dev.csv"), **columns, **SETTINGS)
    assert same(tuned, from_files) and from_files.meta.metrics == tuned.meta.metrics
    assert tuned.meta.heads["texts"]["labels"] == ["bad", "good"] and tuned.meta.task == "texts"
    assert tuned.meta.provenance == {
        "data": "texts given in Python for training, eval_texts given in Python for validation"
    }


def test_a_file_and_its_problem_are_left_to_the_engine(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": TEXTS, "label": [n % 5 + 1 for n in range(len(TEXTS))]})
    table.to_csv(tmp_path / "stars.csv", index=False)
    given: dict[str, Any] = {"problem": "regression", "name": "stars", "epochs": 1, "max_length": 16, "n_eval": 4}
    from_file = train(data=tmp_path / "stars.csv", **given)
    assert from_file.meta.heads["stars"]["kind"] == "regression" and from_file.meta.metric == "spearman"
    assert from_file.meta.heads["stars"]["columns"] == {"text": "text", "text_pair": None, "label": "label"}
    assert same(train(data=table, **given), from_file)
    scored = evaluate(from_file, data=tmp_path / "stars.csv", n_eval=6)
    assert set(scored) == {"spearman", "pearson"}


def test_a_loaded_model_gives_what_its_name_gives_and_stays_as_it_was(tuned: Snapshot, loaded: dict[str, Any]) -> None:
    model = loaded["model"]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = pd.DataFrame({"text": TEXTS, "label": LABELS})
    dev = pd.DataFrame({"text": DEV["eval_texts"], "label": DEV["eval_labels"]})
    assert same(train(**loaded, data=table, eval_data=dev, name="films", **SETTINGS), tuned)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_configuration_is_taken_and_keywords_win(tuned: Snapshot) -> None:
    config = RunConfig(mode="full", epochs=4, lr=1e-2)
    settings = {"terms": ["v"], "num_train_epochs": 1, "seed": np.int64(0)}
    assert same(train(config, texts=TEXTS, labels=LABELS, **DEV, **settings), tuned)  # type: ignore[arg-type]


def test_the_engines_functions_end_at_the_same_values() -> None:
    config = RunConfig(n_train=24, epochs=1, evaluate="never")
    assert same(train(config), workflow.train(config))


def test_evaluation_of_lists_tables_and_loaded_models(tuned: Snapshot, loaded: dict[str, Any]) -> None:
    dev = {"texts": DEV["eval_texts"], "labels": DEV["eval_labels"]}
    found = evaluate(tuned, **dev)
    assert dict(found) == {name: tuned.metrics[name] for name in ("accuracy", "f1_macro")}
    assert dict(evaluate(tuned, data=pd.DataFrame({"text": dev["texts"], "label": dev["labels"]}), **loaded)) == dict(
        found
    )
    assert found.to_pandas()["metric"].tolist() == ["accuracy", "f1_macro"] and "24 examples" in repr(found)
    assert evaluate(tuned, **dev, biases="pre").about.endswith("as before the fine-tune")


def test_a_classifier_with_biases_and_head_predicts_as_the_evaluation(tuned: Snapshot, loaded: dict[str, Any]) -> None:
    model, tokenizer = loaded["model"].eval(), loaded["tokenizer"]
    tuned.apply_to(model, head=True)
    with torch.no_grad():
        logits = model(**tokenizer(DEV["eval_texts"], padding=True, return_tensors="pt")).logits
    right = np.array(["bad", "good"])[logits.argmax(1).numpy()] == np.array(DEV["eval_labels"])
    assert right.mean() == pytest.approx(tuned.metrics["accuracy"])


def test_another_base_model_is_refused(tuned: Snapshot, loaded: dict[str, Any]) -> None:
    other = copy.deepcopy(loaded["model"])
    with torch.no_grad():
        other.bert.encoder.layer[0].attention.self.value.bias.add_(1)
    with pytest.raises(UserError, match="got the base model bundled, whose biases differ"):
        evaluate(tuned, texts=["a", "b"], labels=["bad", "good"], model=other, tokenizer=loaded["tokenizer"])


def test_a_selection_says_which_term_and_trains_it(loaded: dict[str, Any]) -> None:
    given = {**loaded, "texts": TEXTS, "labels": LABELS, "epochs": 1}
    found = select(**given, fisher_examples=8, then_train=True)
    assert found.term == found.selected["projection_ratio"] == found.scores.table.selected()["projection_ratio"]
    assert found.trained is not None and found.trained.meta.trained_terms == (found.term,)
    assert found.probe.meta.mode == "all" and found.probe.fisher("encoder", "v") is not None
    assert "given in Python" in found.probe.meta.provenance["data"]
    assert f"Projection ratio selects {found.term}" in repr(found) and "probe: all, accuracy" in repr(found)
    assert len(found.plot().data) > 0 and len(found.to_pandas()) > 8


def test_a_selection_adds_the_biases_that_a_model_lacks(tmp_path: Path) -> None:
    """And compares them by what is defined for biases that began at zero."""
    folder = write_decoder(tmp_path / "tiny")
    found = select(model=str(folder), texts=TEXTS, labels=LABELS, epochs=1, lr=1e-2)
    assert found.probe.meta.trained_terms == ("q", "k", "v") and found.selected["projection_ratio"] is None
    assert found.selected["magnitude"] in ("q", "k", "v")
    loaded = {"model": AutoModel.from_pretrained(folder), "tokenizer": AutoTokenizer.from_pretrained(folder)}
    assert same(found.probe, select(**loaded, texts=TEXTS, labels=LABELS, epochs=1, lr=1e-2).probe)
    with pytest.raises(UserError, match="got the term v, which this llama model does not have"):
        train(**loaded, texts=TEXTS, labels=LABELS, terms="v")


def test_a_prompt_over_a_table_of_ones_own_is_scored_again(tmp_path: Path) -> None:
    folder, file = write_decoder(tmp_path / "tiny"), write_reviews(tmp_path / "films.jsonl")
    asked = {"prompt": "{review} It was", "candidates": ["pos", "neg"], "label": "verdict"}
    tuned = train(model=str(folder), data=file, eval_data=file, **asked, terms="v", add_bias="v", epochs=1)
    assert evaluate(tuned, data=file)["accuracy"] == pytest.approx(tuned.meta.metrics[-1]["accuracy"])
    assert "besides the head" not in repr(tuned)
    with pytest.raises(UserError, match="in memory for file-films, which answers prompts; expected the path of a file"):
        evaluate(tuned, data=pd.read_json(file, lines=True))


def test_a_task_of_the_lab_is_found_in_the_snapshot(tmp_path: Path) -> None:
    tuned = train(task="demo-similarity", n_train=16, epochs=1, evaluate="never", max_length=16)
    file = tuned.save(tmp_path / "x.beft.safetensors")
    assert set(evaluate(file)) == {"spearman", "pearson"}
    merged = merge(tuned, train(task="demo-sentiment", n_train=16, epochs=1, evaluate="never", max_length=16))
    with pytest.raises(
        UserError, match="got no task; expected one of the snapshot's heads: demo-similarity, demo-sent"
    ):
        evaluate(merged)


class Stages(Observer):
    def __init__(self) -> None:
        self.names: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.names.append(name)

    def should_stop(self) -> bool:
        return True


def test_an_observer_hears_the_stages_and_may_stop() -> None:
    observer = Stages()
    stopped = train(n_train=64, epochs=9, evaluate="never", observer=observer)
    assert observer.names[:3] == ["load data", "find the model", "start PyTorch"] and "train" in observer.names
    assert stopped.meta.hyperparameters["stopped_early"] and stopped.meta.hyperparameters["steps"] < 36


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("train(txts=1)", "got the unknown keyword txts; expected one of .*; try texts"),
        ("select(fisher=False)", "got fisher for a selection"),
        ("select(terms='v')", "got terms for a selection, which sets it itself"),
        ("train(texts=['a'], labels=[1], task='sst2')", "got both a task and examples"),
        ("train(name='x')", "got name without examples"),
        ("train(model='no/such/model')", "got the model name 'no/such/model'"),
        ("train(tokenizer=1)", "got a tokenizer without a loaded model"),
        ("train(task=5)", "got task = 5"),
        ("train(text='a', label='b')", "got text without data"),
        ("train(mode='full')", "got the unknown keyword mode; .*; try terms"),
        ("train(checkpoint=5)", "got checkpoint = '5'"),
        ("train(checkpoint='/no/such/folder/x')", "a file in a folder that exists"),
        ("train(progress='yes')", "got progress = 'yes'"),
        ("train(observer=1)", "got a int as observer"),
        ("train(regime='huge')", "got regime huge"),
        ("train(data='no-such-table.csv', text='a', label='b', task='rte')", "got both a task and examples"),
        ("evaluate('no-such-file')", "no-such-file"),
        ("evaluate(5)", "got a int for a snapshot"),
    ],
)
def test_wrong_values_are_told_before_torch_is_imported(call: str, words: str) -> None:
    program = (
        "import sys\nfrom beft_core import UserError, evaluate, select, train\n"
        f"try:\n    {call}\nexcept UserError as error:\n    print(error)\nprint('torch' in sys.modules)"
    )
    globals_: dict[str, Any] = {}
    if call in ("train(txts=1)", "evaluate(5)"):  # in a fresh interpreter, which takes a second
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.endswith("\nFalse\n")
    with pytest.raises(UserError, match=words):
        exec(f"from beft_core import evaluate, select, train\n{call}", globals_)


def test_wrong_arguments_of_an_evaluation_are_told(tuned: Snapshot) -> None:
    for given, words in [
        ({"biases": "before"}, "got biases = 'before'; expected post or pre"),
        ({"task": "sst2", "texts": ["a"], "labels": [1]}, "got both a task and examples"),
        ({"texts": ["a", "b"], "labels": ["bad", "ugly"]}, "row 1: got the label 'ugly'"),
        (
            {"texts": ["a", "b"], "labels": ["bad", "good"], "name": "films"},
            "got the head 'films'; expected one of texts",
        ),
        ({}, "got no task; expected one of the snapshot's heads: texts"),
        ({"task": "rte", "divice": "cpu"}, "got the unknown keyword divice; .*; try device"),
        (
            {"task": "rte", "epochs": 3},
            "got the unknown keyword epochs; expected one of biases, data, data_dir, device",
        ),
    ]:
        with pytest.raises(UserError, match=words):
            evaluate(tuned, **given)  # type: ignore[arg-type]
