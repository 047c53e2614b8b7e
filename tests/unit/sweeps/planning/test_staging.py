"""What is missing on this machine, and bringing it here."""

from __future__ import annotations

from pathlib import Path

import pytest
from reproduction_tools import without_data

from beft_core.errors import ModelNotHere, UserError
from beft_core.models.source import BUNDLED
from beft_core.sweeps.planning import staging
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources import presence as of_tasks


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch, tmp_path)


def test_what_is_here_is_not_missing() -> None:
    assert staging.missing_model(BUNDLED) is None
    assert staging.missing_task("demo-sentiment", 4000) is None


def test_what_is_missing_names_the_command_that_brings_it() -> None:
    model = staging.missing_model("org/model")
    assert model is not None and model.why == "its weights are not on this machine"
    assert model.command == "beft fetch --model org/model"
    task = staging.missing_task("QQP")
    assert task is not None and (task.what, task.command) == ("qqp", "beft fetch --tasks qqp")
    few = staging.missing_task("demo-sentiment", 4001)
    assert few is not None and few.why == "4,000 of 4,001 training examples are here (generated)"
    wrong = staging.missing_model("no model")
    assert wrong is not None and "got the model name" in wrong.why


def test_a_folder_that_is_not_what_it_should_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path / "nowhere"))
    found = staging.missing_task("sst2")
    assert found is not None and "nowhere" in found.why
    with pytest.raises(UserError, match="nowhere"):
        staging.fetch_task("sst2")


def test_a_task_is_downloaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[str] = []
    monkeypatch.setattr(staging, "fetch_hub", lambda spec: here.append(spec.name))
    monkeypatch.setattr(of_tasks, "_in_hub_cache", lambda spec: spec.name in here)
    assert staging.fetch_task("sst2") == "sst2: Hub cache" and staging.fetch_task("sst2") == "sst2: Hub cache"
    assert here == ["sst2"]
    assert staging.fetch_task("demo-sentiment") == "demo-sentiment: generated"


def test_a_model_is_located(monkeypatch: pytest.MonkeyPatch) -> None:
    assert staging.fetch_model(BUNDLED).startswith("bundled: ")
    with pytest.raises(UserError):
        staging.fetch_model("no model")


def test_downloads_that_are_switched_off_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "offline_mode", lambda: True)
    for fetch, name in ((staging.fetch_model, "org/model"), (staging.fetch_task, "qqp")):
        with pytest.raises(UserError, match=r"HF_HUB_OFFLINE.* a machine with a network"):
            fetch(name)
    assert staging.fetch_model(BUNDLED) and staging.fetch_task("demo-sentiment")


def test_a_run_without_its_model_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from beft_core.models import source
    from beft_core.tasks.sources import hub

    monkeypatch.setattr(source, "hub_answers", lambda: False)
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    with pytest.raises(ModelNotHere, match="beft fetch --model org/model where there is a network"):
        source.locate("org/model")
    with pytest.raises(UserError, match="beft fetch --tasks qqp where there is a network"):
        hub.fetch_hub(get_task("qqp"))


def test_commands_are_quoted() -> None:
    assert staging.fetch_command(["a b"], ["sst2", "rte"]) == "beft fetch --model 'a b' --tasks sst2 rte"
