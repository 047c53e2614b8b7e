"""beft predict: sentences from flags and tables, answers as a table and as JSON, wrong input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beft_core.cli.app import run

SAMPLES = Path(__file__).parents[4] / "sample_snapshots"
V, Q, PAIRS = (
    str(SAMPLES / f"{name}.beft.safetensors")
    for name in ("sst2-low-seed0-v-only", "sst2-low-seed0-q-only", "stsb-low-seed0-v-only")
)


def test_answers_side_by_side(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["predict", V, Q, "--text", "a fine film", "--text", "dull", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["task"] == "sst2" and [one["text"] for one in document["texts"]] == ["a fine film", "dull"]
    first, second = document["texts"][0]["answers"]
    assert (first["fine_tune"], second["fine_tune"]) == ("sst2-low-seed0-v-only", "sst2-low-seed0-q-only")
    assert first["predicted"] == "positive" and sum(first["probabilities"].values()) == pytest.approx(1)
    assert sum(first["layers"].values()) + first["interaction"] == pytest.approx(first["shift"], abs=1e-4)
    table = tmp_path / "films.csv"
    table.write_text("review,stars\na fine film,\ndull,1\n")  # labels are not looked at
    assert run(["predict", V, Q, "--file", str(table), "--text", "review", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert run(["predict", V, "--text", "a fine film"]) == 0
    shown = capsys.readouterr().out
    assert "sst2: 1 texts" in shown and first["verdict"].replace("sst2-low-seed0-v-only", "b_v").split(";")[0] in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([V], "got no --text; expected a sentence"),
        ([V, "--text", " "], "got an empty text"),
        ([V, "--text", "a", "--text-pair", "b"], "got pairs of texts for sst2"),
        ([PAIRS, "--text", "a"], "got one text each for stsb"),
        ([V, PAIRS, "--text", "a"], "share no single head"),
        ([V, "--task", "cola", "--text", "a"], "got the task cola"),
        ([V, "--file", "none.csv", "--text", "a"], "none.csv, which does not exist"),
        ([V, "--file", "none.csv", "--text", "a", "--text", "b"], "several columns for one text"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", *arguments]) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert says in shown[-1]
