"""Templates: columns in braces, filters, braces as such."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.tasks.prompts.template import FILTERS, MAX_FIELDS, MAX_TEMPLATE, Template


def test_columns_stand_where_the_template_names_them() -> None:
    template = Template("{a} and {b | strip|lower}, {a}: {{a}}")
    assert template.columns == ("a", "b")
    assert template.render({"a": "{x}", "b": " Two ", "c": "unused"}) == "{x} and two, {x}: {a}"
    assert Template("no columns").columns == () and Template("").render({}) == ""


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("strip", "\t a b \n", "a b"),
        ("lower", "He", "he"),
        ("capital", "is ghost in the shell", "Is ghost in the shell"),
        ("capital", "", ""),
        ("lower_first_word", "The TV broke.", "the TV broke."),
        ("lower_first_word", "I saw Him.", "I saw Him."),
        ("lower_first_word", "It", "it"),
        ("question_mark", "is it", "is it?"),
        ("question_mark", "is it?", "is it?"),
        ("no_full_stop", "It broke. ", "It broke"),
        ("no_full_stop", "Why?", "Why?"),
        ("no_full_stop", "Wait...", "Wait.."),
        ("conjunction", "cause", "because"),
        ("conjunction", "effect", "so"),
        ("highlights", "One.\n@highlight\nTwo\n@highlight\nThree", "One.\n- Two\n- Three"),
    ],
)
def test_filters(name: str, before: str, after: str) -> None:
    assert Template(f"{{x|{name}}}").render({"x": before}) == after


def test_every_filter_says_what_it_does() -> None:
    assert all(filter.about for filter in FILTERS.values())
    with pytest.raises(UserError, match="got 'why'; expected one of effect, cause"):
        Template("{x|conjunction}").render({"x": "why"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{a", "got a single { in the template '{a'; expected names of columns in braces; try {{"),
        ("a} {b}", "got a single }"),
        ("{ } {b}", "got { } in the template"),
        ("{a|upper}", "got the filter 'upper' of 'a'; expected one of strip, lower"),
        ("x" * (MAX_TEMPLATE + 1), "got a template of 20,001 characters"),
        ("".join(f"{{c{i}}}" for i in range(MAX_FIELDS + 1)), "got a template with 101 columns"),
    ],
)
def test_what_is_no_template(text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        Template(text)
    assert str(error.value).startswith(told)
