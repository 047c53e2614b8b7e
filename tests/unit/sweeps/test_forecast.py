"""What a sweep will take, and its table over seeds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sweep_tables import make_results

from beft_core.errors import UserError
from beft_core.sweeps import forecast, grouping
from beft_core.sweeps.forecast import most_at_once
from beft_core.sweeps.seed_means import over_seeds
from beft_core.sweeps.spec import SweepSpec
from beft_core.training.estimate.count import layout_of

SPEC = SweepSpec(("demo-sentiment", "demo-similarity"), n_train=(200,), terms=("v", "q", "all"), seeds=(0, 1, 2))


def test_fine_tunes_steps_and_passes_are_counted() -> None:
    counted = forecast.forecast(SPEC, layout_of("bundled"), 4)
    assert len(counted.runs) == 18 and counted.steps == 9 * 13 * (6 + 10)
    assert sorted(counted.banks) == [3] * 6  # 9 of each task, in banks of equal size
    assert forecast.forecast(SPEC, None, 100).banks == (9, 9)


def test_what_cannot_be_is_told_before_the_start() -> None:
    with pytest.raises(UserError, match="at most 4,000"):
        forecast.forecast(SweepSpec(n_train=(10, 5_000)), None, 4)
    with pytest.raises(UserError, match="does not define"):
        forecast.forecast(SweepSpec(("cb",), regimes=("high",)), None, 4)
    layout = layout_of("bundled")
    with pytest.raises(UserError, match="does not have"):
        forecast.forecast(SPEC, type(layout)(**{**layout.__dict__, "slots": layout.slots[:1]}), 4)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    memory = {"available": 1e9}
    monkeypatch.setattr(forecast.psutil, "virtual_memory", lambda: type("Memory", (), memory)())
    yield memory


def test_memory_decides_how_many_share_a_pass(free: dict[str, float]) -> None:
    layout, spec = layout_of("bundled"), SweepSpec(settings={"device": "cpu"})
    few = most_at_once(spec, layout)
    free["available"] = 1e12
    assert 1 <= few < most_at_once(spec, layout) == grouping.MAX_AT_ONCE["cpu"]
    assert most_at_once(SweepSpec(settings={"device": "cuda"}), layout) == grouping.MAX_AT_ONCE["cuda"]


def test_means_over_seeds() -> None:
    table = make_results(
        ("sst2",), ("low",), (1e-3,), failed=lambda run: run[2] == "q" or (run[2] == "k" and run[4] == 0)
    )
    means = over_seeds(table).set_index("trains")
    assert list(means.index[:4]) == ["v", "q", "k", "all"]
    own = table[table["trains"] == "v"]["value"]
    assert means["mean"]["v"] == pytest.approx(own.mean()) and means["std"]["v"] == pytest.approx(own.std())
    assert list(means["seeds"][:4]) == [3, 0, 2, 3] and list(means["failed"][:4]) == [0, 3, 1, 0]
    assert means[["mean", "std", "metric"]].loc["q"].isna().all()
    assert means["selects"]["all"] == "v" and means[["selects"]].loc["v"].isna().all()
    unscored = over_seeds(table.assign(value=None)).set_index("trains")
    assert list(unscored["seeds"][:4]) == [3, 0, 2, 3] and unscored["mean"].isna().all()
