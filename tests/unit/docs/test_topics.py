"""Pages of the documentation: what they are called, what they begin with, and what they link to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from beft_core.docs.topics import FOLDER, topic, topics
from beft_core.errors import UserError

ROOT = Path(__file__).parents[3]


def test_every_page_has_a_heading_and_begins_with_a_sentence_about_itself() -> None:
    pages = topics()
    assert len(pages) >= 8
    assert {page.name for page in pages} == {path.stem for path in FOLDER.glob("*.md")}
    for page in pages:
        assert page.text.startswith(f"# {page.title}\n")
        assert 20 < len(page.summary) <= 120, page.name
        assert page.summary.endswith(".")
        assert "\n# " not in page.text


def test_pages_name_only_topics_that_there_are() -> None:
    names = {page.name for page in topics()}
    readme = (ROOT / "README.md").read_text()
    for text in (readme, *(page.text for page in topics())):
        assert set(re.findall(r"`beft docs ([a-z-]+)`", text)) <= names
    assert set(re.findall(r"`beft docs ([a-z-]+)`", readme)) == names


def test_an_unknown_topic_proposes_the_closest_one() -> None:
    with pytest.raises(UserError, match=r"got the topic score; expected one of .*scores.*; try scores"):
        topic("score")


@pytest.mark.parametrize("name", ["../errors", "/etc/passwd", "scores.md", ""])
def test_a_topic_is_no_path(name: str) -> None:
    with pytest.raises(UserError, match="expected one of"):
        topic(name)
