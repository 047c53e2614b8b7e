"""Sweep, in a real browser: a tiny real grid started, watched, found again after a reload, read, and downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from browser_tools import WIDTHS, Lab, Visit, bar, see
from playwright.sync_api import Page, expect
from sweep_tables import make_results

from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.spec import trains as trains_of
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import write_table

pytestmark = pytest.mark.timeout(600)

SMALL = {
    "sw_n": "16",
    "sw_terms": ["v", "head"],
    "sw_seeds": "1",
    "sw_epochs": "1",
    "sw_n_eval": "48",
    "sw_device": "cpu",
}


def past(lab: Lab) -> Run:
    """A sweep of the past: two tasks, two sizes, seven kinds of fine-tunes, three learning rates, three seeds."""
    lrs = (4e-4, 2e-3, 1e-2)
    trains = ("v", "q", "k", "o", "head", "all")
    spec = SweepSpec(("sst2", "rte"), ("low", "medium"), terms=trains, lrs=lrs, seeds=(0, 1, 2))
    run = Run.create("sweep", spec.to_dict(), lab.home)
    SweepFolder(run.sweep).begin(spec)
    rows = make_results(
        spec.tasks,
        spec.regimes,
        lrs,
        spec.seeds,
        trains=trains,
        winners={("rte", "low"): "q"},
        add=lambda one: ((sum(map(ord, repr(one))) * 37) % 101 - 50) / 1500,
        failed=lambda one: one[:3] == ("rte", "low", "q") and one[4] == 1,
    )
    names = {(c.task, c.regime, trains_of(c), c.lr, c.seed): identity(c) for c in spec.runs()}
    keys = ("task", "regime", "trains", "lr", "seed")
    rows["run"] = [names[key] for key in rows[list(keys)].itertuples(index=False, name=None)]
    write_table(rows, run.sweep)
    run.result.write_text(f'{{"runs": {len(rows)}, "failed": 3, "stopped": false}}')
    run.write_status(Status("done", created=run.recorded().created, began=1.0, ended=201.0))
    return run


def drawn(page: Page) -> None:
    """Nothing waits for its script any more."""
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_a_tiny_sweep_from_start_to_table(visit: Visit) -> None:
    before = {run.id for run in list_runs(visit.lab.home)}
    page = visit.open("sweep", **SMALL)
    see(page.get_by_text("beft sweep --tasks demo-sentiment --n-train 16 --terms v head"))
    visit.check("sweep-form", figure=False)
    page.get_by_role("button", name="Start the sweep").click()
    see(bar(page).get_by_role("button", name="Cancel"))
    page.reload()  # a new session: the sweep stands in the link
    see(bar(page).get_by_role("button", name="Cancel"))
    visit.check("sweep-running", figure=False)
    see(page.get_by_text("is done after"), timeout=200_000)
    (run,) = [run for run in list_runs(visit.lab.home) if run.id not in before]
    assert f"sweep_run={run.id}" in page.url
    see(page.locator(".js-plotly-plot .main-svg").first)
    expect(page.get_by_test_id("stDataFrame")).to_have_count(1)  # that of the watched sweep has gone
    see(page.get_by_test_id("stDataFrame"))
    drawn(page)
    visit.check("sweep-done")
    visit.settle()
    with page.expect_download() as download:
        page.get_by_role("button", name="The table (CSV)").click()
    header, *rows = Path(download.value.path()).read_text().splitlines()
    assert header.startswith("run,model,task") and len(rows) == 2
    page.get_by_role("link", name="Beside the paper's").click()
    see(page.get_by_role("heading", level=1, name="The paper's evaluation"))
    expect(page.get_by_role("combobox", name="Result table")).to_have_value(f"Run {run.id[-6:]}: sweep")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_large_one(visit: Visit, theme: Literal["light", "dark"]) -> None:
    run = past(visit.lab)
    visit.page.emulate_media(color_scheme=theme)
    page = visit.open("sweep", sweep_run=run.id, sw_regimes=["low", "high"])
    for width in WIDTHS:
        visit.resize(width)
        see(page.get_by_text("216 fine-tunes, 3 failed"))
        tick = page.locator(".js-plotly-plot .xtick text").first
        colour = "rgb(230, 233, 239)" if theme == "dark" else "rgb(16, 20, 29)"
        expect(tick).to_have_css("fill", colour)
        drawn(page)
        text, fill = (
            ("rgb(17, 21, 29)", "rgb(194, 204, 219)") if theme == "dark" else ("rgb(255, 255, 255)", "rgb(56, 68, 90)")
        )
        for filled in (page.get_by_role("button", name="Start the sweep"), page.locator("[data-tag]").first):
            expect(filled).to_have_css("color", text)
            expect(filled).to_have_css("background-color", fill)  # neutral, no term's: test_contrast.py
    visit.check(f"sweep-large-{theme}")


def test_the_list_of_runs(visit: Visit) -> None:
    run = past(visit.lab)
    page = visit.open("runs", runs=f"{run.id[-6:]} sweep of v, q, k, o, head, all on sst2 + rte")
    see(page.get_by_role("heading", name="Results"))
    drawn(page)
    visit.check("sweep-in-runs", figure=False)
    page.get_by_test_id("stMain").get_by_role("link", name="Sweep").click()
    see(page.get_by_text("is done after 3 min: 216 fine-tunes, 3 failed"))
