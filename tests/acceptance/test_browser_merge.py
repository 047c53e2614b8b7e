"""Merge, in a real browser: two real fine-tunes compared, mixed, scored in the background, found again, downloaded."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser_tools import ROOT, Lab, Visit, see
from made_up_samples import write_index
from merge_samples import PAIR, fine_tune
from playwright.sync_api import expect

from beft_core.merging.merge import merge
from beft_core.merging.result import read_result
from beft_core.runs.run import list_runs
from beft_core.snapshots.snapshot import read_snapshot, write_snapshot

pytestmark = pytest.mark.timeout(600)
AT_WORK = re.compile(r"^Evaluating .+ · (starting|running|waiting)")
"""The card of an evaluation, which names the merge."""


@pytest.fixture(scope="module", autouse=True)
def real_samples(lab: Lab) -> None:
    """The two bundled samples that the page begins with, a third task of another base and one of the same."""
    folder = lab.samples
    for name in PAIR:
        shutil.copy(ROOT / "sample_snapshots" / f"{name}.beft.safetensors", folder)
    write_snapshot(folder / "foreign.beft.safetensors", fine_tune("demo-entailment", 5))
    write_index(folder, PAIR | {"foreign": "Another base"})


def test_two_tasks_are_compared_mixed_scored_and_found_again(visit: Visit, tmp_path: Path) -> None:
    page = visit.open("merge", merge_examples="100", merge_points="5 points", merge_part="Do the tasks agree?")
    see(page.get_by_text("nearly unrelated").first)
    expect(page.locator(".js-plotly-plot")).to_have_count(4)
    visit.check("merge")
    visit.choose_tab("The plane")
    handle = page.get_by_role("slider", name="The merge, metrics not scored yet")  # in the plane, by hand and by key
    start = handle.bounding_box()
    assert start is not None
    page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(start["x"] + 60, start["y"] + 10, steps=4)
    page.mouse.up()
    visit.link("plane_a=0.")
    handle.press("Shift+ArrowDown")
    visit.link("plane_b=0.")
    visit.choose_tab("Mix and score")
    visit.settle()
    visit.resize(1400)
    assert page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight") <= 2 * 720
    slider = page.locator(".st-key-merge_weighted_weights").get_by_role("slider")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
    see(page.get_by_text("0.60 of demo-sentiment + 0.40 of demo-similarity"))
    see(page.get_by_text("14 evaluations"))
    visit.link("merge_weighted_weights=0.6", "tour=merge")
    page.get_by_role("button", name="Evaluate on all their tasks").click()
    see(page.get_by_text(AT_WORK))
    page.reload()  # a new session: the run stands in the link
    see(page.get_by_text(AT_WORK))
    expect(page.get_by_role("button", name="Evaluate on all their tasks")).to_be_disabled()
    visit.check("merge-running")
    see(page.get_by_text("Fine-tuned on demo-sentiment"), timeout=200_000)
    expect(page.locator(".js-plotly-plot")).to_have_count(5)
    visit.check("merge-done")
    (run,) = list_runs(visit.lab.home)
    result = read_result(run.result)
    row = page.get_by_role("row").filter(has_text="Merged")
    expect(row).to_contain_text(f"{100 * (result.rows['merged']['demo-sentiment']['accuracy'] or 0):.1f}")
    visit.settle()
    with page.expect_download() as download:
        page.get_by_role("button", name="The merged snapshot", exact=True).click()
    sources = [read_snapshot(run.path / f"source-{n}.beft.safetensors") for n in (1, 2)]
    expected = merge(sources, "weighted", weights=[0.6, 0.4]).post("encoder", "v")
    np.testing.assert_array_equal(read_snapshot(Path(download.value.path())).post("encoder", "v"), expected)
    visit.settle()
    with page.expect_download() as csv:
        page.get_by_role("button", name="The table (CSV)").click()
    header, *lines = Path(csv.value.path()).read_text().splitlines()
    assert header == "model,task,metric,value" and len(lines) == 4 * 3
    page.get_by_text("How was this computed?").click()
    see(page.get_by_text("Heads are never averaged"))


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_what_does_not_fit_is_told(visit: Visit) -> None:
    page = visit.open("merge", merge="Another base")
    see(page.get_by_text("two or more fine-tunes of one base model"))
    visit.check("merge-empty", figure=False)
    page.get_by_role("combobox", name="Fine-tunes to merge").click()
    page.get_by_role("option", name="Sentiment, b_v").click()
    see(page.get_by_text("These cannot be merged"))
    page.keyboard.press("Escape")
    visit.check("merge-misfit", figure=False)


def test_dark_theme(dark_visit: Visit) -> None:
    page = dark_visit.open("merge", merge_method="TIES", merge_of="sign conflicts", merge_part="Do the tasks agree?")
    expect(page.locator(".js-plotly-plot")).to_have_count(4)
    tick = page.locator(".js-plotly-plot .ytick text").first
    expect(tick).to_have_css("fill", "rgb(230, 233, 239)")
    dark_visit.check("merge-dark")
