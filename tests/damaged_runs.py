"""Ways in which one run folder can be damaged, by accident or on purpose: name -> what is done to a finished run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beft_core.config import RunConfig
from beft_core.runs.run import Run
from beft_core.runs.status import Status

FILES = ("status.json", "config.json", "metrics.jsonl", "about.json", "result.json", "log.txt")


def finished(root: Path | None = None, value: float = 0.75, **config: Any) -> Run:
    """A sound run, done, with every file but the snapshot."""
    run = Run.create("select", RunConfig(**{"task": "demo-sentiment", "n_train": 300, **config}).to_dict(), root)
    records = [{"type": "step", "seconds": 1.0, "step": s, "total": 4, "loss": [1 / s]} for s in (1, 2, 3, 4)]
    records += [{"type": "scores", "seconds": 2.0, "step": 4, "scores": {"v": {"projection_ratio": 0.5}}}]
    records += [
        {"type": "epoch", "seconds": 3.0, "run": 0, "epoch": 1, "step": 4, "train_loss": 0.5, "accuracy": value}
    ]
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    run.result.write_text('{"selected": {"projection_ratio": "v"}}')
    (run.path / "about.json").write_text('{"name": "", "tags": []}')
    run.log.write_text("a line\n")
    now = time.time()
    run.write_status(Status("done", created=now - 60, began=now - 50, ended=now - 10))
    return run


def _status(**changes: Any) -> Callable[[Run], object]:
    """The status with some fields changed; given as text, a value stands there as it is."""

    def change(run: Run) -> None:
        table = json.loads((run.path / "status.json").read_text())
        texts = {f"@{name}@": value for name, value in changes.items() if isinstance(value, bytes)}
        table |= {n: f"@{n}@" if isinstance(value, bytes) else value for n, value in changes.items()}
        text = json.dumps(table).encode()
        for mark, value in texts.items():
            text = text.replace(f'"{mark}"'.encode(), value)
        (run.path / "status.json").write_bytes(text)

    return change


def _process(**changes: Any) -> Callable[[Run], object]:
    return _status(state="running", process={"pid": 1, "started": 1.0, **changes})


def _config(**changes: Any) -> Callable[[Run], object]:
    def change(run: Run) -> None:
        table = json.loads((run.path / "config.json").read_text())
        table["config"] |= changes
        (run.path / "config.json").write_text(json.dumps(table))

    return change


def _holds(name: str, text: bytes) -> Callable[[Run], object]:
    return lambda run: (run.path / name).write_bytes(text)


def _line(text: str) -> Callable[[Run], object]:
    def add(run: Run) -> None:
        with run.metrics.open("a") as file:
            file.write(text + "\n")

    return add


def _is(name: str, make: Callable[[Path], object]) -> Callable[[Run], object]:
    def replace(run: Run) -> None:
        (run.path / name).unlink(missing_ok=True)
        make(run.path / name)

    return replace


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


DAMAGES: dict[str, Callable[[Run], object]] = {
    "a negative pid": _process(pid=-5),
    "a pid of 30 digits": _process(pid=10**30),
    "a pid that is text": _process(pid="1"),
    "a pid that is true": _process(pid=True),
    "a process that is a list": _status(state="running", process=[1, 2]),
    "a process without a start": _status(state="running", process={"pid": 1}),
    "a start beyond the calendar": _process(started=1e308),
    "began beyond the calendar": _status(began=b"1e308"),
    "ended before the calendar": _status(ended=-1e18),
    "created never": _status(created=b"1e999"),
    "created as text": _status(created="now"),
    "a total that is text": _status(state="running", total="x"),
    "done that is a list": _status(done=[1]),
    "a negative total": _status(total=-4),
    "a stage that is a table": _status(stage={}),
    "a message of a megabyte": _status(message="x" * 60_000),
    "a position that is not a number": _status(state="queued", position=b"NaN"),
    "a state of no run": _status(state="dancing"),
    "a field of nothing": _status(colour="red"),
    "configured as a list": _holds("config.json", b"[]"),
    "configured as half a file": _holds("config.json", b'{"kind": "select", "con'),
    "a kind of no run": _holds("config.json", b'{"kind": "x", "config": {}}'),
    "a kind that is a list": _holds("config.json", b'{"kind": [], "config": {}}'),
    "a seed of 400 digits": _config(seed=10**400),
    "a seed that is text": _config(seed="first"),
    "tasks that are numbers": _config(tasks=[1, 2]),
    "terms that are tables": _config(terms=[{}]),
    "a task that is a list": _config(task=["x"]),
    "a task of 5000 letters": _config(task="x" * 5000),
    "a learning rate of 400 digits": _config(lr=10**400),
    "a device that is a path": _config(device=["../.."]),
    "lists in lists in lists": _config(text=[[[[[[[[[[]]]]]]]]]]),
    "a line that is a list": _line("[1, 2]"),
    "an epoch that is a list": _line('["type", {"type": "epoch"}]'),
    "an accuracy of 400 digits": _line('{"type": "epoch", "epoch": 2, "step": 8, "accuracy": ' + "9" * 400 + "}"),
    "an accuracy without end": _line('{"type": "epoch", "epoch": 2, "step": 8, "accuracy": 1e999}'),
    "an accuracy that is no number": _line('{"type": "epoch", "epoch": 2, "step": 8, "accuracy": NaN}'),
    "an accuracy that is text": _line('{"type": "epoch", "epoch": 2, "step": 8, "accuracy": "high"}'),
    "an epoch's step that is text": _line('{"type": "epoch", "epoch": 2, "step": "x", "accuracy": 1}'),
    "a step of 400 digits": _line('{"type": "step", "total": 4, "loss": [1], "step": ' + "9" * 400 + "}"),
    "a step without its total": _line('{"type": "step", "step": 5, "loss": [1]}'),
    "losses that are a number": _line('{"type": "step", "step": 5, "total": 9, "loss": 1}'),
    "losses that are text": _line('{"type": "step", "step": 5, "total": 9, "loss": ["x"]}'),
    "scores that are a list": _line('{"type": "scores", "step": 5, "scores": [1]}'),
    "scores of a term that are a number": _line('{"type": "scores", "step": 5, "scores": {"v": 1}}'),
    "a score that is text": _line('{"type": "scores", "step": 5, "scores": {"v": {"projection_ratio": "x"}}}'),
    "a message that is a number": _line('{"type": "message", "text": 5}'),
    "a stage without a name": _line('{"type": "stage"}'),
    "a type that is a list": _line('{"type": ["epoch"]}'),
    "a thousand metrics": _line(json.dumps({"type": "epoch", "step": 8, **{f"m{i}": 1 for i in range(1000)}})),
    "brackets 50,000 deep": _line("[" * 50_000),
    "a result that is a list": _holds("result.json", b"[]"),
    "a selection that is a list": _holds("result.json", b'{"selected": {"projection_ratio": []}}'),
    "runs that are text": _holds("result.json", b'{"runs": "x", "failed": 0}'),
    "a name that is a number": _holds("about.json", b'{"name": 5}'),
    "an estimate of 400 digits": _holds("about.json", b'{"estimate": {"seconds": 1' + b"0" * 400 + b', "bytes": 1}}'),
    **{f"{name} that is no text": _holds(name, b"\xff\xfe\x00") for name in FILES if name.endswith("json")},
    **{f"{name} as a pipe": _is(name, lambda path: os.mkfifo(path)) for name in FILES},
    **{f"{name} as a folder": _is(name, lambda path: path.mkdir()) for name in FILES},
    **{f"{name} without end": _is(name, lambda path: path.symlink_to("/dev/zero")) for name in FILES},
    **{f"{name} as a link elsewhere": _is(name, lambda path: path.symlink_to("/etc/passwd")) for name in FILES},
    **{f"{name} of a terabyte": _is(name, _huge) for name in FILES if name != "log.txt"},
    **{f"no {name}": _is(name, lambda path: None) for name in ("status.json", "config.json")},
    "the snapshot as a pipe": _is("snapshot.beft.safetensors", lambda path: os.mkfifo(path)),
    "the snapshot as a link elsewhere": _is("snapshot.beft.safetensors", lambda path: path.symlink_to("/etc/passwd")),
}
