"""The list of runs in a real browser: ticking rows, a run that arrives meanwhile, links, deleting, downloads."""

from __future__ import annotations

import math
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_tools import Lab, Visit, see
from fake_worker import small_snapshot
from playwright.sync_api import Locator, Page, expect

from beft_core.config import RunConfig
from beft_core.runs import about
from beft_core.runs.overview import overview
from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import write_snapshot

pytestmark = pytest.mark.timeout(600)


def ended(lab: Lab, state: str = "done", minutes: float = 1.0, name: str = "", **config: object) -> Run:
    """A run of the past with a curve of its own."""
    settings = RunConfig(**{"task": "sst2", "regime": "low", "epochs": 4, **config})  # type: ignore[arg-type]
    run = Run.create("train", settings.to_dict(), lab.home)
    shift = int(run.id[-4:], 16) / 65536
    lines = [
        f'{{"type": "step", "step": {s}, "total": 240, "loss": [{0.3 + 0.4 * math.exp(-s / 60) + shift / 20}]}}\n'
        for s in range(2, 241, 2)
    ]
    for epoch in range(1, 5):
        score = 0.6 + 0.06 * epoch + shift / 20
        lines.append(
            f'{{"type": "epoch", "run": 0, "epoch": {epoch}, "step": {60 * epoch}, "train_loss": 0.5, '
            f'"accuracy": {score}}}\n'
        )
    run.metrics.write_text("".join(lines if state == "done" else lines[:70]))
    write_snapshot(run.snapshot, small_snapshot(int(run.id[-4:], 16)))
    if state == "failed":
        run.log.write_text("Traceback (most recent call last):\nMemoryError\n")
    told = ("Memory ran out.", "Take a smaller --batch-size.") if state == "failed" else (None, None)
    now = time.time() - 60 * minutes
    run.write_status(
        Status(state, created=now - 42, began=now - 41, ended=now, device="cpu", message=told[0], proposal=told[1])
    )
    if name:
        about.rename(run, name)
    return run


@pytest.fixture
def runs(lab: Lab) -> Iterator[list[Run]]:
    """Three seeds of b_v, one of b_q, one that failed."""
    made = [ended(lab, minutes=90, state="failed", terms=("q", "v"), batch_size=512)]
    made += [ended(lab, minutes=60 - n, seed=n) for n in range(3)]
    made.append(ended(lab, terms=("q",), name="queries only", lr=0.01))
    about.set_tags(made[-1], ["paper", "sst2"])
    yield made
    for run in list_runs(lab.home):
        about.delete(run)
    about.empty_trash(root=lab.home)


def tick(page: Page, row: int) -> None:
    """Click the box of a row of the canvas that the table is drawn on."""
    page.locator(".dvn-scroller").first.click(position={"x": 20, "y": 35 * (row + 1) + 18})


def charts(page: Page) -> None:
    """Loss and metric are drawn; the first figure of a window waits for the drawing library."""
    see(page.locator(".js-plotly-plot .main-svg").first)
    expect(page.locator(".js-plotly-plot")).to_have_count(2)


def ticked(page: Page, count: int) -> None:
    """So many rows of the table are ticked."""
    expect(page.locator('.stDataFrame [role="row"][aria-selected="true"]')).to_have_count(count)


def chip(page: Page, run: Run) -> Locator:
    """The run in the list of those that are compared."""
    return page.get_by_title(overview(run).label)


def test_empty(visit: Visit) -> None:
    page = visit.open("runs")
    see(page.get_by_text("No run yet."))
    see(page.get_by_role("link", name="Start a fine-tune"))
    visit.check("runs-empty", figure=False)


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_ticking_comparing_and_a_new_run_that_moves_nothing(visit: Visit, runs: list[Run]) -> None:
    page = visit.open("runs")
    see(page.get_by_test_id("stDataFrame").first)
    tick(page, 0)
    charts(page)
    tick(page, 1)
    for run in runs[-2:]:
        see(chip(page, run))
    see(page.get_by_role("heading", name="What differs between them"))
    new = ended(visit.lab, name="arrived meanwhile", seed=9)
    expect(page.get_by_text("arrived meanwhile")).to_have_count(1)  # the table found it by itself
    for run in runs[-2:]:
        see(chip(page, run))
    ticked(page, 2)
    tick(page, 3)  # the second seed: one row further down than before
    see(chip(page, runs[2]))
    tick(page, 2)  # takes the tick of the third seed away
    expect(chip(page, runs[3])).to_have_count(0)
    link = visit.link()
    page.goto(link)
    see(chip(page, runs[2]))
    see(chip(page, runs[4]))
    expect(chip(page, new)).to_have_count(0)
    charts(page)
    ticked(page, 2)
    visit.check("runs-compared")
    page.get_by_role("link", name="Compare snapshots").click()
    see(page.get_by_role("heading", level=1, name="Compare"))
    for run, name in ((runs[2], "b_v on sst2"), (runs[4], "queries only")):
        see(page.get_by_title(f"Run {run.id[-6:]}: {name}"))


def test_seeds_failure_delete_undo_and_download(visit: Visit, runs: list[Run], tmp_path: Path) -> None:
    page = visit.open("runs", runs=[overview(run).label for run in runs])
    see(page.get_by_role("heading", name="Spread over seeds"))
    see(page.get_by_text("Memory ran out."))
    charts(page)
    ticked(page, 5)
    visit.check("runs-all")
    visit.settle()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download 5 runs").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sum(name.endswith(".safetensors") for name in archive.namelist()) == 5
    page.get_by_role("button", name="Delete", exact=True).click()
    see(page.get_by_text("5 runs were deleted."))
    assert list_runs(visit.lab.home) == []
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("5 runs were deleted.")).to_have_count(0)
    charts(page)
    assert len(list_runs(visit.lab.home)) == 5
    ticked(page, 5)
    visit.check("runs-undone")
