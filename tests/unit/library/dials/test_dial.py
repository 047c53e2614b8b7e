"""A dial from a notebook: what it asks of the engine, and what its result shows, tabulates and draws."""

from __future__ import annotations

from typing import Any

import pytest
from example_dials import example_dial
from example_snapshots import base, example

from beft_core import dial
from beft_core.dials.config import DialConfig
from beft_core.dials.result import Dial
from beft_core.errors import UserError
from beft_core.library.dials.dial import DialResult
from beft_core.snapshots.snapshot import Snapshot


def test_settings_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DialConfig] = []

    def fake(snapshot: Snapshot, config: DialConfig, *_: Any, **__: Any) -> Dial:
        asked.append(config)
        return example_dial(snapshot=snapshot)

    monkeypatch.setattr("beft_core.dials.measure.measure", fake)
    snapshot = example(pre=base(terms=("v",)), task="sst2", full=True)
    found = dial(snapshot, lambdas=[2, 0.5], n_eval=40, device="cpu", progress=False)
    (config,) = asked
    assert (config.task, config.lambdas, config.limit) == ("sst2", (0, 0.5, 1, 2), 40)
    assert found.result.source == config.source
    with pytest.raises(UserError, match="got λ = nan"):
        dial(snapshot, lambdas=[float("nan")], progress=False)
    with pytest.raises(UserError, match="without a head for rte"):
        monkeypatch.undo()
        dial(snapshot, task="rte", progress=False)


def test_the_result_shows_tabulates_and_draws() -> None:
    result = DialResult(example_dial(("q", "k", "v")))
    assert repr(result).startswith("At λ = 1 Spearman correlation is 71.0")
    assert "<table" in result._repr_html_()
    table = result.to_pandas()
    assert len(table) == 7 * 13 and set(table["part"]) >= {"all", "layer 2", "b_v"}
    costs = result.costs()
    assert len(costs) == 3 + 3 + 9 and costs["projection_ratio"].notna().sum() == 3 + 9
    rules = result.rules()
    assert set(rules["over"]) == {"terms", "cells"} and rules["baseline"].any()
    assert result.plot().data and result.plot("curve", term="v", at=0.3).data
    assert len(result.plot("terms").data) == 2 and len(result.plot("layers").data) == 1
    with pytest.raises(UserError, match="one of the parts"):
        result.plot(layer=99)
    with pytest.raises(UserError, match="got the rule 'guess'"):
        result.plot("terms", rule="guess")
    with pytest.raises(UserError, match="got the figure 'pie'"):
        result.plot("pie")
