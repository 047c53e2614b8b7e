"""Ranges of learning rates: as wide for every method, with a source, and what presets take of them."""

from __future__ import annotations

import itertools
import re

import pytest

from beft_core.adapter_methods import ADAPTERS
from beft_core.config import RunConfig
from beft_core.docs.topics import topic
from beft_core.learning_rates import DECADES, RATES, spaced
from beft_core.methods import METHODS
from beft_core.presets import PRESETS


def test_every_method_that_trains_has_a_range_with_its_source() -> None:
    assert set(RATES) == {name for name, row in METHODS.items() if row.trains}
    for name, rates in RATES.items():
        assert METHODS[name].rates is rates and rates.source
        assert rates.high == pytest.approx(rates.low * 10**DECADES)
        assert bool(rates.reason) == bool(rates.usual or rates.shares)
        assert set(rates.usual) | set(rates.shares) <= set(PRESETS)


def test_a_grid_has_equal_ratios_and_both_ends() -> None:
    assert spaced(1e-4, 1e-2, 5) == (1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2)
    assert spaced(1e-4, 1e-2, 1) == (1e-3,) and RATES["lora"].grid(1) == (1e-3,)
    for rates in RATES.values():
        grid = rates.grid(7)
        assert len(grid) == 7 and (grid[0], grid[-1]) == (rates.low, rates.high)
        ratios = [after / before for before, after in itertools.pairwise(grid)]
        assert max(ratios) / min(ratios) < 1.1  # two digits
    assert len(spaced(1e-3, 1.1e-3, 50)) < 50


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_takes_lies_in_the_range(preset: str) -> None:
    for name, rates in RATES.items():
        run = RunConfig(task="sst2", mode=name, preset=preset, n_train=9).resolved()
        assert run.lr is not None and rates.low <= run.lr <= rates.high, name


def test_adapters_do_not_get_the_rate_of_single_bias_terms_and_say_where_theirs_is_from() -> None:
    lora = RunConfig(task="sst2", mode="lora").resolved()
    assert lora.lr == 1e-3 < RunConfig(task="sst2").resolved().lr  # type: ignore[operator]
    assert "RoBERTa" in str(lora.rate_source()) and str(lora.rate_source()).startswith("as preset quick has it: ")
    given = RunConfig(task="sst2", mode="lora", lr=2e-3).resolved()
    assert given.rate_source() == "given; preset quick has 0.001"
    assert RunConfig(task="sst2", lr=2e-3).resolved().rate_source() == "given; preset quick has 0.01"
    assert RunConfig(task="sst2").resolved().rate_source() is None
    assert RunConfig(task="sst2", mode="all", preset="paper").resolved().rate_source() is None  # the task's
    assert RunConfig(task="sst2", mode="all").resolved().rate_source() is not None


def test_the_documentation_has_the_ranges_and_the_usual_rates() -> None:
    page = topic("methods").text
    ranges = dict(re.findall(r"^\| (`[^|]*`|bias terms[^|]*) \| (\S+ to \S+) \|", page, re.M))
    known = {name: span for names, span in ranges.items() for name in re.findall(r"`([^`]+)`|(bias terms)", names)}
    spans = {single or "terms": span for (single, _), span in known.items()}
    assert set(spans) == set(RATES)
    for name, rates in RATES.items():
        low, high = (float(number) for number in spans[name].split(" to "))
        assert (low, high) == pytest.approx((rates.low, rates.high)), name
    usual = dict(re.findall(r"^\| \[`([^`]+)`\].*\| (\S+|the task's) \|$", page, re.M))
    assert set(usual) == set(ADAPTERS)
    for name, said in usual.items():
        of_preset = RATES[name].usual.get("quick")
        assert said == "the task's" if of_preset is None else float(said) == of_preset, name
