"""The dashboard as a visitor feels it: first page after a cold start, page switches with 200 snapshots and 200 runs on
disk, memory of the server, ten browser windows at once; from an action to its answer on the dial, on a cell of the
heatmaps and in the sandbox; and a whole run of the dial.

Run: ``python tests/benchmarks/bench_dashboard.py`` (needs Chromium). Targets: first page under 3 s, a page switch under
1 s of the server's time, server under 500 MB and without torch. The server's time is measured in its own process, by
Streamlit's test runner; the browser's time beside it includes drawing. A press of a key on the slider of the dial must
be answered within 300 ms, and so a sentence on the page Try it. ``--dial-run`` measures only a whole dial of the
bundled model, beside one evaluation of each set of biases after the other, model and tokens loaded once for both.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT)]

from fake_worker import small_snapshot  # noqa: E402 - after its path
from made_up_samples import write_index  # noqa: E402

from beft_core.config import RunConfig  # noqa: E402
from beft_core.runs.run import Run  # noqa: E402
from beft_core.runs.status import Status  # noqa: E402
from beft_core.snapshots.snapshot import write_snapshot  # noqa: E402
from dashboard.shared.page import PLACES, file_of  # noqa: E402

COUNT, SESSIONS, SWITCHES = 200, 10, 3
STEPS = 400
PRESSES, DIAL_EXAMPLES = 12, 100
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def fill(folder: Path) -> None:
    """As many samples, and as many finished runs with curves and snapshots."""
    samples, home = folder / "samples", folder / "home"
    samples.mkdir()
    names = {f"sample{n}": f"Sample {n}" for n in range(COUNT)}
    for seed, name in enumerate(names):
        write_snapshot(samples / f"{name}.beft.safetensors", small_snapshot(seed))
    write_index(samples, names)
    for seed in range(COUNT):
        config = RunConfig(task="demo-sentiment", n_train=300, seed=seed, mode="all")
        run = Run.create("select", config.to_dict(), home)
        shutil.copy(samples / f"sample{seed}.beft.safetensors", run.snapshot)
        lines = [
            f'{{"type": "step", "seconds": {step / 10}, "step": {step}, "total": {STEPS}, "loss": [{1 / step}]}}\n'
            for step in range(1, STEPS + 1)
        ]
        lines.append('{"type": "epoch", "run": 0, "epoch": 1, "step": 400, "train_loss": 0.5, "accuracy": 0.8}\n')
        run.metrics.write_text("".join(lines))
        now = time.time()
        run.write_status(Status("done", created=now, began=now - 40, ended=now, device="cpu"))


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """A dashboard over a folder: (address, process, when it was started)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "BEFT_HOME": str(folder / "home"), "BEFT_SAMPLES_DIR": str(folder / "samples")}
    began = time.perf_counter()
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
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}", process, began
    finally:
        process.terminate()
        process.wait(20)


HEADINGS = {
    "start": "Which bias would you fine-tune?",
    "importance": "Which bias matters?",
    "evaluation": "The paper's evaluation, ours beside it",
}
"""Pages whose heading is not their title in the navigation."""


def drawn(page: Page, name: str) -> None:
    """Wait until a page stands: its heading, and a script that has run to its end."""
    heading = HEADINGS.get(name, PLACES[name].title)
    page.get_by_role("heading", level=1, name=heading).wait_for(timeout=60_000)
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(timeout=60_000)


def cold_start(browser: Browser, folder: Path) -> tuple[float, float]:
    """Seconds from starting the process to the first page in a browser; megabytes of the server then."""
    with server(folder) as (url, process, began):
        page = browser.new_page()
        page.goto(url)
        drawn(page, "start")
        seconds = time.perf_counter() - began
        page.close()
        return seconds, psutil.Process(process.pid).memory_info().rss / 1e6


def switches(page: Page) -> dict[str, list[float]]:
    """Seconds from the click in the navigation until each page is drawn."""
    times: dict[str, list[float]] = {name: [] for name in PLACES}
    for _ in range(SWITCHES):
        for name, place in PLACES.items():
            began = time.perf_counter()
            page.get_by_test_id("stSidebarNavLink").filter(has_text=place.title).click()
            drawn(page, name)
            times[name].append(time.perf_counter() - began)
    return times


def in_process(folder: Path) -> dict[str, list[float]]:
    """Seconds that the scripts of the pages take, the first visit of each left out as a warm-up."""
    from streamlit.testing.v1 import AppTest

    os.environ |= {"BEFT_HOME": str(folder / "home"), "BEFT_SAMPLES_DIR": str(folder / "samples")}
    at = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=120).run()
    times: dict[str, list[float]] = {name: [] for name in PLACES}
    for _ in range(1 + SWITCHES):
        for name in PLACES:
            began = time.perf_counter()
            at.switch_page(file_of(name)).run()
            times[name].append(time.perf_counter() - began)
            assert not at.exception, (name, at.exception)
    assert "torch" not in sys.modules
    return times


SAID = ("What a joy.", "It is dull.", "A film that nobody needs.", "Funny, warm and wise.", "I left early.")
SENTENCES = [f"{said} {end}" for end in ("Really.", "Said a friend.", "Twice.", "At last.") for said in SAID]


def answers(browser: Browser, folder: Path) -> tuple[float, list[float]]:
    """Seconds until the page Try it answers for the first time, and from a typed sentence to its answer: three
    fine-tunes of the bundled model, every layer put back.
    """
    fresh = folder / "fresh"
    shutil.copytree(ROOT / "sample_snapshots", fresh / "samples")
    with server(fresh) as (url, _, _):
        page = browser.new_page()
        began = time.perf_counter()
        page.goto(f"{url}/try_it")
        verdict = page.locator("h4").first
        verdict.wait_for(timeout=120_000)
        first = time.perf_counter() - began
        drawn(page, "try_it")
        times = []
        for sentence in SENTENCES:
            before = verdict.inner_text()
            field = page.get_by_label("Sentences, one a line")
            field.fill(sentence)
            began = time.perf_counter()
            field.press("Control+Enter")
            while verdict.inner_text() == before:
                page.wait_for_timeout(5)
            times.append(time.perf_counter() - began)
        page.close()
        return first, times


def crowd(browser: Browser, url: str, pid: int) -> tuple[list[float], float]:
    """Ten windows load a page each at the same moment: seconds of each, and megabytes of the server after."""
    pages = [browser.new_context().new_page() for _ in range(SESSIONS)]
    names = [list(PLACES)[n % len(PLACES)] for n in range(SESSIONS)]
    began = time.perf_counter()
    for page, name in zip(pages, names, strict=True):
        path = "" if name == "start" else name
        page.goto(f"{url}/{path}", wait_until="commit")
    times = []
    for page, name in zip(pages, names, strict=True):
        drawn(page, name)
        times.append(time.perf_counter() - began)
    return times, psutil.Process(pid).memory_info().rss / 1e6


def dial_presses(page: Page) -> Iterator[float]:
    """Seconds from a key pressed on the slider of a shipped dial until the page says the metric there."""
    slider = page.locator(".st-key-dial_lambda").get_by_role("slider")
    slider.focus()
    for step in range(1, PRESSES + 1):
        began = time.perf_counter()
        slider.press("ArrowRight")
        page.get_by_text(f"at λ = {1 + step * 0.05:g}", exact=False).first.wait_for(timeout=60_000)
        yield time.perf_counter() - began


def cells(page: Page) -> Iterator[float]:
    """Seconds from the choice of a layer until its cell is taken apart below the heatmaps."""
    page.get_by_text("One cell taken apart").click()
    for step in range(PRESSES):
        layer = (step * 5 + 1) % 6  # another one each time
        page.get_by_role("combobox", name="Layer").click()
        option = page.get_by_role("option", name=str(layer), exact=True)
        option.wait_for()
        began = time.perf_counter()
        option.click()
        page.get_by_text(f"in layer {layer}").first.wait_for(timeout=60_000)
        yield time.perf_counter() - began


def sandbox_presses(page: Page) -> Iterator[float]:
    """Seconds from a key pressed on the tip of the tuned vector until the picture has another value: the browser
    computes it by itself.
    """
    tip = page.get_by_role("slider", name="Tip of b′").first
    tip.focus()
    for _ in range(PRESSES):
        before = tip.get_attribute("aria-valuetext")
        began = time.perf_counter()
        tip.press("ArrowUp")
        while tip.get_attribute("aria-valuetext") == before:
            page.wait_for_timeout(1)
        yield time.perf_counter() - began


REACTIONS: dict[str, tuple[str, Callable[[Page], Iterator[float]]]] = {
    "dial, from a key to its answer": ("dial", dial_presses),
    "a cell, from its choice to its numbers": ("importance", cells),
    "sandbox, from a key to its picture": ("geometry", sandbox_presses),
}
"""What is measured -> the page, and what acts there, on the samples that are shipped."""


def reactions(browser: Browser, folder: Path) -> dict[str, list[float]]:
    """Seconds from each action of :data:`REACTIONS` to its answer."""
    shutil.copytree(ROOT / "sample_snapshots", folder / "samples", ignore=shutil.ignore_patterns("*.py"))
    times = {}
    with server(folder) as (url, _, _):
        for what, (name, act) in REACTIONS.items():
            page = browser.new_page()
            page.goto(f"{url}/{name}")
            drawn(page, name)
            times[what] = list(act(page))
            page.close()
    return times


def dial_run() -> None:
    """A whole dial, and its sets of biases evaluated one after the other."""
    from beft_core.dials.config import DialConfig
    from beft_core.dials.measure import measure
    from beft_core.dials.parts import LAMBDAS, turned
    from beft_core.inference.variants import Variant
    from beft_core.models.biases import write_biases
    from beft_core.models.load import load_model
    from beft_core.snapshots.snapshot import read_snapshot
    from beft_core.tasks.load import load_task
    from beft_core.training.evaluate import head_of, scorer
    from beft_core.training.observer import Observer
    from beft_core.training.precision import Precision, pick_device

    snapshot = read_snapshot(ROOT / "sample_snapshots" / "demo-sentiment-low-seed0-v-only.beft.safetensors")
    task, model = snapshot.meta.task, load_model("bundled")
    data = load_task(task).limited(DIAL_EXAMPLES)
    length = snapshot.meta.hyperparameters["max_length"]
    precision = Precision("float32", pick_device("cpu"))
    score = scorer(model, head_of(snapshot, task), data, data.evals, length, precision, Observer())
    parts = turned(snapshot).whole
    sets = [(part, factor) for part in parts for factor in LAMBDAS if factor != 1 or part == parts[0]]
    began = time.perf_counter()
    alone = {}
    for part, factor in sets:
        variant = Variant(snapshot, task, part.factors(snapshot, factor))
        write_biases(model, {key: variant.values(key) for key in snapshot.keys()})  # noqa: SIM118
        alone[part, factor] = score()["accuracy"]
    one_by_one = time.perf_counter() - began
    began = time.perf_counter()
    dial = measure(snapshot, DialConfig.of(snapshot, task, device="cpu"), data=data, base=lambda: load_model("bundled"))
    together = time.perf_counter() - began
    apart = max(
        abs(alone[curve.part, factor] - (value or 0))
        for curve in dial.curves
        for factor, value in zip(dial.lambdas, curve.values, strict=True)
        if (curve.part, factor) in alone
    )
    print(
        f"{len(sets)} sets of biases on {dial.examples} examples: one after another {one_by_one:.1f} s, the dial",
        end=" ",
    )
    print(
        f"{together:.1f} s, model, tokens and intervals included ({one_by_one / together:.2f} times faster);", end=" "
    )
    print(f"accuracies differ by at most {apart:.4f}")


def main() -> None:
    """Measure and print."""
    if "--dial-run" in sys.argv:
        dial_run()
        return
    if CHROMIUM is None:
        sys.exit("no Chromium on the PATH")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        fill(folder)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--headless", "--no-sandbox"])
        starts = [cold_start(browser, folder) for _ in range(3)]
        print(f"{os.cpu_count()} cores; {COUNT} snapshots and {COUNT} runs on disk")
        print(f"cold start to the first page: {', '.join(f'{s:.2f}' for s, _ in starts)} s; {starts[-1][1]:.0f} MB")
        own = in_process(folder)
        with server(folder) as (url, process, _):
            page = browser.new_page()
            page.goto(url)
            drawn(page, "start")
            felt = switches(page)
            memory = psutil.Process(process.pid).memory_info().rss / 1e6
            times, after = crowd(browser, url, process.pid)
            loaded = "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()
        print(f"\n{'page':14}{'server, first':>14}{'server, again':>14}{'in a browser':>14}")
        for place in PLACES:
            first, *again = own[place]
            print(f"{place:14}{first:13.2f}s{statistics.median(again):13.2f}s{statistics.median(felt[place]):13.2f}s")
        print(f"\nserver after all pages: {memory:.0f} MB; torch loaded: {'yes' if loaded else 'no'}")
        print(f"{SESSIONS} windows at once: median {statistics.median(times):.1f} s, last {max(times):.1f} s", end="; ")
        print(f"{after:.0f} MB")
        for what, taken in reactions(browser, folder / "shipped").items():
            print(f"{what}: median {1000 * statistics.median(taken):.0f} ms", end=", ")
            print(f"slowest of {len(taken)} {1000 * max(taken):.0f} ms")
        first, asked = answers(browser, folder)
        print(f"Try it: {first:.1f} s to the first answer (PyTorch starts), then ", end="")
        print(f"{1000 * statistics.median(asked):.0f} ms from a typed sentence to its answer, ", end="")
        print(f"slowest of {len(asked)} {1000 * max(asked):.0f} ms")
        browser.close()
    subprocess.run([sys.executable, __file__, "--dial-run"], check=True)  # PyTorch in a process of its own


if __name__ == "__main__":
    main()
