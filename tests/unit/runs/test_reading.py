"""Measurements and logs that are being written while they are read, and what a crash leaves of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beft_core.runs import reading
from beft_core.runs.reading import last_lines, read_records
from beft_core.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create("train", {"task": "sst2", "batch_size": 16}, tmp_path)


@given(st.lists(st.integers(0, 10**9), max_size=20), st.integers(1, 60))
def test_every_record_is_read_once_however_the_bytes_arrive(values: list[int], chunk: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        data = b"".join(json.dumps({"v": v}).encode() + b"\n" for v in values)
        seen, offset = [], 0
        for at in range(0, len(data), chunk):
            with run.metrics.open("ab") as file:
                file.write(data[at : at + chunk])
            records, offset = run.read_metrics(offset)
            seen += [record["v"] for record in records]
        assert seen == values and offset == len(data)


def test_metrics_reader_skips_debris_and_starts_over_in_a_shorter_file(run: Run) -> None:
    run.metrics.write_bytes(b'{"v": 1}\n{"v": 2, "lo\n[3]\n{"v": NaN}\n{"v": 4}\n{"v": 5')
    records, offset = run.read_metrics()
    assert records == [{"v": 1}, {"v": 4}]
    assert run.read_metrics(offset) == ([], offset)
    run.metrics.write_bytes(b'{"v": 9}\n')
    assert run.read_metrics(offset)[0] == [{"v": 9}]
    assert run.read_metrics(-5)[0] == [{"v": 9}]


def test_log_tail_is_what_a_terminal_would_show(run: Run) -> None:
    run.log.write_bytes(b"first\n\n 10%|#\r100%|####\n\x1b[31mred\x1b[0m\n\xff\n")
    assert run.log_tail() == ["first", "100%|####", "red", "�"]
    run.log.write_text("x" * 10**6 + "\nlast\n")
    assert run.log_tail(1) == ["last"]


def test_one_read_returns_a_part_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(b'{"v": %d}\n' % v for v in range(5)))
    monkeypatch.setattr(reading, "READ_BYTES", 20)  # two records and a bit
    seen, offset = [], 0
    while True:
        records, after = read_records(path, offset)
        if not records:
            break
        assert len(records) == 2 or after == path.stat().st_size
        seen += [record["v"] for record in records]
        offset = after
    assert seen == list(range(5))


def test_too_many_strange_lines_end_a_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"v": 1}\n?\n?\n?\n{"v": 2}\n')
    assert [record["v"] for record in read_records(path)[0]] == [1, 2]
    monkeypatch.setattr(reading, "MAX_STRANGE", 2)
    assert [record["v"] for record in read_records(path)[0]] == [1]


def test_what_is_not_there_has_nothing_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"v": 1}\n')
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for name in ("none", "link"):
        assert read_records(tmp_path / name) == ([], 0) and last_lines(tmp_path / name, 3) == []
