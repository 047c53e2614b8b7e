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
    assert "sst2: 1 text\n" in shown and first["verdict"].replace("sst2-low-seed0-v-only", "b_v").split(";")[0] in shown


def test_rows_that_each_name_their_snapshot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    name = "stsb-low-seed0-v-only"
    table.write_text(f"one,two,who\na fine film,,{V}\nA man plays.,Someone is playing.,{name}\ndull,,{Path(Q).name}\n")
    asked = ["predict", V, Q, PAIRS, "--file", str(table), "--text", "one", "--text-pair", "two", "--snapshot", "who"]
    assert run([*asked, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [one["task"] for one in rows] == ["sst2", "stsb", "sst2"] and rows[1]["fine_tune"] == name
    assert "text_pair" not in rows[0] and rows[1]["text_pair"] == "Someone is playing." and len(rows[1]["logits"]) == 1
    for row, file in ((0, V), (2, Q)):
        assert run(["predict", file, "--text", rows[row]["text"], "--json"]) == 0
        (alone,) = json.loads(capsys.readouterr().out)["texts"][0]["answers"]
        assert rows[row]["logits"] == pytest.approx(alone["logits"], abs=1e-5)
        assert rows[row]["predicted"] == alone["predicted"]
    assert run(asked) == 0
    shown = capsys.readouterr().out
    assert "3 rows, 3 fine-tunes" in shown and "positive" in shown and f"{rows[1]['logits'][0]:.4f}" in shown
    for who, says in (("nobody", "row 1: got nobody, which is none of these snapshots"), ("", "got an empty 'who'")):
        table.write_text(f"one,two,who\na fine film,,{who}\n")
        assert run(asked) == 2
        assert says in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([V], "got no --text; expected a sentence"),
        ([V, "--text", " "], "got an empty text"),
        ([V, "--text", "a", "--text-pair", "b"], "got pairs of texts for sst2"),
        ([PAIRS, "--text", "a"], "got one text each for stsb"),
        ([V, PAIRS, "--text", "a"], "stsb-low-seed0-v-only.beft.safetensors answers: got one text for stsb"),
        ([V, "--text", "a", "--snapshot", "who"], "got --snapshot without a table; expected the table whose column"),
        ([V, "--file", "none.csv", "--snapshot", "who"], "got no --text; expected the column of the text"),
        ([V, "--task", "cola", "--text", "a"], "got the task cola"),
        ([V, "--file", "none.csv", "--text", "a"], "none.csv, which does not exist"),
        ([V, "--file", "none.csv", "--text", "a", "--text", "b"], "several columns for one text"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", *arguments]) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert says in shown[-1]
