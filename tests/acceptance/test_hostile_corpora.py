"""More than a thousand hostile inputs: each refused in one line or accepted, within 1 GB and 10 s, and no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "hostile_corpora.py"
LEAST: dict[str, int] = {
    "snapshots": 240,
    "tables": 200,
    "YAML": 250,
    "model folders": 340,
    "PEFT zips": 120,
    "result tables": 160,
    "run folders": 110,
}
"""Kind -> the fewest inputs that a run of it must have tried."""


@pytest.mark.parametrize("kind", LEAST)
def test_no_input_takes_more_than_its_share(kind: str) -> None:
    """In a process of its own: it forks for every input, and what it has in memory is what each is measured from."""
    done = subprocess.run([sys.executable, str(SCRIPT), kind], check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = re.search(rf"\| {kind} \| ([\d,]+) \| ([\d,]+) \|", done.stdout)
    assert tried is not None, done.stdout
    inputs, refused = (int(number.replace(",", "")) for number in tried.groups())
    assert inputs >= LEAST[kind] and refused > inputs / 10


def test_there_are_more_than_a_thousand() -> None:
    assert sum(LEAST.values()) > 1000
