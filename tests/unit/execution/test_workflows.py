"""What a kind's row names is done, with what it sets itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_kind import TOY

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.workflows import estimated, real_workflow
from beft_core.runs.kinds import KINDS
from beft_core.training.estimate import count
from beft_core.training.observer import Observer


def test_the_row_names_the_workflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(KINDS, "toy", TOY)
    outcome = real_workflow("toy", {"times": 5}, Observer(), tmp_path / "checkpoint.safetensors")
    assert outcome == (None, {"number": 32}) and (tmp_path / "numbers.txt").read_text() == "32"


@pytest.mark.parametrize("kind", ["select", "train", "merge", "sweep"])
def test_a_damaged_configuration_is_told_before_anything_is_loaded(kind: str, tmp_path: Path) -> None:
    class Silent(Observer):
        def stage(self, name: str, total: int | None = None) -> None:
            pytest.fail(f"began to {name}")

    with pytest.raises(UserError, match=r"unknown field 'of_a_later_version'|got no|without|setting"):
        real_workflow(kind, {"of_a_later_version": 1}, Silent(), tmp_path / "checkpoint.safetensors")


def test_of_a_probe_is_measured_what_a_probe_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(count, "answer", lambda config: asked.append(config) or {"seconds": 1.0})
    config = RunConfig(task="sst2", terms=("q",), evaluate="never")
    assert estimated(config.to_dict(), "train") == estimated(config.to_dict(), "select") == {"seconds": 1.0}
    single, probe = map(RunConfig.from_dict, asked)
    assert single == config
    assert (probe.mode, probe.fisher, probe.evaluate, probe.task) == ("all", True, "never", "sst2")
