"""Compare, in a real browser: the first look, three good and three hostile files at once, keeping one, links."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser_tools import Visit, see
from example_snapshots import base, example
from hostile import hostile_snapshots
from playwright.sync_api import expect

from beft_core.exchange.upload_library import kept
from beft_core.snapshots.snapshot import write_snapshot

pytestmark = pytest.mark.timeout(600)


def test_first_look(visit: Visit) -> None:
    page = visit.open("compare")
    see(page.get_by_role("heading", name="What A and B learnt cannot be compared"))
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    visit.check("compare")
    visit.choose_tab("Where they differ")
    see(page.get_by_text("Where they differ: A − B"))
    page.get_by_text("How was this computed?").click()
    see(page.get_by_text("concordant minus discordant"))
    visit.settle()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download everything (CSV)").click()
    header, *rows = Path(download.value.path()).read_text().splitlines()
    assert header == "snapshot,other,stack,term,layer,quantity,value" and len(rows) > 1000


def test_three_good_and_three_hostile_files_at_once_and_one_is_kept(visit: Visit, tmp_path: Path) -> None:
    page = visit.open("compare")
    files = []
    for seed in range(3):
        write_snapshot(tmp_path / f"good{seed}.beft.safetensors", example(seed, pre=base(), null_terms=("k",)))
        files.append(tmp_path / f"good{seed}.beft.safetensors")
    hostile = list(hostile_snapshots())
    for number, (_, data) in enumerate([hostile[0], hostile[40], hostile[-4]]):
        files.append(tmp_path / f"bad{number}.beft.safetensors")
        files[-1].write_bytes(data)
    page.get_by_role("button", name="Open files").click()
    page.get_by_test_id("stPopoverBody").locator('input[type="file"]').set_input_files(files)
    expect(page.get_by_text("This file cannot be opened")).to_have_count(3)
    for number in range(3):
        see(page.get_by_text(f"bad{number}.beft.safetensors:"))
        see(page.get_by_text(f"Upload: good{number}").first)
    page.keyboard.press("Escape")
    visit.check("compare-uploads")
    page.get_by_text("Your own files").click()
    visit.settle()
    page.get_by_role("button", name="Keep on this machine").nth(1).click()
    expect(page.get_by_role("button", name="Keep on this machine")).to_have_count(2)
    see(page.get_by_role("combobox", name="Kept on this machine"))
    visit.check("compare-kept")
    (stored,) = kept(visit.lab.home)
    assert stored.name == "good1.beft.safetensors"
    page.goto(
        f"{visit.lab.url}/compare?compare=A+probe&compare=Kept+{stored.id[-6:]}%3A+by+an+old+name"
    )  # a new session
    see(page.get_by_role("tab", name="Where they differ"))
    see(page.get_by_text(f"Kept {stored.id[-6:]}: good1.beft.safetensors").first)
    expect(page.get_by_text("Upload: good0")).to_have_count(0)
    visit.check("compare-again")  # all of it is drawn: a button that is drawn again under the mouse takes no click
    page.get_by_text("Your own files").click()
    see(page.get_by_role("combobox", name="Kept on this machine"))
    visit.settle()  # what opened may be drawn once more: a button takes no click then
    page.get_by_role("button", name="Forget").click()
    expect(page.get_by_role("combobox", name="Kept on this machine")).to_have_count(0)
    see(page.get_by_text("Upload: good1").first)
    assert not kept(visit.lab.home)


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_a_link_restores_the_page(visit: Visit) -> None:
    page = visit.open("compare")
    see(page.get_by_role("tab", name="Where they differ"))
    page.get_by_role("button", name="Which two, and by which score").click()
    page.get_by_text("mean", exact=True).first.click()
    see(page.get_by_text("Magnitude (mean)").first)
    page.get_by_role("radio", name="Fisher").click()
    page.wait_for_url("**by=Fisher**")
    link = page.url
    assert "compare_magnitude=mean" in link
    page.goto("about:blank")
    page.goto(link)
    see(page.get_by_text("Magnitude (mean)").first)
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    page.wait_for_url(lambda url: url == link)
    visit.check("compare-link")
