"""What an earlier version of the lab left on a disk, and links to it, still open.

``fixtures/home-2026-11.zip`` is a home folder written by version 0.2.0 of November 2026: a fine-tune, a sweep of two,
an evaluation of a merge, and a fine-tune that was cancelled while its model was loaded.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest
from dashboard_tools import charts, opened
from streamlit.testing.v1 import AppTest

from beft_core.runs.overview import overviews
from beft_core.snapshots.snapshot import read_snapshot

FOLDER = Path(__file__).parents[2] / "fixtures"
RUNS = {"train": "20261128-200348-845503-0a48bf", "sweep": "20261128-200532-484594-ac82b3"}
RUNS |= {"merge": "20261128-200727-189249-635219", "cancelled": "20261128-200832-330076-4d11cf"}


@pytest.fixture(autouse=True)
def old_home(lab: Path) -> Path:
    with zipfile.ZipFile(FOLDER / "home-2026-11.zip") as packed:
        packed.extractall(lab / "home")
    return lab / "home"


def words(at: AppTest) -> str:
    assert not at.error, [error.value for error in at.error]
    return "\n".join(str(one.value) for one in (*at.markdown, *at.caption, *at.warning, *at.info)).replace("\\", "")


def test_every_run_is_listed_as_it_was() -> None:
    listed = {one.run.id: one for one in overviews()}
    assert {name: listed[run].status.state for name, run in RUNS.items()} == {
        "train": "done",
        "sweep": "done",
        "merge": "done",
        "cancelled": "cancelled",
    }
    assert not [one.damage for one in listed.values() if one.damage]
    assert [listed[RUNS[name]].kind for name in RUNS] == ["train", "sweep", "merge", "train"]
    assert listed[RUNS["train"]].name == "kept from November" and listed[RUNS["train"]].about.tags == ("fixture",)


def test_the_snapshots_hold_what_was_trained(old_home: Path) -> None:
    files = sorted(old_home.rglob("*.beft.safetensors"))
    assert len(files) == 6
    for file in files:
        meta = read_snapshot(file).meta
        assert meta.trained_terms == ("v",) and meta.model.id == "bundled", file


def test_the_list_of_runs_and_its_comparison() -> None:
    at = opened("runs")
    assert len(at.dataframe[0].value) == 4
    labels = [one.label for one in overviews() if one.run.id == RUNS["train"]]
    assert charts(opened("runs", runs=labels)) >= 1


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("fine_tune", {"run": RUNS["train"]}, "kept from November"),
        ("fine_tune", {"run": RUNS["cancelled"]}, "Cancelled before anything was trained."),
        ("importance", {"run": RUNS["train"]}, "kept from November"),
        ("sweep", {"sweep_run": RUNS["sweep"]}, "2 fine-tunes"),
        ("merge", {"merge_run": RUNS["merge"]}, "16 of 500"),
        ("evaluation", {"results": "Run ac82b3: sweep"}, "2 fine-tunes · bundled model · 1 task · 2 seeds"),
    ],
)
def test_links_of_then_open(page: str, link: dict[str, str], expected: str) -> None:
    at = opened(page, **link)
    assert expected in words(at), words(at)


def test_the_table_of_the_sweep_is_read(old_home: Path) -> None:
    table = pd.read_parquet(old_home / "runs" / RUNS["sweep"] / "sweep" / "results.parquet")
    at = opened("sweep", sweep_run=RUNS["sweep"])
    shown = "\n".join(str(frame.value) for frame in at.dataframe)
    assert sorted(table["value"]) == [0.5, 0.504] and ("50.2" in shown or "50.2" in words(at)), shown
