"""Files of a lesson: whole, without a network, safe, the same every time, with the numbers of the samples."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from few_samples import DIAL, write_few_samples

from beft_core.dials.result import read_dial
from beft_core.snapshots.snapshot import read_snapshot
from dashboard.lesson.shelf import Shelf
from dashboard.lesson.site import INDEX, PAGES, files

ROOT = Path(__file__).parents[4]
HOSTILE = "<img src=x onerror=alert(1)>'&\"`$x$ :red[.beft.safetensors"
"""Name of a file, as a stranger may have chosen it."""


class Seen(HTMLParser):
    """What a page loads, links to and runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of few samples."""
    return write_few_samples(tmp_path_factory.mktemp("lesson") / "samples")


@pytest.fixture(scope="module")
def lesson(samples: Path) -> dict[str, bytes]:
    """The files of a lesson on them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEFT_SAMPLES_DIR", str(samples))
        return files(Shelf.of(()))


@pytest.fixture(scope="module")
def pages(lesson: dict[str, bytes]) -> dict[str, Seen]:
    """The pages by name."""
    return {name: Seen(content.decode()) for name, content in lesson.items() if name.endswith(".html")}


def data_of(lesson: dict[str, bytes], page: str) -> Any:
    """What a page's script reads."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', lesson[page].decode(), re.DOTALL)
    return json.loads(found)["page"]


def test_every_page_is_there_and_leads_to_all_others(pages: dict[str, Seen]) -> None:
    assert len(pages) == 1 + len(PAGES) and INDEX in pages
    for name, page in pages.items():
        links = {link["href"] for link in page.of("a")}
        assert set(pages) <= links, name


def test_what_a_page_loads_lies_beside_it(lesson: dict[str, bytes], pages: dict[str, Seen]) -> None:
    asked = set()
    for name, page in pages.items():
        for _, attributes in page.tags:
            for target in (attributes.get("src"), attributes.get("href")):
                if target is not None and target != "data:,":
                    assert target in lesson, (name, target)
                    asked.add(target)
    assert set(lesson) == asked, "a file that no page asks for"


def test_nothing_needs_a_server_a_module_or_an_inline_script(lesson: dict[str, bytes], pages: dict[str, Seen]) -> None:
    for name, page in pages.items():
        (policy,) = [one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy"]
        assert policy is not None and policy.startswith("default-src 'none'; script-src 'self' file:;"), name
        assert not {key for _, attributes in page.tags for key in attributes if key.startswith("on")}, name
        for script in page.of("script"):
            assert script.get("src") or script["type"] == "application/json", (name, script)
            assert script.get("type") != "module"
        assert not page.of("style"), name
    forbidden = re.compile(r"\bfetch\(|\bimport\b|^export |XMLHttpRequest|https?://(?!www\.w3\.org/)", re.MULTILINE)
    for name, content in lesson.items():
        if name.endswith(".js") and "plotly" not in name:
            assert not forbidden.search(content.decode()), name
        if name.endswith(".css"):
            assert not re.search(r"url\(|@import", content.decode()), name


def test_the_bars_are_the_metrics_of_the_samples(lesson: dict[str, bytes], samples: Path) -> None:
    text = lesson["start.html"].decode()
    assert "<code>beft dashboard</code>" in text  # where a sentence of one's own can be tried
    for task, metric in (("stsb", "spearman"), ("sst2", "accuracy")):
        for term in "qkv":
            meta = read_snapshot(samples / f"{task}-low-seed0-{term}-only.beft.safetensors").meta
            assert f">{100 * meta.metrics[-1][metric]:.1f}<" in text, (task, term)
    assert text.index("STS-B") < text.index("SST-2"), "the case that bears the score out comes first"


def test_the_place_on_the_dial_lies_on_the_measured_curve(lesson: dict[str, bytes], samples: Path) -> None:
    (turned,) = data_of(lesson, "dial.html")["turned"].values()
    dial = read_dial(samples / DIAL)
    assert len(turned["parts"]) == len(dial.curves) > 1
    for curve, places in zip(dial.curves, turned["parts"], strict=True):
        measured = [100 * float(value or np.nan) for value in curve.values]
        expected = np.interp(turned["factors"], dial.lambdas, measured)
        assert [place["trace"]["y"][0] for place in places] == pytest.approx(expected.tolist())
        assert [place["number"] for place in places] == [f"{value:.1f}" for value in expected]
        said = [place["below"].startswith("measured") for place in places]
        assert said == [any(abs(factor - known) < 1e-9 for known in dial.lambdas) for factor in turned["factors"]]


def test_the_plane_and_its_words_are_those_of_the_evaluation(lesson: dict[str, bytes], samples: Path) -> None:
    scene = data_of(lesson, "merge-plane.html")["scene"]
    (first, *_) = json.loads((samples / "evaluations.json").read_text())["evaluations"]
    worth = {(a, b): scores for a, b, scores in first["result"]["plane"]}
    for panel, task in zip(scene["panels"], first["result"]["tasks"], strict=True):
        metric = first["result"]["tasks"][task]["metric"]
        for a, row in zip(panel["shares"], panel["values"], strict=True):
            expected = [100 * worth[a, b][task][metric] for b in panel["shares"]]
            assert row == pytest.approx(expected, abs=1e-3)


def test_snapshots_of_ones_own_take_the_place_of_the_samples(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(samples))
    own = tmp_path / HOSTILE.replace("/", "")
    own.symlink_to(samples / "sst2-low-seed0-v-only.beft.safetensors")
    made = files(Shelf.of([own]))
    for name in ("importance.html", "geometry.html"):
        text = made[name].decode()
        assert "<img" not in text and "&lt;img src=x" in text, name
        assert "all-bias probe</option>" not in text
        assert not Seen(text).of("img")
    assert "This fine-tune trained" in made["importance.html"].decode()


def test_two_runs_write_equal_bytes_without_pytorch_and_streamlit(
    lesson: dict[str, bytes], samples: Path, tmp_path: Path
) -> None:
    script = (
        "import sys; from beft_core.cli.app import run; status = run(['lesson', '--out', 'made'])\n"
        "assert not {'torch', 'transformers', 'streamlit'} & set(sys.modules), 'too much is loaded'\nsys.exit(status)"
    )
    environment = {**os.environ, "BEFT_SAMPLES_DIR": str(samples), "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "made"
    made = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
    assert made == lesson
    assert "6 pages" in done.stdout and "open made/index.html" in done.stdout
