"""What this machine is remembered to do in a second."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beft_core.sweeps.planning import rates
from beft_core.sweeps.planning.rates import Machine, Rate, known, learn

CPU = Machine("cpu", "float32", "bundled")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_nothing_is_known_before_the_first_sweep() -> None:
    assert known(CPU) is None


def test_what_was_measured_is_known_and_what_came_last_counts_most() -> None:
    learn(CPU, 1000.0, 10.0)
    assert known(CPU) == Rate(100.0, "bundled")
    learn(CPU, 4000.0, 10.0)
    assert known(CPU) == Rate((rates.KEPT * 1000 + 4000) / (rates.KEPT * 10 + 10), "bundled")


def test_another_model_lends_its_rate_another_precision_or_device_does_not() -> None:
    learn(CPU, 1000.0, 10.0)
    learn(Machine("cpu", "float32", "org/long"), 1000.0, 100.0)
    assert known(Machine("cpu", "float32", "org/new")) == Rate(10.0, "org/long")
    assert known(Machine("cpu", "bfloat16", "bundled")) is None
    assert known(Machine("cuda", "float32", "bundled")) is None
    assert Machine.of("cuda:1", "float32", "bundled") == Machine.of("cuda:0", "float32", "bundled")


def test_another_host_does_not_lend(monkeypatch: pytest.MonkeyPatch) -> None:
    learn(CPU, 1000.0, 10.0)
    monkeypatch.setattr(rates.platform, "node", lambda: "elsewhere")
    assert known(CPU) is None


@pytest.mark.parametrize(("operations", "seconds"), [(0.0, 10.0), (1000.0, 0.5), (-1.0, 10.0)])
def test_too_little_says_nothing(operations: float, seconds: float) -> None:
    learn(CPU, operations, seconds)
    assert known(CPU) is None


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"KEY": 3}', '{"KEY": {"operations": 0, "seconds": 1}}', '{"KEY": {"operations": "x"}}']
)
def test_a_damaged_file_counts_as_nothing_and_is_replaced(damage: str, home: Path) -> None:
    home.mkdir()
    (home / rates.NAME).write_text(damage.replace("KEY", CPU.key()))
    assert known(CPU) is None
    learn(CPU, 1000.0, 10.0)
    assert known(CPU) == Rate(100.0, "bundled")


def test_the_file_stays_small(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_ENTRIES", 3)
    for number in range(5):
        learn(Machine("cpu", "float32", f"org/{number}"), 1000.0, 10.0)
    assert len(json.loads((home / rates.NAME).read_text())) == 3
    assert known(Machine("cpu", "float32", "org/4")) == Rate(100.0, "org/4")


def test_a_home_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "file" / "home"))
    learn(CPU, 1000.0, 10.0)
    assert known(CPU) is None
