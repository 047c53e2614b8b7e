"""The table of adapters, against PEFT's own configurations."""

from __future__ import annotations

from dataclasses import fields

import pytest

from beft_core.adapter_methods import ADAPTERS
from beft_core.config import RunConfig
from beft_core.docs.topics import topic
from beft_core.methods import METHODS
from beft_core.terms import NORMS, TERM_KEYS

peft = pytest.importorskip("peft")


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_row_says_what_pefts_configuration_has(name: str) -> None:
    row = ADAPTERS[name]
    known = {one.name for one in fields(getattr(peft, row.config_class))}
    assert {one.argument for one in row.settings} | set(row.fixed) <= known
    assert row.wraps == ("target_modules" in known)
    assert not row.scales_inputs_of or "feedforward_modules" in known
    assert row.paper.startswith("https://arxiv.org/abs/")


@pytest.mark.parametrize("name", ADAPTERS)
def test_defaults_are_in_their_bounds_and_settings_are_fields(name: str) -> None:
    row = ADAPTERS[name]
    of_config = {one.name for one in fields(RunConfig)}
    for one in row.settings:
        assert one.field in of_config and one.source
        assert one.least <= one.default <= one.most and isinstance(one.default, int) == one.whole
    assert set(row.targets) <= set(TERM_KEYS)
    assert all((target in NORMS) == row.norms for target in row.targets)
    assert set(row.scales_inputs_of) <= set(row.targets)


def test_every_adapter_is_a_method_that_stands_alone_or_among_its_like() -> None:
    rows = {name: row for name, row in METHODS.items() if row.adapter is not None}
    assert {name: row.adapter for name, row in rows.items()} == ADAPTERS
    assert [name for name, row in rows.items() if row.shares_pass] == ["lora"]
    assert not any(row.changes_weights for row in rows.values())
    assert all(row.beyond_biases and row.short for row in rows.values())
    assert [name for name, row in rows.items() if row.before_text] == ["prefix", "prompt-tuning"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_page_of_the_documentation_says_what_the_row_says(name: str) -> None:
    row = ADAPTERS[name]
    (line,) = [line for line in topic("methods").text.splitlines() if line.startswith(f"| [`{name}`]")]
    method, _, settings, wraps, _ = (cell.strip() for cell in line.strip("|").split("|"))
    assert row.paper in method and wraps == " ".join(row.targets)
    assert settings == ", ".join(f"`--{one.field.replace('_', '-')}` {one.default:g}" for one in row.settings)
