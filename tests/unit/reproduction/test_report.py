"""The report that a reproduction ends in."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from report_tools import entry
from reproduction_tools import finish_all, without_data

from beft_core.errors import UserError
from beft_core.reproduction.experiments import EXPERIMENTS
from beft_core.reproduction.plan import Plan, plan
from beft_core.reproduction.report import PAGE, SHOWN, html, report, write


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A rehearsal of everything, on a machine without data, that is finished."""
    import json

    folder = tmp_path_factory.mktemp("rehearsal")
    with pytest.MonkeyPatch.context() as patch:
        without_data(patch, folder)
        planned = plan(["all"], folder / "out", models=["bundled"], small=True)
        finish_all(planned)
    merged = next(step for step in planned.steps if step.grid.merges)
    (merged.folder / "merges.json").write_text(json.dumps([entry(tasks=("demo-sentiment", "demo-entailment"))]))
    return planned


def test_every_experiment_has_a_section_and_says_what_is_not_the_papers(finished: Plan) -> None:
    found = report(finished)
    assert [section.name for section in found.sections] == list(EXPERIMENTS) == list(SHOWN)
    by_name = {section.name: section for section in found.sections}
    figure = by_name["figure1"]
    assert figure.fine_tunes == 4 and figure.charts and figure.statements
    assert "demo-sentiment stands in for SST-2." in figure.notes
    assert any(note.startswith("bundled stands in for BERT-base") for note in figure.notes)
    assert any(note.startswith("A rehearsal: regimes of low 32") for note in figure.notes)
    assert all("SST-2" in one.of for one in figure.statements)
    assert {one.of.split(",")[0].split(" for ")[-1] for one in by_name["figure4"].statements} == {
        "SST-2",
        "CoLA",
        "STS-B",
    }
    compared = by_name["table5"]
    assert [table.key for table in compared.tables] == ["table5-same", "table5-best"]
    assert any("demo-sentiment, answered by a head, stands in for prompts of SST-2" in note for note in compared.notes)
    assert any("collapse confirmed here" in note for note in compared.notes), "LoRA at 0.5, b_v at 0.8"
    assert by_name["section3.4"].fine_tunes == 0, "CB and WiC have no stand-in"
    assert found.claims and found.small


def test_each_part_is_shown_by_its_own_fine_tunes(finished: Plan) -> None:
    found = {section.name: section for section in report(finished).sections}
    (cost,) = found["table2"].tables
    assert "demo-entailment, low regime" in cost.title
    own = {row.labels[0]: row.cells for row in cost.rows}
    assert own["BEFT (b_v)"][3].seeds == 2 and own["all parameters"][2].ours == pytest.approx(12.5)
    (merging,) = found["table3"].tables
    assert "demo-sentiment and demo-entailment" in merging.title
    values = found["table1"].tables[0]
    assert any(column.key == "demo-sentiment" for column in values.columns)


def test_the_page_escapes_marks_and_fetches_nothing(finished: Plan) -> None:
    page = html(report(finished))
    assert page.startswith("<!doctype html>") and "(a rehearsal)" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    for name in EXPERIMENTS:
        assert f'id="{name}"' in page
    assert "<svg" in page


def test_it_is_written_with_a_file_for_each_table(finished: Plan, tmp_path: Path) -> None:
    files = write(report(finished), tmp_path / "report")
    assert files[0].name == PAGE and {"table1.csv", "figure4-statements.csv"} <= {file.name for file in files}
    table = pd.read_csv(tmp_path / "report" / "table1.csv")
    assert {"ours", "paper", "off_by", "deviates"} <= set(table.columns)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        write(report(finished), tmp_path / "taken")


def test_nothing_finished_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="no finished fine-tune"):
        report(plan(["figure1"], tmp_path, models=["bundled"], small=True))


def test_deviations_from_the_paper_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the paper's own task, with data that are here: ours is 81.0 for b_v where the paper has 85.8."""
    without_data(monkeypatch, tmp_path)
    folder = tmp_path / "glue" / "SST-2"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text("sentence\tlabel\n" + "fine\t1\npoor\t0\n" * 30)
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path / "glue"))
    planned = plan(["figure1"], tmp_path / "out", models=["bundled"], small=True)
    finish_all(planned, lambda run: {"v": 0.6, "q": 0.801}.get("+".join(run.terms), 0.7))
    found = report(planned)
    (section,) = found.sections
    low = next(row for row in section.tables[0].rows if row.labels == ("low", "b_v"))
    assert low.cells[0].ours == 60.0 and low.cells[0].paper == 85.8
    assert '<small class="off">↓ -25.8</small>' in html(found) and "≈ +0.1" in html(found)
    assert "What is best is the same in 0 of" in section.summary()
