"""Commands that only read: scores over seeds, metadata, lists of models and tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_runner import beft, stored
from example_snapshots import LAYERS, base, example
from scipy.stats import t as student

from beft_core.scores.formulas import projection_ratio
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot

SAMPLES = Path(__file__).parents[3] / "sample_snapshots"


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


def test_a_score_that_has_no_meaning_has_no_rank() -> None:
    """Biases that began at zero have a projection ratio of 1 wherever they end."""
    probe = SAMPLES / "gemma-3-270m-prompt-sst2-low-seed0-probe.beft.safetensors"
    lines = beft("score", probe).out.splitlines()
    rows = [line.split() for line in lines if line.split()[:1] in (["q"], ["k"], ["v"])]
    assert [row[:3] for row in rows] == [[term, "1.0000", "–"] for term in ("q", "k", "v")]
    assert sorted(row[4] for row in rows) == ["1", "2", "3"]


def test_several_seeds_are_summed_up_first_and_in_short(folder: Path) -> None:
    files = [stored(folder, name=str(seed), seed=seed, task="sst2", full=True, null_terms=("k",)) for seed in (1, 2, 3)]
    ratios = [read_snapshot(file) for file in files]
    values = [projection_ratio(one.pre("encoder", "v"), one.post("encoder", "v")).mean() for one in ratios]
    low, high = student.interval(0.95, 2, loc=np.mean(values), scale=np.std(values, ddof=1) / np.sqrt(3))
    lines = beft("score", *files).out.splitlines()
    assert len(lines) < 20 and lines[0].startswith("3 snapshots together: model bundled, task sst2")
    (row,) = (line for line in lines if line.strip().startswith("Projection ratio"))
    assert " in " in row and f"{np.mean(values):.4f} ± {(high - low) / 2:.4f}" in row
    assert any(line.startswith("note: k is a null term and was trained") for line in lines)
    assert not any(str(file) in line for line in lines for file in files) and "--verbose" in lines[-1]
    alone = stored(folder, name="other", seed=1, task="rte", full=True)
    mixed = beft("score", *files, alone).out
    assert f"{alone}: rte" in mixed and f"{files[0]}: sst2" not in mixed
    whole = beft("score", *files, "--verbose").out
    assert whole.index("together") < whole.index(f"{files[0]}: sst2") < whole.index("all terms over 3 seeds")


def test_seeds_of_different_experiments_are_not_mixed(folder: Path) -> None:
    files = [stored(folder, name=task, seed=1, task=task) for task in ("sst2", "rte")]
    assert beft("score", *files, "--json").json["aggregates"] == []


def test_other_settings_and_repeated_seeds_are_no_further_seeds(folder: Path) -> None:
    files = []
    for seed, lr, layers in (
        (0, 1e-2, None),
        (1, 1e-2, None),
        (0, 1e-3, None),
        (1, 1e-3, None),
        (0, 1e-2, None),
        (2, 1e-2, (0, 1)),
    ):
        made = example(seed + 1, task="sst2", layers=layers, hyperparameters={"lr": lr})
        files.append(folder / f"{len(files)}.beft.safetensors")
        write_snapshot(files[-1], made.with_meta(replace(made.meta, seed=seed)))
    groups = beft("score", *files, "--json").json["aggregates"]
    assert [group["files"] for group in groups] == [list(map(str, files[:2])), list(map(str, files[2:4]))]
    assert [group["settings"] for group in groups] == [{"lr": 1e-2}, {"lr": 1e-3}]
    said = [line for line in beft("score", *files).out.splitlines() if "together" in line]
    assert [line.rpartition(", ")[2] for line in said] == ["lr 0.01", "lr 0.001"]


def test_an_interval_is_over_the_seeds_that_have_the_score(folder: Path) -> None:
    files = [stored(folder, name=str(seed), seed=seed, task="sst2", full=seed < 3) for seed in (1, 2, 3)]
    values = [
        score_snapshot(read_snapshot(file)).mean_scores("fisher")["v"] for file in files[:2]
    ]  # the third was not measured
    low, high = student.interval(0.95, 1, loc=np.mean(values), scale=np.std(values, ddof=1) / np.sqrt(2))
    out = beft("score", *files).out
    (row,) = (line for line in out.splitlines() if line.strip().startswith("Fisher  "))
    assert f"{np.mean(values):.4f} ± {(high - low) / 2:.4f}" in row
    assert "over 3 seeds, or those that have the score" in out
    lone = beft("score", files[0], files[2]).out  # of one there is no interval
    (row,) = (line for line in lone.splitlines() if line.strip().startswith("Fisher  "))
    assert "±" not in row and f"{values[0]:.4f}" in row


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
        "Projection ratio: no selection: there is no contest among q, k, v, only v took part" in beft("score", file).out
    )
    document = beft("score", file, "--json").json["files"][0]
    assert set(document["selected"]["encoder"].values()) == {None}
    assert "only v took part" in document["no_selection"]["encoder"]["magnitude"]


def test_equal_scores_are_no_selection(folder: Path) -> None:
    pre = base()
    pre["encoder", "v"] = pre["encoder", "q"]
    snapshot = example(pre=pre, null_terms=("k",))
    post = {key: 2 * array for key, array in pre.items()}
    write_snapshot("equal.beft.safetensors", Snapshot.build(snapshot.meta, pre, post))
    assert "Magnitude (L1): no selection: all equal (q and v)" in beft("score", "equal.beft.safetensors").out
    document = beft("score", "equal.beft.safetensors", "--json").json["files"][0]
    assert document["no_selection"]["encoder"]["magnitude"] == "all equal (q and v)"


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


def test_biases_that_were_not_trained_are_one_line(folder: Path) -> None:
    pre = base(terms=("q", "k", "v", "o"))
    post = {key: array + (key[1] in "vo") for key, array in pre.items()}
    meta = example(pre=pre, trained_terms=("v",)).meta
    write_snapshot(folder / "v.beft.safetensors", Snapshot.build(meta, pre, post))
    text = beft("inspect", "v.beft.safetensors").out
    assert "not trained, the same before and after: encoder.q, encoder.k (all tensors: --json)" in text
    assert "encoder.q.pre" not in text and "encoder.v.post" in text
    assert "encoder.o.post" in text, "it was not trained, and moved all the same"
    names = [tensor["name"] for tensor in beft("inspect", "v.beft.safetensors", "--json").json["tensors"]]
    assert "encoder.k.post" in names


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
