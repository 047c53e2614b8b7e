"""The dashboard in a real browser, for every journey of this folder.

Needs Chromium on the PATH: ``chromium-headless-shell`` (a fifth less work than a whole browser), ``chromium`` or
``google-chrome``. ``BEFT_SCREENSHOTS=FOLDER`` keeps pictures of each page.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlparse

import pytest
from made_up_samples import write_samples
from playwright.sync_api import Browser, BrowserContext, Locator, Page, TimeoutError, expect, sync_playwright

from beft_core.runs.run import list_runs

ROOT = Path(__file__).parents[2]
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
REQUIRED = os.environ.get("BEFT_REQUIRE_BROWSER") == "1"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--renderer-process-limit=1",  # pages share a process, which keeps 5 MB of scripts compiled: half of a page's work
    # The same scripts, unoptimized, as no page lives long enough for that to pay, and with room for their new objects:
    # looking for garbage among them is a tenth of a page's work.
    "--js-flags=--no-turbofan --no-maglev --min-semi-space-size=32 --semi-space-growth-factor=4",
]
WIDTHS = [1400, 900]
"""Pixels of the windows in which every page is looked at."""
HEIGHT = 1000

PATIENCE = 90_000
"""Milliseconds to wait for what must come: on a busy machine a page is drawn late, and PyTorch starts late."""
expect.set_options(timeout=PATIENCE)


def see(one: Locator, timeout: float = PATIENCE) -> None:
    """Wait until something is visible, ``timeout`` in milliseconds.

    As ``expect(one).to_be_visible()``, which writes down the whole page for its message whenever it looks in vain:
    where heatmaps were clicked, a seventh of what scripts of the page took.
    """
    one.wait_for(timeout=timeout)


MISFITS = """(() => {
    const main = document.querySelector("[data-testid=stMain]");
    const plots = [...main.querySelectorAll(".js-plotly-plot")].filter(plot => plot._fullLayout && plot.offsetParent);
    return [
        [main.scrollWidth - main.clientWidth, "the page sticks out"],
        ...plots.map(plot => [plot._fullLayout.width - plot.parentElement.clientWidth - 1, "a chart sticks out"]),
    ].filter(([by]) => by > 0).map(([by, what]) => `${what} by ${by} pixels`);
})()"""
"""What is wider than the window, in words."""


@dataclass
class Lab:
    """A dashboard that serves one home folder."""

    url: str
    home: Path
    samples: Path
    process: subprocess.Popen[bytes]
    log: Path
    read: int = 0
    """Bytes of the log that were looked at: what one module's pages raised is told once."""

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        pytest.fail(f"no dashboard: {self.log.read_text()[-2000:]}")

    def kill_workers(self) -> None:
        """End what is still at work on the runs of its home folder."""
        for run in list_runs(self.home):
            worker = run.recorded().process
            while worker is not None and (found := worker.find()) is not None:
                found.kill()
                time.sleep(0.02)

    def must_not_have_failed(self) -> None:
        """No page of it has raised since this was asked last."""
        written = self.log.read_bytes()
        since, self.read = written[self.read :].decode(errors="replace"), len(written)
        assert "Traceback" not in since, since[since.index("Traceback") :]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One dashboard for all journeys: what it has loaded stays loaded."""
    folder = tmp_path_factory.mktemp("lab")
    with serving(folder, folder / "samples") as started:
        yield started


@pytest.fixture(scope="module")
def lab(server: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The dashboard with two made-up samples and an empty home folder, for the tests of a module."""
    write_samples(server.samples)
    yield server
    server.kill_workers()
    shutil.rmtree(server.samples)
    if server.home.exists():  # a page that is just closing may write there once more
        shutil.rmtree(server.home.rename(tmp_path_factory.mktemp("gone") / "home"), ignore_errors=True)
    server.must_not_have_failed()


@pytest.fixture(scope="module")
def bundled_samples(lab: Lab) -> None:
    """The dashboard has the samples that come with the lab in place of the made-up ones."""
    shutil.rmtree(lab.samples)
    shutil.copytree(ROOT / "sample_snapshots", lab.samples)


@contextmanager
def serving(folder: Path, samples: Path) -> Iterator[Lab]:
    """A dashboard on a free port, its home inside `folder`; its workers end with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.txt"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            str(ROOT / "dashboard" / "app.py"),
            "--server.port",
            str(port),
            "--server.headless",
            "true",
        ],
        env={
            **os.environ,
            "BEFT_HOME": str(folder / "home"),
            "BEFT_SAMPLES_DIR": str(samples),
            "BEFT_DEMO": '{"n_train": 48, "epochs": 2, "n_eval": 48, "device": "cpu"}',
            "OMP_NUM_THREADS": "1",
        },
        cwd=folder,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    lab = Lab(f"http://127.0.0.1:{port}", folder / "home", samples, process, log)
    try:
        lab.wait()
        yield lab
    finally:
        lab.process.terminate()  # a test may have replaced it
        lab.process.wait(20)
        lab.kill_workers()
    lab.must_not_have_failed()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None and not REQUIRED:
        pytest.skip("no Chromium on the PATH")
    if CHROMIUM is None:
        pytest.fail("BEFT_REQUIRE_BROWSER=1, but there is no Chromium on the PATH")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


class SlowLine:
    """What the server says to a window, held back while somebody goes on choosing. Made before the page is opened."""

    def __init__(self, page: Page) -> None:
        self._held: list[str | bytes] | None = None
        self._answered = 0
        self._window: Any = None
        page.route_web_socket(re.compile("/_stcore/stream"), self._join)

    def _join(self, window: Any) -> None:
        server = window.connect_to_server()
        self._window = window
        window.on_message(server.send)
        server.on_message(self._pass_on)

    def _pass_on(self, message: str | bytes) -> None:
        if self._held is None:
            self._window.send(message)
        else:
            self._held.append(message)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold back what comes meanwhile; let it through at the end."""
        self._held, self._answered = [], 0
        yield
        held, self._held = self._held, None
        for message in held:
            self._window.send(message)

    def answered(self, page: Page) -> None:
        """Wait until the server has said something since this was asked last, and nothing more: it may be faster than
        who asks.
        """
        assert self._held is not None
        while len(self._held) == self._answered:
            page.wait_for_timeout(20)
        while self._answered != len(self._held):
            self._answered = len(self._held)
            page.wait_for_timeout(200)


def bar(page: Page) -> Locator:
    """The status bar of a run at work."""
    return page.locator(".st-key-run-bar")


@dataclass
class Visit:
    """A browser window that notices what must not happen."""

    page: Page
    lab: Lab
    complaints: list[str] = field(default_factory=list)

    def open(self, page: str = "", **query: str | list[str]) -> Page:
        """Open a page by its link and wait until it is drawn."""
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._stay_at_home)
        self.page.goto(f"{self.lab.url}/{page}{'?' + urlencode(query, doseq=True) if query else ''}")
        see(self.page.get_by_role("heading", level=1))
        return self.page

    def settle(self) -> None:
        """Wait until nothing is being drawn: also before a download, whose file goes when its button is drawn anew."""
        see(self.page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]'))

    def link(self, *parts: str) -> str:
        """The address, once it says all of that: it follows a click with the end of the run."""
        self.settle()
        self.page.wait_for_url(
            re.compile("".join(f"(?=.*{re.escape(part)})" for part in parts) + ".*"), timeout=PATIENCE
        )
        return self.page.url

    def choose_tab(self, name: str) -> None:
        """Press a tab. Streamlit disables tabs while the page is drawn again, and a press in that moment is lost."""
        tab = self.page.get_by_role("tab", name=name)
        for _ in range(5):
            self.settle()
            tab.click()
            with suppress(AssertionError):
                expect(tab).to_have_attribute("aria-selected", "true", timeout=2_000)
                return
        pytest.fail(f"the tab {name!r} cannot be chosen")

    def _hear(self, message: Any) -> None:
        # Streamlit takes the address of a page for that of an app at first, and asks below it in vain.
        probed = "404" in message.text and "/_stcore/" in message.location["url"]
        if message.type == "error" and not probed:
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def _stay_at_home(self, request: Any) -> None:
        host = urlparse(request.url).hostname
        if host not in (None, "127.0.0.1"):
            self.complaints.append(f"asked {host} for {request.url}")

    def check(self, name: str, figure: bool = True) -> None:
        """The page is whole: drawn, without exception boxes, errors and strangers, as wide as the window in all widths.

        Leaves the window in the width that was looked at last, so that a journey goes on there: every change of width
        draws every chart twice.
        """
        if figure:
            see(self.page.locator(".js-plotly-plot .main-svg:visible").first)  # 5 MB of script
        expect(self.page.locator('[data-stale="true"]')).to_have_count(0)
        expect(self.page.get_by_test_id("stException")).to_have_count(0)
        here = self.page.viewport_size["width"]  # type: ignore[index]
        for width in sorted({here, *WIDTHS}, key=here.__ne__):
            self.resize(width)
            self._shoot(name)
        assert not self.complaints, self.complaints

    def resize(self, width: int, height: int = HEIGHT) -> None:
        """Make the window as wide as that; the page and its charts must follow."""
        self.page.set_viewport_size({"width": width, "height": height})
        try:
            self.page.wait_for_function(
                f"{MISFITS}.length === 0", polling=100
            )  # not in every frame of what it disturbs
        except TimeoutError:
            pytest.fail(f"in a window of {width} pixels {'; '.join(self.page.evaluate(MISFITS))}")

    def _shoot(self, name: str) -> None:
        folder = os.environ.get("BEFT_SCREENSHOTS")
        if not folder:
            return
        width = self.page.viewport_size["width"]  # type: ignore[index]
        height = self.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.screenshot(path=str(Path(folder) / f"{name}-{width}.png"))
        self.resize(width)


@pytest.fixture(scope="session")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """One browser profile for all journeys: its cache holds the scripts of the page, ready compiled.

    It asks for reduced motion, as a reader may: drawing what only shimmers is a third of a page's work.
    """
    context = browser.new_context(accept_downloads=True, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    context.new_page()  # stays, and with it the process that all pages share
    yield context
    context.close()


@pytest.fixture
def visit(request: pytest.FixtureRequest, profile: BrowserContext, lab: Lab) -> Iterator[Visit]:
    """A fresh window, as wide as the first of :data:`WIDTHS`, or as the test's parameter says."""
    page = profile.new_page()
    page.set_viewport_size({"width": getattr(request, "param", WIDTHS[0]), "height": HEIGHT})
    yield Visit(page, lab)
    page.close()


@pytest.fixture
def dark_visit(visit: Visit) -> Visit:
    """A window whose visitor prefers dark pages."""
    visit.page.emulate_media(color_scheme="dark")
    return visit
