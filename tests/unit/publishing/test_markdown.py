"""Texts of strangers in Markdown, judged by a reader of Markdown: they are shown as they are, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from beft_core.publishing.markdown import ENVIRONMENT, MAX_CHARACTERS, Plain, code, escaped, table

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = (
    "](http://evil.example) [click](http://evil.example)",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "a | b | c",
    "`code` and ``more``",
    "*bold* __strong__ ~~gone~~ \\* &lt; &#60;",
    "http://evil.example www.evil.example me@evil.example",
    "![image](http://evil.example/x.png)",
    "[ref]: http://evil.example",
    "$x^2$ {{ 7 * 7 }} {% raw %}",
)


def texts(tokens: list) -> str:
    """All text that a reader sees; anything but text and tables' parts fails."""
    seen = ""
    for token in tokens:
        if token.type == "inline":
            kinds = {child.type for child in token.children} - {"text", "text_special"}
            assert not kinds, kinds
            seen += "".join(child.content for child in token.children)
    return seen


@pytest.mark.parametrize("value", HOSTILE)
def test_what_a_stranger_wrote_is_shown_and_nothing_else(value: str) -> None:
    assert texts(READER.parse(f"before {escaped(value)} after")) == f"before {value} after"


@given(st.text(max_size=80))
def test_any_text_is_one_line_of_text(value: str) -> None:
    tokens = READER.parse(f"x {escaped(value)} x")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    texts(tokens)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_table_keeps_its_columns(value: str) -> None:
    tokens = READER.parse(table(["a", value, "c"], [[1, value, value], [2, "x", Plain("**y**")]]))
    assert sum(token.type == "th_open" for token in tokens) == 3
    assert sum(token.type == "td_open" for token in tokens) == 6
    cells = [token.content for token in tokens if token.type == "inline"]
    assert len(cells) == 9 and cells[-1] == "**y**"


def test_long_texts_are_cut_and_control_characters_go() -> None:
    assert escaped("a\n\n# b\u202e\x00c") == "a \\# b c"
    assert len(escaped("x" * 1000)) == MAX_CHARACTERS


def test_code_cannot_be_left() -> None:
    (paragraph,) = [token for token in READER.parse(f"- {code('a` [b](c) `d')} e") if token.type == "inline"]
    assert [(child.type, child.content) for child in paragraph.children or []] == [
        ("code_inline", "a' [b](c) 'd"),
        ("text", " e"),
    ]


def test_a_template_escapes_every_value_by_itself() -> None:
    template = ENVIRONMENT.from_string("{{ one }} {{ one | upper }} {{ two }}")
    assert template.render(one="<b>", two=Plain("<b>")) == "\\<b\\> \\<B\\> <b>"
