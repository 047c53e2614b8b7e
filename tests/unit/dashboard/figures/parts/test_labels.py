"""Names out of files say what they say in a figure, and nothing else."""

from __future__ import annotations

import html

import pytest

from dashboard.figures.parts.labels import as_written, in_figures, in_templates

NAMES = ["<a href='x'>task</a>", "100 % of %{x}", "R&D", "plain", "&lt;b&gt;"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_as_it_is_and_has_neither_tags_nor_values(name: str) -> None:
    assert "<" not in in_figures(name) and html.unescape(in_figures(name)) == name
    assert "<" not in in_templates(name) and "%" not in in_templates(name)
    assert html.unescape(in_templates(name)) == name


def test_tasks_are_written_as_the_paper_does_and_other_words_stay() -> None:
    told = as_written("sst2 keeps 74 %; prompt-sst2, stsb and my-sst2 of films")
    assert told == "SST-2 keeps 74 %; prompted SST-2, STS-B and my-sst2 of films"


def test_a_long_name_is_cut_before_it_is_escaped() -> None:
    assert in_figures("<" * 50, 10) == "&lt;" * 9 + "…"
    assert in_figures("x" * 10, 10) == "x" * 10
