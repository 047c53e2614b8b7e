"""The dial, in a real browser: the slider moves the number at once, the link keeps the place, nothing sticks out."""

from __future__ import annotations

import pytest
from browser_tools import Lab, Visit, see
from example_dials import example_dial
from made_up_samples import write_index
from merge_samples import fine_tune
from playwright.sync_api import expect

from beft_core.dials.result import beside
from beft_core.runs.run import list_runs
from beft_core.snapshots.snapshot import read_snapshot, write_snapshot

NAME = "stsb-low-seed0-v-only"


@pytest.fixture(scope="module", autouse=True)
def turned(lab: Lab) -> None:
    """A sample with a dial beside it."""
    path = lab.samples / f"{NAME}.beft.safetensors"
    write_snapshot(path, fine_tune("demo-sentiment", 1))
    example_dial(snapshot=read_snapshot(path), costs=(0.01, 0.02, -0.01, 0.05, 0.1, 0.2)).write(beside(path))
    write_index(lab.samples, {NAME: "With a dial"})


def test_the_slider_moves_the_metric_and_the_link_keeps_it(visit: Visit) -> None:
    page = visit.open("dial")
    see(page.get_by_text("At λ = 1 Spearman correlation is 71.0"))
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    visit.check("dial")
    slider = page.locator(".st-key-dial_lambda").get_by_role("slider")
    slider.focus()
    slider.press("ArrowLeft")
    see(page.get_by_text("not measured: on the line between λ = 0.75 and 1"))
    for _ in range(4):
        slider.press("ArrowLeft")
    see(page.get_by_text("Spearman correlation at λ = 0.75"))
    visit.link("dial_lambda=0.75")
    page.reload()
    see(page.get_by_text("Spearman correlation at λ = 0.75"))
    assert not list_runs(visit.lab.home)  # nothing was measured
