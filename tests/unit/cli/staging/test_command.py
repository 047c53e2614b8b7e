"""``beft fetch``: what is named, what a part of the paper or a sweep needs, and what could not be brought."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runner import assert_refused, beft
from reproduction_tools import without_data

from beft_core.errors import UserError
from beft_core.sweeps.planning import staging


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was asked for; everything that begins with "no" cannot be brought."""
    names: list[str] = []

    def bring(name: str) -> str:
        names.append(name)
        if name.startswith("no"):
            raise UserError(f"got {name}, which the Hub does not have")
        return f"{name}: here"

    monkeypatch.setattr(staging, "fetch_model", bring)
    monkeypatch.setattr(staging, "fetch_task", bring)
    yield names


def test_what_is_named_is_brought_once(fetched: list[str]) -> None:
    result = beft("fetch", "--model", "org/a", "--model", "org/b", "--model", "org/a", "--tasks", "sst2", "rte")
    assert result.status == 0 and fetched == ["org/a", "org/b", "sst2", "rte"]
    assert result.out.splitlines() == [f"{name}: here" for name in fetched]


def test_what_a_part_of_the_paper_needs(fetched: list[str]) -> None:
    assert beft("fetch", "--reproduce", "table4").status == 0
    assert fetched == [
        "google-bert/bert-base-cased",
        "FacebookAI/roberta-base",
        "google-bert/bert-large-cased",
        *("sst2", "rte", "cb", "wic"),
    ]


def test_what_a_sweep_needs(fetched: list[str], tmp_path: Path) -> None:
    of_command = "out: somewhere\nbank_size: 3\nexecutor: slurm\npartition: gpu\ntime: 2h\n"
    (tmp_path / "sweep.yaml").write_text(f"tasks: [cola, qqp]\nmodel: org/model\n{of_command}")
    assert beft("fetch", "--sweep", "sweep.yaml").status == 0
    assert fetched == ["org/model", "cola", "qqp"]


def test_what_cannot_be_brought_stops_nothing_else(fetched: list[str]) -> None:
    result = beft("fetch", "--model", "no/model", "--tasks", "sst2", "none-such", "--json")
    assert result.status == 2 and fetched == ["no/model", "sst2", "none-such"]
    assert set(result.json["here"]) == {"sst2"} and set(result.json["failed"]) == {"no/model", "none-such"}
    assert "no/model could not be fetched (and 1 more: none-such)" in result.err


def test_what_is_here_needs_no_network() -> None:
    result = beft("fetch", "--model", "bundled", "--tasks", "demo-sentiment")
    assert result.status == 0 and "demo-sentiment: generated" in result.out


@pytest.mark.parametrize(
    ("words", "says"),
    [((), "nothing to fetch"), (("--reproduce", "table9"), "table9"), (("--sweep", "gone.yaml"), "gone.yaml")],
)
def test_wrong_input_is_one_line(words: tuple[str, ...], says: str, fetched: list[str]) -> None:
    assert says in assert_refused(beft("fetch", *words))
    assert fetched == []
