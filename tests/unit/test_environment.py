"""Numbers from the environment: taken, or refused in one line, before any work and by every part that reads one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from beft_core import environment
from beft_core.cli.app import run
from beft_core.errors import UserError
from beft_core.execution.workflows import real_workflow
from beft_core.sweeps.sharing import workers
from beft_core.training.observer import Observer

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", environment.SETTINGS)
@pytest.mark.parametrize("value", ["abc", "nan", "inf", "-1", "1e400", "9" * 6000, "5 minutes", "0x10", "1,5"])
def test_what_is_no_number_is_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    for read in (lambda: environment.number(name, 5), environment.check):
        with pytest.raises(UserError, match=f"got {name}=.*expected .*a number from.*try unset {name}") as told:
            read()
        assert len(str(told.value)) < 250


@pytest.mark.parametrize("name", environment.SETTINGS)
def test_numbers_are_taken_and_nothing_is_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.5")
    monkeypatch.setenv(name, " 2.5 ")
    assert environment.number(name, 5) == 2.5
    for empty in ("", " "):
        monkeypatch.setenv(name, empty)
        assert environment.number(name, 5) == 5
    monkeypatch.delenv(name)
    assert environment.number(name, 5) == 5
    environment.check()


@pytest.mark.parametrize(("beat", "claim"), [(None, "29"), ("0.5", "1.4"), ("60", "179")])
def test_nobody_is_taken_for_gone_before_three_signs_of_life(
    beat: str | None, claim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if beat is not None:
        monkeypatch.setenv("BEFT_BEAT_SECONDS", beat)
    assert workers.claim_seconds() >= 3 * environment.beat_seconds()
    monkeypatch.setenv("BEFT_CLAIM_SECONDS", claim)
    least = f"{3 * environment.beat_seconds():g}"
    with pytest.raises(UserError, match=rf"from {least} \(3 times BEFT_BEAT_SECONDS\) to 86,400"):
        environment.check()
    monkeypatch.setenv("BEFT_CLAIM_SECONDS", least)
    assert workers.claim_seconds() == 3 * environment.beat_seconds()


@pytest.mark.parametrize("name", environment.SETTINGS)
def test_a_command_and_a_run_say_so_before_any_work(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "abc")
    out = tmp_path / "s"
    assert run(["train", "--task", "demo-sentiment", "--checkpoint", str(tmp_path / "c"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"beft: got {name}='abc' in the environment; expected ")
    with pytest.raises(UserError, match=name):
        real_workflow("train", {}, Observer(), tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_no_other_module_turns_a_variable_into_a_number() -> None:
    sources = [*ROOT.glob("beft_core/**/*.py"), *ROOT.glob("dashboard/**/*.py")]
    assert len(sources) > 100
    for path in sources:
        assert not re.search(r"\b(?:int|float)\([^)\n]*(?:os\.environ|getenv)", path.read_text()), path
