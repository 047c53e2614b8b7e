"""The pages' Markdown as HTML: words in colours, symbols of terms, and nothing that a stranger wrote."""

from __future__ import annotations

import pytest

from dashboard.figures.parts.style import latex, tinted
from dashboard.lesson.markdown import LOOKS, blocks, inline
from dashboard.shared.text import in_words, plain


def test_names_of_terms_keep_their_colour_and_their_index() -> None:
    assert inline(f"the {tinted('v')}: **61.1**") == (
        'the <span class="orange">value bias, <i>b<sub>v</sub></i></span>: <strong>61.1</strong>'
    )
    assert inline(latex("mlp_in")) == "<i>b<sub>m2</sub></i>"
    assert inline(":small[a *b* :gray[c]] d") == (
        '<span class="small">a <em>b</em> <span class="gray">c</span></span> d'
    )
    assert inline(in_words("b_q turned most.")) == "<i>b<sub>q</sub></i> turned most."


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "[link](javascript:alert(1)) ![i](http://x/y)",
        ":red[x] :material/bolt: $b_v$ `code` **bold**",
        "a_b*c~d|e",
    ],
)
def test_what_a_stranger_wrote_stays_text(text: str) -> None:
    made = inline(plain(text))
    assert "<" not in made.replace("&lt;", "") and made.unescape() == text


@pytest.mark.parametrize("text", [":purple[x]", "$x^2$"])
def test_what_it_cannot_show_is_an_error_and_not_left_out(text: str) -> None:
    with pytest.raises(ValueError, match="in a lesson"):
        inline(text)


def test_an_unclosed_directive_is_text() -> None:
    assert inline(f":{LOOKS[0]}[x") == f":{LOOKS[0]}[x"


def test_tables_and_paragraphs() -> None:
    made = blocks(f"| rule | n |\n| :-- | --: |\n| **{latex('v')}** | 1 |")
    assert "<table>" in made and "<strong><i>b<sub>v</sub></i></strong>" in made
    assert blocks("a\n\nb") == "<p>a</p>\n<p>b</p>\n"
