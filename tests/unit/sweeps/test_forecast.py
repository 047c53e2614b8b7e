"""What a sweep will take, and its table over seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweep_tables import make_results

from beft_core.errors import UserError
from beft_core.sweeps import forecast, grouping
from beft_core.sweeps.forecast import most_at_once
from beft_core.sweeps.planning import work
from beft_core.sweeps.seed_means import over_seeds
from beft_core.sweeps.spec import SweepSpec
from beft_core.training.estimate.count import count_weights, layout_of

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


def test_prompts_count_with_about_the_tokens_that_their_task_has(free: dict[str, float]) -> None:
    """Those of SST-2 have some dozens of the 2,048 that they may have, those of ReCoRD hundreds."""
    free["available"] = 3e9
    short, long, texts = (
        most_at_once(SweepSpec((task,), n_train=(40,), terms=("v",), settings={"device": "cpu"}), layout_of("bundled"))
        for task in ("prompt-sst2", "prompt-record", "sst2")
    )
    assert 1 <= long < short and short > texts / 2


def test_the_model_is_taken_from_the_memory_that_is_free(free: dict[str, float]) -> None:
    layout, spec = layout_of("bundled"), SweepSpec(terms=("v",), settings={"device": "cpu"})
    config = spec.runs()[0]
    three = 3.5 * grouping.bytes_per_run(layout, config, "cpu") / grouping.SHARE_OF_MEMORY
    free["available"] = three + 4 * count_weights("bundled")
    assert most_at_once(spec, layout) == 3


def test_runs_of_lora_share_passes_and_take_memory_for_their_factors(free: dict[str, float]) -> None:
    layout = layout_of("bundled")
    entries = {"method": "lora", "lrs": [1e-3, 1e-2]}, {"method": "lora", "rank": 4}, "dora"
    spec = SweepSpec(n_train=(200,), terms=("v",), methods=entries, seeds=3, settings={"device": "cpu"})  # type: ignore[arg-type]
    assert sorted(forecast.forecast(spec, layout, 8).banks) == [1, 1, 1, 3, 3, 6]
    free["available"] = 3e9
    of_bias = most_at_once(SweepSpec(settings={"device": "cpu"}), layout)
    large = SweepSpec(methods=({"method": "lora", "rank": 4096},), settings={"device": "cpu"})
    assert 1 <= most_at_once(large, layout) < most_at_once(spec, layout) <= of_bias
    named = SweepSpec(terms=(), methods=("v lrs=1e-3", "q+k"), settings={"device": "cpu"})  # type: ignore[arg-type]
    assert most_at_once(named, layout) == of_bias


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
    table.loc[table["trains"] == "q", "value"] = 1.0
    assert over_seeds(table).set_index("trains")["mean"].isna()["q"], "what failed has no mean, whatever stands there"
    unscored = over_seeds(table.assign(value=None)).set_index("trains")
    assert list(unscored["seeds"][:4]) == [3, 0, 2, 3] and unscored["mean"].isna().all()


RUNS = SweepSpec(n_train=(160,), terms=("v", "q"), settings={"device": "cpu", "epochs": 2, "evaluate": "never"}).runs()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path))


def test_hours_follow_from_what_sweeps_took_before(home: None) -> None:
    before = forecast.hours(RUNS)
    of_layers = work.weights(layout_of("bundled"))
    assert before.operations == 2 * (2 * 10 * 16 * 14 * 4 * of_layers)
    assert before.seconds is None and "first sweep" in before.in_words()
    forecast.learned(RUNS[:1], 30.0)
    after = forecast.hours(RUNS)
    assert after.seconds == pytest.approx(60.0)
    assert after.in_words(2.0) == "about 60 s, cost 0.03 (as fast as sweeps before on this cpu)"
    assert after.judged(120.0) == "took 2 min, forecast 60 s: 50% too short"
    assert forecast.hours([]).judged(120.0) == "took 2 min", "merges alone are no forecast that was wrong"
    assert before.judged(120.0, 30.0) == "took 2 min (cost 1.00)"


def test_devices_without_a_pass_make_nothing_faster(home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"device": "cuda", "epochs": 2, "evaluate": "never"}
    eight = SweepSpec(n_train=(160,), terms=("v", "q"), seeds=(0, 1, 2, 3), settings=settings).runs()
    monkeypatch.setattr(forecast, "gpu_bytes", lambda: None)
    forecast.learned(eight[:1], 30.0)
    assert forecast.hours(eight).seconds == pytest.approx(240.0)
    assert forecast.hours(eight, workers=4).seconds == pytest.approx(120.0), "two passes of four"
    assert forecast.hours(eight[:3], workers=4).seconds == pytest.approx(90.0), "one pass"
    one = 4 * count_weights("bundled") + 2 * grouping.bytes_per_run(layout_of("bundled"), eight[0], "cuda")
    monkeypatch.setattr(forecast, "gpu_bytes", lambda: one)
    assert forecast.hours(eight, workers=4).seconds == pytest.approx(60.0), "eight passes, one on each at a time"
    monkeypatch.setattr(forecast, "gpu_bytes", lambda: None)
    forecast.learned(eight, 7.0, workers=4)
    expected = (0.7 * 30.0 + 14.0) / (0.7 * 1 + 8) * 8  # a rate is that of one device, and two were at work
    assert forecast.hours(eight).seconds == pytest.approx(expected)


def test_a_model_that_is_not_here_needs_its_weights(home: None) -> None:
    elsewhere = [dataclasses.replace(run, model="org/large") for run in RUNS]
    assert forecast.hours(elsewhere).seconds is None and forecast.hours(elsewhere).operations is None
    forecast.learned(RUNS, 60.0)
    twice = forecast.hours(elsewhere, model_weights=2 * work.weights(layout_of("bundled")))
    assert twice.seconds == pytest.approx(120.0) and "as fast as bundled before" in twice.source
    assert forecast.hours([]).seconds == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 s"), (89.0, "89 s"), (600.0, "10 min"), (6000.0, "1.7 h"), (90_000.0, "25 h"), (864_000.0, "10.0 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert forecast.duration(seconds) == words
