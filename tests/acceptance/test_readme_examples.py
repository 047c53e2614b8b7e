"""What the README and the pages of ``beft docs`` show of a terminal is what the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest
import readme_examples
from readme_examples import PAGES, Example, comparable, examples

ALL = [example for page in PAGES for example in examples(page)]
QUICK = [example for example in ALL if not example.trains]


def test_the_pages_have_examples() -> None:
    assert len(ALL) >= 6
    assert len(QUICK) >= 3
    assert {example.page.name for example in ALL} >= {"README.md"}


@pytest.mark.parametrize("example", QUICK, ids=lambda example: example.command[:60])
def test_an_example_prints_what_the_page_shows(example: Example, tmp_path: Path) -> None:
    assert comparable(readme_examples.run(example, tmp_path)) == comparable(example.shown)


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.command[:60])
def test_an_example_fits_into_80_columns(example: Example) -> None:
    assert [line for line in example.shown.splitlines() if len(line) > 80] == []
