"""``beft export-results``: what is sent, what is there already, one line for wrong input."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import assert_refused, beft
from sweep_tables import make_results

from beft_core.sweeps import tracking
from beft_core.sweeps.table import write_table


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    write_table(make_results(("sst2",), ("low",), (1e-3,), (0, 1), trains=("v", "q")), tmp_path)
    return tmp_path


def test_it_says_what_was_sent(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str, str | None]] = []

    def send(results: object, project: str, observer: object, space: str | None = None) -> int:
        asked.append((len(results), project, space))  # type: ignore[arg-type]
        return 3

    monkeypatch.setattr(tracking, "send", send)
    result = beft("export-results", sweep, "--project", "group")
    assert result.status == 0 and asked == [(4, "group", None)]
    assert result.out.splitlines() == [
        "3 fine-tunes sent to the project group; 1 were there already",
        "look at them: trackio show --project group",
    ]
    there = beft("export-results", sweep, "--space", "org/space", "--json").json
    assert there == {"project": "beft", "sent": 3, "finished": 4, "stopped": False} and asked[1][2] == "org/space"


def test_wrong_input_is_one_line(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no result table" in assert_refused(beft("export-results", tmp_path / "nothing"))
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    assert "beft-lab[tracking]" in assert_refused(beft("export-results", sweep))
