"""What the paper states without a number, looked for in result tables."""

from __future__ import annotations

import pytest
from sweep_tables import Run, make_results

from beft_core.reports.seed_means import Runs
from beft_core.reproduction.statements import SELECTIONS, frame, in_words, rates_and_epochs, selections

REGIMES = ("low", "medium", "high", "all")


def test_selections_as_the_paper_reports_them_and_otherwise() -> None:
    results = make_results(("sst2", "cola"), ("low", "medium"), (1e-3,))
    found = selections(Runs(results), {}, REGIMES)
    assert len(found) == sum(len(regimes) for *_, regimes in SELECTIONS)
    measured = [one for one in found if one.agrees is not None]
    assert len(measured) == 5 * 2 and all(one.agrees for one in measured)
    assert measured[0].ours.startswith("b_v by 3 of 3 (b_q 0.5, b_k 0.1, b_v 0.9)")
    other = selections(Runs(make_results(("sst2",), ("low",), (1e-3,), selects={**_all("q")})), {}, ("low",))
    assert {one.says: one.agrees for one in other if one.agrees is not None} == {
        "Projection ratio selects b_v": False,
        "Magnitude (L1) selects b_q": True,
        "Fisher selects b_v": False,
    }
    assert "5 of 10 statements" not in in_words(found) and in_words(found).startswith("10 of 10 statements")


def _all(term: str) -> dict[str, str]:
    from beft_core.scores.approaches import of_probes

    return dict.fromkeys(of_probes(), term)


def test_a_stand_in_is_named_beside_what_it_stands_for() -> None:
    results = make_results(("sst2",), ("low",), (1e-3,)).assign(task="demo-sentiment")
    found = selections(Runs(results), {"sst2": "demo-sentiment"}, ("low",))
    assert [one.of for one in found if one.agrees is not None] == ["demo-sentiment for SST-2, low, bundled"] * 3


def test_probes_that_disagree_evenly_select_nothing() -> None:
    votes = {0: "v", 1: "q"}
    results = make_results(("sst2",), ("low",), (1e-3,), (0, 1), selects=lambda approach, run: votes[run[4]])
    (first, *_) = selections(Runs(results), {}, ("low",))
    assert first.agrees is False and first.ours.startswith("none")


def rates(add: dict[tuple[str, float], float], **more: object) -> dict[str, bool | None]:
    """What holds where some terms are better by so much at a learning rate."""

    def extra(run: Run) -> float:
        return add.get((run[2], run[3]), 0.0)

    results = make_results(("cb",), ("low",), (1e-4, 1e-3), add=extra, **more)  # type: ignore[arg-type]
    return {one.says: one.agrees for one in rates_and_epochs(Runs(results), ["cb"])}


def test_learning_rates() -> None:
    says = rates({("v", 1e-3): 0.05, ("v", 1e-4): -0.03})
    assert list(says.values()) == [True, True, False, True, True]
    assert says["b_v is further ahead of b_q at the larger learning rate"] is True
    assert says["The scores of b_v and b_q are further apart at the larger learning rate"] is False, "0.4 at both"
    other = rates({("v", 1e-4): 0.1})
    assert other["b_v is further ahead of b_q at the larger learning rate"] is False
    assert other["b_v alone beats all biases at the larger learning rate and not at the smaller"] is False


def test_epochs_and_what_is_not_there() -> None:
    falling = make_results(("cb",), ("low",), (1e-3,))
    falling["curve"] = "[0.9, 0.8, 0.7]"
    (only,) = rates_and_epochs(Runs(falling), ["cb"])
    assert only.says == "b_v improves with more epochs" and only.agrees is False
    assert only.ours == "90.0 after a third of 3 epochs, 70.0 after all, at 0.001"
    short = make_results(("cb",), ("low",), (1e-3,))
    short["curve"] = "[0.9, 0.95]"
    (untested,) = rates_and_epochs(Runs(short), ["cb"])
    assert untested.agrees is None and untested.row()[-1] == "not measured"
    assert rates_and_epochs(Runs(short), ["wic"]) == []


def test_as_data() -> None:
    data = frame(selections(Runs(make_results(("sst2",), ("low",), (1e-3,))), {}, ("low", "high")))
    assert set(data["agrees"].dropna()) == {True} and data["agrees"].isna().any()
    assert frame([]).empty


@pytest.mark.parametrize("missing", ["probes", "singles"])
def test_without_one_half_it_is_not_measured(missing: str) -> None:
    trains = ("v", "q", "k") if missing == "probes" else ("all",)
    says = rates({}, trains=trains)
    assert says["b_v is ranked first at every learning rate"] is (None if missing == "probes" else True)
    assert says["b_v alone beats all biases at the larger learning rate and not at the smaller"] is None
