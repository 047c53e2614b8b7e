"""``beft docs`` as its users meet it."""

from __future__ import annotations

import json

from cli_runner import assert_refused, beft

from beft_core.docs.topics import topics


def test_without_a_topic_it_lists_all() -> None:
    result = beft("docs")
    assert (result.status, result.err) == (0, "")
    for page in topics():
        assert any(line.split()[:1] == [page.name] for line in result.out.splitlines())
    listed = json.loads(beft("docs", "--json").out)
    assert listed == {page.name: {"title": page.title, "summary": page.summary} for page in topics()}


def test_a_page_is_rendered() -> None:
    result = beft("docs", "scores")
    assert (result.status, result.err) == (0, "")
    assert "How the scores are defined" in result.out
    assert "# How" not in result.out
    assert "projection ratio" in result.out
    document = json.loads(beft("docs", "scores", "--json").out)
    assert document["markdown"].startswith("# How the scores are defined\n")


def test_the_registry_fills_in_the_prompted_tasks() -> None:
    document = json.loads(beft("docs", "language-models", "--json").out)["markdown"]
    assert "<!--" not in document and "| prompt-wsc | No, Yes | candidates | accuracy | 0.01 |" in document
    assert "I found this answer" in beft("docs", "language-models").out


def test_an_unknown_topic_is_one_line() -> None:
    assert "got the topic score" in assert_refused(beft("docs", "score"))
