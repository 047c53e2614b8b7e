"""Merges of a sweep's fine-tunes as its folder holds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_tools import entry

from beft_core.errors import UserError
from beft_core.reports.merges import read_merges


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        "[",
        '[{"tasks": ["sst2", "rte"]}]',
        json.dumps([entry(cosine="0.2")]),
        json.dumps([entry(rows={"base model": {}, "merged": {}})]),
        json.dumps([entry() | {"seed": None}]),
        json.dumps([entry()]).replace("0.5", "true"),
        json.dumps([entry()]).replace("0.5", "NaN"),
        "\xff",
    ],
)
def test_damaged_merges_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "merges.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"merges\.json"):
        read_merges(tmp_path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "merges.json").write_text(json.dumps([entry(3), entry(0, ("a", "b", "c"), cosine=None, angle=None)]))
    found = read_merges(tmp_path)
    assert found is not None
    one, other = found
    assert (one.tasks, one.seed, one.term, one.method, one.cosine, one.angle) == (
        ("sst2", "rte"),
        3,
        "v",
        "mean",
        0.2,
        78.0,
    )
    assert one.value("merged", "rte") == pytest.approx(76)
    assert one.value("rte", "sst2") == pytest.approx(40)
    assert one.metrics == {"sst2": "accuracy", "rte": "accuracy"}
    assert (other.tasks, other.cosine, other.angle) == (("a", "b", "c"), None, None)
    assert other.value("merged", "nothing") is None
    assert other.value("nothing", "a") is None


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "merges.json").write_text(json.dumps([entry()]))
    monkeypatch.setattr("beft_core.reports.merges._LIMIT", 10)
    with pytest.raises(UserError, match="at most 10"):
        read_merges(tmp_path)
