"""Broken tables, one for each way in which a user's data can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOOD = "text,label\n" + "".join(f"film number {i},{('bad', 'good')[i % 2]}\n" for i in range(12))
"""A CSV table that is fine."""

_HEAD = "text,label\nfine,good\npoor,bad\n"
_TAIL = "nice,good\nawful,bad\n"
_OBJECT = '{"text": "fine", "label": "good"}\n{"text": "poor", "label": "bad"}\n'

TRAIN_FILES: dict[str, tuple[str, str | bytes]] = {
    "empty file": ("a.csv", ""),
    "header only": ("a.csv", "text,label\n"),
    "blank lines only": ("a.csv", "\n\n\n"),
    "no text column": ("a.csv", "words,label\nfine,good\npoor,bad\n"),
    "no label column": ("a.csv", "text,score\nfine,good\npoor,bad\n"),
    "two text columns": ("a.csv", "text,text,label\nfine,fine,good\npoor,poor,bad\n"),
    "semicolons": ("a.csv", "text;label\nfine;good\npoor;bad\n"),
    "one class": ("a.csv", "text,label\n" + "fine,good\n" * 10),
    "a class for each row": ("a.csv", "text,label\n" + "".join(f"fine {i},{i}\n" for i in range(10))),
    "empty text": ("a.csv", _HEAD + ",good\n" + _TAIL),
    "white text": ("a.csv", _HEAD + '"  \t ",good\n' + _TAIL),
    "missing label": ("a.csv", _HEAD + "fine,\n" + _TAIL),
    "NaN label": ("a.csv", "text,label\nfine,1.5\npoor,0.5\nnice,nan\nawful,0.25\n"),
    "infinite value": ("a.csv", "text,label\nfine,1.5\npoor,0.5\nnice,1e999\nawful,0.25\n"),
    "word among the numbers": (
        "a.csv",
        "text,label\n" + "".join(f"fine,{i}.5\n" for i in range(20)) + "fine,high\n",
    ),
    "the same value always": ("a.csv", "text,label\n" + "fine,1.5\n" * 10),
    "short row": ("a.csv", _HEAD + "fine\n" + _TAIL),
    "long row": ("a.csv", _HEAD + "fine, as films go,good\n" + _TAIL),
    "open quotation mark": ("a.csv", _HEAD + '"fine,good\n' + _TAIL),
    "text after a quotation": ("a.csv", _HEAD + '"fine" indeed,good\n' + _TAIL),
    "carriage returns only": ("a.csv", GOOD.replace("\n", "\r")),
    "a field without end": ("a.csv", _HEAD + "x" * 200_000 + ",good\n" + _TAIL),
    "Latin-1": ("a.csv", (_HEAD + "caf\xe9,good\n" + _TAIL).encode("latin-1")),
    "UTF-16": ("a.csv", GOOD.encode("utf-16")),
    "UTF-16 without a mark": ("a.csv", GOOD.encode("utf-16-le")),
    "NUL byte": ("a.csv", _HEAD + "fi\0ne,good\n" + _TAIL),
    "an image": ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "too few rows": ("a.csv", _HEAD),
    "short row of a TSV": ("a.tsv", GOOD.replace(",", "\t") + "fine\n"),
    "commas in a TSV": ("a.tsv", GOOD),
    "JSON list": ("a.jsonl", '[{"text": "fine", "label": "good"}]\n'),
    "JSON cut short": ("a.jsonl", _OBJECT + '{"text": "fine", "lab'),
    "pretty-printed JSON": ("a.jsonl", json.dumps({"text": "fine", "label": "good"}, indent=1)),
    "deep JSON": ("a.jsonl", "[" * 100_000 + "\n"),
    "JSON without the column": ("a.jsonl", _OBJECT + '{"text": "fine"}\n'),
    "JSON null as label": ("a.jsonl", _OBJECT + '{"text": "fine", "label": null}\n'),
    "JSON NaN as label": ("a.jsonl", _OBJECT + '{"text": "fine", "label": NaN}\n'),
    "JSON null as text": ("a.jsonl", _OBJECT + '{"text": null, "label": "good"}\n'),
    "JSON number as text": ("a.jsonl", _OBJECT + '{"text": 5, "label": "good"}\n'),
    "JSON list as label": ("a.jsonl", _OBJECT + '{"text": "fine", "label": ["good"]}\n'),
    "JSON number without end": ("a.jsonl", _OBJECT + '{"text": "fine", "label": ' + "9" * 5000 + "}\n"),
    "half a character": ("a.jsonl", _OBJECT + '{"text": "fine \\ud800", "label": "good"}\n'),
    "no Parquet": ("a.parquet", "text,label\nfine,good\n"),
    "Parquet cut short": ("a.parquet", b"PAR1" + bytes(40)),
    "Parquet with a bad footer": ("a.parquet", b"PAR1" + b"\xff" * 64 + b"\xff\xff\xff\x7fPAR1"),
    "wrong ending": ("a.xlsx", GOOD),
    "no ending": ("table", GOOD),
}
"""What is wrong -> name and content of the training table."""


def hostile_tables(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Write the broken tables below ``folder``: what is wrong -> arguments for ``load_files``."""
    cases: list[tuple[str, dict[str, Any]]] = []
    columns = {"text": "text", "label": "label"}

    def add(name: str, train: Path, validation: Path | None = None, **more: Any) -> None:
        cases.append((name, {"train_file": train, "eval_file": validation, **columns, **more}))

    def write(name: str, file: str, content: str | bytes) -> Path:
        path = folder / name.replace(" ", "_") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    for name, (file, content) in TRAIN_FILES.items():
        add(name, write(name, file, content))

    good = write("good", "good.csv", GOOD)
    add("no such file", folder / "nowhere.csv")
    add("no such validation file", good, folder / "nowhere.csv")
    add("a folder", good.parent)
    folder_named_csv = folder / "folder.csv"
    folder_named_csv.mkdir(exist_ok=True)
    add("a folder named like a table", folder_named_csv)
    add("a name too long for a file", folder / ("n" * 5000 + ".csv"))
    huge = write("huge", "huge.csv", GOOD)
    with huge.open("r+b") as file_handle:
        file_handle.truncate(3 * 1024**3)  # sparse: takes no space
    add("a table of 3 GB", huge)
    add("one column for text and label", good, label="text")
    add("no such pair column", good, text_pair="second")
    add(
        "a label that training lacks",
        good,
        write("unknown label", "b.csv", "text,label\nfine,good\npoor,ugly\n"),
    )
    add("one validation row", good, write("one row", "b.csv", "text,label\nfine,good\n"))
    add("validation without the column", good, write("no column", "b.csv", "words,label\nfine,good\n"))
    add("validation in Latin-1", good, write("latin", "b.csv", "text,label\ncaf\xe9,good\n".encode("latin-1")))
    numbers = write("numbers", "n.csv", "text,label\n" + "".join(f"fine,{i}.5\n" for i in range(12)))
    add("words for a regression", numbers, write("words", "b.csv", GOOD))
    return cases
