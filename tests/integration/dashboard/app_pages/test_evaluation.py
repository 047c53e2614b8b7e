"""The paper's evaluation in process: nothing there, the bundled table, sweeps of this machine, uploads good and bad."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from dashboard_tools import charts, opened, sound
from made_comparisons import comparison, row
from made_up_samples import write_samples
from parquet_bombs import repeated_in
from streamlit.testing.v1 import AppTest
from sweep_tables import Run as FineTune
from sweep_tables import make_results

from beft_core.errors import UserError
from beft_core.reports.merges import NAME as MERGES
from beft_core.reports.methods.table import write_comparison
from beft_core.reports.tables import table1
from beft_core.runs.run import Run
from beft_core.sweeps.table import write_table
from dashboard.app_pages.evaluation.tables import drawn
from dashboard.result_tables.source import MAX_UPLOADS, SAMPLE
from dashboard.result_tables.uploads import MEGABYTES, read_upload

pytestmark = pytest.mark.usefixtures("lab")

FIGURES, RATES, ANSWER = "Figures 1 and 4", "Learning rate and epochs", "Does the score predict?"
TABS = {
    "Claims": 0,
    FIGURES: 1,
    "Table 1": 0,
    "Table 2": 0,
    "Table 3": 0,
    "Table 4": 0,
    "Table 5": 0,
    RATES: 1,
    ANSWER: 1,
}
"""Tab -> figures in it."""
MORE = {
    RATES: {"scores_and_results": "true", "over_epochs": "true"},
    ANSWER: {"by_task": "true", "settled": "true", "predicted": "true"},
}
"""Tab -> boxes of it that open on demand, as a link opens them."""


def put_sample(lab: Path, table: pd.DataFrame | None = None) -> None:
    (make_results(null="k") if table is None else table).to_parquet(lab / "samples" / SAMPLE, index=False)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples with a table, for tests that only look: what pages work out from it is remembered under its path."""
    folder = tmp_path_factory.mktemp("shelf")
    write_samples(folder / "samples")
    put_sample(folder)
    return folder / "samples"


@pytest.fixture
def bundled(lab: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples of all such tests, and a home of its own."""
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(shelf))


def said(at: AppTest) -> str:
    return " ".join(m.value for m in (*at.markdown, *at.caption))


def html(at: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in at.get("html"))


def as_bytes(table: pd.DataFrame, kind: str) -> bytes:
    if kind == "csv":
        return table.to_csv(index=False).encode()
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    return stream.getvalue()


# --- what can be opened --------------------------------------------------------------------------------------------


def test_without_a_table_the_page_says_what_to_do() -> None:
    at = opened("evaluation")
    assert "No result table yet" in said(at) and at.code[0].value.startswith("beft sweep --tasks")
    assert charts(at) == 0 and not at.error and not at.tabs


@pytest.mark.usefixtures("bundled")
def test_learning_rates_and_results_go_together_in_a_sentence_and_more_is_drawn_on_demand() -> None:
    at = opened("evaluation", part=RATES)
    assert "**Here Spearman's correlation of projection ratio and accuracy is $b_q$ " in said(at)
    assert charts(opened("evaluation", part=RATES, **MORE[RATES])) == 3
    assert charts(opened("evaluation", part=ANSWER, **MORE[ANSWER])) == 3


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.usefixtures("bundled")
def test_every_tab_is_drawn_alone(tab: str) -> None:
    at = opened("evaluation", part=tab)
    assert at.selectbox(key="results").value == "Bundled sweep" and charts(at) == TABS[tab]
    assert not at.error and not at.warning and len(at.expander) >= 1
    assert ("paper-table" in html(at)) == tab.startswith("Table")
    assert "168 fine-tunes · bundled model · 2 tasks · 3 seeds · learning rates 0.001, 0.01" in said(at)
    if tab == "Claims":
        assert "Reproduced here is the first" in said(at) and "$b_v$ generally performs best" in said(at)
    if tab == FIGURES:
        assert "paper-table" in html(opened("evaluation", part=tab, notebook="true"))


def test_a_sweep_of_this_machine_is_offered_with_its_merges(lab: Path) -> None:
    run = Run.create("select", {"task": "demo-sentiment"})
    (run.path / "sweep").mkdir()
    write_table(make_results(["sst2"]), run.path / "sweep")
    rows = {name: {"sst2": 0.5, "rte": 0.25} for name in ("base model", "sst2", "rte", "merged")}
    merge = {"tasks": ["sst2", "rte"], "seed": 0, "term": "v", "method": "mean", "cosine": 0.2, "angle": 78.5}
    (run.path / "sweep" / MERGES).write_text(json.dumps([merge | {"rows": rows}]))
    title = f"Run {run.id[-6:]}: sweep"
    at = opened("evaluation", part="Table 3")
    assert at.selectbox(key="results").value == title and "not complete \\(queued\\)" in said(at)
    assert "78.5" in html(at) and "25.0" in html(at)
    put_sample(lab)
    at = opened("evaluation", part="Table 3", results=f"Run {run.id[-6:]}: an older name")
    assert at.selectbox(key="results").value == title
    at = opened("evaluation", results="Run 000000: gone")
    assert at.selectbox(key="results").value == "Bundled sweep" and "Not here any more" in said(at)


# --- methods against each other ------------------------------------------------------------------------------------

METHODS = [
    row("v", 0.80),
    row("v", 0.76, setting="same"),
    row("lora", 0.83, trained_parameters=73_728),
    row("lora", 0.51, setting="same", trained_parameters=73_728),
    row("full", 0.86, trained_parameters=22_713_216, low=None, high=None),
    row("prefix", float("nan"), state="refused", reason="it takes no keys and values"),
    row("v", 0.61, task="rte"),
]


def test_without_a_comparison_the_tab_says_how_to_make_one(bundled: None) -> None:
    at = opened("evaluation", part="Table 5")
    assert "`beft compare-methods --task sst2" in at.info[0].value and not at.error


def test_methods_stand_against_each_other_and_beside_the_paper(lab: Path) -> None:
    put_sample(lab)
    write_comparison(comparison(*METHODS), lab / "samples", {})
    at = opened("evaluation", part="Table 5")
    assert charts(at) == 2 and "paper-table" not in html(at)
    text = said(at).replace("\\", "")
    assert "LoRA on SST-2 (bundled), one learning rate for all, at 0.001: collapse confirmed here" in text
    assert "each method at its best, at 0.001: collapse refuted here" in text
    ours, theirs = (json.loads(one.proto.spec) for one in at.get("plotly_chart"))
    marks = {one["name"]: one for one in ours["data"] if one.get("customdata")}
    assert len(marks) == 5 and marks["LoRA, one learning rate for all"]["y"] == [51.0]
    assert marks["every weight, each at its best"]["x"] == [pytest.approx(22_713_216)]
    lora = next(one for one in theirs["data"] if one["name"].startswith("LoRA"))
    assert lora["y"] == [92.6] and lora["x"] == [pytest.approx(0.012 * 1.3e9)]
    assert "it takes no keys and values" in said(at)
    at = sound(at.segmented_control(key="methods_half").set_value("each method at its best").run())
    assert "83.0 ± 1.0" in html(at) and charts(at) == 0
    at = sound(at.segmented_control(key="methods_half").set_value("one learning rate for all").run())
    assert "51.0 ± 1.0" in html(at) and "83.0 ± 1.0" not in html(at)
    at = sound(at.selectbox(key="methods_task").select("rte").run())
    at = sound(at.segmented_control(key="methods_half").set_value("the picture").run())
    assert "**Ours: RTE, bundled**" in said(at) and "What each method is worth" in said(at) and not at.error


def test_an_upload_of_a_comparison_is_checked_and_opened(lab: Path) -> None:
    put_sample(lab)
    at = opened("evaluation", part="Table 5")
    for data, words in (
        (b"junk", "no readable Parquet"),
        (as_bytes(make_results(), "parquet"), "without the column"),
        (as_bytes(comparison(row("v", float("inf"))).rows, "parquet"), "an infinite number in the column value"),
        (as_bytes(comparison(row("v", 0.8, trained_parameters=1e308)).rows, "parquet"), "1e+308 trained parameters"),
        (as_bytes(comparison().rows, "parquet"), "got a comparison of 0 rows"),
    ):
        at.file_uploader[1].upload("methods.parquet", data).run()
        assert words in sound(at).error[0].value.replace("\\", ""), words
    evil = "<script>[x](http://x)"
    data = as_bytes(comparison(row("v", 0.8), row("q", 0.7, label=evil, model="bundled")).rows, "parquet")
    at.file_uploader[1].upload(evil, data).run()
    assert charts(sound(at)) == 2 and not at.error
    at.file_uploader[1].upload("another", data).run()
    assert sound(at).selectbox(key="comparison").options == [f"Upload: {evil}", "Upload: another"]
    assert at.selectbox(key="comparison").value == "Upload: another"
    assert "<script>" not in html(at) and not list(lab.rglob("*script*"))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.usefixtures("bundled")
def test_a_good_upload_is_shown_at_once(lab: Path, kind: str) -> None:
    at = opened("evaluation", part=ANSWER)
    table = make_results(["stsb"], ["low"], [1e-3], [0, 1], null="k")
    name = "[x](http://x) $x$ ../../etc/passwd.txt"
    at.file_uploader[0].upload(name, as_bytes(table, kind)).run()
    assert sound(at).selectbox(key="results").value == f"Upload: {name}"
    assert "Over 2 cases \\(1 task, 2 groups" in said(at) and not at.error
    assert not list(lab.rglob("passwd*"))
    at.selectbox(key="results").select("Bundled sweep").run()
    assert "Over 24 cases" in said(sound(at))


BROKEN = {
    "junk": (b"\x00\x01\x02junk", "neither Parquet nor text"),
    "cut short": (as_bytes(make_results(["sst2"]), "parquet")[:-200], "no readable Parquet"),
    "words": (b"hello, world\n1, 2\n", "without the columns"),
    "empty": (b"", "cannot be read"),
    "no rows": (as_bytes(make_results().head(0), "csv"), "0 rows"),
    "a column less": (as_bytes(make_results().drop(columns="curve"), "parquet"), "without the column curve"),
    "text for numbers": (as_bytes(make_results().assign(value="much"), "csv"), "text in the column value"),
    "infinite": (as_bytes(make_results().assign(lr=float("inf")), "parquet"), "infinite"),
    "gaps": (as_bytes(make_results().assign(seed=float("nan")), "csv"), "empty cells in the column seed"),
    "other kinds": (as_bytes(make_results().assign(value=True), "parquet"), "bool in the column value"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.usefixtures("bundled")
def test_a_broken_upload_loses_nothing(lab: Path, name: str) -> None:
    at = opened("evaluation", part=ANSWER)
    before = said(at)
    data, words = BROKEN[name]
    at.file_uploader[0].upload(f"{name}.parquet", data).run()
    assert len(sound(at).error) == 1 and words in at.error[0].value.replace("\\", "")
    assert at.selectbox(key="results").value == "Bundled sweep" and said(at) == before
    assert str(lab) not in at.error[0].value and "/tmp" not in at.error[0].value


def test_large_uploads_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 16 MB"):
        read_upload(bytes(MEGABYTES * 2**20 + 1))
    rows = make_results(["sst2"])
    many = pd.concat([rows] * (100_001 // len(rows) + 1), ignore_index=True)
    with pytest.raises(UserError, match="more than 100,000 rows"):
        read_upload(as_bytes(many, "parquet"))
    # A few kilobytes that stand for gigabytes: the failure of each row is the same long text.
    bomb = repeated_in(tmp_path / "bomb.parquet", rows, "failure").read_bytes()
    assert len(bomb) < 2**20
    with pytest.raises(UserError, match="more than 256 MB when unpacked"):
        read_upload(bomb)


def test_only_so_many_uploads_are_held() -> None:
    at = opened("evaluation", part="Table 3")
    data = as_bytes(make_results(["sst2"], ["low"], [1e-3], [0]), "csv")
    for number in range(MAX_UPLOADS + 2):
        at.file_uploader[0].upload(f"{number}.csv", data).run()
    assert sound(at).selectbox(key="results").options == [f"Upload: {n}.csv" for n in range(2, MAX_UPLOADS + 2)]


def test_tables_of_one_name_stand_beside_each_other(lab: Path) -> None:
    """Every sweep calls its table the same, and so does every comparison."""
    put_sample(lab)
    at = opened("evaluation", part=ANSWER)
    tables = [make_results([task], ["low"], [1e-3], [0, 1]) for task in ("stsb", "sst2")]
    names = ["Upload: sweep-results.parquet", "Upload: sweep-results.parquet (2)"]
    for table, title in zip([*tables, tables[0]], [*names, names[0]], strict=True):
        at.file_uploader[0].upload("sweep-results.parquet", as_bytes(table, "parquet")).run()
        assert sound(at).selectbox(key="results").value == title
    assert [source.memory["task"].unique().tolist() for source in at.session_state["table_uploads"].values()] == [
        ["sst2"],
        ["stsb"],  # opened last, once more
    ]
    at = opened("evaluation", part="Table 5")
    for value in (0.8, 0.7):
        data = as_bytes(comparison(row("v", value), row("q", 0.6)).rows, "parquet")
        at.file_uploader[1].upload("methods.parquet", data).run()
    held = sound(at).session_state["comparison_uploads"]
    assert [one.found.rows["value"].tolist() for one in held.values()] == [[0.8, 0.6], [0.7, 0.6]]
    assert at.selectbox(key="comparison").value == "Upload: methods.parquet (2)"


def test_a_damaged_sample_is_told(lab: Path) -> None:
    (lab / "samples" / SAMPLE).write_bytes(b"PAR1")
    at = opened("evaluation")
    assert len(at.error) == 1 and charts(at) == 0


# --- the scorecard -------------------------------------------------------------------------------------------------


def test_the_claims_come_first_and_lead_to_what_shows_them(lab: Path) -> None:
    put_sample(lab, make_results(["sst2", "rte"], null="k"))
    at = opened("evaluation")
    first = at.markdown[1].value.replace("\\", "")
    assert first.startswith("#### These fine-tunes confirm ")
    rows = [m.value.replace("\\", "") for m in at.markdown if "-badge[" in m.value]
    confirmed = ":green-badge[:material/check: confirmed] **It selects better than Magnitude:** :small[+"
    assert any(row.startswith(confirmed) for row in rows)
    assert any(":violet-badge[:material/close: contradicted] **It selects better than Fisher:**" in row for row in rows)
    assert any("−" in row for row in rows) and not any(" -" in row or "(-" in row for row in rows)
    assert "Untested here" in said(at) and "needs a sweep of OPT" in said(at).replace("\\", "")
    at.button(key="claim-random").click().run()
    assert sound(at).query_params["part"] == "Table 2" and "paper-table" in html(at)


@pytest.mark.usefixtures("bundled")
def test_columns_without_a_number_of_ours_are_hidden_until_asked_for() -> None:
    at = opened("evaluation", part="Table 1")
    assert "QQP" not in html(at) and "85.8†" in html(at)
    at.toggle(key="whole").set_value(True).run()
    assert "QQP" in html(sound(at)) and at.query_params["whole"] == "true"


# --- what stands on the page ---------------------------------------------------------------------------------------


def test_names_of_strangers_stay_text(lab: Path) -> None:
    bad = "<img src=x onerror=alert(1)>[a](http://a) $x$"
    table = make_results(["sst2"]).assign(task=bad, model=bad, metric=bad, device=bad, regime=bad)
    put_sample(lab, table.assign(failure=bad))
    for tab in TABS:
        at = opened("evaluation", part=tab)
        assert "<img" not in html(at) and not at.error, tab
        assert "[a](http" not in said(at), tab


@pytest.mark.usefixtures("bundled")
def test_a_link_restores_task_size_rate_and_measure() -> None:
    at = opened("evaluation", part=RATES, on_task="RTE: does the first text entail the second", on_regime="medium")
    assert at.selectbox(key="on_task").value == "rte" and at.selectbox(key="on_regime").value == "medium"
    at = opened("evaluation", part="Table 1", rate="0.001")
    assert at.selectbox(key="rate").value == "0.001" and "all at 0\\.001" in said(at)
    at = opened("evaluation", part=ANSWER, pairing="each term at its best", size="low")
    assert at.selectbox(key="size").value == "low" and "Over 12 cases" in said(at)


@pytest.mark.usefixtures("bundled")
def test_choices_that_another_table_lacks_are_forgotten() -> None:
    at = opened("evaluation", part=RATES)
    at.selectbox(key="on_task").select("rte").run()
    at.selectbox(key="on_regime").select("medium").run()
    at.file_uploader[0].upload("x.csv", as_bytes(make_results(["sst2"], ["low"]), "csv")).run()
    assert sound(at).selectbox(key="on_task").value == "sst2" and at.selectbox(key="on_regime").value == "low"


def test_tasks_have_a_panel_each_and_stand_in_the_papers_order(lab: Path) -> None:
    put_sample(lab, make_results(["demo-sentiment", "demo-entailment", "rte", "sst2"], ["low"]))
    at = opened("evaluation", part=ANSWER, **MORE[ANSWER])
    spec = str(at.get("plotly_chart")[1].proto.spec)
    titles = ["All tasks", "SST-2", "RTE", "demo-sentiment", "demo-entailment"]
    places = [spec.index(f"{title}\\u003c") for title in titles]
    assert places == sorted(places)
    assert opened("evaluation", part=RATES).selectbox(key="on_task").value == "sst2"


def test_tasks_that_say_little_are_named(lab: Path) -> None:
    put_sample(lab, make_results(["sst2", "rte"], ["low"], add=lambda run: -run_level(run) if run[0] == "rte" else 0.0))
    assert "less than 3 points on RTE: the three terms" in said(opened("evaluation", part=ANSWER))


def run_level(run: FineTune) -> float:
    """What makes the three terms of `make_results` equal."""
    return {"v": 0.2, "q": 0.1}.get(run[2], 0.0)


def test_several_models_are_told_apart(lab: Path) -> None:
    both = pd.concat([make_results(["sst2"], ["low"]), make_results(["sst2"], ["low"], model="ORG/other", seeds=[0])])
    put_sample(lab, both)
    at = opened("evaluation", part=ANSWER)
    assert at.selectbox(key="of_model").value == "bundled" and "Over 6 cases" in said(at)
    at.selectbox(key="of_model").select("ORG/other").run()
    assert "Over 2 cases" in said(sound(at))


def test_what_is_missing_is_told_where_it_is_missing(lab: Path) -> None:
    put_sample(lab, make_results(trains=["v", "q"]))
    assert "no finished probe" in opened("evaluation", part=FIGURES).info[0].value
    at = opened("evaluation", part=ANSWER, **MORE[ANSWER])
    assert "There is no answer yet" in said(at) and "did not keep when they settled" in said(at)
    at = opened("evaluation", part=RATES, **MORE[RATES])
    assert said(at).count("this table has none here") == 2 and charts(at) == 2
    put_sample(lab, make_results(failed=lambda run: run[4] == 1))
    assert "168 fine-tunes, 56 of them failed · bundled" in said(opened("evaluation"))
    put_sample(lab, make_results(failed=lambda run: True))
    for tab in TABS:
        assert not opened("evaluation", part=tab).error, tab
    assert "failed" in said(opened("evaluation", part="Table 1"))


@pytest.mark.usefixtures("bundled")
def test_a_null_term_is_explained() -> None:
    for tab in (FIGURES, RATES, ANSWER):
        assert "$b_k$ is null in this model" in said(opened("evaluation", part=tab)), tab


def test_our_tables_hold_both_numbers_and_reasons() -> None:
    page, reasons = drawn(table1(make_results(winners={("rte", "low"): "q"})))
    assert "<b>81.0 ± 1.0</b>†" in page  # 80, 81, 82 in the three seeds
    v, q = page.split("<tr")[2:4]  # on the low data of RTE, the second task, the probes select v and q is better
    assert ">61.0 ± 1.0†" in v and "<b>61.0" not in v and "<b>81.0 ± 1.0</b><" in q and "†<" not in q
    assert "85.8†" in page and "b<sub>v</sub>" in page
    assert [mark for _, mark in reasons] == [chr(ord("a") + n) for n in range(len(reasons))]
    assert any("qqp" in why for why, _ in reasons)
    for why, mark in reasons:
        assert f'title="{why}"' in page and f"<sup>{mark}</sup>" in page


def test_the_answer_names_rules_without_a_probe_and_what_tasks_can_tell(lab: Path) -> None:
    put_sample(lab, make_results(null="k", seeds=range(5)))
    at = opened("evaluation", part=ANSWER, **MORE[ANSWER])
    assert "beats $b_q$ in 8 of 8 and loses to it in none" in said(at)
    at.selectbox(key="size").select("low").run()
    assert "beats $b_q$ in 4 of 4 and loses to it in none" in said(sound(at))
    at.selectbox(key="size").select("all together").run()
    words = said(at).replace("\\", "")
    assert "Projection ratio: also Fisher; Fisher (batches); Fixed order $b_v$, $b_q$, $b_k$; Smallest" in words
    assert "draw tasks, then data sizes and seeds within them" in words
    assert "Pre-trained norms: recorded in the table" in words
    spec = str(at.get("plotly_chart")[0].proto.spec)
    assert "Projection ratio (+ 4)" in spec and "Oracle of the other seeds" in spec
    (table,) = [frame.value for frame in at.dataframe]
    pooled = table[table["task"] == "all tasks"].set_index("rule")
    assert list(pooled.index) == [
        "Projection ratio; Fisher; Fisher (batches); Fixed order b_v, b_q, b_k; Smallest pre-trained norm",
        "Magnitude (L1); Magnitude (mean)",
        "Always b_v",
        "Oracle of the other seeds",
        "Random (expected)",
    ]
    assert pooled.loc["Always b_v", "tau"] == "0.82 (0.82 to 0.82)"
    table = make_results(null="k")  # and one from before there were columns of norms
    put_sample(lab, table.drop(columns=[name for name in table if name.startswith("pre_norm.")]))
    assert "of bundled read from the model's own files" in said(opened("evaluation", part=ANSWER))
