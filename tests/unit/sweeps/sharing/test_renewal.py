"""Renewal of finished fine-tunes: what a new start of a sweep trains again, and that nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.snapshots.adapter_folder import CONFIG, WEIGHTS
from beft_core.snapshots.snapshot import adapter_beside, write_snapshot
from beft_core.sweeps.rows import MEMORY_RAN_OUT, plan_columns
from beft_core.sweeps.sharing import renewal
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import DAMAGED, GONE, MEMORY, NOT_KEPT, PREDICTIONS, renew, renewal_of
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder

SPEC = SweepSpec.from_dict({"terms": ["v", "q"], "seeds": 2, "n_train": 8})
RUNS = SPEC.runs()
NAMES = [identity(run) for run in RUNS]
ALL, NONE = Kept(), Kept(snapshots=False)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A sweep that is done, with all of its snapshots."""
    made = SweepFolder(tmp_path / "sweep")
    made.begin(SPEC)
    for number in range(len(RUNS)):
        done(made, number)
    return made


def done(folder: SweepFolder, number: int) -> None:
    replaced(folder, number, example(), state="done", snapshot=folder.snapshot(NAMES[number]).name)


def failed(folder: SweepFolder, number: int, why: str) -> None:
    replaced(folder, number, None, state="failed", failure=why)


def replaced(folder: SweepFolder, number: int, kept: Any, **row: Any) -> None:
    (folder.rows / f"{NAMES[number]}.json").unlink(missing_ok=True)
    folder.save({**plan_columns(RUNS[number]), **row}, kept)


def cut(path: Path, count: int = 1) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def test_what_is_whole_stays(folder: SweepFolder) -> None:
    for keep in (ALL, NONE):
        found = renewal_of(folder, RUNS, keep)
        assert (found.stays, found.reasons, found.in_words()) == (set(NAMES), {}, "")
    (folder.rows / f"{NAMES[3]}.json").unlink()
    found = renewal_of(folder, RUNS, ALL)
    assert found.stays == set(NAMES[:3]) and not found.reasons, "what is missing is no fine-tune that is finished"


def test_a_lack_of_memory_is_tried_again_and_a_failure_of_the_fine_tune_itself_is_not(folder: SweepFolder) -> None:
    failed(folder, 0, f"{MEMORY_RAN_OUT} with this run alone; try a smaller batch size")
    failed(folder, 1, "the loss is not finite; try a smaller learning rate")
    for keep in (ALL, NONE, Kept(made_again=False)):
        found = renewal_of(folder, RUNS, keep)
        assert found.reasons == {NAMES[0]: MEMORY} and found.stays == set(NAMES[1:])
    assert found.in_words() == "1 finished fine-tune will be trained again: memory had run out (1)"


def gone(folder: SweepFolder) -> None:
    folder.snapshot(NAMES[0]).unlink()


def short(folder: SweepFolder) -> None:
    cut(folder.snapshot(NAMES[0]))


def empty(folder: SweepFolder) -> None:
    folder.snapshot(NAMES[0]).write_bytes(b"")


def within_its_header(folder: SweepFolder) -> None:
    folder.snapshot(NAMES[0]).write_bytes(folder.snapshot(NAMES[0]).read_bytes()[:40])


def something_else(folder: SweepFolder) -> None:
    folder.snapshot(NAMES[0]).write_bytes(b"\x80\x02 a pickle, or whatever")


def a_folder(folder: SweepFolder) -> None:
    folder.snapshot(NAMES[0]).unlink()
    folder.snapshot(NAMES[0]).mkdir()


def not_kept(folder: SweepFolder) -> None:
    replaced(folder, 0, None, state="done")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (gone, GONE),
        (short, DAMAGED),
        (empty, DAMAGED),
        (within_its_header, DAMAGED),
        (something_else, DAMAGED),
        (a_folder, DAMAGED),
        (not_kept, NOT_KEPT),
    ],
)
def test_a_snapshot_that_is_wanted_and_not_there_whole(
    harm: Callable[[SweepFolder], None], reason: str, folder: SweepFolder
) -> None:
    harm(folder)
    found = renewal_of(folder, RUNS, ALL)
    assert found.reasons == {NAMES[0]: reason} and found.stays == set(NAMES[1:])
    assert f"1 finished fine-tune will be trained again: {reason} (1); with --no-snapshots" in found.in_words()
    for keep in (NONE, Kept(made_again=False)):
        assert not renewal_of(folder, RUNS, keep).reasons, "removed on purpose"


def test_of_a_large_sweep_only_so_many_headers_are_read(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES[1:3]:
        cut(folder.snapshot(name))
    folder.snapshot(NAMES[3]).unlink()
    monkeypatch.setattr(renewal, "MAX_OPENED", 2)
    assert renewal_of(folder, RUNS, ALL).reasons == {NAMES[1]: DAMAGED, NAMES[3]: GONE}


def test_an_adapter_belongs_to_its_snapshot(tmp_path: Path) -> None:
    spec = SweepSpec.from_dict({"terms": ["v"], "methods": ["lora"], "seeds": 1, "n_train": 8})
    folder = SweepFolder(tmp_path / "sweep")
    folder.begin(spec)
    for run in spec.runs():
        path = folder.snapshot(identity(run))
        folder.save({**plan_columns(run), "state": "done", "snapshot": path.name}, example())
    (lora,) = [run for run in spec.runs() if run.method.adapter is not None]
    name, beside = identity(lora), adapter_beside(folder.snapshot(identity(lora)))
    assert renewal_of(folder, spec.runs(), ALL).reasons == {name: GONE}
    beside.mkdir()
    assert renewal_of(folder, spec.runs(), ALL).reasons == {name: GONE}
    (beside / CONFIG).write_text("{}")
    write_snapshot(beside / WEIGHTS, example())
    assert not renewal_of(folder, spec.runs(), ALL).reasons
    cut(beside / WEIGHTS)
    assert renewal_of(folder, spec.runs(), ALL).reasons == {name: DAMAGED}


def test_predictions_that_are_cut_would_end_a_comparison_and_missing_ones_do_not(folder: SweepFolder) -> None:
    both = Kept(predictions=True)
    assert not renewal_of(folder, RUNS, both).reasons, "of free text there are none"
    path = folder.predictions(NAMES[0])
    path.parent.mkdir()
    for content, whole in ((b"PAR1 rows PAR1", True), (b"PAR1 rows PA", False), (b"", False), (b"PA", False)):
        path.write_bytes(content)
        assert renewal_of(folder, RUNS, both).reasons == ({} if whole else {NAMES[0]: PREDICTIONS}), content
        assert not renewal_of(folder, RUNS, ALL).reasons, "not wanted"
    assert "--no-snapshots" not in renewal_of(folder, RUNS, both).in_words(), "it would not help"


def test_a_start_marks_and_says_it_in_one_line(folder: SweepFolder) -> None:
    failed(folder, 0, f"{MEMORY_RAN_OUT} with this run alone")
    folder.snapshot(NAMES[1]).unlink()
    cut(folder.snapshot(NAMES[2]))
    said: list[str] = []
    renew(folder, RUNS, ALL, said.append)
    assert said == [
        "3 finished fine-tunes will be trained again: memory had run out (1), its snapshot is missing (1), its "
        "snapshot cannot be read (1); with --no-snapshots, those without a snapshot stay as they are"
    ]
    assert folder.marked_again() == set(NAMES[:3]) and list(folder.finished(RUNS)) == NAMES[3:]
    assert list(folder.table(RUNS)["run"]) == NAMES, "until then every row stays"
    renew(folder, RUNS, NONE, said.append)
    assert folder.marked_again() == {NAMES[0]} and said[1:] == [
        "1 finished fine-tune will be trained again: memory had run out (1)"
    ]
    done(folder, 0)
    renew(folder, RUNS, NONE, said.append)
    assert len(said) == 2 and not folder.marked_again()


def test_a_job_that_is_queued_again_is_no_new_start(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    failed(folder, 0, MEMORY_RAN_OUT)
    folder.mark_again([NAMES[1]])
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert renew(folder, RUNS, ALL).in_words() == "" and folder.marked_again() == {NAMES[1]}
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    renew(folder, RUNS, ALL)
    assert folder.marked_again() == {NAMES[0]}


def test_merges_are_made_anew_where_what_they_are_made_of_is(folder: SweepFolder) -> None:
    folder.keep_merges([])
    v, q = (next(n for n, run in enumerate(RUNS) if run.terms == (term,)) for term in "vq")
    folder.snapshot(NAMES[q]).unlink()
    renew(folder, RUNS, ALL)
    assert folder.merges.is_file()
    folder.snapshot(NAMES[v]).unlink()
    renew(folder, RUNS, NONE)
    assert folder.merges.is_file()
    renew(folder, RUNS, ALL)
    assert not folder.merges.exists()


def test_a_folder_that_cannot_be_written_is_one_line(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.snapshot(NAMES[0]).unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(UserError, match="a folder to write to"):
        renew(folder, RUNS, ALL)
