"""Hostile inputs of every kind, generated, each read in a process of its own whose memory and time are measured.

``python tests/hostile_corpora.py`` prints the table of README. An input counts as refused if one readable UserError is
raised (a run folder: if it is listed as damaged, and a sound one beside it as before), as accepted if none is; anything
else is a failure. One process forks for each input, after it has read a sound one of the kind itself.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import parquet_bombs
from damaged_runs import DAMAGES, finished
from example_snapshots import example
from hostile import hostile_snapshots
from hostile_data import GOOD, hostile_tables
from sweep_tables import make_results

from beft_core.architectures.resolve import layout_for
from beft_core.errors import UserError
from beft_core.exchange import uploads
from beft_core.exchange.peft_adapter import import_peft
from beft_core.files.safetensors_file import write_safetensors
from beft_core.models.source import bundled_path, locate
from beft_core.runs.curves import CurveReader
from beft_core.runs.overview import overviews
from beft_core.runs.run import Run
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import read_snapshot, write_snapshot
from beft_core.sweeps.spec import SweepSpec, read_spec
from beft_core.sweeps.table import COLUMNS, read_table
from beft_core.tasks.sources import table_preview
from beft_core.tasks.sources.user_files import load_files
from dashboard.result_tables.uploads import checked

MAX_BYTES, MAX_SECONDS = 2**30, 10.0
"""What an input may take before it is refused: memory beyond that of the process, and processor time."""
CPU_SECONDS, PATIENCE = 30, 200
"""Seconds after which an input counts as one that never ends: of processor time, and where it waits for something."""

Read = Callable[[], object]
"""Reads one input that lies on the disk."""
NUMBERS: tuple[Any, ...] = (-7, 0, 10**9, 2**63, 10**400, 1.5, -1e308, True, None, "x", "9" * 5000, [], {}, [[]])
"""Values for fields that hold something else."""


@dataclass(frozen=True)
class Measured:
    """What became of one input."""

    kind: str
    name: str
    outcome: str
    """``refused``, ``accepted``, or what went wrong."""
    nbytes: int
    """Memory at most, beyond what the process had before."""
    seconds: float
    """Of processor time, children included."""

    @property
    def sound(self) -> bool:
        return self.outcome in ("refused", "accepted") and self.nbytes < MAX_BYTES and self.seconds < MAX_SECONDS


def measured(kind: str, name: str, read: Read) -> Measured:
    """Read an input in a fork of this process."""
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
            signal.alarm(PATIENCE)
            address, resident = (int(pages) for pages in Path("/proc/self/statm").read_text().split()[:2])
            resource.setrlimit(resource.RLIMIT_AS, (address * resource.getpagesize() + 3 * 2**30,) * 2)
            outcome = _outcome(read).encode("utf-8", "replace")[:3000]
            os.write(sender, f"{_most_memory() - resident * resource.getpagesize()} ".encode() + outcome)
        finally:
            os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as pipe:
        taken, _, outcome = pipe.read().decode().partition(" ")
    _, status, usage = os.wait4(pid, 0)
    if not outcome:
        outcome = f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without a word"
    nbytes = max(0, int(taken)) if taken else usage.ru_maxrss * 1024
    return Measured(kind, name, outcome, nbytes, usage.ru_utime + usage.ru_stime)


def _most_memory() -> int:
    """Bytes: the most that this process had, and the largest that it started (which begins as a copy of this one)."""
    return 1024 * sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _outcome(read: Read) -> str:
    try:
        read()
    except UserError as error:
        line = str(error)
        return "refused" if line.isprintable() and 0 < len(line) < 1400 else f"not one readable line: {line!r}"
    except BaseException as error:  # whatever it is, it would have been a traceback
        return f"{type(error).__name__}: {str(error)[:300]}"
    return "accepted"


# --- kinds ---------------------------------------------------------------------------------------------------------

Inputs = Iterator[tuple[str, Read]]


def damaged(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """A sound file with bytes changed, cut off, doubled or added."""
    draw = random.Random(seed)
    for number in range(count):
        raw = bytearray(data)
        match number % 4:
            case 0:
                for _ in range(draw.choice((1, 3, 30))):
                    raw[draw.randrange(len(raw))] = draw.randrange(256)
            case 1:
                del raw[draw.randrange(len(raw)) :]
            case 2:
                at = draw.randrange(len(raw))
                raw[at:at] = raw[at : at + draw.randrange(1, 200)]
            case _:
                at = draw.randrange(len(raw))
                raw[at:at] = draw.randbytes(draw.randrange(1, 50))
        yield f"damage {number}", bytes(raw)


def put(folder: Path, name: str, data: bytes | str) -> Path:
    """A file in a folder of its own."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))
    return path


def sparse(path: Path, nbytes: int = 3 * 2**30) -> Path:
    """A file of zeros that takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(nbytes)
    return path


def unfilled(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> Path:
    """A safetensors file of zeros that takes no room: name -> dtype of four bytes, shape."""
    rows, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + 4 * math.prod(shape)
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(rows).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with path.open("ab") as file:
        file.truncate(8 + len(header) + end)
    return path


def snapshots(folder: Path) -> Inputs:
    """Snapshot files."""
    write_snapshot(folder / "sound", example(full=True))
    sound = (folder / "sound").read_bytes()

    def read(path: Path) -> None:
        snapshot = read_snapshot(path)
        snapshot.tensors()
        score_snapshot(snapshot)

    read(folder / "sound")
    for number, (name, data) in enumerate([*hostile_snapshots(), *damaged(sound, 120, 1)]):
        path = put(folder, f"{number}.beft.safetensors", data)
        yield name, lambda path=path: read(path)
    yield "3 GB of zeros", lambda: read(sparse(folder / "zeros"))


def tables(folder: Path) -> Inputs:
    """Tables of examples in every format."""
    columns = {"text": "text", "label": "label"}
    for name, fields in hostile_tables(folder / "known"):
        yield name, lambda fields=fields: load_files(**fields)
    frame = pd.read_csv(io.StringIO(GOOD))
    frame.to_parquet(folder / "good.parquet")
    sound = {
        ".csv": GOOD.encode(),
        ".tsv": GOOD.replace(",", "\t").encode(),
        ".jsonl": frame.to_json(orient="records", lines=True).encode(),
        ".parquet": (folder / "good.parquet").read_bytes(),
    }
    table_preview.preview("sound.csv", sound[".csv"])
    load_files(put(folder, "sound.csv", sound[".csv"]), None, **columns)
    for seed, (suffix, data) in enumerate(sound.items()):
        for name, broken in damaged(data, 12 if suffix == ".parquet" else 40, seed):
            path = put(folder, f"{suffix[1:]}-{name.replace(' ', '-')}{suffix}", broken)
            yield (
                f"{suffix} {name}",
                lambda path=path: (
                    table_preview.preview(path.name, path.read_bytes()),
                    load_files(path, None, **columns),
                ),
            )
    large = {
        "a million commas.csv": "text,label" + "," * 10**6,
        "a million columns.tsv": "\t".join(["a"] * 500_000),
        "rows of nothing.csv": "text,label\n" + "\n" * 2_000_000,
        "a text of 20 MB.jsonl": '{"text": "' + "x" * (20 * 2**20) + '", "label": 1}',
        "lists of nothing.jsonl": '{"text": "a", "label": 1, "z": [' + "[]," * 340_000 + "[]]}\n" * 1,
        "an open quotation.csv": 'text,label\n"' + "line\n" * 1_000_000,
        "a label of 1 MB.csv": "text,label\n" + "a," + "b" * 100_000 + "\n",
        "a number of 4000 digits.jsonl": '{"text": "a", "label": ' + "9" * 4000 + "}\n",
        "one rare character.csv": "text,label\n" + "".join(f"{'x' * 1000}🎉,{n % 2}\n" for n in range(100_000)),
    }
    for name, text in large.items():
        path = put(folder, name, text)
        yield name, lambda path=path: load_files(path, None, **columns)
    for suffix in sound:
        path = sparse(folder / f"zeros{suffix}", 200 * 2**20)
        yield f"200 MB of zeros{suffix}", lambda path=path: load_files(path, None, **columns)
        pipe = folder / f"pipe{suffix}"
        os.mkfifo(pipe)
        yield f"a pipe{suffix}", lambda path=pipe: load_files(path, None, **columns)
    for make in (
        parquet_bombs.repeated_text,
        parquet_bombs.packed_page,
        parquet_bombs.many_nulls,
        parquet_bombs.nested,
        parquet_bombs.many_columns,
    ):
        path = folder / f"{make.__name__}.parquet"
        _apart(lambda make=make, path=path: make(path))
        yield make.__name__, lambda path=path: load_files(path, None, **columns)


def _apart(make: Read) -> None:
    """Make a file in another process, so that its memory is not this one's."""
    pid = os.fork()
    if pid == 0:
        try:
            make()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def yaml(folder: Path) -> Inputs:
    """Sweeps as YAML."""
    values = (
        "2024-13-45",
        "!!bool x",
        "!!int ''",
        "!!float x",
        "!!timestamp x",
        "[0x_]",
        "9" * 6000,
        "0x" + "f" * 6000,
        "1000000000",
        "-7",
        "[18446744073709551615]",
        "99999999999999999999",
        ".nan",
        ".inf",
        "[.nan]",
        "{a: b}",
        "[[[[1]]]]",
        "&a [*a]",
        "*b",
        "''",
        "null",
        "[1, 1]",
        "2024-12-24",
        "~nosuchuser/x",
        "n" * 300,
        "[" * 3000,
    )
    fields = ("tasks", "seeds", "n_train", "lrs", "terms", "epochs", "batch_size", "max_length", "layers", "settings")
    SweepSpec.from_dict(read_spec(put(folder, "sound.yaml", "tasks: [sst2]\n"))).runs()
    for field in fields:
        for number, value in enumerate(values):
            path = put(folder, f"{field}-{number}.yaml", f"{field}: {value}\n")
            yield f"{field}: {value[:20]}", lambda path=path: SweepSpec.from_dict(read_spec(path)).runs()
    laughs = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'] * 9)}]\n" for n in range(10))
    others = {"laughs": laughs, "zero byte": "a: \0", "many": "".join(f"{n}: 1\n" for n in range(25_000))}
    for name, text in others.items():
        path = put(folder, f"{name}.yaml", text)
        yield name, lambda path=path: SweepSpec.from_dict(read_spec(path)).runs()
    for path in (Path("/dev/zero"), sparse(folder / "zeros.yaml"), folder):
        yield str(path.name), lambda path=path: read_spec(path)


def models(folder: Path) -> Inputs:
    """Folders of models: every field of the configuration, and files of other kinds and sizes."""
    config = json.loads((bundled_path() / "config.json").read_text())

    def made(name: str) -> Path:
        place = folder / name
        place.mkdir(parents=True)
        for file in ("model.safetensors", "tokenizer.json"):
            (place / file).symlink_to(bundled_path() / file)
        return place

    def look(place: Path) -> None:
        locate(str(place))
        uploads.from_models(uploads.Model(str(place)), uploads.Model(str(place)))

    look(bundled_path())
    for field in sorted({*config, "num_key_value_heads", "position_embedding_type"}):
        for number, value in enumerate(NUMBERS):
            place = made(f"{field}-{number}")
            text = json.dumps({**config, field: "HERE"})
            shown = json.dumps(value) if not (isinstance(value, int) and value > 2**64) else "9" * 5000
            put(place, "config.json", text.replace('"HERE"', shown))
            yield f"{field} = {str(shown)[:20]}", lambda place=place: look(place)
    for number, (name, data) in enumerate(damaged(json.dumps(config).encode(), 40, 3)):
        place = made(f"damaged-{number}")
        put(place, "config.json", data)
        yield name, lambda place=place: look(place)
    for layers, width in ((2000, 4096), (1000, 32768), (170, 8192)):
        place = folder / f"biases-{layers}-{width}"
        sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
        put(place, "config.json", json.dumps({**config, **sizes}))
        layout = layout_for({**config, **sizes})
        widths = {slot.parameter: [slot.width] for slot in layout.slots}
        unfilled(place / "model.safetensors", {name: ("F32", shape) for name, shape in widths.items()})
        yield (
            f"biases of {layers} layers of {width}",
            lambda place=place: uploads.from_models(uploads.Model(str(place)), uploads.Model(str(place))),
        )
    for name in ("config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json", "vocab.txt"):
        for kind in ("3 GB", "pipe", "folder", "nothing", "lists"):
            place = made(f"{name}-{kind}".replace(" ", ""))
            put(place, "config.json", json.dumps(config))
            (place / name).unlink(missing_ok=True)
            match kind:
                case "3 GB":
                    sparse(place / name)
                case "pipe":
                    os.mkfifo(place / name)
                case "folder":
                    (place / name).mkdir()
                case "lists":
                    put(place, name, b'{"a": [' + b"[]," * 5_000_000 + b"[]]}")
            yield f"{name}: {kind}", lambda place=place: look(place)


def adapters(folder: Path) -> Inputs:
    """Zips of PEFT adapters."""
    config = json.dumps({"peft_type": "BEFT", "base_model_name_or_path": None}).encode()
    name = "base_model.model.bert.encoder.layer.{}.attention.self.value.beft_bias"
    write_safetensors(folder / "w", {name.format(n): np.full((1, 384), 0.1, np.float32) for n in range(6)}, {})
    weights = (folder / "w").read_bytes()

    def zipped(files: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, data in files:
                archive.writestr(name, data)
        return buffer.getvalue()

    parts = (("adapter_config.json", config), ("adapter_model.safetensors", weights))
    sound = zipped(parts)
    uploads.opened("a.zip", sound)
    made = {
        "zeros": zipped([parts[0], ("adapter_model.safetensors", bytes(100 * 2**20))]),
        "a configuration of zeros": zipped([("adapter_config.json", bytes(64 * 2**20)), parts[1]]),
        "many files": zipped([*parts, *((f"{n}", b"") for n in range(5000))]),
        "packed otherwise": zipped(parts, zipfile.ZIP_LZMA),
        "one of two": zipped(parts[:1]),
        "none": zipped([]),
        "twice": zipped([("a/adapter_config.json", config), ("b/adapter_config.json", config), parts[1]]),
        "paths upwards": zipped([(f"../../{name}", data) for name, data in parts]),
    }
    for name, value in (
        (f"{field} = {str(value)[:20]}", {field: value})
        for field in ("peft_type", "target_modules", "base_model_name_or_path")
        for value in NUMBERS
        if value != 10**400
    ):
        made[name] = zipped([("adapter_config.json", json.dumps({"peft_type": "BEFT", **value}).encode()), parts[1]])
    for name, data in [*made.items(), *damaged(sound, 80, 5)]:
        yield name, lambda data=data: uploads.opened("a.zip", data)
    for name, shape in {"of 4 GB": (2**20, 1024), "of 6 GB": (2**22, 384), "of one row too wide": (1, 385)}.items():
        place = folder / f"head {name}"
        put(place, "adapter_config.json", config)
        described = {"base_model.model.classifier.weight": ("F32", list(shape))}
        unfilled(place / "adapter_model.safetensors", described)
        yield f"a head {name}", lambda place=place: import_peft(place, "bundled")


def results(folder: Path) -> Inputs:
    """Result tables of sweeps."""
    table = make_results(["sst2"], ["low"], [1e-3], [0])

    def look(path: Path) -> None:
        checked(read_table(path))

    for number, column in enumerate(COLUMNS):
        value = "x" * 5000 if number % 2 else None
        path = folder / f"{number}.csv"
        table.assign(**{column: value}).to_csv(path, index=False)
        yield f"{column} = {str(value)[:10]}", lambda path=path: look(path)
    table.to_parquet(folder / "sound.parquet", index=False)
    table.to_csv(folder / "sound.csv", index=False)
    look(folder / "sound.csv")
    for seed, suffix in enumerate((".parquet", ".csv")):
        for name, data in damaged((folder / f"sound{suffix}").read_bytes(), 12 if suffix == ".parquet" else 40, seed):
            path = put(folder, f"{name.replace(' ', '-')}{suffix}", data)
            yield f"{suffix} {name}", lambda path=path: look(path)
    header = ",".join(COLUMNS)
    for name, text in {
        "a million lines.csv": header + "\n" * 10**6,
        "two million commas.csv": header + "," * 2_000_000,
        "a million rows.csv": header + "\n" + ("," * (len(COLUMNS) - 1) + "\n") * 150_000,
        "numbers of 5000 digits.csv": header + "\n" + ",".join(["9" * 5000] * len(COLUMNS)) + "\n",
    }.items():
        path = put(folder, name, text)
        yield name, lambda path=path: look(path)
    for make in (parquet_bombs.repeated_text, parquet_bombs.many_columns):
        path = folder / f"{make.__name__}.parquet"
        make(path)
        yield make.__name__, lambda path=path: look(path)
    path = parquet_bombs.repeated_in(folder / "failures.parquet", table, "failure")
    yield "a long text in every row", lambda: look(path)
    yield "3 GB of zeros", lambda: look(sparse(folder / "zeros.parquet"))


def runs(folder: Path) -> Inputs:
    """Run folders beside a sound one."""

    def look(root: Path, run: Run, sound: Run) -> None:
        rows = {row.run: row for row in overviews(root)}
        CurveReader(run).read()
        run.log_tail()
        if len(rows) != 2 or rows[sound].damage or rows[sound].value != 0.75:
            raise AssertionError("the other run suffered")
        if rows[run].damage:
            raise UserError("; ".join(rows[run].damage))

    def made(root: Path) -> tuple[Path, Run, Run]:
        return root, finished(root), finished(root, seed=7)

    look(*made(folder / "sound"))
    for number, (name, damage) in enumerate(DAMAGES.items()):
        root, run, sound = made(folder / f"{number}")
        damage(run)
        yield name, lambda root=root, run=run, sound=sound: look(root, run, sound)
    place = made(folder / "lines")
    text = place[1].metrics.read_bytes()
    for number, (name, data) in enumerate(damaged(text, 20, 7)):
        root, run, sound = made(folder / f"metrics-{number}")
        run.metrics.write_bytes(data)
        yield f"measurements, {name}", lambda root=root, run=run, sound=sound: look(root, run, sound)


KINDS: dict[str, Callable[[Path], Inputs]] = {
    "snapshots": snapshots,
    "tables": tables,
    "YAML": yaml,
    "model folders": models,
    "PEFT zips": adapters,
    "result tables": results,
    "run folders": runs,
}


def run(kinds: Iterable[str] = KINDS) -> list[Measured]:
    """Generate and read all inputs of these kinds."""
    found = []
    for kind in kinds:
        folder = Path(tempfile.mkdtemp(prefix="beft-corpus-"))
        try:
            for name, read in KINDS[kind](folder):
                gc.freeze()  # what is there already is not looked at, and so not copied, by any fork
                found.append(measured(kind, name, read))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return found


def as_markdown(found: list[Measured]) -> str:
    """The table of README."""
    lines = ["| kind | inputs | refused | most memory | slowest |", "| --- | --- | --- | --- | --- |"]
    for kind in dict.fromkeys(one.kind for one in found):
        own = [one for one in found if one.kind == kind]
        refused = sum(one.outcome == "refused" for one in own)
        memory, slowest = max(one.nbytes for one in own), max(one.seconds for one in own)
        lines.append(f"| {kind} | {len(own):,} | {refused:,} | {memory / 2**20:,.0f} MB | {slowest:.1f} s |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    began = time.monotonic()
    everything = run(parser.parse_args().kinds)
    broken = [one for one in everything if not one.sound]
    sys.stdout.write(as_markdown(everything) + "\n")
    sys.stdout.write("".join(f"{one}\n" for one in broken))
    sys.stderr.write(f"{len(everything)} inputs, {len(broken)} unsound, {time.monotonic() - began:.0f} s\n")
    sys.exit(bool(broken))
