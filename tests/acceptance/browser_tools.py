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
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

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
]
WIDTHS = [1400, 900]

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
    with serving(folder, folder / "samples") as started:
        yield started


@contextmanager
def serving(folder: Path, samples: Path) -> Iterator[Lab]:
    """A dashboard on a free port, its home inside `folder`; its workers end with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "server.txt").open("wb")
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
            "BEFT_DEMO": '{"n_train": 48, "epochs": 2, "device": "cpu"}',
            "OMP_NUM_THREADS": "1",
        },
        cwd=folder,
        stdout=log,
        stderr=log,
    )
    lab = Lab(f"http://127.0.0.1:{port}", folder / "home", process)
    try:
        _wait_for_server(process, lab.url, folder / "server.txt")
        yield lab
    finally:
        lab.process.terminate()  # a test may have replaced it
        lab.process.wait(20)
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
        self._held = []
        yield
        held, self._held = self._held, None
        for message in held:
            self._window.send(message)

    def answered(self, page: Page) -> None:
        """Wait until the server has said something that is held, and nothing more."""
        assert self._held is not None
        before = len(self._held)
        while len(self._held) == before:
            page.wait_for_timeout(20)
        while before != (before := len(self._held)):
            page.wait_for_timeout(200)


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
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()
        return self.page

    def settle(self) -> None:
        """Wait until nothing is being drawn."""
        expect(self.page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')).to_be_visible()

    def link(self, *parts: str) -> str:
        """The address, once it says all of that: it follows a click with the end of the run."""
        self.settle()
        expect(self.page).to_have_url(re.compile("".join(f"(?=.*{re.escape(part)})" for part in parts) + ".*"))
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
        """The page is whole: drawn, as wide as the window, without exception boxes, errors and strangers."""
        if figure:
            expect(self.page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=60_000)  # 5 MB of script
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


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """One browser profile for the tests of a module: its cache holds the scripts of the page, ready compiled."""
    context = browser.new_context(accept_downloads=True)
    yield context
    context.close()


@pytest.fixture(params=WIDTHS)
def visit(request: pytest.FixtureRequest, profile: BrowserContext, lab: Lab) -> Iterator[Visit]:
    page = profile.new_page()
    page.set_viewport_size({"width": request.param, "height": 1000})
    yield Visit(page, lab)
    page.close()
