"""One visual language: a colour is a term and nothing else, an approach is a form, names put their words first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dashboard
from beft_core.scores.approaches import APPROACHES, questions
from beft_core.terms import CANDIDATES, TERM_KEYS
from dashboard.figures.parts import style
from dashboard.figures.parts.contrast import contrast

FILES = [path for path in Path(dashboard.__file__).parent.rglob("*") if path.suffix in (".py", ".js", ".css", ".html")]


def test_approaches_differ_in_every_form_and_variants_are_hollow() -> None:
    assert set(style.approach_forms()) == set(APPROACHES)
    for form in ("symbol", "sign", "pattern", "dash"):
        assert len({getattr(one, form) for one in style.approach_forms().values()}) == len(APPROACHES), form
    for first, *variants in questions().values():
        assert all(
            style.approach_forms()[one.key].symbol == f"{style.approach_forms()[first.key].symbol}-open"
            for one in variants
        )


def test_colours_of_terms_stand_in_one_place() -> None:
    """A page that writes a term's colour itself would keep it when the table changes, or lend it to something else."""
    assert len(set(style.TERM_COLOURS.values())) == len(TERM_KEYS)
    written = re.compile("|".join(style.TERM_COLOURS.values()), re.IGNORECASE)
    own = {path.name for path in FILES if written.search(path.read_text(encoding="utf-8"))}
    assert own == {"style.py"}


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_no_term_has_no_colour_of_one(dark: bool) -> None:
    for colour in (style.neutral(dark), style.ink(dark), *style.DIVERGING):
        assert colour not in style.TERM_COLOURS.values()
        assert colour not in {style.term_ink(term, dark) for term in TERM_KEYS}


def test_shades_go_towards_the_page() -> None:
    for dark in (False, True):
        steps = [style.shade(style.TERM_COLOURS["v"], step, dark) for step in range(style.SHADES)]
        kept = [contrast(colour, style.ground(dark)) for colour in steps]
        assert steps[0] == style.TERM_COLOURS["v"].lower() and kept == sorted(kept, reverse=True)
        assert len(set(steps)) == style.SHADES


def test_names_put_words_first_and_the_symbol_second() -> None:
    assert style.name("v") == "value bias, b_v"
    assert style.name_in_text("mlp_in") == "MLP in bias, $b_{\\mathrm{m2}}$"
    assert style.name_in_figures("o") == "attention output bias, b<sub>m1</sub>"
    assert style.tinted("v") == ":orange[value bias, $b_v$]" and style.tinted("k", "frozen") == ":gray[frozen]"
    assert style.tinted("ln1") == style.name_in_text("ln1")
    assert set(style.THEME_HUES) == set(CANDIDATES)
