"""Fine-tune in a real browser: launch and watch a real run, reload, cancel, kill, restart the server, a table."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from browser_tools import Lab, Visit, bar, see
from playwright.sync_api import Locator, Page, expect

from beft_core.runs import about
from beft_core.runs.run import Run, list_runs

pytestmark = pytest.mark.timeout(600)
ENDLESS = {
    "ft_do": "train",
    "ft_regime": "number",
    "ft_n": "48",
    "ft_epochs": "4000",
    "ft_n_eval": "48",
    "ft_device": "cpu",
}
"""A real run that is still at work whenever a test looks, and takes a step again soon after it scored an epoch."""
WHOLE = """button => new Promise(whole => {
    const main = document.querySelector("[data-testid=stMain]");
    let before, since;
    const look = now => {
        const at = [button.getBoundingClientRect().top, main.scrollHeight].join();
        if (at !== before) [before, since] = [at, now];
        if (now - since > 1500) whole(); else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})"""
"""Wait until a page is as high as it will be: Streamlit fetches the scripts of what it draws one by one, and each takes
its place when it comes."""
STAND = """button => {
    const at = () => Math.round(button.getBoundingClientRect().top), before = at();
    window.stood = [];
    const look = () => {
        if (at() !== before || !button.isConnected) window.stood.push([before, at()]);
        requestAnimationFrame(look);
    };
    look();
}"""
"""Note in ``window.stood``, in every picture that the browser draws from now on, where a button is if it moved."""
COUNT = "svg => { svg.redrawn = 0; new MutationObserver(() => svg.redrawn++).observe(svg, { childList: true }); }"
"""Count in ``svg.redrawn`` how often a live curve takes in new points."""


def newest(lab: Lab) -> Run:
    return list_runs(lab.home)[0]


def wait(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def started(visit: Visit, **setup: str) -> Run:
    """Press Start, and wait for the first curve."""
    page = visit.open("fine_tune", **setup)
    start = page.get_by_role("button", name="Start", exact=True)
    visit.settle()
    start.evaluate(WHOLE)
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop = 1e6")  # what gets shorter moves it there
    start.evaluate(STAND)
    start.click()
    expect(bar(page).get_by_role("button", name="Cancel")).to_be_in_viewport()
    expect(page.get_by_role("status").filter(has_text="The run was started.")).to_have_count(1)
    see(curve(page))
    # Neither the bar nor the card, which is below, moves what was pressed, not for a moment.
    assert page.evaluate("window.stood") == []
    return newest(visit.lab)


def curve(page: Page) -> Locator:
    return page.get_by_role("img", name="Training loss")


@pytest.fixture(autouse=True)
def nothing_is_left_at_work(lab: Lab) -> Iterator[None]:
    yield
    for run in list_runs(lab.home):
        process = run.recorded().process
        if process is not None and (found := process.find()) is not None:
            found.kill()


def test_the_form(visit: Visit) -> None:
    page = visit.open("fine_tune", ft_do="train", ft_terms="k")
    see(page.get_by_text("adds the same number to every attention logit"))
    see(page.get_by_text("beft train --terms k --regime low"))
    page.get_by_text("Advanced").first.click()
    page.get_by_text("Some of its examples").click()
    visit.check("fine-tune-form", figure=False)


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_a_live_curve_keeps_its_zoom_and_the_run_outlives_reload_kill_and_restart_until_it_is_cancelled(
    visit: Visit,
) -> None:
    run = started(visit, **ENDLESS)
    page = visit.page
    ticks = "svg => { svg.seen = 1; return [...svg.querySelectorAll('.tick')].at(-1).textContent; }"
    whole = curve(page).evaluate(ticks)
    box = curve(page).bounding_box()
    assert box is not None
    curve(page).hover(position={"x": box["width"] * 0.2, "y": 60})
    page.mouse.down()
    curve(page).hover(position={"x": box["width"] * 0.5, "y": 90})
    page.mouse.up()
    zoomed = curve(page).evaluate(ticks)
    assert zoomed != whole
    done = run.recorded().done
    wait(lambda: run.recorded().done > done + 5)
    curve(page).evaluate(COUNT)
    page.wait_for_function("svg => svg.redrawn >= 2", arg=curve(page).element_handle())
    assert curve(page).evaluate("svg => svg.seen") == 1  # the same element: nothing was built anew
    assert curve(page).evaluate(ticks) == zoomed
    curve(page).dblclick()
    assert curve(page).evaluate(ticks) == whole
    visit.check("fine-tune-live", figure=False)
    page.reload()  # a new session: the run is found on disk
    see(curve(page))

    wait(run.checkpoint.is_file)
    process = run.recorded().process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    see(page.get_by_text("lost its worker").first)
    expect(bar(page)).to_contain_text("lost its worker")
    visit.check("fine-tune-killed")
    page.get_by_role("button", name="Resume from its checkpoint").click()
    see(page.get_by_text("resumed after step"))
    restart(visit.lab)
    page.goto(f"{visit.lab.url}/fine_tune")
    visit.complaints.clear()  # of the page that was open when its server went
    see(bar(page).get_by_role("button", name="Cancel"))
    see(curve(page))
    assert run.status().state == "running"

    bar(page).get_by_role("button", name="Cancel").click()
    see(page.get_by_text(f"{run.id[-6:]} b_v on demo-sentiment, seed 0 was cancelled").last)
    assert run.status().state == "cancelled"
    visit.check("fine-tune-cancelled")


def restart(lab: Lab) -> None:
    """The same server again; the worker must not notice."""
    process = psutil.Process(lab.process.pid)
    command, folder, environment = process.cmdline(), process.cwd(), process.environ()
    lab.process.terminate()
    lab.process.wait(30)
    lab.process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=lab.log.open("ab"), stderr=subprocess.STDOUT
    )
    lab.wait()


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_a_table_of_ones_own_is_checked_started_watched_to_its_end_and_found_again(
    visit: Visit, tmp_path: Path
) -> None:
    words = ["good", "bad"] * 30
    table = tmp_path / "reviews.csv"
    table.write_text(
        "review,verdict\n"
        + "".join(f"the {i}. film was {w},{'pos' if w == 'good' else 'neg'}\n" for i, w in enumerate(words))
    )
    page = visit.open("fine_tune", ft_task="own-table", ft_do="train", ft_epochs="1", ft_device="cpu")
    page.locator('input[type="file"]').set_input_files(table)
    see(page.get_by_text("48 rows to train on, 12 held out"))
    visit.check("fine-tune-table", figure=False)
    page.get_by_role("button", name="Check it first").click()
    see(page.get_by_text("How was this measured?"))
    visit.check("fine-tune-checked", figure=False)
    page.get_by_role("button", name="Start", exact=True).click()
    see(page.get_by_text("is done after"))
    see(page.get_by_text("Estimated"))
    run = newest(visit.lab)
    assert run.status().state == "done" and about.about(run).estimate and "ft_table=table-" in page.url
    expect(page.locator(".js-plotly-plot")).to_have_count(3)
    visit.check("fine-tune-done")
    page.reload()
    see(page.get_by_text("48 rows to train on, 12 held out"))
    visit.check("fine-tune-table-done")
