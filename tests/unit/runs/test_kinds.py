"""Kinds of runs are rows: what their functions answer, and that a new row is all that a new kind needs."""

from __future__ import annotations

import io
import os
import re
import sys
import time
import zipfile
from pathlib import Path

import pytest
from toy_kind import TOY, ToyConfig

from beft_core.cli.command_line import command_line
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution import local, start
from beft_core.imports import imported
from beft_core.runs import about
from beft_core.runs.archive import zip_of
from beft_core.runs.compare import differences, spreads
from beft_core.runs.kinds import KINDS, UNKNOWN, Kind, kind_of, single_fine_tunes
from beft_core.runs.overview import overview, overviews
from beft_core.runs.run import Run
from beft_core.sweeps.spec import SweepSpec

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_a_row_names_is_there(kind: Kind) -> None:
    made = imported(kind.config)
    assert callable(made.from_dict) and callable(made.to_dict) and callable(imported(kind.workflow))
    assert kind.command is None or callable(imported(kind.command))
    assert kind.does[0].islower() and not kind.does.endswith(".")


def test_what_a_probe_sets_itself_is_what_the_engine_trains() -> None:
    config = RunConfig(terms=("v",), evaluate="epoch")
    own = {name: getattr(config.probe(), name) for name in ("mode", "fisher")}
    assert own == {name: value for name, value in KINDS["select"].sets.items() if name != "terms"}
    assert single_fine_tunes() == ["select", "train"]


@pytest.mark.parametrize(
    ("kind", "fields", "trains", "brief", "tasks"),
    [
        ("select", {"task": "sst2"}, "probe of all biases", "probe", ("sst2",)),
        ("train", {"task": "rte", "terms": ["q", "v"]}, "b_q, b_v", "b_q, b_v", ("rte",)),
        ("train", {"terms": ["q", "k", "v", "o"]}, "b_q, b_k, b_v, b_m1", "4 terms", ("?",)),
        ("train", {"mode": "head", "train_file": "/a/b/mine.csv"}, "the head only", "the head only", ("mine.csv",)),
        ("train", {"mode": "of a later version", "task": "rte"}, "train", "train", ("rte",)),
        ("merge", {"method": "ties", "task": "rte + sst2"}, "ties merge", "ties merge", ("rte + sst2",)),
        ("sweep", {"tasks": ["rte", "cola"], "terms": ["v", "q"]}, "sweep of v, q", "sweep of v, q", ("rte", "cola")),
        ("sweep", {"tasks": 3, "terms": list("qkvoabcdefgh")}, None, "sweep of 12 kinds", ("?",)),
    ],
)
def test_rows_say_what_a_run_trains(
    kind: str, fields: dict, trains: str | None, brief: str, tasks: tuple[str, ...]
) -> None:
    row = KINDS[kind]
    assert trains is None or row.trains(fields) == trains
    assert (row.brief or row.trains)(fields) == brief and row.tasks(fields) == tasks


def test_the_device_of_a_sweep_is_among_what_its_fine_tunes_share() -> None:
    assert KINDS["sweep"].device(SweepSpec(settings={"device": "cuda"}).to_dict()) == "cuda"
    assert KINDS["sweep"].device({"settings": "nonsense", "device": "mps"}) == "auto"
    assert KINDS["train"].device({"device": "cpu", "settings": {"device": "cuda"}}) == "cpu"


def test_a_kind_that_is_not_known_is_none_of_the_rows() -> None:
    assert kind_of("of a later version") is UNKNOWN and kind_of("train") is KINDS["train"]
    assert set(UNKNOWN.artifacts) == {name for row in KINDS.values() for name in row.artifacts}


def test_no_other_module_asks_for_the_name_of_a_kind() -> None:
    named = rf"[(\[{{]?\s*[\"']({'|'.join(KINDS)})[\"']"
    asks = re.compile(rf"kind\w*\s*(==|!=|in|not in)\s*{named}|config\(\)\[0\]\s*==\s*{named}")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("beft_core", "dashboard")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asks.search(line)
    ]
    assert found == []


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Kind:
    monkeypatch.setitem(KINDS, TOY.name, TOY)
    code = (
        "import sys; from toy_kind import TOY; from beft_core.runs.kinds import KINDS; KINDS[TOY.name] = TOY; "
        "from beft_core.execution.worker import main; sys.exit(main(sys.argv[1:]))"
    )
    monkeypatch.setattr(local, "worker_command", lambda run: [sys.executable, "-c", code, str(run.path)])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    return TOY


def done(seed: int, root: Path) -> Run:
    run = start.launch("toy", ToyConfig(times=4, seed=seed), root)
    deadline = time.monotonic() + 60
    while run.status().active and time.monotonic() < deadline:
        time.sleep(0.02)
    assert run.status().state == "done", [run.status(), *run.log_tail()]
    return run


def test_a_new_kind_is_one_row_and_a_workflow(toy: Kind, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got a run of kind 'spin'"):
        Run.create("spin", {}, tmp_path)
    first, second = done(0, tmp_path), done(2, tmp_path)
    assert first.kind is toy and toy.read_config(first.config()[1]) == ToyConfig(times=4)
    assert first.read_result() == {"number": 16}
    one = overview(first)
    assert (one.trains, one.task, one.seed) == ("doubling 4 times", "demo-sentiment", "seed 0")
    assert one.label == f"{one.id[-6:]} doubling 4 times on demo-sentiment, seed 0" and not one.damage
    assert (one.summary, one.metric, one.value) == ("reached 16", "reached", 16.0)
    both = overviews(tmp_path)
    assert [other.id for other in both] == [second.id, first.id]
    assert differences(both) == {"seed": [2, 0]}
    assert [(spread.mean, spread.seeds) for spread in spreads(both)] == [(32.0, [0, 2])]
    names = zipfile.ZipFile(io.BytesIO(zip_of(both))).namelist()
    assert f"{first.id}/numbers.txt" in names and f"{first.id}/loss.csv" in names
    assert command_line("toy", ToyConfig(times=4), "x") == "beft toy --times 4 --out x"
    about.delete(first)
    assert [other.id for other in overviews(tmp_path)] == [second.id]
    assert about.restore(first.id, tmp_path).read_result() == {"number": 16}


def test_a_run_of_another_method_is_named_by_it() -> None:
    train = KINDS["train"]
    assert train.trains({"mode": "lora", "terms": [], "rank": 4}) == "LoRA"
    for fields, brief in (
        ({"rank": 8, "alpha": 16.0, "targets": ["q", "v"]}, "LoRA"),
        ({"rank": 4, "targets": ["k", "o"], "virtual_tokens": 3}, "LoRA, k o, rank 4"),
        ({"alpha": 0.5}, "LoRA, alpha 0.5"),
        ({"rank": "many", "targets": [["q"], "<b>"], "alpha": None}, "LoRA"),
    ):
        assert train.brief is not None and train.brief({"mode": "lora", "terms": [], **fields}) == brief
    sweep = KINDS["sweep"]
    methods = [{"method": "lora", "rank": 4}, "ia3"]
    assert sweep.trains({"terms": ["v"], "methods": methods}) == "sweep of v, lora, ia3"
    assert sweep.trains({"terms": [], "methods": methods}) == "sweep of lora, ia3"
    assert sweep.brief is not None
    assert sweep.brief({"terms": ["v", "q", "k", "all", "head"], "methods": methods}) == "sweep of 7 kinds"
