"""What a snapshot says of itself: checked when it is made, canonical as text."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.scores.compare import settings
from beft_core.scores.learning import learning
from beft_core.scores.regimes import last_metric
from beft_core.snapshots.meta import of_two_bases
from beft_core.snapshots.snapshot import ModelInfo, SnapshotMeta, fingerprint


def test_metadata_round_trip_ignores_what_it_does_not_know() -> None:
    meta = example(full=True).meta
    text = meta.to_json()
    assert SnapshotMeta.from_json(text) == meta
    assert SnapshotMeta.from_json(text[:-1] + ',"of the future":[1]}') == meta
    assert SnapshotMeta.from_json(text).to_json() == text


def test_the_order_in_which_settings_were_given_leaves_the_text_as_it_is() -> None:
    """By this text merges know their sources, and equal snapshots are equal files."""
    one = example(hyperparameters={"lr": 1e-3, "epochs": 3}, versions={"a": "1", "b": "2"}).meta
    other = example(hyperparameters={"epochs": 3, "lr": 1e-3}, versions={"b": "2", "a": "1"}).meta
    assert one == other and one.to_json() == other.to_json()


def test_null_elements_come_back_and_files_from_before_them_keep_their_text() -> None:
    meta = example(null_elements={"k": ((0, 2), (4, 8))}).meta
    assert SnapshotMeta.from_json(meta.to_json()) == meta
    old = dataclasses.replace(meta, null_elements=None).to_json()
    assert "null_elements" not in old and SnapshotMeta.from_json(old).to_json() == old


def test_a_constant_answer_comes_back_and_files_from_before_it_keep_their_text() -> None:
    meta = example(constant_answer={"value": 0.5, "examples": 872}).meta
    assert SnapshotMeta.from_json(meta.to_json()) == meta
    assert "constant_answer" not in example().meta.to_json()
    for wrong in ({"value": 0.5}, {"value": "0.5", "examples": 3}, {"value": 0.5, "examples": 0}, 0.5):
        with pytest.raises(UserError, match="constant_answer"):
            example(constant_answer=wrong)


def test_metadata_is_checked_when_it_is_made() -> None:
    with pytest.raises(UserError, match=r"fingerprint is 'x'; expected 64 hexadecimal digits"):
        ModelInfo("m", None, "bert", 3, 8, "x")
    with pytest.raises(UserError, match="metrics"):
        dataclasses.replace(example().meta, metrics=({"epoch": 1, "train_loss": float("nan")},))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", None),
        ("mode", "other"),
        ("trained_terms", ("v", "v")),
        ("trained_terms", ("w",)),
        ("layers", (-1,)),
        ("layers", (3,)),  # of a model of three layers
        ("seed", -1),
        ("seed", True),
        ("n_train", 1.5),
        ("hyperparameters", {"lr": float("inf")}),
        ("null_elements", {"k": ((2, 1),)}),
        ("null_elements", {"w": ((0, 1),)}),
        ("versions", {"a": 1}),
        ("wall_seconds", -1),
        ("heads", {"sst2": {"kind": "other"}}),
        ("heads", {"sst2": {"kind": "classification", "labels": [1]}}),
    ],
)
def test_every_field_is_checked(field: str, value: Any) -> None:
    with pytest.raises(UserError, match="snapshot: "):
        dataclasses.replace(example().meta, **{field: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "snapshot format version 2"),
        ({"format_version": True}, "snapshot format version True"),
        ({"model": None}, "without a model"),
        ({"model": {"id": "m"}}, "model: no revision or architecture"),
        ({"task": None}, "task is 'None'"),
    ],
)
def test_a_text_of_another_kind_is_refused(change: dict[str, Any], said: str) -> None:
    table = json.loads(example().meta.to_json()) | change
    with pytest.raises(UserError, match=said):
        SnapshotMeta.from_json(json.dumps(table))
    with pytest.raises(UserError):
        SnapshotMeta.from_json("[]")


def test_lists_of_a_file_are_tuples_in_memory() -> None:
    meta = dataclasses.replace(example().meta, layers=(0, 2), trained_terms=("q", "v"))
    again = SnapshotMeta.from_json(meta.to_json())
    assert (again.layers, again.trained_terms) == ((0, 2), ("q", "v"))
    hash(again.layers)


COLUMNS = {"text": "review", "text_pair": None, "label": "stars"}
OWN = {"films": {"kind": "classification", "labels": ["1", "2"], "inputs": "lab", "columns": COLUMNS}}


def test_a_head_keeps_the_columns_of_its_table() -> None:
    meta = dataclasses.replace(example().meta, heads=OWN)
    assert SnapshotMeta.from_json(meta.to_json()).heads == OWN


@pytest.mark.parametrize(
    "columns",
    [
        "review",
        {**COLUMNS, "label": "review"},
        {**COLUMNS, "label": None},
        {**COLUMNS, "text": 3},
        {**COLUMNS, "text": "x" * 301},
        {**COLUMNS, "text": "a\x00b"},
        {**COLUMNS, "path": "/etc/passwd"},
        {"text": "review", "label": "stars"},
    ],
)
def test_columns_of_strangers_are_checked(columns: Any) -> None:
    with pytest.raises(UserError, match="snapshot: heads"):
        dataclasses.replace(example().meta, heads={"films": {**OWN["films"], "columns": columns}})


def test_the_folder_of_a_model_comes_back_and_files_without_one_keep_their_text() -> None:
    meta = example().meta
    assert '"folder"' not in meta.to_json()
    there = dataclasses.replace(meta, model=dataclasses.replace(meta.model, folder="/models/mine"))
    assert SnapshotMeta.from_json(there.to_json()) == there
    for folder in (3, "a\nb", "x" * 4097):
        with pytest.raises(UserError, match="model: folder"):
            dataclasses.replace(meta.model, folder=folder)


GEMMA = ModelInfo("gemma-3-270m", None, "gemma3_text", 18, 640, fingerprint({}))
"""A model without biases, as files describe it that do not say what its weights are."""


def test_metrics_of_a_fine_tune_that_was_stopped_amid_an_epoch_are_not_of_its_biases() -> None:
    rows = ({"epoch": 1, "step": 4, "accuracy": 0.6}, {"epoch": 2, "step": 8, "accuracy": 0.7})
    ended = dataclasses.replace(example().meta, metric="accuracy", metrics=rows, hyperparameters={"steps": 8})
    stopped = dataclasses.replace(ended, hyperparameters={"steps": 9, "stopped_early": True})
    assert ended.went_on is None and ended.final_metrics == rows[1]
    assert stopped.went_on == (8, 9) and stopped.final_metrics == {}
    assert dataclasses.replace(ended, hyperparameters={}).final_metrics == rows[1]  # nobody knows better
    assert dataclasses.replace(ended, metrics=()).final_metrics == {}
    answer = {"value": 0.5, "examples": 100}
    of_ended, of_stopped = (learning(dataclasses.replace(meta, constant_answer=answer)) for meta in (ended, stopped))
    assert of_ended is not None and of_ended.value == 0.7 and of_stopped is None
    assert (last_metric(ended), last_metric(stopped)) == (0.7, None)
    assert settings(ended)["accuracy at the end"] == "0.7" and "accuracy at the end" not in settings(stopped)


def test_models_without_biases_are_told_apart_by_their_size_and_weights() -> None:
    first, second = (dataclasses.replace(GEMMA, weights=digit * 64) for digit in "ab")
    for known in (GEMMA, first):
        same = dataclasses.replace(known, id="a folder", folder="/a/folder")
        assert same.base == known.base and same.shares_base(known)
        for other in ({"architecture": "llama"}, {"layers": 2}, {"hidden_size": 32}):
            changed = dataclasses.replace(known, **other)  # type: ignore[arg-type]
            assert changed.base != known.base
            assert not changed.shares_base(known) and not known.shares_base(changed)
    assert first.base != second.base and not first.shares_base(second)
    for known in (first, second):  # of one whose weights are not known nothing speaks against it
        assert GEMMA.shares_base(known) and known.shares_base(GEMMA)
    bert = example().meta.model
    assert bert.base == (bert.fingerprint,) and bert.shares_base(dataclasses.replace(bert, id="another name"))
    alike = dataclasses.replace(GEMMA, fingerprint="c" * 64)
    assert not GEMMA.shares_base(alike) and not alike.shares_base(GEMMA)
    assert (bert.told_by, GEMMA.told_by) == ("biases", "weights")
    assert bert.digest == ("base biases (SHA-256)", bert.fingerprint)
    words = "base weights (SHA-256 of rows)"  # the hash of no biases is that of nothing, and names no model
    assert GEMMA.digest == (words, None) and first.digest == (words, "a" * 64)


def test_two_that_differ_are_found_behind_one_that_nobody_looked_at() -> None:
    first, second = (dataclasses.replace(GEMMA, weights=digit * 64) for digit in "ab")
    assert of_two_bases([]) is None and of_two_bases([GEMMA, first, first]) is None
    assert of_two_bases([GEMMA, first, GEMMA, first, second]) == (1, 4)
    assert of_two_bases([second, dataclasses.replace(GEMMA, layers=2)]) == (0, 1)


def test_weights_come_back_and_files_without_them_keep_their_text() -> None:
    meta = dataclasses.replace(example().meta, model=dataclasses.replace(GEMMA, weights="a" * 64))
    assert SnapshotMeta.from_json(meta.to_json()) == meta
    assert '"weights"' not in dataclasses.replace(meta, model=GEMMA).to_json()
    for weights in (3, "A" * 64, "a" * 63):
        with pytest.raises(UserError, match="model: weights"):
            dataclasses.replace(GEMMA, weights=weights)  # type: ignore[arg-type]
