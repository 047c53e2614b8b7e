"""The first page in a real browser: first minute offline, uploads, links, a real run watched through a reload.

Needs Chromium (``chromium`` or ``google-chrome`` on the PATH). ``BEFT_SCREENSHOTS=FOLDER`` keeps pictures of each page.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from example_snapshots import base, example
from hostile import hostile_snapshots
from made_up_samples import write_samples

from beft_core.runs.directory import list_runs
from beft_core.snapshot import write_snapshot

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REQUIRED = os.environ.get("BEFT_REQUIRE_BROWSER") == "1"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = [1400, 900]

if CHROMIUM is None and not REQUIRED:
    pytest.skip("no Chromium on the PATH", allow_module_level=True)

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402 - after the reason to skip

pytestmark = pytest.mark.timeout(240)
expect.set_options(timeout=20_000)


@dataclass
class Lab:
    """A dashboard that serves one home folder."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    write_samples(folder / "samples")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "server.txt").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "app.py"),
         "--server.port", str(port), "--server.headless", "true"],
        env={
            **os.environ, "BEFT_HOME": str(folder / "home"), "BEFT_SAMPLES_DIR": str(folder / "samples"),
            "BEFT_DEMO": '{"n_train": 48, "epochs": 2, "device": "cpu"}', "OMP_NUM_THREADS": "1",
        },
        cwd=folder, stdout=log, stderr=log,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for_server(process, url, folder / "server.txt")
        yield Lab(url, folder / "home", process)
    finally:
        process.terminate()
        process.wait(20)
        for run in list_runs(folder / "home"):
            worker = run.recorded().process
            if worker is not None and (found := worker.find()) is not None:
                found.kill()
    assert b"Traceback" not in (folder / "server.txt").read_bytes()


def _wait_for_server(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"no dashboard: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.fail("BEFT_REQUIRE_BROWSER=1, but there is no Chromium on the PATH")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@dataclass
class Visit:
    """A browser window that notices what must not happen."""

    page: Page
    lab: Lab
    complaints: list[str] = field(default_factory=list)

    def open(self, query: str = "") -> Page:
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._stay_at_home)
        self.page.goto(f"{self.lab.url}/{query}")
        expect(self.page.get_by_role("heading", name="Which bias matters?")).to_be_visible()
        return self.page

    def _stay_at_home(self, request: Any) -> None:
        host = urlparse(request.url).hostname
        if host not in (None, "127.0.0.1"):
            self.complaints.append(f"asked {host} for {request.url}")

    def check(self, name: str) -> None:
        """The page is whole: drawn, as wide as the window, without exception boxes, errors and strangers."""
        expect(self.page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
        expect(self.page.locator('[data-stale="true"]')).to_have_count(0)
        expect(self.page.get_by_test_id("stException")).to_have_count(0)
        main = self.page.get_by_test_id("stMain")
        overflow = main.evaluate("main => main.scrollWidth - main.clientWidth")
        assert overflow <= 0, f"{overflow} pixels wider than the window"
        assert not self.complaints, self.complaints
        self._shoot(name)

    def _shoot(self, name: str) -> None:
        folder = os.environ.get("BEFT_SCREENSHOTS")
        if not folder:
            return
        width = self.page.viewport_size["width"]  # type: ignore[index]
        height = self.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.screenshot(path=str(Path(folder) / f"{name}-{width}.png"))
        self.page.set_viewport_size({"width": width, "height": 1000})


@pytest.fixture(params=WIDTHS)
def visit(request: pytest.FixtureRequest, browser: Browser, lab: Lab) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": request.param, "height": 1000}, accept_downloads=True)
    yield Visit(context.new_page(), lab)
    context.close()


def test_first_minute(visit: Visit) -> None:
    page = visit.open()
    expect(page.get_by_role("heading", name="Projection ratio")).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(4)
    expect(page.get_by_text("null: frozen, scores 0").first).to_be_visible()
    page.get_by_text("How was this computed?").click()
    expect(page.get_by_text("is null in this model")).to_be_visible()
    visit.check("sample")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the scores (CSV)").click()
    header, *rows = Path(download.value.path()).read_text().splitlines()
    assert header.startswith("stack,term,layer,approach,score") and len(rows) == 8 * 6 * 5


def test_dark_theme(browser: Browser, lab: Lab) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme="dark")
    visit = Visit(context.new_page(), lab)
    page = visit.open()
    # The server learns the theme from the browser: text on a dark page must be light.
    tick = page.locator(".js-plotly-plot .ytick text").first
    expect(tick).to_have_css("fill", "rgb(230, 233, 239)")
    visit.check("dark")
    context.close()


def test_links_restore_what_was_chosen(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("combobox", name="Snapshot").click()
    page.get_by_role("option", name="Another probe").click()
    page.get_by_text("mean", exact=True).first.click()
    expect(page.get_by_role("heading", name="Magnitude (mean)")).to_be_visible()
    expect(page.get_by_text("Another probe to look at.")).to_be_visible()
    link = page.url
    assert "snapshot=Another" in link and "magnitude=mean" in link
    page.goto(link)
    expect(page.get_by_role("heading", name="Magnitude (mean)")).to_be_visible()
    expect(page.get_by_text("Another probe to look at.")).to_be_visible()
    visit.check("link")


def test_uploads_hostile_and_good(visit: Visit, tmp_path: Path) -> None:
    page = visit.open()
    page.get_by_role("button", name="Open a file").click()
    uploader = page.locator('input[type="file"]')
    for name, data in list(hostile_snapshots())[::40][:3]:
        uploader.set_input_files(
            {"name": f"{name}.safetensors", "mimeType": "application/octet-stream", "buffer": data}
        )
        expect(page.get_by_text("This file cannot be opened")).to_be_visible()
        expect(page.get_by_text(f"{name}.safetensors:")).to_be_visible()
        expect(page.get_by_text("A probe to look at.")).to_be_visible()
    write_snapshot(tmp_path / "good.beft.safetensors", example(pre=base(), null_terms=("k",), full=True))
    uploader.set_input_files(tmp_path / "good.beft.safetensors")
    expect(page.get_by_text("is a null term and was trained").first).to_be_visible()
    expect(page.get_by_text("This file cannot be opened")).to_have_count(0)
    page.keyboard.press("Escape")
    visit.check("upload")


@pytest.mark.parametrize("visit", [1400], indirect=True)
def test_a_real_run_is_watched_through_a_reload_to_its_result(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("button", name="Run the one-minute experiment").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.get_by_role("button", name="Run the one-minute experiment")).to_be_disabled()
    page.reload()  # a new session: the run is found on disk
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.get_by_text("is certified null in this model")).to_be_visible(timeout=90_000)
    visit.check("running")
    expect(page.get_by_text("is done after")).to_be_visible(timeout=120_000)
    run = list_runs(visit.lab.home)[0]
    assert run.status().state == "done" and run.snapshot.is_file()
    expect(page.get_by_role("combobox", name="Snapshot")).to_have_value(f"Run {run.id[-6:]}: select on demo-sentiment")
    expect(page.get_by_text("48 training examples")).to_be_visible()
    visit.check("done")
    if sys.platform == "linux":  # the page watched torch work without loading it
        assert "libtorch" not in Path(f"/proc/{visit.lab.process.pid}/maps").read_text()


@pytest.mark.parametrize("visit", [900], indirect=True)
def test_a_real_run_is_cancelled_while_it_loads(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("button", name="Run the one-minute experiment").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("The run was cancelled")).to_be_visible(timeout=60_000)
    assert list_runs(visit.lab.home)[0].status().state == "cancelled"
    visit.check("cancelled")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text("The run was cancelled")).to_have_count(0)
    expect(page.get_by_role("button", name="Run the one-minute experiment")).to_be_enabled()
