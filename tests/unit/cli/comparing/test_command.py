"""The command compare-methods: what is refused, and how a comparison is printed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from cli_runner import assert_refused, beft
from made_comparisons import comparison, row

from beft_core.cli.comparing import command
from beft_core.comparison.folder import ComparisonFolder
from beft_core.comparison.spec import ComparisonSpec
from beft_core.reports.methods.table import Comparison, read_comparison, write_comparison

SAMPLE = Path(__file__).parents[4] / "sample_snapshots" / "methods.parquet"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task", "sst9"], "sst2"),
        (["--methods", "v", "lorra"], "lora"),
        (["--methods", "v", "v"], "twice"),
        (["--methods", "rank=4"], "one of"),
        (["--methods", "lora", "rank=0"], "1 to 4096"),
        (["--methods", "icl"], "no method that applies"),
        (["--budget", "0"], "budget"),
        (["--seeds", "0"], "seeds"),
        (["--lrs", "0"], "learning rate"),
        (["--same-lr", "-1"], "positive"),
        (["--hold-out", "1"], "at least 2"),
        (["--bank-size", "0"], "at least 1"),
        (["--model", "nowhere-at-all"], "bundled"),
        (["--join", "here", "--task", "rte"], "beside flags of a new comparison"),
        (["--join", "here", "--budget", "2"], "beside flags of a new comparison"),
        (["--join", "here", "--seeds", "2"], "beside flags of a new comparison"),
        (["--lrs", "1e-3", "--budget", "2"], "both --budget and --lrs; expected one of them: each rate is a trial"),
        (["--join", "nowhere-at-all"], "where no comparison is"),
        (["--text", "a"], "without --train-file"),
        (["--task", "rte", "--train-file", "a.csv", "--text", "a", "--label", "b"], "both"),
    ],
)
def test_wrong_input_is_one_line(flags: list[str], words: str, tmp_path: Path) -> None:
    assert words in assert_refused(beft("compare-methods", "--out", tmp_path / "out", *flags))
    assert not (tmp_path / "out").exists(), "what was refused leaves no folder"


def test_settings_stand_behind_their_method() -> None:
    words = ["v,lora,rank=4,targets=q+k", "lora full"]
    assert command._methods(words) == ("v", "lora rank=4 targets=q,k", "lora", "full")
    assert command._methods(["rank=4"]) == ("rank=4",) and command._methods(None) == ()


def test_a_default_name_goes_on_with_the_same_comparison_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = ComparisonSpec(task="sst2", methods=("v",))
    assert command._default_folder(spec) == "compare-sst2"
    folder = ComparisonFolder(tmp_path / "compare-sst2")
    folder.prepare()
    folder.begin({"comparison": spec.to_dict()})
    assert command._default_folder(ComparisonSpec(task="sst2", methods=("v",))) == "compare-sst2"
    assert command._default_folder(ComparisonSpec(task="sst2", methods=("q",))) == "compare-sst2-2"


def test_a_comparison_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pair = {"task": "sst2", "model": "bundled", "setting": "best", "first": "v", "second": "lora", "difference": -0.02}
    usual = {"bank_runs": 5, "peak_bytes": 2**20 * 700, "seconds": 1.5, "hold_out": 500}
    found = comparison(
        row("v", 0.80, **usual),
        row("lora", 0.82, edge="largest", **usual),
        row("icl", float("nan"), state="refused", reason="no prompts here", at_chance=None),
        row("v", 0.81, setting="same", **usual),
        row("lora", 0.50, setting="same", **usual),
        pairs=(pair | {"low": -0.03, "high": -0.01, "p": 0.01, "p_holm": 0.02},),
    )
    command._print(SimpleNamespace(trained=12), found, tmp_path)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["LoRA", "0.001", "50.0*", "47.0", "to", "53.0", "3", "2,304", "1.5", "(of", "5)", "700"] in lines
    assert ["b_v", "+2.0", "+1.0", "to", "+3.0", "0.02"] in lines  # seen from the best
    assert "collapse confirmed here" in said and "in-context learning: no prompts here" in said
    assert "LoRA: the best rate is the range's largest, 0.001: widen it" in said
    assert "500 training examples that no trial trained on" in " ".join(said.split())


def test_the_sample_is_joined_of_its_parts(tmp_path: Path) -> None:
    """A table for each model and task, as that many comparisons leave it, is the bundled table again."""
    whole = read_comparison(SAMPLE)
    parts = []
    for number, (_, own) in enumerate(whole.rows.groupby(["model", "task"], sort=False)):
        parts.append(tmp_path / f"part {number}, one")
        parts[-1].mkdir()
        write_comparison(Comparison(own, whole.pairs), parts[-1], {})
    out = tmp_path / "joined"
    for _ in range(2):  # the same again replaces it
        made = beft("compare-methods", "--join", *parts, "--out", out)
        assert made.status == 0 and f"{len(whole.rows)} rows" in made.out
    pd.testing.assert_frame_equal(read_comparison(out).rows, whole.rows)
    assert "without --out" in assert_refused(beft("compare-methods", "--join", *parts))
    (tmp_path / "part 0, one" / "comparison.json").write_text("{}")
    assert "holds something else" in assert_refused(beft("compare-methods", "--join", out, "--out", parts[0]))


def test_what_a_joined_table_leaves_out_is_said(tmp_path: Path) -> None:
    for name, value in (("a", 0.8), ("b", 0.7)):
        (tmp_path / name).mkdir()
        write_comparison(comparison(row("v", value)), tmp_path / name, {})
    made = beft("compare-methods", "--join", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c", "--json").json
    assert len(made["rows"]) == 1 and made["joined"] == ["a", "b"] and "70.0 of 3 seeds" in made["left_out"][0]


def test_options_are_printed_as_a_file() -> None:
    printed = beft("compare-methods", "--print-config", "--methods", "v", "lora", "--budget", "3")
    assert printed.status == 0 and "budget: 3" in printed.out and "v,lora" in printed.out
