"""What a page shows while it waits for the model service, and what it asks no second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, call

import pytest

from dashboard.shared import model_service


class Busy:
    """A service that is at work for somebody else at first."""

    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def turn(self, told: Callable[[str], None]) -> Iterator[None]:
        told("the model has been reading for 2 s")
        told("the model has been reading for 3 s")
        yield

    def ask(self, question: str, timeout: float, **fields: Any) -> Any:
        self.asked += 1
        return self.asked


def test_a_visitor_reads_what_is_waited_for_and_waits_for_no_answer_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy, line, lines = Busy(), MagicMock(), []

    def drawn() -> MagicMock:
        lines.append(line)
        return line

    monkeypatch.setattr(model_service, "service", lambda: busy)
    monkeypatch.setattr(model_service, "waiting", lambda spinner: nullcontext())
    monkeypatch.setattr(model_service.st, "empty", drawn)
    model_service._remembered.clear()
    assert [model_service.ask("prove", "Asking", text=text) for text in ("a", "a", "b")] == [1, 1, 2]
    said = [
        call.caption(f":material/hourglass_top: Waiting for a turn: the model has been reading for {n} s.")
        for n in (2, 3)
    ]
    assert line.method_calls == 2 * [*said, call.empty()]
    assert len(lines) == 2


def test_a_model_whose_files_were_replaced_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_service, "service", Busy)
    monkeypatch.setattr(model_service, "waiting", lambda spinner: nullcontext())
    monkeypatch.setattr(model_service, "turn", lambda: nullcontext(busy))
    model_service._remembered.clear()
    busy, weights = Busy(), tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    assert [model_service.ask("prove", "Asking", model=str(tmp_path)) for _ in range(2)] == [1, 1]
    weights.write_bytes(b"another")
    assert [model_service.ask("prove", "Asking", model=str(tmp_path)) for _ in range(2)] == [2, 2]
    assert [model_service.ask("prove", "Asking", model=name) for name in ("bundled", "org/model", "bundled")] == [
        3,
        4,
        3,
    ]
