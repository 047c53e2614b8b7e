"""Names out of files, on every page: none of them becomes a link, a picture, HTML or formatting."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import streamlit as st
from dashboard_tools import app, sound
from fake_worker import small_snapshot
from google.protobuf.descriptor import FieldDescriptor
from made_comparisons import comparison, row
from made_up_samples import write_index
from merge_samples import fine_tune
from streamlit.testing.v1 import AppTest
from sweep_tables import make_results

from beft_core.config import RunConfig
from beft_core.exchange import upload_library
from beft_core.process_id import ProcessId
from beft_core.reports.merges import NAME as MERGES
from beft_core.reports.methods.table import write_comparison
from beft_core.runs import about
from beft_core.runs.overview import overview
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from dashboard.result_tables.source import SAMPLE
from dashboard.shared import page

pytestmark = pytest.mark.usefixtures("lab")

EVIL = "[zq](https://zq.test) ![zq](https://zq.test) <b>zq</b> <a href='zq'>x</a> $zq$ :red[zq] **zq**"
SHORT = "[zq](https://zq.test)"
"""Of a tag, which is at most 24 characters long."""
LEAKS = re.compile(r"zq\]\(|https://zq|<b>zq|(?<!\\)<a href|\$zq\$|:red\[zq|\*\*zq")
"""What Markdown would act upon; escaped, a backslash stands in between."""
TAGS = re.compile(r"<b>zq|<a href")
"""What Plotly and a browser would act upon."""
READ_AS_MARKDOWN = {"body", "label", "help", "title", "text", "caption", "captions", "content", "content_help", "name"}
"""Fields of an element that Streamlit reads as Markdown; the options of some kinds too."""
WITH_OPTIONS = {"Radio", "ButtonGroup"}
NOT_MARKDOWN = {"Html", "Code", "Text", "Json", "Dataframe", "Arrow", "PlotlyChart", "BidiComponent", "TextArea"}


def texts(message: Any, kind: str) -> Iterator[tuple[str, str]]:
    """(field, text) of what is read as Markdown, in a message and those below it."""
    for field, value in message.ListFields():
        many = value if field.is_repeated else [value]
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.message_type.GetOptions().map_entry:
                continue
            for one in many:
                yield from texts(one, kind)
        elif field.type == FieldDescriptor.TYPE_STRING and (
            field.name in READ_AS_MARKDOWN or (field.name == "options" and kind in WITH_OPTIONS)
        ):
            yield from ((f"{kind}.{field.name}", one) for one in many)


def nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", {}).values():
        yield from nodes(child)


def leaks(at: AppTest) -> list[str]:
    """What somebody's text does on this page."""
    found: list[str] = []
    for node in nodes(at._tree):
        message = getattr(node, "proto", None)
        if message is None:
            continue
        kind = type(message).__name__
        if kind == "PlotlyChart":
            spec = json.dumps(json.loads(message.spec), ensure_ascii=False)
            found += [
                f"{kind} {message.id[-30:]}: {spec[max(0, hit.start() - 60) :][:120]}" for hit in TAGS.finditer(spec)
            ]
        elif kind == "Html":
            found += [f"{kind}: {message.body[:100]}"] * bool(TAGS.search(message.body))
        elif kind not in NOT_MARKDOWN:
            found += [f"{where}: {text[:200]}" for where, text in texts(message, kind) if LEAKS.search(text)]
    return found


def hostile(snapshot: Snapshot) -> Snapshot:
    """The same under a hostile description."""
    metrics = tuple({**row, EVIL: 0.5} for row in snapshot.meta.metrics)
    meta = replace(
        snapshot.meta,
        task=EVIL,
        metric=EVIL,
        metrics=({"epoch": 1, EVIL: 0.5}, *metrics),
        device=EVIL,
        versions={EVIL: EVIL},
        hyperparameters={"lr": 1e-3, EVIL: EVIL, "max_length": 64},
        model=replace(snapshot.meta.model, id=EVIL, revision=EVIL),
    )
    snapshot.meta = meta
    return snapshot


def run_of(kind: str, state: str, **fields: Any) -> Run:
    """A run whose every text is hostile."""
    config = RunConfig(task="demo-sentiment", n_train=300).to_dict() | {"task": EVIL, "model": EVIL} | fields
    run = Run.create(kind, config)
    process = None
    if state == "running":  # the fixture `lab` ends it with the runs
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        process = ProcessId.of(psutil.Process(sleeper.pid))
    now = time.time()
    run.write_status(
        Status(
            state,
            created=now - 60,
            began=now - 50,
            ended=None if process else now - 10,
            process=process,
            device=EVIL,
            stage=EVIL,
            stage_began=now - 40,
            done=3,
            total=9,
            message=EVIL,
            proposal=EVIL,
        )
    )
    lines: list[dict[str, Any]] = [{"type": "step", "step": s, "total": 40, "loss": [1 / s]} for s in range(1, 41)]
    lines += [{"type": "epoch", "run": 0, "epoch": e, "step": 20 * e, "train_loss": 0.5, EVIL: 0.7} for e in (1, 2)]
    lines += [{"type": "message", "text": EVIL}]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.log.write_text(EVIL)
    about.set_tags(run, [SHORT])
    return run


@pytest.fixture
def home(tmp_path: Path) -> dict[str, list[str]]:
    """A home and samples full of hostile names. Name in links -> what to open there."""
    samples = tmp_path / "samples"
    names = {}
    for seed in range(2):
        write_snapshot(samples / f"evil{seed}.beft.safetensors", hostile(small_snapshot(seed)))
        names[f"evil{seed}"] = f"{EVIL} {seed}"
        write_snapshot(samples / f"merge{seed}.beft.safetensors", hostile(fine_tune(f"{EVIL}{seed}", seed)))
        names[f"merge{seed}"] = f"merge {EVIL} {seed}"
    write_index(samples, names)
    index = json.loads((samples / "index.json").read_text())
    for entry in index["samples"]:
        entry["shows"] = EVIL
    (samples / "index.json").write_text(json.dumps(index))
    table = make_results(("sst2", "rte"), ("low", "medium"), (1e-3, 1e-2), (0, 1))
    rename = {"sst2": EVIL, "rte": f"rte{EVIL}"}
    table = table.assign(
        task=[rename[task] for task in table["task"]],
        metric=EVIL,
        model=[EVIL] * len(table),
        device=EVIL,
        regime=[f"{EVIL}{regime}" for regime in table["regime"]],
        state=["failed" if at % 7 == 3 else state for at, state in enumerate(table["state"])],
        failure=[EVIL if at % 7 == 3 else None for at in range(len(table))],
    )
    table.to_parquet(samples / SAMPLE, index=False)
    merged = [
        {
            "tasks": [EVIL, "rte"],
            "seed": seed,
            "term": "v",
            "method": EVIL,
            "cosine": 0.1,
            "angle": 84.0,
            "rows": {row: {EVIL: 0.5, "rte": 0.6} for row in ("base model", EVIL, "rte", "merged")},
            "metrics": {EVIL: EVIL, "rte": "accuracy"},
        }
        for seed in range(3)
    ]
    (samples / MERGES).write_text(json.dumps(merged))
    evil = {"task": EVIL, "model": EVIL, "label": EVIL, "trains": f"q{EVIL}", "metric": EVIL, "edge": EVIL}
    methods = [row("v", 0.7, **evil), row("lora", 0.5, **evil, setting="same", state="failed", reason=EVIL)]
    write_comparison(comparison(*methods), samples, {})
    upload_library.keep(hostile(small_snapshot(5)), EVIL[:60])
    runs = [run_of("select", "done"), run_of("train", "failed"), run_of("train", "running")]
    runs.append(run_of("train", "done", task=None, train_file=f"/data/{EVIL}", text=EVIL, label=EVIL))
    write_snapshot(runs[0].snapshot, hostile(small_snapshot(7)))
    about.rename(runs[1], EVIL[:80])
    sweeps = [run_of("sweep", state, tasks=[EVIL], terms=["v", EVIL]) for state in ("done", "failed", "running")]
    for sweep in sweeps:
        sweep.sweep.mkdir()
        table.to_parquet(sweep.sweep / "results.parquet", index=False)
    merges = [run_of("merge", state, method=EVIL, tasks=[EVIL]) for state in ("done", "failed")]
    return {
        "run": [run.id for run in runs],
        "sweep_run": [run.id for run in sweeps],
        "merge_run": [run.id for run in merges],
        "runs": [overview(run).label for run in (*runs, *sweeps, *merges)],
        "snapshot": list(names.values()),
        "fine-tunes": [title for title in names.values() if "merge" in title],
    }


PARTS = [
    "Claims",
    "Figures 1 and 4",
    "Table 1",
    "Table 2",
    "Table 3",
    "Table 4",
    "Table 5",
    "Learning rate and epochs",
    "Does the score predict?",
]
BOXES = dict.fromkeys(("scores_and_results", "over_epochs", "by_task", "settled", "predicted"), "true")
"""Boxes of the evaluation that open on demand, as a link opens them."""


def links(name: str, home: dict[str, list[str]]) -> list[dict[str, Any]]:
    """The links by which a page is looked at."""
    shown = home["snapshot"]
    return {
        "start": [{"guess": "v"}],
        "importance": [{"snapshot": shown[0], "view": view} for view in ("", "Ranking by approach", "Over data sizes")],
        "geometry": [{"geo_snapshot": shown[0], "geo": tab} for tab in ("Every layer", "Through training")],
        "rewrite": [{"rw_snapshot": shown[0], "rw": tab} for tab in ("Shift the values", "Scale the weights")],
        "why": [{"why_model": EVIL, "why_text": EVIL}],
        "evaluation": [{"part": part, "of_model": EVIL, **BOXES} for part in PARTS] + [{"results": EVIL}],
        "fine_tune": [{"run": run} for run in home["run"]] + [{"ft_model": EVIL, "ft_layers": EVIL, "ft_table": EVIL}],
        "sweep": [{"sweep_run": run} for run in home["sweep_run"]] + [{"sw_n": EVIL, "sw_lrs": EVIL}],
        "runs": [{"runs": home["runs"][:1]}, {"runs": home["runs"]}, {"find": EVIL}],
        "merge": [{"merge": home["fine-tunes"]}, *({"merge_run": run} for run in home["merge_run"])],
        "dial": [{"dial_snapshot": name, "dial_part": EVIL} for name in home["fine-tunes"]] + [{"dial_run": EVIL}],
        "compare": [{"compare": shown}, {"compare": [EVIL]}],
        "try_it": [{"try": shown[:6], "try_text": EVIL}, {"try": [EVIL], "try_task": EVIL, "try_base": EVIL}],
    }[name]  # type: ignore[return-value]


@pytest.mark.parametrize("name", page.PLACES)
def test_names_do_nothing(name: str, home: dict[str, list[str]]) -> None:
    st.cache_data.clear()
    found = {}
    for link in links(name, home):
        at = app(name)
        at.query_params.update(link)
        for leak in leaks(sound(at.run())):
            found.setdefault(leak, str(link)[:150])
    assert not found, "\n".join(f"{leak}   <- {link}" for leak, link in found.items())
