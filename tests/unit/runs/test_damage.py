"""One damaged run folder: it is listed with what is wrong, and everything that reads runs goes on without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from damaged_runs import DAMAGES, finished

from beft_core.errors import UserError
from beft_core.execution import cancel as module
from beft_core.execution.cancel import cancel
from beft_core.process_id import ProcessId
from beft_core.runs import about
from beft_core.runs.archive import bytes_of, zip_of
from beft_core.runs.compare import differences, spreads
from beft_core.runs.curves import CurveReader
from beft_core.runs.overview import overview, overviews
from beft_core.runs.reading import READ_BYTES
from beft_core.runs.record import METRICS_BYTES, RECORDS, damage_of
from beft_core.runs.run import Run, list_runs

pytestmark = pytest.mark.timeout(60)  # a pipe would be waited for, a device read, for ever


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[Run]:
    run = finished(tmp_path, seed=7)
    before = overview(run)
    assert before.damage == () and before.value == 0.75 and before.selected == "v" and before.status.state == "done"
    yield run
    assert overview(run) == before, "another run suffered"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_listed_with_what_is_wrong(damage: str, sound: Run, tmp_path: Path) -> None:
    run = finished(tmp_path)
    DAMAGES[damage](run)
    rows = overviews(tmp_path)
    assert [one.run for one in rows] == [run, sound]
    one = rows[0]
    assert one.damage and all(0 < len(words) < 500 and "\n" not in words for words in one.damage), one.damage
    now = time.time()
    datetime.fromtimestamp(one.status.began or one.status.created)
    assert one.label and one.tasks and isinstance(one.trains, str) and (one.seconds(now) or 0) >= 0
    assert one.value is None or one.value == 0.75
    curves = CurveReader(run).read()
    assert all(isinstance(value, float) for value in curves.loss.values)
    differences(rows)
    spreads(rows)
    assert one.run.log_tail() in (["a line"], [])
    assert b"root:" not in zip_of(rows) and bytes_of(rows) > 0  # a link does not lead out of the folder
    cancel(run)
    about.rename(run, "broken") if "about.json as a folder" not in damage else None
    about.delete(run)
    assert list_runs(tmp_path) == [sound]
    assert about.restore(run.id, tmp_path) == run


@pytest.mark.parametrize("torn", ['{"type": "epoch", "accu', "\x00\x00", '{"type": "step", "step": 1'])
def test_a_line_that_a_crash_cut_off_is_no_damage(torn: str, tmp_path: Path) -> None:
    run = finished(tmp_path)
    with run.metrics.open("a") as file:
        file.write(f"{torn}\n" + '{"type": "epoch", "epoch": 2, "step": 8, "accuracy": 0.875}\n')
    assert overview(run).damage == () and overview(run).value == 0.875


@pytest.mark.parametrize("kind", RECORDS)
def test_types_of_lines_that_a_later_version_adds_are_left_alone(kind: str) -> None:
    assert damage_of(json.dumps({"type": f"{kind}-of-tomorrow", "x": [1, {"y": None}]}).encode()) is None


@pytest.mark.parametrize("line", [b"", b"x", b"{}", b'{"type": "epoch"}', b'{"type": "epoch", "accuracy": []}'])
def test_measurements_are_read_up_to_a_bound(line: bytes, tmp_path: Path) -> None:
    run = finished(tmp_path)
    with run.metrics.open("ab") as file:
        file.write((line + b"\n") * (READ_BYTES // (len(line) + 1)))
        file.truncate(METRICS_BYTES + 10**9)
    began = time.process_time()
    assert "at most" in overview(run).damage[0]
    assert CurveReader(run).read().metrics["accuracy"].values == [0.75]
    assert time.process_time() - began < 5


def test_a_folder_whose_name_is_no_date_is_listed_too(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "99999999-999999-999999-abcdef"
    folder.mkdir(parents=True)
    (one,) = overviews(tmp_path)
    assert one.status.state == "failed" and one.status.created == 0
    assert one.damage == ("status.json is missing", "config.json is missing")


@pytest.mark.parametrize("what", ["home", "runs"])
def test_a_home_that_is_a_file_is_one_line(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "home"
    if what == "runs":
        place.mkdir()
    (place if what == "home" else place / "runs").write_text("a file")
    monkeypatch.setenv("BEFT_HOME", str(place))
    for act in (list_runs, overviews, lambda: Run.create("train", {})):
        with pytest.raises(UserError, match=r"Not a directory|exists"):
            act()


def test_a_status_cannot_have_another_program_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that names a living process of somebody else, who would be ended with the run."""
    monkeypatch.setattr(module, "TERMINATE_AFTER", -1.0)
    monkeypatch.setattr(module, "KILL_AFTER", -1.0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        run = finished(tmp_path)
        process = ProcessId.of(psutil.Process(victim.pid))
        run.write_status(replace(run.recorded(), state="running", process=process))
        cancel(run)
        cancel(run)
        time.sleep(0.1)
        assert victim.poll() is None and os.path.lexists(run.path / "cancel")
        victim.kill()
