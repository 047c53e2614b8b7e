"""YAML that a stranger wrote: one line each, and before anything grows."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.files.safe_yaml import LARGEST, MAX_BYTES, read_yaml
from beft_core.sweeps.spec import SweepSpec, read_spec

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)

HOSTILE: dict[str, tuple[str, str]] = {
    "a month that is none": ("tasks: 2024-13-45", "month"),
    "a date": ("tasks: 2024-12-24", "type date"),
    "a time": ("tasks: 2024-12-24 12:00:00", "type datetime"),
    "a tag for true or false": ("seeds: !!bool x", "tag"),
    "a tag for a number": ("seeds: !!int ''", "tag"),
    "a tag for a fraction": ("lrs: !!float x", "tag"),
    "a tag for a time": ("seeds: !!timestamp x", "tag"),
    "a tag for code": ("seeds: !!python/object/apply:os.system ['true']", "tag"),
    "a tag of its own": ("seeds: !seed 1", "tag"),
    "bytes": ("tasks: !!binary aGVsbG8=", "tag"),
    "a hexadecimal number of no digits": ("seeds: [0x_]", "not YAML"),
    "a number of 6000 digits": (f"seeds: {'9' * 6000}", "not YAML"),
    "a hexadecimal number of 6000 digits": (f"seeds: 0x{'f' * 6000}", "whole number of 24000 bits"),
    "a number of 64 bits": (f"seeds: [{LARGEST}]", "whole number of 64 bits"),
    "such a number as a name": (f"{LARGEST}: 1", "whole number"),
    "a billion laughs": (LAUGHS, "alias 'a0'"),
    "an alias of itself": ("a: &a [*a]", "alias 'a'"),
    "an alias of nothing": ("a: *b", "alias 'b'"),
    "deep lists": ("a: " + "[" * 5000, "lists inside each other"),
    "deep tables": ("".join(f"{' ' * n}a:\n" for n in range(500)), "lists inside each other"),
    "many values": ("seeds: [" + "1, " * 60_000 + "1]", "more than 20,000 values"),
    "many names": ("".join(f"{n}: 1\n" for n in range(25_000)), "more than 20,000 values"),
    "a table as a name": ("{? {a: b} : c}", "not YAML"),
    "not UTF-8": ("\udcff\udcfe", "not YAML"),
    "a zero byte": ("a: \0", "not YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not YAML"),
    "a list": ("- a", "no table"),
    "nothing": ("", "no table"),
}


@pytest.mark.parametrize(("text", "words"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_more_than_a_plain_table_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(UserError, match=words):
            read_yaml(file)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20 and time.process_time() - began < 10
    finally:
        tracemalloc.stop()


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "x.yaml").open("wb") as file:
        file.truncate(3 * 2**30)
    with pytest.raises(UserError, match=f"at most {MAX_BYTES}"):
        read_yaml(tmp_path / "x.yaml")


def test_what_people_write_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "# a sweep\ntasks: [sst2, 'rte']\nlrs:\n  - 1e-3\n  - 0.01\nseeds: 0x10\nfisher: yes\nmodel:\n"
        "settings: {epochs: 3, model: |\n  a\n  }\n".replace("model: |\n  a\n  }", 'pad: "max"}')
    )
    assert read_yaml(tmp_path / "x.yaml") == {
        "tasks": ["sst2", "rte"],
        "lrs": ["1e-3", 0.01],
        "seeds": 16,
        "fisher": True,
        "model": None,
        "settings": {"epochs": 3, "pad": "max"},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds: 1000000000", "seeds = 1000000000; expected how many seeds, from 1 to 10,000"),
        ("seeds: -3", "seeds = -3"),
        ("seeds: 0", "seeds = 0"),
        ("seeds: [9007199254740993]", "huge number in seeds"),
        ("lrs: [9007199254740993]", "huge number in lrs"),
        ("n_train: 4611686018427387904", "huge number in n_train"),
        ("epochs: 4611686018427387904", "--epochs"),
        ("batch_size: 4611686018427387904", "--batch-size"),
        ("seeds: [18446744073709551615]", "whole number of 64 bits"),
        ("terms: v\nlrs: .inf", "positive"),
        ("weight_decay: .nan", "--weight-decay"),
        ("layers: [4611686018427387904]", "--layers"),
        ("layers: {a: 1}", "layers"),
        ("settings: 3", "settings"),
        ("tasks: {sst2: rte}", "got 'sst2' of a table; expected some of train_file"),
    ],
)
def test_numbers_of_a_sweep_are_refused_before_anything_is_made_of_them(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        SweepSpec.from_dict(read_spec(tmp_path / "x.yaml")).runs()
