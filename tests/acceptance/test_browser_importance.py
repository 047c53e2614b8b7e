"""Which bias matters, in a real browser: first minute offline, uploads, links, a real run watched through a reload."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from browser_tools import Visit, bar, see
from example_snapshots import base, example
from hostile import hostile_snapshots
from playwright.sync_api import Page, expect

from beft_core.runs.run import list_runs
from beft_core.snapshots.snapshot import write_snapshot

pytestmark = pytest.mark.timeout(600)


def test_first_minute(visit: Visit) -> None:
    page = visit.open("importance")
    see(page.get_by_role("heading", name="Projection ratio"))
    expect(page.locator(".js-plotly-plot")).to_have_count(6)
    see(page.get_by_text("null: frozen, scores 0").first)
    page.set_viewport_size({"width": 1280, "height": 720})
    verdict = page.get_by_text("Whether they are right").bounding_box()
    assert verdict is not None and verdict["y"] + verdict["height"] < 300  # the answer is what one sees first
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight") <= 2 * 720
    visit.resize(1400)
    page.get_by_text("How was this computed?").click()
    see(page.get_by_text("is null in this model"))
    visit.check("sample")
    for width, approach in ((1400, "fisher"), (900, "magnitude")):
        visit.resize(width)
        panel = page.locator(f".st-key-control-downloads-heatmap-{approach}")
        panel.get_by_role("button", name="Download").click()
        visit.settle()
        with page.expect_download() as download:
            page.get_by_role("button", name="The numbers (CSV)").click()
        header, *rows = Path(download.value.path()).read_text().splitlines()
        assert header.startswith("stack,term,layer,approach,score") and len(rows) == 8 * 6 * 5
        page.keyboard.press("Escape")  # the list of downloads


def test_dark_theme(dark_visit: Visit) -> None:
    page = dark_visit.open("importance")
    # The server learns the theme from the browser: text on a dark page must be light.
    tick = page.locator(".js-plotly-plot .ytick text").first
    expect(tick).to_have_css("fill", "rgb(230, 233, 239)")
    dark_visit.check("dark")


def test_links_restore_what_was_chosen(visit: Visit) -> None:
    page = visit.open("importance")
    page.get_by_role("combobox", name="Snapshot").click()
    page.get_by_role("option", name="Another probe").click()
    page.get_by_text("mean", exact=True).first.click()
    see(page.get_by_role("heading", name="Magnitude (mean)"))
    link = visit.link()
    assert "snapshot=Another" in link and "magnitude=mean" in link
    page.goto(link)
    see(page.get_by_role("heading", name="Magnitude (mean)"))
    expect(page.get_by_role("combobox", name="Snapshot")).to_have_value("Another probe")
    visit.check("link")


PLACE = """(plot, [layer, row]) => {
    const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
    return [box.x + xaxis._offset + xaxis.l2p(layer), box.y + yaxis._offset + yaxis.l2p(row)];
}"""
"""Where a cell of a heatmap is in the window."""


def click_cell(page: Page, approach: str, layer: float, row: float) -> None:
    plot = page.locator(f".st-key-heatmap-{approach} .js-plotly-plot")
    expect(page.locator('[data-stale="true"]')).to_have_count(0)
    expect(plot).to_have_count(1)  # marking another cell draws it anew
    plot.scroll_into_view_if_needed()
    page.mouse.click(*plot.evaluate(PLACE, [layer, row]))


def test_a_click_on_a_cell_leads_to_its_geometry(visit: Visit) -> None:
    page = visit.open("importance")
    expect(page.locator(".js-plotly-plot")).to_have_count(6)
    terms = ["q", "k", "v", "o", "mlp_in", "mlp_out", "ln1", "ln2"]
    approaches = ["projection_ratio", "magnitude", "fisher"]
    for turn in range(12):  # every term, layer and approach in the wide window, then four cells in the narrow one
        if turn == 8:
            visit.resize(900)
        layer, row, approach = (turn * 5 + 1) % 6, (turn * 3) % 8, approaches[turn % 3]
        # Near the edge of the cell, so that a point which hears only its surroundings would miss.
        click_cell(page, approach, layer + 0.35, row - 0.3)
        expect(page.get_by_role("combobox", name="Layer")).to_have_value(str(layer))
        expect(page.get_by_role("combobox", name="Term")).to_have_value(terms[row])
        see(page.get_by_text(re.compile(rf"in layer {layer}$")))
    page.wait_for_url(re.compile(rf"(?=.*tour=cell).*term={terms[row]}"))
    visit.check("cell")
    link = visit.link()
    page.goto(link)
    expect(page.get_by_role("combobox", name="Layer")).to_have_value(str(layer))
    expect(page.get_by_role("combobox", name="Term")).to_have_value(terms[row])
    page.get_by_role("link", name="Open in Geometry").click()
    see(page.get_by_role("heading", name="Geometry", level=1))
    page.wait_for_url(re.compile(rf"/geometry\?(?=.*tour=cell)(?=.*geo_layer={layer}).*geo_term={terms[row]}"))
    expect(page.get_by_role("combobox", name="Layer")).to_have_value(str(layer))
    expect(page.get_by_role("combobox", name="Term")).to_have_value(terms[row])


def test_ranking_and_data_sizes(visit: Visit) -> None:
    page = visit.open("importance", view="Over data sizes")
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    see(page.get_by_text("on 300 (1 seed) training examples"))
    visit.check("sizes")
    visit.choose_tab("Ranking by approach")
    see(page.get_by_text("Where lines cross, approaches disagree"))
    visit.link("view=Ranking")
    visit.check("bumps")


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_uploads_hostile_and_good(visit: Visit, tmp_path: Path) -> None:
    page = visit.open("importance")
    page.get_by_role("button", name="Open files").click()
    uploader = page.locator('input[type="file"]')
    for name, data in list(hostile_snapshots())[::40][:3]:
        expect(uploader).to_have_count(1)  # each batch gets a new one
        uploader.set_input_files(
            {"name": f"{name}.safetensors", "mimeType": "application/octet-stream", "buffer": data}
        )
        see(page.get_by_text("This file cannot be opened"))
        see(page.get_by_text(f"{name}.safetensors:"))
        expect(page.get_by_role("combobox", name="Snapshot")).to_have_value("A probe")
    write_snapshot(tmp_path / "good.beft.safetensors", example(pre=base(), null_terms=("k",), full=True))
    expect(uploader).to_have_count(1)
    uploader.set_input_files(tmp_path / "good.beft.safetensors")
    see(page.get_by_text("is a null term and was trained").first)
    expect(page.get_by_text("This file cannot be opened")).to_have_count(0)
    page.keyboard.press("Escape")
    visit.check("upload")


def test_a_real_run_is_watched_through_a_reload_to_its_result(visit: Visit) -> None:
    page = visit.open("importance")
    page.get_by_role("button", name="Run the one-minute experiment").click()
    see(bar(page).get_by_role("button", name="Cancel"))
    expect(page.get_by_role("button", name="Run the one-minute experiment")).to_be_disabled()
    page.reload()  # a new session: the run is found on disk
    see(bar(page).get_by_role("button", name="Cancel"))
    see(page.get_by_text("is certified null in this model"))
    visit.check("running")
    see(page.get_by_text("is done after"), timeout=120_000)
    run = list_runs(visit.lab.home)[0]
    assert run.status().state == "done" and run.snapshot.is_file()
    expect(page.get_by_role("combobox", name="Snapshot")).to_have_value(f"Run {run.id[-6:]}: probe on demo-sentiment")
    see(page.get_by_text("48 training examples"))
    visit.check("done")
    if sys.platform == "linux":  # the page watched torch work without loading it
        assert "libtorch" not in Path(f"/proc/{visit.lab.process.pid}/maps").read_text()


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_the_experiment_leads_to_where_it_is_watched_and_is_cancelled_while_it_loads(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("button", name="Run the one-minute experiment").click()
    see(page.get_by_role("heading", name="Fine-tune", level=1))
    page.wait_for_url(re.compile(r"/fine_tune\?(.*&)?run="))
    visit.open("importance")
    bar(page).get_by_role("button", name="Cancel").click()
    see(page.get_by_text("seed 0 was cancelled"))
    assert list_runs(visit.lab.home)[0].status().state == "cancelled"
    visit.check("cancelled")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text("seed 0 was cancelled")).to_have_count(0)
    expect(page.get_by_role("button", name="Run the one-minute experiment")).to_be_enabled()
