"""The paper's evaluation in a real browser: every tab, both widths, both themes, links, an upload, presenter mode."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browser_tools import Lab, Visit, see
from made_comparisons import comparison, row
from playwright.sync_api import Page, expect
from sweep_tables import Run, make_results

from beft_core.reports.merges import NAME as MERGES
from beft_core.reports.methods.table import write_comparison
from dashboard.result_tables.source import SAMPLE

pytestmark = pytest.mark.timeout(600)

METHODS = "Table 5"
"""Tab of methods against each other: figures and tables."""
CHARTS = {
    "Figures 1 and 4": 1,
    "Table 1": 0,
    "Table 2": 0,
    "Table 3": 0,
    "Table 4": 0,
    METHODS: 2,
    "Learning rate and epochs": 3,
    "Does the score predict?": 3,
}
"""Tab -> figures in it, all its boxes open."""
MORE = {
    "Learning rate and epochs": {"scores_and_results": "true", "over_epochs": "true"},
    "Does the score predict?": {"by_task": "true", "settled": "true", "predicted": "true"},
}
"""Tab -> boxes of it that open on demand, as a link opens them."""


def noise(run: Run) -> float:
    return ((sum(map(ord, repr(run))) * 37) % 101 - 50) / 1500


def selects(approach: str, run: Run) -> str:
    if approach.startswith("magnitude"):
        return "q"
    return "q" if approach == "projection_ratio" and run[4] == 2 else "v"


def results() -> pd.DataFrame:
    """Five tasks, three sizes, three learning rates, three seeds; on RTE q does best; k is null."""
    winners = {("rte", regime): "q" for regime in ("low", "medium", "high")}
    table = make_results(
        ("sst2", "rte", "cola", "mrpc", "stsb"),
        ("low", "medium", "high"),
        (4e-4, 2e-3, 1e-2),
        (0, 1, 2),
        winners=winners,
        add=noise,
        selects=selects,
        null="k",
        failed=lambda run: run[:3] == ("mrpc", "high", "q") and run[4] == 1,
    )
    share = (table["seed"] + 1) / 10 + table["lr"] * 20
    table["settled.projection_ratio"] = share.where(table["trains"] == "all")
    table["settled.magnitude"] = (2 * share).where(table["trains"] == "all")
    return table


def merges() -> list[dict[str, object]]:
    rows = {
        "base model": {"sst2": 0.49, "rte": 0.53},
        "sst2": {"sst2": 0.79, "rte": 0.50},
        "rte": {"sst2": 0.51, "rte": 0.58},
        "merged": {"sst2": 0.74, "rte": 0.55},
    }
    return [
        {
            "tasks": ["sst2", "rte"],
            "seed": seed,
            "term": "v",
            "method": "mean",
            "cosine": 0.1 + seed / 100,
            "angle": 84.0,
            "rows": rows,
            "metrics": {"sst2": "accuracy", "rte": "accuracy"},
        }
        for seed in range(3)
    ]


@pytest.fixture(scope="module", autouse=True)
def table(lab: Lab) -> Iterator[None]:
    samples = lab.samples
    results().to_parquet(samples / SAMPLE, index=False)
    (samples / MERGES).write_text(json.dumps(merges()))
    methods = [
        row("v", 0.8),
        row("q", 0.79),
        row("lora", 0.83, trained_parameters=73_728),
        row("icl", 0.6, trained_parameters=0),
    ]
    write_comparison(comparison(*methods, *(one | {"setting": "same"} for one in methods)), samples, {})
    yield


def opened_tab(visit: Visit, tab: str, **query: str) -> Page:
    page = visit.open("evaluation", part=tab, **MORE.get(tab, {}), **query)
    drawn(page, tab)
    return page


def drawn(page: Page, tab: str) -> None:
    """Wait until a tab's figures or table are there."""
    expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    expect(page.locator(".js-plotly-plot")).to_have_count(CHARTS[tab])
    if tab in TABLES:
        see(page.locator(".paper-table table").first)
        # Streamlit drops a style sheet that it does not trust, and the table then is a heap of numbers.
        expect(page.locator(".paper-table tbody tr").first.locator("th.label").last).to_have_css("position", "sticky")


FIGURES = [tab for tab, charts in CHARTS.items() if charts]
TABLES = [tab for tab, charts in CHARTS.items() if not charts]


def picture(tab: str) -> str:
    return f"evaluation-{tab.lower().replace(' ', '-').replace('?', '')}"


@pytest.mark.parametrize("tab", FIGURES)
def test_every_tab_of_figures(visit: Visit, tab: str) -> None:
    page = opened_tab(visit, tab)
    page.get_by_text("How was this computed?").first.click()
    if tab == "Does the score predict?":
        see(page.get_by_text("following the projection ratio loses"))
    visit.check(picture(tab))


@pytest.mark.parametrize("tab", [tab for tab in FIGURES if tab != METHODS])  # whose marks have colours of both themes
def test_figures_in_the_dark(dark_visit: Visit, tab: str) -> None:
    page = opened_tab(dark_visit, tab)
    # The server learns the theme from the browser: text on a dark page must be light.
    tick = page.locator(".js-plotly-plot .xtick text").first
    expect(tick).to_have_css("fill", "rgb(230, 233, 239)")
    dark_visit.check(f"{picture(tab)}-dark")


def test_every_table_and_one_in_the_dark(visit: Visit) -> None:
    """One load for all: drawing a page takes longer than looking at a table."""
    page = opened_tab(visit, TABLES[-1])
    for tab in reversed(TABLES):
        visit.choose_tab(tab)
        drawn(page, tab)
        visit.settle()
        page.get_by_text("How was this computed?").first.click()
        visit.check(picture(tab), figure=False)
    see(page.get_by_text("85.8†").first)
    page.emulate_media(color_scheme="dark")
    expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", "dark")
    page.goto(visit.link("part=Table"))
    drawn(page, TABLES[0])
    visit.check(f"{picture(TABLES[0])}-dark", figure=False)


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_links_restore_what_was_chosen(visit: Visit) -> None:
    page = opened_tab(visit, "Learning rate and epochs")
    page.get_by_role("combobox", name="Task").scroll_into_view_if_needed()
    visit.settle()  # a list closes where the page scrolls or changes below it
    page.get_by_role("combobox", name="Task").click()
    page.get_by_role("option", name="RTE").click()
    page.get_by_role("combobox", name="Training examples").click()
    page.get_by_role("option", name="medium").click()
    expect(page.get_by_role("combobox", name="Training examples")).to_have_value("medium")
    page.get_by_text("Magnitude (L1)", exact=True).click()
    visit.choose_tab("Does the score predict?")
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    expect(page.locator('[data-stale="true"]')).to_have_count(0)
    page.get_by_text("each term at its best", exact=True).click()
    expect(page.get_by_role("radio", name="each term at its best")).to_be_checked()
    page.get_by_text("Hit rate", exact=True).click()
    see(page.get_by_text("hits, % (more is better)"))
    expect(page.locator('[data-stale="true"]')).to_have_count(0)
    page.goto(visit.link("part=Does", "measure=Hit", "pairing=each"))
    see(page.get_by_text("hits, % (more is better)"))
    visit.check("evaluation-link")
    visit.choose_tab("Figures 1 and 4")
    page.get_by_role("combobox", name="Learning rate").click()
    page.get_by_role("option", name="0.002").click()
    page.get_by_text("score", exact=True).first.click()
    expect(page.locator('[data-stale="true"]')).to_have_count(0)
    page.goto(visit.link("rate=0.002", "height=score"))
    expect(page.get_by_role("combobox", name="Learning rate")).to_have_value("0.002")
    expect(page.locator(".js-plotly-plot .ytitle").first).to_have_text("score")
    visit.check("evaluation-link-figures")


def test_downloads(visit: Visit) -> None:
    page = opened_tab(visit, "Does the score predict?")
    visit.settle()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download every case (CSV)").click()
    header, *rows = Path(download.value.path()).read_text().splitlines()
    assert header.startswith("task,regime,n_train,lr,seed,rule,selected,best,regret,hit,tau") and len(rows) > 500
    page.get_by_role("button", name="Download", exact=True).first.click()
    visit.settle()
    with page.expect_download() as download:
        page.get_by_role("button", name="The figure (HTML, works offline)").click()
    assert "Plotly" in Path(download.value.path()).read_text(errors="replace")
    page.keyboard.press("Escape")
    visit.choose_tab("Table 1")
    visit.settle()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the table (CSV)").click()
    assert "85.8" in Path(download.value.path()).read_text()


def test_uploads_broken_and_good(visit: Visit, tmp_path: Path) -> None:
    page = opened_tab(visit, "Does the score predict?")
    page.get_by_role("button", name="Open a table").click()
    uploader = page.locator('input[type="file"]')
    uploader.set_input_files({"name": "../x.parquet", "mimeType": "application/octet-stream", "buffer": b"PAR1 junk"})
    see(page.get_by_text("This file cannot be opened"))
    see(page.get_by_text("following the projection ratio loses"))
    expect(uploader).to_have_count(1)  # a fresh one has taken the place of the old one
    make_results(("sst2",), ("low",)).to_csv(tmp_path / "mine.csv", index=False)
    uploader.set_input_files(tmp_path / "mine.csv")
    expect(page.get_by_text("This file cannot be opened")).to_have_count(0)
    expect(page.get_by_role("combobox", name="Result table")).to_have_value("Upload: mine.csv")
    see(page.get_by_text("Over 6 cases (1 task, 3 groups"))
    page.keyboard.press("Escape")
    visit.check("evaluation-upload")


def test_presenter_mode(visit: Visit) -> None:
    page = opened_tab(visit, "Does the score predict?", present="true")
    expect(page.get_by_role("combobox", name="Result table")).to_be_hidden()
    expect(page.get_by_text("Download every case (CSV)")).to_be_hidden()
    see(page.get_by_text(re.compile("following the projection ratio loses")))
    visit.check("evaluation-presenter")


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_without_a_table_the_page_says_what_to_do(visit: Visit) -> None:
    sample = visit.lab.samples / SAMPLE
    away = sample.with_suffix(".away")
    sample.rename(away)
    try:
        page = visit.open("evaluation")
        see(page.get_by_text("No result table yet."))
        see(page.get_by_text("beft sweep"))
        visit.check("evaluation-empty", figure=False)
    finally:
        away.rename(sample)
