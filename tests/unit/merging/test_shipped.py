"""Evaluations in a file: written, read, and refused where damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig, content
from beft_core.merging.result import MergeResult, TaskScored
from beft_core.merging.shipped import MAX_BYTES, NAME, Evaluated, read_evaluations, write_evaluations
from beft_core.snapshots.snapshot import read_snapshot

SAMPLES = Path(__file__).parents[3] / "sample_snapshots"


def made_up() -> Evaluated:
    pair = [example(seed, trained_terms=("v",), full=True) for seed in (1, 2)]
    about, scores = TaskScored("accuracy", 10, 10, "made up"), {"x": {"accuracy": 0.5}}
    rows = dict.fromkeys(("base model", "a", "b", "merged"), scores)
    result = MergeResult({"x": about}, rows, [], 0.5, None, {}, 1, 1.0, "cpu", {}, [(0.0, 1.0, scores)])
    return Evaluated(MergeConfig.of(pair, ["a", "b"], plane=7), result)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path) == ()
    write_evaluations(tmp_path, [made_up(), made_up()])
    assert read_evaluations(tmp_path) == (made_up(), made_up())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "a JSON list"),
        ("{", "not valid JSON"),
        ('{"evaluations": 3}', "without a list"),
        ('{"evaluations": [3]}', "entry 1: no config and result"),
        ('{"evaluations": [{"config": {}, "result": {}}]}', "entry 1: got a merge without"),
        ('{"evaluations": [{"config": NaN}]}', "not valid JSON"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(UserError, match=words) as told:
        read_evaluations(tmp_path)
    assert "\n" not in str(told.value) and str(tmp_path) not in str(told.value)


def test_a_damaged_result_names_its_entry(tmp_path: Path) -> None:
    write_evaluations(tmp_path, [made_up()])
    content = json.loads((tmp_path / NAME).read_text())
    content["evaluations"][0]["result"]["rows"] = 3
    (tmp_path / NAME).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"entry 1: result\.json"):
        read_evaluations(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="at most"):
        read_evaluations(tmp_path)


def test_the_samples_have_evaluations_of_their_own_files() -> None:
    """Those that were retrained since would not be found by what they hold."""
    files = {content(read_snapshot(path)) for path in SAMPLES.glob("*-v-only.beft.safetensors")}
    found = read_evaluations(SAMPLES)
    assert found
    for one in found:
        assert set(one.config.sources) <= files
        plane = {(a, b): scores for a, b, scores in one.result.plane}
        rows = list(one.result.rows.values())
        assert [plane[0, 0], plane[1, 0], plane[0, 1], plane[0.5, 0.5]] == rows
