"""Tables of a comparison: what is written is what is read, and what is not such a table is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from made_comparisons import comparison, row

from beft_core.docs.topics import topic
from beft_core.errors import UserError
from beft_core.reports.methods.table import (
    COLUMNS,
    PAIR_COLUMNS,
    SETTINGS,
    Comparison,
    comparison_of,
    joined,
    numbers_of,
    read_comparison,
    write_comparison,
)
from beft_core.reports.methods.table5 import verdicts

SAMPLE = Path(__file__).parents[4] / "sample_snapshots" / "methods.parquet"
PAIR = {"task": "sst2", "model": "bundled", "setting": "best", "first": "v", "second": "lora", "difference": 0.02}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = comparison(
        row("v", 0.8), row("icl", float("nan"), state="refused", reason="no prompts", at_chance=None), pairs=(PAIR,)
    )
    write_comparison(made, tmp_path, {"version": 1})
    return tmp_path


def test_what_is_written_is_read(folder: Path) -> None:
    found = read_comparison(folder)
    assert list(found.rows) == list(COLUMNS) and list(found.pairs) == list(PAIR_COLUMNS)
    assert list(found.rows["method"]) == ["v", "icl"] and list(found.done["method"]) == ["v"]
    v, icl = found.rows.to_dict("records")
    assert (v["value"], v["lr"], v["device"], icl["reason"], icl["at_chance"]) == (0.8, 1e-3, None, "no prompts", None)
    assert found.rows["spread"].dtype == float and found.pairs["difference"][0] == 0.02
    pd.testing.assert_frame_equal(read_comparison(folder / "methods.parquet").rows, found.rows)
    said = json.loads((folder / "methods.json").read_text())
    assert said["version"] == 1 and "value" not in said["rows"][1] and said["pairs"][0]["first"] == "v"
    assert (folder / "methods.csv").read_text().count("\n") == 3


def test_several_comparisons_are_one_table(folder: Path) -> None:
    one = read_comparison(folder)
    both = joined([one, comparison(row("v", 0.7, task="rte"))])
    assert list(both.rows["task"]) == ["sst2", "sst2", "rte"] and len(both.pairs) == 1
    write_comparison(both, folder, {})
    pd.testing.assert_frame_equal(read_comparison(folder).rows, both.rows)


def test_of_two_rows_of_one_method_one_stays_with_the_pairs_of_its_own_comparison(folder: Path) -> None:
    """A later comparison of the same task with other methods, and one that was merged before."""
    first = read_comparison(folder)
    pair = PAIR | {"n_train": 1000.0}
    one = comparison(row("v", 0.8), row("lora", 0.7), pairs=(pair | {"difference": 0.1},))
    two = comparison(row("v", 0.9, seeds=5), row("full", 0.6), pairs=(pair | {"second": "full", "difference": 0.3},))
    both = joined([one, two])
    assert dict(zip(both.rows["trains"], both.rows["value"], strict=True)) == {"v": 0.9, "lora": 0.7, "full": 0.6}
    assert list(both.pairs["second"]) == ["full"] and len(both.left_out) == 1
    assert joined([both, two]).left_out == both.left_out, "the same once more is nothing new"
    assert joined([one, comparison(row("v", 0.9, n_train=287))]).left_out == ()
    merged = Comparison(pd.concat([one.rows, two.rows]), pd.concat([one.pairs, two.pairs]))
    assert joined([merged]).pairs.empty, "v was 0.1 above lora as it was in the row that is left out"
    pd.concat([first.rows, one.rows]).to_parquet(folder / "methods.parquet", index=False)
    found = read_comparison(folder)
    assert not found.rows.duplicated(["task", "model", "n_train", "setting", "trains"]).any() and len(found.rows) == 3


def test_without_pairs_and_rows_it_still_has_its_columns(folder: Path) -> None:
    (folder / "methods-pairs.parquet").unlink()
    assert list(read_comparison(folder).pairs) == list(PAIR_COLUMNS)
    assert comparison_of([], []).done.empty


def test_what_is_no_comparison_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="where no comparison is"):
        read_comparison(tmp_path / "elsewhere")
    table = pd.read_parquet(folder / "methods.parquet")
    for changed, words in (
        (table.drop(columns="lr"), "without the column lr"),
        (table.assign(setting="worst"), "setting worst"),
        (table.assign(state="lost"), "state lost"),
        (table.assign(value="high"), "value holds no number"),
        (table.assign(task=None), "a row without its task"),
    ):
        changed.to_parquet(folder / "methods.parquet", index=False)
        with pytest.raises(UserError, match=words):
            read_comparison(folder)
    (folder / "methods.parquet").write_bytes(b"PAR1 is not all of it")
    with pytest.raises(UserError, match=r"methods\.parquet"):
        read_comparison(folder)


def test_numbers_in_the_place_of_names_are_names(folder: Path) -> None:
    table = pd.read_parquet(folder / "methods.parquet")
    table.assign(task=5, label=None).to_parquet(folder / "methods.parquet", index=False)
    rows = read_comparison(folder).rows
    assert set(rows["task"]) == {"5"} and set(rows["label"]) == {None}


@pytest.mark.parametrize(
    ("cell", "found"), [("[[0.1, 0.5]]", [[0.1, 0.5]]), ("[", []), (None, []), ('{"a": 1}', []), (3.0, [])]
)
def test_lists_in_cells(cell: object, found: list[object]) -> None:
    assert numbers_of(cell) == found


def test_both_settings_are_described() -> None:
    assert list(SETTINGS) == ["same", "best"]


def test_the_sample_is_what_the_documentation_says() -> None:
    found = read_comparison(SAMPLE)
    assert set(found.rows["model"]) == {"bundled", "gemma-3-270m"} and len(set(found.rows["task"])) == 8
    page = topic("methods").text
    for model, task in (("bundled", "sst2"), ("gemma-3-270m", "prompt-sst2")):
        here = found.done[(found.done["model"] == model) & (found.done["task"] == task)]
        for label in ("b_v", "LoRA"):
            cells = []
            for setting in SETTINGS:
                (one,) = here[(here["label"] == label) & (here["setting"] == setting)].to_dict("records")
                mark = "*" if one["at_chance"] == "yes" else ""
                cells.append(f"{100 * one['value']:.1f}{mark}")
            cells[1] += f" ({100 * one['low']:.0f} to {100 * one['high']:.0f})"
            assert f"| {label} | {one['trained_parameters']:,.0f} | {cells[0]} | {cells[1]} |" in page
    bundled, gemma = (one for one in verdicts(found, "same") if "sst2" in one)
    assert "at chance in 2 of 3 seeds, b_v in none" in bundled and "no seed is at chance, but they are too few" in gemma
    assert sum("collapse refuted here" in one for one in verdicts(found, "best") if "sst2" in one) == 2
